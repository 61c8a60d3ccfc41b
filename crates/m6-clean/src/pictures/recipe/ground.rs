//! The ground of a picture: how white it is, and what stands out from it.

use m6_image::Rgb8;

use super::regions::{Neighbours, Region, Regions, Run};

/// Least value of every channel of a nearly white pixel: JPEG and soft light leave less than 255.
const WHITE: u8 = 232;
/// Width of the border by the shorter side.
const BORDER: f64 = 0.03;
/// Largest difference of a channel from the ground's colour.
const TOLERANCE: f64 = 26.0;
/// Smallest object by the pixels of the picture.
const SPECK: f64 = 0.002;
/// Fewest pixels of an object.
const FEWEST: u32 = 6;

/// How white the ground is.
pub(super) struct White {
    /// Share of the border.
    pub border: f64,
    /// Share of the picture.
    pub whole: f64,
}

/// What stands out from the ground.
pub(super) struct Objects {
    /// Share of the border in the ground's colour.
    pub plain_border: f64,
    /// Regions of other colours.
    pub n: u32,
}

/// Nearly white pixels that are joined to the edge of the picture.
pub(super) fn white(image: &Rgb8) -> White {
    let mask: Vec<u8> = image
        .data
        .chunks_exact(3)
        .map(|p| u8::from(p.iter().all(|&value| value >= WHITE)))
        .collect();
    let ground = Ground::of(&mask, image);
    White {
        border: ground.border,
        whole: ground.whole,
    }
}

/// Regions that the ground, grown from the edge, does not reach.
pub(super) fn objects(image: &Rgb8) -> Objects {
    let planes = border_colors(image);
    let (width, height) = (image.width, image.height);
    let pixels = image.data.chunks_exact(3).enumerate();
    let mask: Vec<u8> = pixels
        .map(|(at, pixel)| {
            let (u, v) = place(at % width, at / width, width, height);
            let is_ground =
                |c: usize| (f64::from(pixel[c]) - planes[c].at(u, v)).abs() <= TOLERANCE;
            u8::from((0..3).all(is_ground))
        })
        .collect();
    let ground = Ground::of(&mask, image);
    let least = ((SPECK * (width * height) as f64) as u32).max(FEWEST);
    let others = Regions::of(&ground.others, width, Neighbours::Eight);
    let n = others.list.iter().filter(|o| o.area >= least).count();
    Objects {
        plain_border: ground.border,
        n: n as u32,
    }
}

/// The part of a mask that is joined to the edge.
struct Ground {
    border: f64,
    whole: f64,
    /// 1 where the ground is not.
    others: Vec<u8>,
}

impl Ground {
    fn of(mask: &[u8], image: &Rgb8) -> Self {
        let (width, height) = (image.width, image.height);
        let regions = Regions::of(mask, width, Neighbours::Four);
        let is_edge = |r: &Region| {
            r.left == 0 || r.top == 0 || r.right as usize == width || r.bottom as usize == height
        };
        let joined: Vec<bool> = regions.list.iter().map(is_edge).collect();
        let band = Band::of(width, height);
        let mut others = vec![1; width * height];
        let (mut n_border, mut n_whole) = (0, 0);
        for run in regions
            .runs
            .iter()
            .filter(|run| joined[run.region as usize])
        {
            let row = run.y as usize * width;
            others[row + run.from as usize..row + run.to as usize].fill(0);
            n_whole += (run.to - run.from) as usize;
            n_border += band.overlap(run);
        }
        let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
        Self {
            border: share(n_border, band.n_pixels()),
            whole: share(n_whole, width * height),
            others,
        }
    }
}

/// The outermost pixels.
struct Band {
    width: usize,
    height: usize,
    thickness: usize,
}

impl Band {
    fn of(width: usize, height: usize) -> Self {
        let short = width.min(height);
        let thickness = ((BORDER * short as f64).round() as usize).max(1);
        Self {
            width,
            height,
            thickness,
        }
    }

    fn n_pixels(&self) -> usize {
        let inner = |length: usize| length.saturating_sub(2 * self.thickness);
        self.width * self.height - inner(self.width) * inner(self.height)
    }

    /// Whether a whole row belongs to it.
    fn has_row(&self, y: usize) -> bool {
        y < self.thickness || y + self.thickness >= self.height
    }

    /// Whether a whole column belongs to it.
    fn has_column(&self, x: usize) -> bool {
        x < self.thickness || x + self.thickness >= self.width
    }

    fn overlap(&self, run: &Run) -> usize {
        let (from, to) = (run.from as usize, run.to as usize);
        if self.has_row(run.y as usize) {
            return to - from;
        }
        let inner = self.thickness
            ..self
                .width
                .saturating_sub(self.thickness)
                .max(self.thickness);
        let inside = to.min(inner.end).saturating_sub(from.max(inner.start));
        to - from - inside
    }
}

/// Column and row from -1 to 1.
fn place(x: usize, y: usize, width: usize, height: usize) -> (f64, f64) {
    let at = |at: usize, n: usize| 2.0 * (at as f64 + 0.5) / n.max(1) as f64 - 1.0;
    (at(x, width), at(y, height))
}

/// A colour channel that changes evenly over the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Plane {
    middle: f64,
    across: f64,
    down: f64,
}

impl Plane {
    fn at(&self, u: f64, v: f64) -> f64 {
        self.middle + self.across * u + self.down * v
    }
}

/// The colour of the border, channel by channel: a plane through most of its pixels.
fn border_colors(image: &Rgb8) -> [Plane; 3] {
    let band = Band::of(image.width, image.height);
    let mut seen = Vec::new();
    for y in 0..image.height {
        for x in (0..image.width).filter(|&x| band.has_row(y) || band.has_column(x)) {
            let (u, v) = place(x, y, image.width, image.height);
            seen.push((u, v, image.pixel(x, y)));
        }
    }
    // What touches the edge pulls the first planes; each round leaves out what lies far off, in any channel.
    let mut planes = [0, 1, 2].map(|c| median_plane(&seen, c));
    let mut reach = 3.0 * TOLERANCE;
    for _ in 0..4 {
        let near: Vec<_> = seen
            .iter()
            .filter(|(u, v, pixel)| {
                (0..3).all(|c| (f64::from(pixel[c]) - planes[c].at(*u, *v)).abs() <= reach)
            })
            .collect();
        if near.len() * 4 < seen.len() {
            break;
        }
        planes = [0, 1, 2].map(|c| fitted(&near, c).unwrap_or(planes[c]));
        reach = (reach * 0.7).max(TOLERANCE);
    }
    planes
}

/// A plane of the median colour.
fn median_plane(seen: &[(f64, f64, [u8; 3])], channel: usize) -> Plane {
    let mut values: Vec<u8> = seen.iter().map(|(.., pixel)| pixel[channel]).collect();
    values.sort_unstable();
    Plane {
        middle: values.get(values.len() / 2).map_or(0.0, |&v| f64::from(v)),
        ..Plane::default()
    }
}

/// Least squares; `None` where the pixels lie on one line.
fn fitted(seen: &[&(f64, f64, [u8; 3])], channel: usize) -> Option<Plane> {
    let (mut m, mut r) = ([[0.0; 3]; 3], [0.0; 3]);
    for (u, v, pixel) in seen {
        let row = [1.0, *u, *v];
        for i in 0..3 {
            for j in 0..3 {
                m[i][j] += row[i] * row[j];
            }
            r[i] += row[i] * f64::from(pixel[channel]);
        }
    }
    let det = |m: &[[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(&m);
    if whole.abs() < 1e-6 * m[0][0].powi(3) {
        return None;
    }
    let solved = |column: usize| {
        let mut own = m;
        (0..3).for_each(|i| own[i][column] = r[i]);
        det(&own) / whole
    };
    Some(Plane {
        middle: solved(0),
        across: solved(1),
        down: solved(2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(image: &mut Rgb8, x: usize, y: usize, side: usize, color: [u8; 3]) {
        image.paste(&Rgb8::filled(side, side, color), x, y);
    }

    #[test]
    fn white_counts_where_it_reaches_the_edge() {
        let mut image = Rgb8::filled(100, 100, [250, 248, 252]);
        square(&mut image, 20, 20, 60, [200, 30, 30]);
        // A hole in the object is no ground.
        square(&mut image, 40, 40, 20, [255; 3]);
        let white = super::white(&image);
        assert_eq!((white.border, white.whole), (1.0, 0.64));
        // One of four sides is covered.
        image.paste(&Rgb8::filled(100, 3, [0; 3]), 0, 0);
        let white = super::white(&image);
        assert!(
            (white.border - (1164.0 - 300.0) / 1164.0).abs() < 1e-12,
            "{}",
            white.border
        );
        let grey = super::white(&Rgb8::filled(30, 20, [225; 3]));
        assert_eq!((grey.border, grey.whole), (0.0, 0.0));
        let tiny = super::white(&Rgb8::filled(1, 1, [255; 3]));
        assert_eq!((tiny.border, tiny.whole), (1.0, 1.0));
    }

    #[test]
    fn objects_are_counted_on_any_even_ground() {
        for ground in [[255; 3], [20, 60, 90], [128; 3]] {
            let mut image = Rgb8::filled(200, 150, ground);
            assert_eq!(objects(&image).n, 0);
            for n in 1..=5u32 {
                square(&mut image, 38 * n as usize - 30, 40, 20, [250, 30, 150]);
                let found = objects(&image);
                assert_eq!((found.n, found.plain_border), (n, 1.0), "{ground:?}");
            }
            // A speck of 2 by 2 is none; a piece at the edge is one.
            square(&mut image, 180, 10, 2, [250, 30, 150]);
            assert_eq!(objects(&image).n, 5);
            square(&mut image, 0, 140, 10, [250, 30, 150]);
            let found = objects(&image);
            assert!(found.n == 6 && found.plain_border < 1.0);
        }
    }

    #[test]
    fn a_ground_that_changes_evenly_is_one_ground() {
        let mut image = Rgb8::filled(160, 160, [0; 3]);
        for y in 0..160 {
            let shade = 60 + y as u8;
            image.paste(&Rgb8::filled(160, 1, [shade, 255 - shade, 90]), 0, y);
        }
        assert_eq!(objects(&image).plain_border, 1.0);
        square(&mut image, 30, 30, 30, [0, 0, 255]);
        square(&mut image, 90, 100, 30, [255, 255, 255]);
        assert_eq!(objects(&image).n, 2);
    }

    #[test]
    fn without_an_even_ground_the_border_says_so() {
        let data = (0..120 * 90u32).flat_map(|at| {
            let (x, y) = (at % 120 / 12, at / 120 / 9);
            [
                (x * 83 + y * 57) as u8,
                (x * 31 + y * 139) as u8,
                (x * 201 + y * 7) as u8,
            ]
        });
        let image = Rgb8::from_hwc(120, 90, data.collect()).unwrap();
        assert!(objects(&image).plain_border < 0.5);
    }

    #[test]
    fn the_border_is_that_of_a_mask() {
        for (width, height) in [(1, 1), (2, 7), (100, 40), (33, 33), (7, 90)] {
            let band = Band::of(width, height);
            let t = band.thickness;
            let inside = |x: usize, y: usize| x < t || y < t || x + t >= width || y + t >= height;
            let n = (0..width * height)
                .filter(|at| inside(at % width, at / width))
                .count();
            assert_eq!(band.n_pixels(), n, "{width}x{height}");
            for y in 0..height as u32 {
                for from in 0..width as u32 {
                    let run = Run {
                        y,
                        from,
                        to: width as u32,
                        region: 0,
                    };
                    let n = (from as usize..width)
                        .filter(|&x| inside(x, y as usize))
                        .count();
                    assert_eq!(band.overlap(&run), n, "{width}x{height} {run:?}");
                }
            }
        }
    }
}
