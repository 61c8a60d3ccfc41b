//! Lines of text, by what writing looks like: strokes of one width and one shade, in a row, with room above and below.
//!
//! Lines across only, of three strokes or more, at least six pixels and at most a quarter of the picture high; the numbers were set on photographs with and
//! without writing on them (`bench/picture_recipe.py`).

use std::collections::BTreeMap;

use super::regions::{Neighbours, Region, Regions};
use crate::pictures::scale::Gray;

/// Pixels on either side whose mean a stroke is darker or lighter than.
const REACH: usize = 12;
/// By how many levels at least; with less, writing on a photograph grows together with what is behind it.
const STEP: i64 = 44;
/// Least difference of a stroke from what is beside it, in levels.
const CONTRAST: f64 = 40.0;

/// Share (0..=1) of the picture that lines of text cover.
pub(super) fn share(gray: &Gray) -> f64 {
    let n_pixels = gray.width * gray.height;
    let boxes = lines(gray);
    let mut covered = vec![false; n_pixels];
    for line in &boxes {
        for y in line.top..line.bottom {
            let row = y as usize * gray.width;
            covered[row + line.left as usize..row + line.right as usize].fill(true);
        }
    }
    let n = covered.iter().filter(|&&is| is).count();
    n as f64 / n_pixels.max(1) as f64
}

/// A line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

/// Lines of dark and of light writing.
fn lines(gray: &Gray) -> Vec<Line> {
    let mut found = Vec::new();
    for (mask, is_dark) in masks(gray).into_iter().zip([true, false]) {
        let regions = Regions::of(&mask, gray.width, Neighbours::Eight);
        let strokes = strokes(gray, &regions, is_dark);
        let sums = Sums::of(&mask, gray.width);
        let groups = groups(&strokes);
        let groups = groups.iter().map(|group| Group::of(group, &sums));
        let lines = groups.filter(Group::is_line).map(|group| group.line);
        // Of a solid thing only the edge differs from what is around it; three equal things in a row are not three letters.
        let most = gray.height as u32 / 4;
        found.extend(lines.filter(|line| line.bottom - line.top <= most));
    }
    found
}

/// Sums over rectangles.
struct Sums {
    width: usize,
    height: usize,
    sums: Vec<u32>,
}

impl Sums {
    fn of(values: &[u8], width: usize) -> Self {
        let height = values.len() / width.max(1);
        let row = width + 1;
        let mut sums = vec![0u32; row * (height + 1)];
        for y in 0..height {
            let mut own = 0;
            for x in 0..width {
                own += u32::from(values[y * width + x]);
                sums[(y + 1) * row + x + 1] = sums[y * row + x + 1] + own;
            }
        }
        Self {
            width,
            height,
            sums,
        }
    }

    /// Over columns `left..right` and rows `top..bottom`, cut to the picture; with the number of pixels.
    fn over(&self, left: i64, top: i64, right: i64, bottom: i64) -> (u32, u32) {
        let x = |at: i64| at.clamp(0, self.width as i64) as usize;
        let y = |at: i64| at.clamp(0, self.height as i64) as usize;
        let (left, right, top, bottom) = (x(left), x(right), y(top), y(bottom));
        let at = |x: usize, y: usize| self.sums[y * (self.width + 1) + x];
        let sum =
            (at(right, bottom) + at(left, top)).wrapping_sub(at(left, bottom) + at(right, top));
        let n = right.saturating_sub(left) * bottom.saturating_sub(top);
        (sum, n as u32)
    }

    /// Share of a mask inside a line, and the larger one of the strips of `room` rows above and below.
    fn ink(&self, line: &Line, room: i64) -> (f64, f64) {
        let [left, top, right, bottom] =
            [line.left, line.top, line.right, line.bottom].map(i64::from);
        let share = |top: i64, bottom: i64| {
            let (sum, n) = self.over(left, top, right, bottom);
            f64::from(sum) / f64::from(n.max(1))
        };
        let outside = share(top - room, top).max(share(bottom, bottom + room));
        (share(top, bottom), outside)
    }
}

/// Pixels darker than what is around them, and pixels lighter.
fn masks(gray: &Gray) -> [Vec<u8>; 2] {
    let (width, height) = (gray.width, gray.height);
    let sums = Sums::of(&gray.data, width);
    let (mut dark, mut light) = (vec![0; width * height], vec![0; width * height]);
    let reach = REACH as i64;
    for y in 0..height {
        for x in 0..width {
            let (left, top) = (x as i64 - reach, y as i64 - reach);
            let (sum, n) = sums.over(left, top, left + 2 * reach + 1, top + 2 * reach + 1);
            let at = y * width + x;
            let off = i64::from(gray.data[at]) * i64::from(n) - i64::from(sum);
            dark[at] = u8::from(off < -STEP * i64::from(n));
            light[at] = u8::from(off > STEP * i64::from(n));
        }
    }
    [dark, light]
}

/// A region that may be part of a character.
#[derive(Clone, Copy, Debug)]
struct Stroke {
    region: Region,
    /// Luma of its darkest or lightest pixel.
    ink: f64,
    /// Mean luma beside it.
    paper: f64,
    /// Twice the area by the perimeter: the width of a long stroke.
    width: f64,
}

fn strokes(gray: &Gray, regions: &Regions, is_dark: bool) -> Vec<Stroke> {
    #[derive(Clone, Copy, Default)]
    struct Seen {
        ink: u8,
        paper: u64,
        n_paper: u64,
    }
    let mut seen = vec![Seen::default(); regions.list.len()];
    for run in &regions.runs {
        let row = &gray.data[run.y as usize * gray.width..][..gray.width];
        let (from, to) = (run.from as usize, run.to as usize);
        let own = &mut seen[run.region as usize];
        for &value in &row[from..to] {
            own.ink = own.ink.max(if is_dark { 255 - value } else { value });
        }
        // The pixel at the very edge of a stroke is half ink.
        for at in [from.checked_sub(2), Some(to + 1)].into_iter().flatten() {
            if let Some(&value) = row.get(at) {
                own.paper += u64::from(value);
                own.n_paper += 1;
            }
        }
    }
    let (most_w, most_h) = (gray.width as u32 / 2, gray.height as u32 / 3);
    regions
        .list
        .iter()
        .zip(seen)
        .filter(|(region, seen)| {
            let (w, h) = (region.width(), region.height());
            region.area >= 6
                && w.max(h) >= 4
                && w <= most_w
                && h <= most_h
                && w <= 12 * h
                && h <= 12 * w
                && seen.n_paper > 0
        })
        .map(|(region, seen)| Stroke {
            region: *region,
            ink: f64::from(if is_dark { 255 - seen.ink } else { seen.ink }),
            paper: seen.paper as f64 / seen.n_paper as f64,
            width: 2.0 * f64::from(region.area) / f64::from(region.perimeter),
        })
        .filter(|stroke| (stroke.ink - stroke.paper).abs() >= CONTRAST)
        .collect()
}

/// Strokes that stand side by side and look alike.
fn groups(strokes: &[Stroke]) -> Vec<Vec<Stroke>> {
    let mut order: Vec<&Stroke> = strokes.iter().collect();
    order.sort_by_key(|stroke| (stroke.region.left, stroke.region.top));
    let mut leaders: Vec<usize> = (0..order.len()).collect();
    for a in 0..order.len() {
        // No partner is more than four times as high, none further than its height.
        let last = order[a].region.right + 4 * order[a].region.height();
        for b in a + 1..order.len() {
            if order[b].region.left > last {
                break;
            }
            if stand_together(order[a], order[b]) {
                let (a, b) = (leader(&mut leaders, a), leader(&mut leaders, b));
                leaders[a.max(b)] = a.min(b);
            }
        }
    }
    let mut groups = BTreeMap::<usize, Vec<Stroke>>::new();
    for (at, stroke) in order.into_iter().enumerate() {
        let lead = leader(&mut leaders, at);
        groups.entry(lead).or_default().push(*stroke);
    }
    groups.into_values().collect()
}

fn leader(leaders: &mut [usize], mut at: usize) -> usize {
    while leaders[at] != at {
        leaders[at] = leaders[leaders[at]];
        at = leaders[at];
    }
    at
}

fn stand_together(a: &Stroke, b: &Stroke) -> bool {
    let (r, s) = (&a.region, &b.region);
    let gap = i64::from(s.left.max(r.left)) - i64::from(s.right.min(r.right));
    let shared = i64::from(r.bottom.min(s.bottom)) - i64::from(r.top.max(s.top));
    let (low, high) = (r.height().min(s.height()), r.height().max(s.height()));
    2 * shared >= i64::from(low)
        && 10 * gap <= 8 * i64::from(high)
        && high <= 4 * low
        && (a.ink - b.ink).abs() <= 24.0
        && a.width.max(b.width) <= 2.5 * a.width.min(b.width)
}

/// A group of strokes, measured by its height.
#[derive(Clone, Copy, Debug)]
struct Group {
    line: Line,
    n: usize,
    /// Strokes of more than half the height.
    n_tall: usize,
    /// Width of the group.
    length: f64,
    /// Width of its strokes.
    stroke: f64,
    /// Runs of ink met along a row as long as the height.
    crossings: f64,
    /// Runs of ink met down a column.
    storeys: f64,
    /// Deviation of the ink, in levels.
    spread: f64,
    /// Difference of ink and paper, in levels.
    contrast: f64,
    /// Share of the box that is ink.
    inside: f64,
    /// Share of ink in the strips above and below, by that of the box.
    outside: f64,
}

impl Group {
    fn of(strokes: &[Stroke], sums: &Sums) -> Self {
        let regions = || strokes.iter().map(|stroke| stroke.region);
        let line = Line {
            left: regions().map(|r| r.left).min().unwrap_or(0),
            top: regions().map(|r| r.top).min().unwrap_or(0),
            right: regions().map(|r| r.right).max().unwrap_or(0),
            bottom: regions().map(|r| r.bottom).max().unwrap_or(0),
        };
        let width = f64::from(line.right - line.left);
        let height = f64::from(line.bottom - line.top);
        let area: f64 = regions().map(|r| f64::from(r.area)).sum();
        let mean = |value: &dyn Fn(&Stroke) -> f64| {
            let weighed = strokes.iter().map(|s| value(s) * f64::from(s.region.area));
            weighed.sum::<f64>() / area
        };
        let ink = mean(&|s| s.ink);
        let n_runs: f64 = regions().map(|r| f64::from(r.n_runs)).sum();
        let perimeter: f64 = regions().map(|r| f64::from(r.perimeter)).sum();
        let (inside, outside) = sums.ink(&line, (0.2 * height).round().max(2.0) as i64);
        Self {
            line,
            n: strokes.len(),
            n_tall: regions()
                .filter(|r| f64::from(r.height()) > 0.55 * height)
                .count(),
            length: width / height,
            stroke: mean(&|s| s.width) / height,
            crossings: n_runs / width,
            // A run has two edges at its ends; the other edges are the ends of runs down the columns.
            storeys: (perimeter / 2.0 - n_runs) / width,
            spread: mean(&|s| (s.ink - ink).powi(2)).sqrt(),
            contrast: mean(&|s| (s.ink - s.paper).abs()),
            inside,
            outside: outside / inside.max(1e-9),
        }
    }

    fn is_line(&self) -> bool {
        // Many characters of one height are a line even where the next line is close.
        let most_outside = if self.n_tall >= 4 { 0.5 } else { 0.15 };
        self.n >= 3
            && self.n_tall >= 2
            && self.line.bottom - self.line.top >= 6
            && self.length >= 2.0
            && (0.025..0.16).contains(&self.stroke)
            && (1.5..4.5).contains(&self.crossings)
            && (1.0..4.5).contains(&self.storeys)
            && self.spread <= 10.0
            && self.contrast >= 85.0
            && (0.15..0.7).contains(&self.inside)
            && self.outside <= most_outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters of straight strokes, nine by nine.
    const GLYPHS: [[&str; 9]; 4] = [
        [
            "#########",
            "#...#...#",
            "#...#...#",
            "#...#...#",
            "#########",
            "#...#...#",
            "#...#...#",
            "#...#...#",
            "#########",
        ],
        [
            "....#....",
            "#########",
            "....#....",
            ".#######.",
            ".#..#..#.",
            ".#######.",
            "....#....",
            "#########",
            "....#....",
        ],
        [
            "####.####",
            "#..#.#..#",
            "####.####",
            "#..#.#..#",
            "####.####",
            "#.......#",
            "#.......#",
            "#.......#",
            "#.......#",
        ],
        [
            "#########",
            "#.#...#.#",
            "#.#...#.#",
            "#########",
            "#.#...#.#",
            "#.#...#.#",
            "#.#...#.#",
            "#.#...#.#",
            "#########",
        ],
    ];

    struct Page(Gray);

    impl Page {
        fn new(width: usize, height: usize, paper: impl Fn(usize, usize) -> u8) -> Self {
            let data = (0..width * height)
                .map(|at| paper(at % width, at / width))
                .collect();
            Self(Gray {
                width,
                height,
                data,
            })
        }

        fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, value: u8) {
            for row in y..y + height {
                self.0.data[row * self.0.width..][x..x + width].fill(value);
            }
        }

        /// Writes `n` characters, each of `9 * unit` pixels and a gap of one unit.
        fn write(&mut self, n: usize, x: usize, y: usize, unit: usize, ink: u8) {
            for at in 0..n {
                for (row, cells) in GLYPHS[at % GLYPHS.len()].iter().enumerate() {
                    for (column, _) in cells.bytes().enumerate().filter(|(_, b)| *b == b'#') {
                        let x = x + at * 10 * unit + column * unit;
                        self.fill(x, y + row * unit, unit, unit, ink);
                    }
                }
            }
        }
    }

    fn wave(x: usize, y: usize) -> u8 {
        (128.0 + 40.0 * libm::sin(x as f64 / 37.0) + 30.0 * libm::sin((x + 2 * y) as f64 / 53.0))
            as u8
    }

    #[test]
    fn a_written_line_is_found_where_it_is() {
        for (unit, x, y) in [(1, 20, 30), (2, 40, 90), (4, 12, 150)] {
            for (paper, ink) in [(250, 10), (5, 240), (210, 20)] {
                let mut page = Page::new(400, 300, |_, _| paper);
                page.write(6, x, y, unit, ink);
                let line = Line {
                    left: x as u32,
                    top: y as u32,
                    right: (x + 59 * unit) as u32,
                    bottom: (y + 9 * unit) as u32,
                };
                // The paper between the strokes may be seen as a second line, of light writing, about as large.
                let found = lines(&page.0);
                assert!(
                    found.contains(&line) && found.len() <= 2,
                    "unit {unit}, {ink} on {paper}: {found:?}"
                );
                let covered = share(&page.0) * 120_000.0 / (59 * unit * 9 * unit) as f64;
                assert!((1.0..1.5).contains(&covered), "{covered} of the line");
            }
        }
    }

    #[test]
    fn writing_is_found_on_uneven_paper_and_line_by_line() {
        let mut page = Page::new(400, 300, wave);
        page.write(10, 30, 40, 2, 255);
        page.write(10, 30, 68, 2, 255);
        page.write(8, 30, 220, 3, 0);
        let found = lines(&page.0);
        assert_eq!(found.len(), 3, "{found:?}");
        let covered = share(&page.0);
        let expected = (2.0 * 198.0 * 18.0 + 237.0 * 27.0) / 120_000.0;
        assert!(
            (covered - expected).abs() < 0.1 * expected,
            "{covered}, not {expected}"
        );
    }

    #[test]
    fn what_is_no_writing_is_not_found() {
        let check = |name: &str, page: &Page| assert_eq!(lines(&page.0), [], "{name}");
        check("even paper", &Page::new(300, 200, |_, _| 200));
        check("uneven paper", &Page::new(300, 200, wave));
        check(
            "a board",
            &Page::new(300, 200, |x, y| 255 * ((x / 10 + y / 10) % 2) as u8),
        );
        check(
            "stripes",
            &Page::new(300, 200, |x, _| 255 * (x / 6 % 2) as u8),
        );
        let noise =
            |x: usize, y: usize| m6_store::hash::hash64(&(x * 1000 + y).to_le_bytes()) as u8;
        check("noise", &Page::new(300, 200, noise));
        let mut blocks = Page::new(300, 200, |_, _| 255);
        (0..8).for_each(|i| blocks.fill(20 + 30 * i, 60, 20, 20, 0));
        check("a row of blocks", &blocks);
        let mut fence = Page::new(300, 200, |_, _| 255);
        (0..20).for_each(|i| fence.fill(20 + 12 * i, 60, 4, 50, 0));
        check("a fence", &fence);
        let mut one = Page::new(300, 200, |_, _| 255);
        one.write(1, 100, 80, 4, 0);
        check("one character", &one);
        let mut faint = Page::new(300, 200, |_, _| 255);
        faint.write(6, 20, 80, 3, 225);
        check("faint writing", &faint);
        check("nothing", &Page::new(0, 0, |_, _| 0));
        check("a pixel", &Page::new(1, 1, |_, _| 0));
    }
}
