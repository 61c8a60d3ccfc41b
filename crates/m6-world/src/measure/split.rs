//! From regions to objects: pieces that one object explains better together are joined, and a region that no single object
//! explains is cut where it is thinnest.

use super::fit::{Fit, fit};
use super::ground::Field;
use super::regions::{Cutout, Regions};

/// A single object that explains this much is neither joined with others nor cut.
const GOOD: f32 = 0.95;
/// What each further object must explain more.
const OBJECT_COST: f32 = 0.01;
/// A region whose longer side is below this share of the picture's is no object, but a fragment of one.
const FRAGMENT: f32 = 0.12;
/// A fragment of nothing is left out when it has a smaller share of all pixels.
const SPECK: f32 = 0.0025;
/// How far a piece may lie from another of the same object, as a share of the picture's side.
const REACH: f32 = 0.035;
/// Cuts in a row, so that at most 2^N objects come out of a region.
const MAX_CUTS: usize = 3;
/// Smallest longer and shorter side of what a cut leaves, as shares of the picture's side.
const LEAST: (f32, f32) = (0.13, 0.08);
/// A cut goes where there is at most this share of what there is on each side of it.
const VALLEY: f32 = 0.78;

/// A region or a part of one, with its explanation as one object.
pub(super) struct Part {
    /// The pixels.
    pub cutout: Cutout,
    /// The explanation.
    pub fit: Fit,
}

impl Part {
    fn of(cutout: Cutout) -> Option<Self> {
        let fit = fit(&cutout)?;
        Some(Part { cutout, fit })
    }

    /// The energy that is explained.
    fn explained(&self) -> f64 {
        f64::from(self.fit.score) * self.cutout.energy()
    }
}

/// The objects of a picture.
pub(super) fn objects(field: &Field) -> Vec<Part> {
    let regions = Regions::of(field);
    let mut pieces = pieces(&regions);
    join(&regions, &mut pieces);
    pieces
        .into_iter()
        .flat_map(|piece| explain(field, piece.part, MAX_CUTS))
        .collect()
}

/// One or more regions taken as one object.
struct Piece {
    members: Vec<usize>,
    part: Part,
}

impl Piece {
    fn of(regions: &Regions<'_>, members: Vec<usize>) -> Option<Self> {
        let part = Part::of(regions.cutout(&members))?;
        Some(Piece { members, part })
    }
}

/// The regions, each with its fragments where it explains more with them; fragments of nothing are pieces of their own
/// when they are more than specks.
fn pieces(regions: &Regions<'_>) -> Vec<Piece> {
    let all = 0..regions.len();
    let (small, wholes): (Vec<usize>, Vec<usize>) =
        all.partition(|&index| regions.length(index) < FRAGMENT);
    let mut lone = Vec::new();
    let mut owned = vec![Vec::new(); regions.len()];
    for fragment in small {
        match owner(regions, &wholes, fragment) {
            Some(whole) => owned[whole].push(fragment),
            None => lone.push(fragment),
        }
    }
    let mut pieces = Vec::new();
    for whole in wholes {
        let fragments = std::mem::take(&mut owned[whole]);
        let Some(alone) = Piece::of(regions, vec![whole]) else {
            continue;
        };
        let with_all = (!fragments.is_empty())
            .then(|| Piece::of(regions, [&[whole], &fragments[..]].concat()))
            .flatten();
        match with_all {
            // Alone it leaves the fragments unexplained.
            Some(joint) if joint.part.explained() >= alone.part.explained() => pieces.push(joint),
            _ => {
                pieces.push(alone);
                lone.extend(fragments);
            }
        }
    }
    lone.retain(|&index| regions.share(index) >= SPECK);
    pieces.extend(lone.into_iter().filter_map(|i| Piece::of(regions, vec![i])));
    pieces
}

/// The nearest whole region within reach of a fragment.
fn owner(regions: &Regions<'_>, wholes: &[usize], fragment: usize) -> Option<usize> {
    (wholes.iter().copied())
        .map(|whole| (regions.gap(whole, fragment), whole))
        .filter(|&(gap, _)| gap <= REACH)
        .min_by(|a, b| {
            let apart = |whole: usize| regions.apart(whole, fragment);
            a.0.total_cmp(&b.0).then(apart(a.1).cmp(&apart(b.1)))
        })
        .map(|(_, whole)| whole)
}

/// Joins two pieces at a time, as long as together they are explained as well as apart.
fn join(regions: &Regions<'_>, pieces: &mut Vec<Piece>) {
    let mut index = 0;
    while index < pieces.len() {
        match (index + 1..pieces.len()).find_map(|other| {
            joint(regions, &pieces[index], &pieces[other]).map(|joint| (other, joint))
        }) {
            // What has grown may reach further.
            Some((other, joint)) => {
                pieces.remove(other);
                pieces[index] = joint;
                index = 0;
            }
            None => index += 1,
        }
    }
}

/// Two pieces as one, when neither is good, they are near and one object explains them.
fn joint(regions: &Regions<'_>, a: &Piece, b: &Piece) -> Option<Piece> {
    let is_good = |p: &Piece| p.part.fit.score >= GOOD;
    if (is_good(a) && is_good(b)) || gap(regions, a, b) > REACH {
        return None;
    }
    let members = a.members.iter().chain(&b.members).copied().collect();
    let joint = Piece::of(regions, members)?;
    let apart = value([&a.part, &b.part].into_iter());
    (joint.part.fit.score >= apart - OBJECT_COST).then_some(joint)
}

/// Least distance between the regions of two pieces.
fn gap(regions: &Regions<'_>, a: &Piece, b: &Piece) -> f32 {
    (a.members.iter())
        .flat_map(|&a| b.members.iter().map(move |&b| regions.gap(a, b)))
        .fold(f32::INFINITY, f32::min)
}

/// As one object, or as the objects on the two sides of a cut when these together explain more.
fn explain(field: &Field, single: Part, n_cuts: usize) -> Vec<Part> {
    if single.fit.score >= GOOD || n_cuts == 0 {
        return vec![single];
    }
    let mut cuts: Vec<(f32, usize, usize)> = (0..2)
        .filter_map(|axis| valley(&single.cutout, axis).map(|(at, depth)| (depth, axis, at)))
        .collect();
    cuts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut best = (single.fit.score, None);
    for (_, axis, at) in cuts {
        let sides = single.cutout.cut(field, axis, at);
        if best.0 >= GOOD || !sides.iter().all(|side| is_large_enough(field, side)) {
            continue;
        }
        let parts: Vec<Part> = (sides.into_iter())
            .filter_map(Part::of)
            .flat_map(|side| explain(field, side, n_cuts - 1))
            .collect();
        let cost = OBJECT_COST * (parts.len() as f32 - 1.0);
        let value = value(parts.iter()) - cost;
        if value > best.0 {
            best = (value, Some(parts));
        }
    }
    best.1.unwrap_or_else(|| vec![single])
}

/// The share of the parts' energy that is explained.
fn value<'a>(parts: impl Iterator<Item = &'a Part>) -> f32 {
    let (mut total, mut explained) = (0.0, 0.0);
    for part in parts {
        total += part.cutout.energy();
        explained += part.explained();
    }
    if total > 0.0 {
        (explained / total) as f32
    } else {
        0.0
    }
}

fn is_large_enough(field: &Field, cutout: &Cutout) -> bool {
    let side = field.longer_side();
    let [left, top, right, bottom] = cutout.bounds_at(0.2);
    let (w, h) = (right - left, bottom - top);
    cutout.n_pixels > 0 && w.max(h) >= LEAST.0 * side && w.min(h) >= LEAST.1 * side
}

/// The column (`axis` 0) or row (`axis` 1) where the region is thinnest next to what lies on both sides, and how much there
/// is at most of what there is beside it.
fn valley(cutout: &Cutout, axis: usize) -> Option<(usize, f32)> {
    let profile = cutout.profile(axis);
    let before = running_max(profile.iter());
    let mut after = running_max(profile.iter().rev());
    after.reverse();
    (1..profile.len().saturating_sub(1))
        .map(|at| {
            let beside = before[at - 1].min(after[at + 1]);
            (at, profile[at] / beside.max(1e-3), beside)
        })
        .filter(|&(_, depth, beside)| depth <= VALLEY && beside > 1.0)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(at, depth, _)| (at, depth))
}

fn running_max<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<f32> {
    values
        .scan(0.0f32, |most, &value| {
            *most = most.max(value);
            Some(*most)
        })
        .collect()
}
