//! Is there a QR code? Its three finder patterns and the timing pattern between them (ISO/IEC 18004) are looked for; nothing is read.
//!
//! Upright, turned and mildly slanted codes are found from about two pixels a module. Not found: light on dark, other codes.

mod binary;
mod finder;

use super::scale::Gray;
use binary::Binary;
use finder::Center;

/// The most frequent candidates are combined; a picture full of squares brings many.
const MAX_CENTERS: usize = 14;
/// Modules between two finder centres: 14 in version 1, 170 in version 40, with room for slant.
const LEG_MODULES: std::ops::RangeInclusive<f32> = 12.5..=178.0;

/// Whether the picture holds a QR code.
pub(super) fn has_code(gray: &Gray) -> bool {
    let Some(binary) = Binary::of(gray) else {
        return false;
    };
    let mut centers = finder::centers(&binary);
    // A real centre is crossed by several scanned rows.
    centers.sort_by(|a, b| {
        b.n_rows
            .cmp(&a.n_rows)
            .then(a.y.total_cmp(&b.y))
            .then(a.x.total_cmp(&b.x))
    });
    centers.truncate(MAX_CENTERS);
    for (i, a) in centers.iter().enumerate() {
        for (j, b) in centers.iter().enumerate().skip(i + 1) {
            for c in &centers[j + 1..] {
                if is_code(&binary, [a, b, c]) {
                    return true;
                }
            }
        }
    }
    false
}

/// Whether three centres are the corners of one code.
fn is_code(binary: &Binary, centers: [&Center; 3]) -> bool {
    let sizes = centers.map(|center| center.module);
    let (least, most) = (
        sizes.iter().copied().fold(f32::MAX, f32::min),
        sizes.iter().copied().fold(0.0, f32::max),
    );
    if most > 1.7 * least {
        return false;
    }
    // The corner with the right angle lies opposite the longest side.
    let [a, b, c] = centers;
    let (ab, bc, ca) = (between(a, b), between(b, c), between(c, a));
    let (corner, first, second, long) = if ab >= bc && ab >= ca {
        (c, a, b, ab)
    } else if bc >= ca {
        (a, b, c, bc)
    } else {
        (b, a, c, ca)
    };
    let (leg, other) = (between(corner, first), between(corner, second));
    let is_right_angle = (leg * leg + other * other - long * long).abs() < 0.25 * long * long;
    if leg.max(other) > 1.35 * leg.min(other) || !is_right_angle {
        return false;
    }
    let legs = [
        Leg::new(binary, corner, first),
        Leg::new(binary, corner, second),
    ];
    let [Some(leg), Some(other)] = legs else {
        return false;
    };
    if leg.modules.max(other.modules) > 1.25 * leg.modules.min(other.modules) {
        return false;
    }
    leg.has_timing(binary, &other) || other.has_timing(binary, &leg)
}

fn between(a: &Center, b: &Center) -> f32 {
    libm::hypotf(a.x - b.x, a.y - b.y)
}

/// From the corner's centre to another one.
struct Leg {
    from: (f32, f32),
    /// One module in this direction.
    step: (f32, f32),
    /// Modules from centre to centre.
    modules: f32,
}

impl Leg {
    /// `None` when the corner is no finder pattern in this direction, or the distance is none of a code.
    fn new(binary: &Binary, corner: &Center, end: &Center) -> Option<Self> {
        let length = between(corner, end);
        let unit = ((end.x - corner.x) / length, (end.y - corner.y) / length);
        // A line through the centre of nested squares crosses them in the same ratio at any angle.
        let at_corner = finder::cross_line(binary, (corner.x, corner.y), unit)?;
        let at_end = finder::cross_line(binary, (end.x, end.y), unit)?;
        let module = (at_corner + at_end) / 14.0;
        let modules = length / module;
        LEG_MODULES.contains(&modules).then_some(Self {
            from: (corner.x, corner.y),
            step: (unit.0 * module, unit.1 * module),
            modules,
        })
    }

    /// Whether dark and light modules alternate along the edge of the code's inside, three modules off this leg.
    fn has_timing(&self, binary: &Binary, inward: &Leg) -> bool {
        // From the last dark module of one finder pattern to the first of the other.
        let n_expected = self.modules - 6.0;
        [3.0, 2.7, 3.3].into_iter().any(|offset| {
            let start = (
                self.from.0 + offset * inward.step.0,
                self.from.1 + offset * inward.step.1,
            );
            let n_changes = self.n_changes(binary, start) as f32;
            (0.8 * n_expected..=1.2 * n_expected).contains(&n_changes)
        })
    }

    /// Changes between dark and light along this leg, moved to `start`, between the two finder patterns.
    fn n_changes(&self, binary: &Binary, start: (f32, f32)) -> usize {
        const SAMPLES: f32 = 5.0;
        let n_samples = ((self.modules - 6.0) * SAMPLES) as usize;
        let is_dark = |sample: usize| {
            let modules = 3.0 + sample as f32 / SAMPLES;
            let (x, y) = (
                start.0 + modules * self.step.0,
                start.1 + modules * self.step.1,
            );
            binary.is_dark_at(x, y)
        };
        (0..n_samples)
            .filter(|&sample| is_dark(sample) != is_dark(sample + 1))
            .count()
    }
}

#[cfg(test)]
mod tests;
