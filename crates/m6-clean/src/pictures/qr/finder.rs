//! Finder patterns: dark, light, dark, light, dark in the ratio 1:1:3:1:1 along every line through the centre.

use super::binary::Binary;

/// Every second row is scanned: a core of three modules is crossed several times.
const ROW_STEP: usize = 2;
/// Candidates kept at most; beyond it the picture is a texture, not a code.
const MAX_CANDIDATES: usize = 512;
/// How far a run may be from its length, in modules.
const TOLERANCE: f32 = 0.6;
/// The same for the core, whose both edges may be off.
const CORE_TOLERANCE: f32 = 1.2;
/// A line is walked in steps of this many pixels.
const STEP: f32 = 0.5;

/// Middle of a finder pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Center {
    pub x: f32,
    pub y: f32,
    /// Size of a module in pixels, along the row.
    pub module: f32,
    /// Scanned rows that led here.
    pub n_rows: u32,
}

/// All finder patterns of a picture, at most 512.
pub(super) fn centers(binary: &Binary) -> Vec<Center> {
    let mut found: Vec<Center> = Vec::new();
    let mut ends = Vec::new();
    for y in (0..binary.height).step_by(ROW_STEP) {
        let row = binary.row(y);
        ends.clear();
        ends.extend((1..row.len()).filter(|&x| row[x] != row[x - 1]));
        ends.push(row.len());
        // Runs lie between neighbours of `ends`; the first run of the row is open to the left and left out.
        let first_dark = usize::from(row.first() == Some(&true));
        for bounds in ends.windows(6).skip(first_dark).step_by(2) {
            let runs = std::array::from_fn(|i| (bounds[i + 1] - bounds[i]) as f32);
            if module_of(runs).is_none() {
                continue;
            }
            let middle = (bounds[2] + bounds[3]) as f32 / 2.0;
            if let Some(center) = confirm(binary, middle, y as f32 + 0.5) {
                add(&mut found, center);
            }
            if found.len() >= MAX_CANDIDATES {
                return found;
            }
        }
    }
    found
}

/// The module's size when five runs are in the ratio 1:1:3:1:1.
fn module_of(runs: [f32; 5]) -> Option<f32> {
    let module = runs.iter().sum::<f32>() / 7.0;
    let near = |run: f32, modules: f32| (run - modules * module).abs() <= TOLERANCE * module;
    let [a, b, core, c, d] = runs;
    let is_finder = module >= 1.0
        && [a, b, c, d].into_iter().all(|run| near(run, 1.0))
        && (core - 3.0 * module).abs() <= CORE_TOLERANCE * module;
    is_finder.then_some(module)
}

/// Checks a candidate down, across and along a diagonal, and moves it to the middle.
fn confirm(binary: &Binary, x: f32, y: f32) -> Option<Center> {
    let (above, below) = cross(binary, (x, y), (0.0, 1.0))?;
    let y = y + (below - above) / 2.0;
    let (left, right) = cross(binary, (x, y), (1.0, 0.0))?;
    let x = x + (right - left) / 2.0;
    let (tall, wide) = (above + below, left + right);
    if tall.max(wide) > 1.5 * tall.min(wide) {
        return None;
    }
    let diagonal = std::f32::consts::FRAC_1_SQRT_2;
    cross(binary, (x, y), (diagonal, diagonal))?;
    Some(Center {
        x,
        y,
        module: wide / 7.0,
        n_rows: 1,
    })
}

/// Length of a finder pattern along a line through its middle, in pixels; `None` when it is none.
pub(super) fn cross_line(binary: &Binary, from: (f32, f32), unit: (f32, f32)) -> Option<f32> {
    cross(binary, from, unit).map(|(back, forth)| back + forth)
}

/// How far a finder pattern reaches from a point of its core, back and forth along a line.
fn cross(binary: &Binary, from: (f32, f32), unit: (f32, f32)) -> Option<(f32, f32)> {
    let forth = arm(binary, from, unit)?;
    let back = arm(binary, from, (-unit.0, -unit.1))?;
    module_of([back[2], back[1], back[0] + forth[0], forth[1], forth[2]])?;
    Some((back.iter().sum(), forth.iter().sum()))
}

/// Lengths of the dark, light and dark runs from a point of the core outwards.
fn arm(binary: &Binary, from: (f32, f32), unit: (f32, f32)) -> Option<[f32; 3]> {
    let mut lengths = [0.0f32; 3];
    let mut run = 0;
    let mut walked = 0.0f32;
    loop {
        let dark = binary.get(from.0 + walked * unit.0, from.1 + walked * unit.1);
        match dark {
            Some(dark) if dark == (run % 2 == 0) => {}
            // The picture may end with the pattern.
            None if run == 2 => return Some(lengths),
            None => return None,
            Some(_) if run == 2 => return Some(lengths),
            Some(_) => {
                run += 1;
                continue;
            }
        }
        walked += STEP;
        lengths[run] += STEP;
        // The core's half is 1.5 modules, a ring 1: a ring far longer than the core's half belongs to something else.
        if run > 0 && lengths[run] > 3.0 * lengths[0].max(1.0) {
            return None;
        }
    }
}

/// Counts a centre for the one it repeats, or adds it.
fn add(found: &mut Vec<Center>, center: Center) {
    let same = found.iter_mut().find(|other| {
        let (dx, dy) = ((other.x - center.x).abs(), (other.y - center.y).abs());
        let reach = 1.5 * other.module.max(center.module);
        dx <= reach
            && dy <= reach
            && other.module.max(center.module) <= 1.6 * other.module.min(center.module)
    });
    let Some(other) = same else {
        found.push(center);
        return;
    };
    let n = other.n_rows as f32;
    let blend = |old: f32, new: f32| (old * n + new) / (n + 1.0);
    other.x = blend(other.x, center.x);
    other.y = blend(other.y, center.y);
    other.module = blend(other.module, center.module);
    other.n_rows += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_has_its_room() {
        let check = |runs: [f32; 5], expected: Option<f32>| {
            assert_eq!(module_of(runs), expected, "{runs:?}")
        };
        check([2.0, 2.0, 6.0, 2.0, 2.0], Some(2.0));
        check([1.0, 3.0, 6.0, 3.0, 1.0], Some(2.0));
        check([1.0, 1.0, 3.0, 1.0, 1.0], Some(1.0));
        check([2.0, 2.0, 2.0, 2.0, 2.0], None);
        check([2.0, 2.0, 14.0, 2.0, 2.0], None);
        check([0.5, 0.5, 1.5, 0.5, 0.5], None);
        check([0.0; 5], None);
    }
}
