//! Connected regions of pixels that are not ground, and the piece of the picture that each one is.

use super::ground::{Field, energy};

/// The share of a region's pixels that are weaker than its strength.
const STRENGTH_RANK: f32 = 0.7;
/// A region of a smaller share of all pixels is grain and counts as ground.
const GRAIN: f32 = 0.001;
/// Most regions that are looked at: four suns of 96 pixels, whose rays are regions of their own.
const MAX_REGIONS: usize = 40;

/// A rectangle of pixels `[left, top, right, bottom]`, the last two exclusive.
type Rect = [usize; 4];

/// A piece of the picture that holds one region and nothing of the others.
#[derive(Clone)]
pub(super) struct Cutout {
    /// Its rectangle in the picture.
    pub rect: Rect,
    /// Differences from the ground, row by row; zero where another region lies.
    pub difference: Vec<[f32; 3]>,
    /// The ground in the middle row.
    pub ground: [f32; 3],
    /// Sums of squared differences left of and above each corner, `width + 1` a row.
    sums: Vec<f64>,
    /// Distance from the ground of its stronger pixels.
    pub strength: f32,
    /// Pixels that are not ground.
    pub n_pixels: usize,
    /// The distance at which a pixel is no longer ground.
    foreground: f32,
    /// The longer side of the picture in pixels.
    pub side: f32,
}

impl Cutout {
    fn new(field: &Field, rect: Rect, difference: Vec<[f32; 3]>) -> Self {
        let width = rect[2] - rect[0];
        let middle = (rect[1] + rect[3]) / 2;
        let mut sums = vec![0.0; (width + 1) * (rect[3] - rect[1] + 1)];
        for (y, row) in difference.chunks(width.max(1)).enumerate() {
            let mut of_row = 0.0;
            for (x, &d) in row.iter().enumerate() {
                of_row += f64::from(energy(d));
                sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + of_row;
            }
        }
        let mut distances: Vec<f32> = difference
            .iter()
            .map(|&d| energy(d).sqrt())
            .filter(|&d| d >= field.foreground)
            .collect();
        distances.sort_by(f32::total_cmp);
        let rank = (distances.len() as f32 * STRENGTH_RANK) as usize;
        Cutout {
            rect,
            difference,
            ground: field.ground.get(middle).copied().unwrap_or([255.0; 3]),
            sums,
            strength: distances.get(rank).copied().unwrap_or(0.0),
            n_pixels: distances.len(),
            foreground: field.foreground,
            side: field.longer_side(),
        }
    }

    /// Pixels in a row.
    pub(super) fn width(&self) -> usize {
        self.rect[2] - self.rect[0]
    }

    /// Rows.
    pub(super) fn height(&self) -> usize {
        self.rect[3] - self.rect[1]
    }

    /// Sum of squared differences over all pixels.
    pub(super) fn energy(&self) -> f64 {
        self.sums.last().copied().unwrap_or(0.0)
    }

    /// Sum of squared differences over the pixels whose middle lies in the box `[left, top, right, bottom]`, in pixels
    /// of the picture.
    pub(super) fn energy_in(&self, bounds: [f32; 4]) -> f64 {
        let corner = |value: f32, origin: usize, length: usize| {
            ((value - origin as f32).round().max(0.0) as usize).min(length)
        };
        let left = corner(bounds[0], self.rect[0], self.width());
        let top = corner(bounds[1], self.rect[1], self.height());
        let right = corner(bounds[2], self.rect[0], self.width()).max(left);
        let bottom = corner(bounds[3], self.rect[1], self.height()).max(top);
        let at = |x: usize, y: usize| self.sums[y * (self.width() + 1) + x];
        at(right, bottom) - at(left, bottom) - at(right, top) + at(left, top)
    }

    /// The box of the pixels that are at least `share` of the strength away from the ground, in pixels of the picture.
    pub(super) fn bounds_at(&self, share: f32) -> [f32; 4] {
        let limit = (share * self.strength).max(self.foreground);
        let mut bounds = [f32::MAX, f32::MAX, 0.0, 0.0];
        for (at, &d) in self.difference.iter().enumerate() {
            if energy(d) >= limit * limit {
                let x = (self.rect[0] + at % self.width()) as f32;
                let y = (self.rect[1] + at / self.width()) as f32;
                bounds[0] = f32::min(bounds[0], x);
                bounds[1] = f32::min(bounds[1], y);
                bounds[2] = f32::max(bounds[2], x + 1.0);
                bounds[3] = f32::max(bounds[3], y + 1.0);
            }
        }
        if bounds[2] == 0.0 {
            return self.rect.map(|edge| edge as f32);
        }
        bounds
    }

    /// How much of the strength there is in each column (`axis` 0) or row (`axis` 1), summed.
    pub(super) fn profile(&self, axis: usize) -> Vec<f32> {
        let length = [self.width(), self.height()][axis];
        let mut profile = vec![0.0; length];
        for (at, &d) in self.difference.iter().enumerate() {
            let along = [at % self.width(), at / self.width()][axis];
            profile[along] += (energy(d).sqrt() / self.strength.max(1.0)).min(1.0);
        }
        profile
    }

    /// The two parts on each side of column (`axis` 0) or row (`axis` 1) number `at` of the cutout.
    pub(super) fn cut(&self, field: &Field, axis: usize, at: usize) -> [Cutout; 2] {
        let (mut low, mut high) = (self.rect, self.rect);
        low[axis + 2] = self.rect[axis] + at;
        high[axis] = self.rect[axis] + at;
        [low, high].map(|rect| {
            let mut difference = Vec::with_capacity((rect[2] - rect[0]) * (rect[3] - rect[1]));
            for y in rect[1]..rect[3] {
                let row = (y - self.rect[1]) * self.width();
                let from = row + rect[0] - self.rect[0];
                difference.extend_from_slice(&self.difference[from..from + rect[2] - rect[0]]);
            }
            Cutout::new(field, rect, difference)
        })
    }
}

/// A connected set of pixels that are not ground.
struct Region {
    rect: Rect,
    n_pixels: usize,
    label: u32,
}

/// The regions of a picture.
pub(super) struct Regions<'a> {
    field: &'a Field,
    /// The label of each pixel's region; 0 for ground and for grain.
    labels: Vec<u32>,
    list: Vec<Region>,
}

impl<'a> Regions<'a> {
    /// Finds them, the [`MAX_REGIONS`] largest when there are more, from the top. Grain counts as ground.
    pub(super) fn of(field: &'a Field) -> Self {
        let (mut labels, mut list) = label(field);
        let least = (GRAIN * field.distance.len() as f32).max(4.0);
        list.sort_by_key(|r| std::cmp::Reverse(r.n_pixels));
        list.retain(|r| r.n_pixels as f32 >= least);
        list.truncate(MAX_REGIONS);
        list.sort_by_key(|r| r.label);
        for label in &mut labels {
            if list.binary_search_by_key(label, |r| r.label).is_err() {
                *label = 0;
            }
        }
        Regions {
            field,
            labels,
            list,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Distance between the boxes of two regions as a share of the picture's longer side; 0 where they overlap.
    pub(super) fn gap(&self, a: usize, b: usize) -> f32 {
        let (a, b) = (self.list[a].rect, self.list[b].rect);
        let along = |axis: usize| {
            let after = a[axis].saturating_sub(b[axis + 2]);
            after.max(b[axis].saturating_sub(a[axis + 2]))
        };
        along(0).max(along(1)) as f32 / self.field.longer_side()
    }

    /// Distance of the middles of the boxes of two regions, squared, in pixels.
    pub(super) fn apart(&self, a: usize, b: usize) -> usize {
        let (a, b) = (self.list[a].rect, self.list[b].rect);
        let along = |axis: usize| (a[axis] + a[axis + 2]).abs_diff(b[axis] + b[axis + 2]);
        (along(0).pow(2) + along(1).pow(2)) / 4
    }

    /// The region's share of all pixels.
    pub(super) fn share(&self, index: usize) -> f32 {
        self.list[index].n_pixels as f32 / self.labels.len() as f32
    }

    /// Longer side of a region's box as a share of the picture's.
    pub(super) fn length(&self, index: usize) -> f32 {
        let [left, top, right, bottom] = self.list[index].rect;
        (right - left).max(bottom - top) as f32 / self.field.longer_side()
    }

    /// The regions of these indices together, with the ground around them.
    pub(super) fn cutout(&self, indices: &[usize]) -> Cutout {
        let members = indices.iter().map(|&i| &self.list[i]);
        let labels: Vec<u32> = members.clone().map(|r| r.label).collect();
        let empty = [usize::MAX, usize::MAX, 0, 0];
        let tight = members.fold(empty, |rect, r| union(rect, r.rect));
        // Room for the soft edge outside.
        let margin = 2;
        let rect = [
            tight[0].saturating_sub(margin),
            tight[1].saturating_sub(margin),
            (tight[2] + margin).min(self.field.width),
            (tight[3] + margin).min(self.field.height),
        ];
        let mut difference = Vec::with_capacity((rect[2] - rect[0]) * (rect[3] - rect[1]));
        for y in rect[1]..rect[3] {
            for at in y * self.field.width + rect[0]..y * self.field.width + rect[2] {
                let is_other = self.labels[at] != 0 && !labels.contains(&self.labels[at]);
                difference.push(if is_other {
                    [0.0; 3]
                } else {
                    self.field.difference[at]
                });
            }
        }
        Cutout::new(self.field, rect, difference)
    }
}

/// Labels each pixel with its region's number, from 1; 0 is ground. Pixels that touch at a corner are connected.
fn label(field: &Field) -> (Vec<u32>, Vec<Region>) {
    let mut labels = vec![0; field.distance.len()];
    let mut regions = Vec::new();
    for start in 0..labels.len() {
        if labels[start] == 0 && field.distance[start] >= field.foreground {
            let label = regions.len() as u32 + 1;
            regions.push(fill(field, &mut labels, start, label));
        }
    }
    (labels, regions)
}

/// Labels everything that is connected with a pixel.
fn fill(field: &Field, labels: &mut [u32], start: usize, label: u32) -> Region {
    let mut region = Region {
        rect: [usize::MAX, usize::MAX, 0, 0],
        n_pixels: 0,
        label,
    };
    let mut stack = vec![start];
    labels[start] = label;
    while let Some(at) = stack.pop() {
        let (x, y) = (at % field.width, at / field.width);
        region.rect = union(region.rect, [x, y, x + 1, y + 1]);
        region.n_pixels += 1;
        for y in y.saturating_sub(1)..(y + 2).min(field.height) {
            for x in x.saturating_sub(1)..(x + 2).min(field.width) {
                let near = y * field.width + x;
                if labels[near] == 0 && field.distance[near] >= field.foreground {
                    labels[near] = label;
                    stack.push(near);
                }
            }
        }
    }
    region
}

fn union(a: Rect, b: Rect) -> Rect {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}
