//! How well a region is explained by one shape in one place: the share of its energy that the best prediction takes away.

use super::colors::{self, Tints};
use super::ground::energy;
use super::regions::Cutout;
use super::templates::{GRID, LEVELS, MARGIN, N_CELLS, Template, WINDOWS, grid_point, templates};
use crate::words::{Color, Shape};

/// What a wrong aspect costs: this times the squared logarithm of the ratio to the shape's own.
const ASPECT_COST: f32 = 2.0;
/// What a wrong length costs: this times the squared logarithm of the ratio to the nearest of [`LENGTHS`].
const LENGTH_COST: f32 = 1.0;
/// Least and greatest longer side that costs nothing, as shares of the picture's; drawn objects have 0.17 to 0.45.
const LENGTHS: (f32, f32) = (0.15, 0.5);
/// What a pattern costs, since its free cells explain a little of anything.
const PATTERN_COST: f32 = 0.02;
/// Least longer side of an object with a pattern, as a share of the picture's; drawn ones have 0.27.
const PATTERN_LENGTH: f32 = 0.23;
/// A plain explanation this good leaves nothing to a pattern.
const PLAIN_ENOUGH: f32 = 0.965;
/// What a search gains at most, as a share of what is not explained at first sight.
const GAIN: f32 = 0.8;
/// Most shapes whose place is searched.
const N_SEARCHED: usize = 7;
/// Steps of the search for the place, in shares of the box.
const STEPS: [f32; 2] = [0.04, 0.02];
/// Cells summed side by side; divides [`N_CELLS`].
const LANES: usize = 8;
/// Most rounds with one step.
const N_ROUNDS: usize = 3;

/// A region explained as one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// The shape that explains it best.
    pub shape: Shape,
    /// The colour of that explanation.
    pub color: Color,
    /// The object's box in pixels of the picture.
    pub bounds: [f32; 4],
    /// Share of the energy explained, less the costs; at most 1, may be negative.
    pub score: f32,
}

/// The best explanation of the region as one object; none when it has no energy.
pub(super) fn fit(cutout: &Cutout) -> Option<Fit> {
    let seen = LEVELS.map(|level| cutout.bounds_at(level));
    let length = (seen[0][2] - seen[0][0]).max(seen[0][3] - seen[0][1]);
    let vote = colors::vote(cutout);
    let sight = |index: usize, level: usize, window: usize| {
        let template = &templates(length, window)[index];
        let bounds = whole_box(seen[level], template.seen[level]);
        Sight::of(cutout, index, template, bounds, vote)
    };
    let mut sights: Vec<Sight> = (0..Shape::ALL.len())
        .map(|index| better(sight(index, 0, 0), sight(index, 0, 1)))
        .collect();
    sights.sort_by(|a, b| b.score.total_cmp(&a.score));
    sights.truncate(N_SEARCHED);
    let mut best: Option<Fit> = None;
    for first in sights {
        let start = better(first, sight(first.index, 1, 0));
        let within_reach = start.score + GAIN * (1.0 - start.score);
        if best.is_some_and(|b| within_reach <= b.score) {
            continue;
        }
        let found = search(cutout, length, start, vote);
        if best.is_none_or(|b| found.score > b.score) {
            best = Some(found);
        }
    }
    best
}

fn better(a: Sight, b: Sight) -> Sight {
    if b.score > a.score { b } else { a }
}

/// A shape at a place, with its score there.
#[derive(Clone, Copy)]
struct Sight {
    index: usize,
    bounds: [f32; 4],
    score: f32,
    color: Color,
}

impl Sight {
    fn of(
        cutout: &Cutout,
        index: usize,
        template: &Template,
        bounds: [f32; 4],
        vote: Option<Color>,
    ) -> Self {
        let patch = Patch::of(cutout, bounds);
        let (mut explained, rgb) = patch.plain(template, cutout.ground);
        let length = (bounds[2] - bounds[0]).max(bounds[3] - bounds[1]) / cutout.side;
        let is_broad = is_broad(template.shape) && length >= PATTERN_LENGTH;
        // A blurred pattern is a plain tint.
        let mut color = colors::nearest(rgb, is_broad).0;
        if let Some(vote) = vote
            && explained < PLAIN_ENOUGH
            && is_broad
        {
            let patterned = patch.patterned(template, cutout.ground, vote) - PATTERN_COST;
            if patterned > explained {
                (explained, color) = (patterned, vote);
            }
        }
        let aspect = (bounds[2] - bounds[0]) / (bounds[3] - bounds[1]).max(0.1);
        let off = libm::logf((aspect / template.aspect).max(1e-3));
        Sight {
            index,
            bounds,
            score: explained - ASPECT_COST * off * off - length_cost(length),
            color,
        }
    }
}

/// The cost of a longer side, as a share of the picture's, that objects of the world do not have.
fn length_cost(length: f32) -> f32 {
    let off = libm::logf((length / length.clamp(LENGTHS.0, LENGTHS.1)).max(1e-3));
    LENGTH_COST * off * off
}

/// The shapes that are drawn with patterns.
fn is_broad(shape: Shape) -> bool {
    matches!(
        shape,
        Shape::Circle
            | Shape::Square
            | Shape::Triangle
            | Shape::Heart
            | Shape::House
            | Shape::Tree
            | Shape::Fish
            | Shape::Cup
            | Shape::Apple
    )
}

/// The whole box of an object of which the box `seen` is seen, when of the whole the part `share` is seen.
fn whole_box(seen: [f32; 4], share: [f32; 4]) -> [f32; 4] {
    let width = (seen[2] - seen[0]) / (share[2] - share[0]).max(0.1);
    let height = (seen[3] - seen[1]) / (share[3] - share[1]).max(0.1);
    let left = seen[0] - share[0] * width;
    let top = seen[1] - share[1] * height;
    [left, top, left + width, top + height]
}

/// Moves and resizes the box as long as the score grows, each time in the sharp or the soft template, whichever fits.
fn search(cutout: &Cutout, length: f32, start: Sight, vote: Option<Color>) -> Fit {
    let mut best = start;
    for step in STEPS {
        let pair: [&Template; WINDOWS.len()] =
            std::array::from_fn(|window| &templates(length, window)[start.index]);
        let at_best = pair.map(|t| Sight::of(cutout, start.index, t, best.bounds, vote));
        let is_soft = at_best[1].score > at_best[0].score;
        let template = pair[usize::from(is_soft)];
        for _ in 0..N_ROUNDS {
            let before = best.score;
            for bounds in moves(best.bounds, step) {
                best = better(best, Sight::of(cutout, start.index, template, bounds, vote));
            }
            if best.score - before < 0.002 {
                break;
            }
        }
    }
    Fit {
        shape: Shape::ALL[start.index],
        color: best.color,
        bounds: best.bounds,
        score: best.score,
    }
}

/// The box shifted, and made larger and smaller, by a share of its width and height.
fn moves([left, top, right, bottom]: [f32; 4], step: f32) -> [[f32; 4]; 10] {
    let (dx, dy) = (step * (right - left), step * (bottom - top));
    [
        [left - dx, top, right - dx, bottom],
        [left + dx, top, right + dx, bottom],
        [left, top - dy, right, bottom - dy],
        [left, top + dy, right, bottom + dy],
        [left - dx, top, right + dx, bottom],
        [left + dx, top, right - dx, bottom],
        [left, top - dy, right, bottom + dy],
        [left, top + dy, right, bottom - dy],
        [left - dx, top - dy, right + dx, bottom + dy],
        [left + dx, top + dy, right - dx, bottom - dy],
    ]
}

/// The cutout seen in the cells of a template laid on a box.
struct Patch {
    /// Differences from the ground, three planes of cells.
    planes: [[f32; N_CELLS]; 3],
    /// Sum of squares over the cells.
    energy: f32,
    /// The energy of the cutout outside of the cells, in the same unit.
    outside: f32,
}

impl Patch {
    fn of(cutout: &Cutout, bounds: [f32; 4]) -> Self {
        let xs = taps(bounds[0], bounds[2], cutout.rect[0], cutout.width());
        let ys = taps(bounds[1], bounds[3], cutout.rect[1], cutout.height());
        let mut planes = [[0.0; N_CELLS]; 3];
        let mut sum = 0.0;
        let width = cutout.width();
        let mut between = vec![[0.0; 3]; width];
        for (row, [(upper, weight), (lower, rest)]) in ys.iter().enumerate() {
            let upper = &cutout.difference[upper * width..(upper + 1) * width];
            let lower = &cutout.difference[lower * width..(lower + 1) * width];
            for ((value, a), b) in between.iter_mut().zip(upper).zip(lower) {
                *value = std::array::from_fn(|c| weight * a[c] + rest * b[c]);
            }
            for (column, [(left, weight), (right, rest)]) in xs.iter().enumerate() {
                let (a, b) = (between[*left], between[*right]);
                let value = std::array::from_fn(|c| weight * a[c] + rest * b[c]);
                sum += energy(value);
                (0..3).for_each(|c| planes[c][row * GRID + column] = value[c]);
            }
        }
        Patch {
            planes,
            energy: sum,
            outside: outside(cutout, bounds),
        }
    }

    /// The share of the energy that is explained when `left` of the cells' energy is not.
    fn explained(&self, left: f32) -> f32 {
        let total = self.energy + self.outside;
        if total <= 0.0 {
            return 0.0;
        }
        1.0 - (left.max(0.0) + self.outside) / total
    }

    /// In one colour, the one that explains most; and that colour's levels.
    fn plain(&self, template: &Template, ground: [f32; 3]) -> (f32, [f32; 3]) {
        let mut left = 0.0;
        let rgb = std::array::from_fn(|c| {
            let (rest, along) = self.products(template, c, ground[c]);
            let level = along / template.body_energy.max(1e-3);
            left += rest - level * along;
            level + ground[c]
        });
        (self.explained(left), rgb)
    }

    /// For one channel the energy without the template's parts, and its product with the template's body.
    fn products(&self, template: &Template, c: usize, ground: f32) -> (f32, f32) {
        // Sums side by side, so that the compiler may use wide registers.
        let (mut rest, mut along) = ([0.0; LANES], [0.0; LANES]);
        let values = self.planes[c].chunks_exact(LANES);
        let body = template.body.chunks_exact(LANES);
        let part = template.part.chunks_exact(LANES);
        let levels = template.part_levels[c].chunks_exact(LANES);
        for (((value, body), part), level) in values.zip(body).zip(part).zip(levels) {
            for lane in 0..LANES {
                let value = value[lane] - level[lane] + part[lane] * ground;
                rest[lane] += value * value;
                along[lane] += body[lane] * value;
            }
        }
        (rest.iter().sum(), along.iter().sum())
    }

    /// In the colour given and its tints, every cell as light as explains most.
    fn patterned(&self, template: &Template, ground: [f32; 3], color: Color) -> f32 {
        let tints = Tints::of(color);
        let way_energy = energy(tints.way);
        let mut left = [0.0; LANES];
        for first in (0..N_CELLS).step_by(LANES) {
            let body = &template.body[first..first + LANES];
            let part = &template.part[first..first + LANES];
            let mut rest = [[0.0; LANES]; 3];
            let mut along = [0.0; LANES];
            for c in 0..3 {
                let values = &self.planes[c][first..first + LANES];
                let levels = &template.part_levels[c][first..first + LANES];
                for lane in 0..LANES {
                    let fixed = levels[lane] - part[lane] * ground[c];
                    let dark = body[lane] * (tints.dark[c] - ground[c]);
                    rest[c][lane] = values[lane] - fixed - dark;
                    along[lane] += rest[c][lane] * tints.way[c];
                }
            }
            for lane in 0..LANES {
                // The share of the way times the body, which the way is scaled by.
                let share = (along[lane] / way_energy).clamp(0.0, body[lane].max(0.0));
                for c in 0..3 {
                    let off = rest[c][lane] - share * tints.way[c];
                    left[lane] += off * off;
                }
            }
        }
        self.explained(left.iter().sum())
    }
}

/// For each cell on one axis the two pixels of the cutout around its middle and their weights, 0 outside.
fn taps(low: f32, high: f32, origin: usize, length: usize) -> [[(usize, f32); 2]; GRID] {
    std::array::from_fn(|cell| {
        let at = grid_point(low, high, cell) - 0.5 - origin as f32;
        let first = at.floor();
        let share = at - first;
        [(first, 1.0 - share), (first + 1.0, share)].map(|(pixel, weight)| {
            let is_inside = pixel >= 0.0 && pixel < length as f32;
            if is_inside {
                (pixel as usize, weight)
            } else {
                (0, 0.0)
            }
        })
    })
}

/// The energy of the cutout that no cell sees, per area of a cell.
fn outside(cutout: &Cutout, [left, top, right, bottom]: [f32; 4]) -> f32 {
    let (dx, dy) = (MARGIN * (right - left), MARGIN * (bottom - top));
    let grid = [left - dx, top - dy, right + dx, bottom + dy];
    let cell_area = (grid[2] - grid[0]) * (grid[3] - grid[1]) / N_CELLS as f32;
    let outside = cutout.energy() - cutout.energy_in(grid);
    outside.max(0.0) as f32 / cell_area.max(1e-3)
}
