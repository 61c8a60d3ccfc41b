//! Masked image: a description and a picture of which codes are hidden; the hidden ones are told.

use m6_store::rng::{Key, Stream};

use super::text_to_image::{described, first, room, text};
use super::{Example, Item, Layout, Plan, Task};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// Text and codes see each other whole, the loss is on the hidden codes (M6-UFC; MaskGIT). The share that is hidden follows MaskGIT's
/// cosine law; three pictures in ten hide the inside or the outside of a box instead, as editing will. Item: (description, picture).
pub(super) struct MaskedImage;

/// Share of pictures whose hidden part is bounded by a box.
const BOXED: f64 = 0.3;

/// Places to hide, ascending, at least one.
fn places(n: usize, stream: &mut Stream) -> Vec<u32> {
    let grid = n.isqrt();
    if grid * grid == n && grid > 1 && stream.bool(BOXED) {
        let mut side = || {
            let length = 1 + stream.below(grid as u64 - 1) as usize;
            let from = stream.below((grid - length + 1) as u64) as usize;
            from..from + length
        };
        let (rows, columns) = (side(), side());
        let outside = stream.bool(0.5);
        let is_inside = |p: usize| rows.contains(&(p / grid)) && columns.contains(&(p % grid));
        let hidden = (0..n).filter(|&p| is_inside(p) != outside);
        return hidden.map(|p| p as u32).collect();
    }
    let share = (std::f64::consts::FRAC_PI_2 * stream.f64()).cos();
    let n_hidden = ((share * n as f64).ceil() as usize).clamp(1, n);
    let mut all: Vec<u32> = (0..n as u32).collect();
    stream.shuffle(&mut all);
    all.truncate(n_hidden);
    all.sort_unstable();
    all
}

/// Hides codes of a picture behind the mask; gives place and code of each.
pub(super) fn hide(codes: &mut [u32], mask: u32, key: Key) -> Vec<(u32, u32)> {
    let places = places(codes.len(), &mut key.child("mask").stream());
    let swap = |p: u32| (p, std::mem::replace(&mut codes[p as usize], mask));
    places.into_iter().map(swap).collect()
}

impl Task for MaskedImage {
    fn name(&self) -> &'static str {
        "masked_image"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        described(entry, layout, layout.n_codes, plan);
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        let mut codes = first(&entry.codes);
        if codes.is_empty() {
            return Example::default();
        }
        let hidden = hide(&mut codes, layout.mask_code(), key);
        Example {
            source: text(entry, item, room(layout, layout.n_codes), options, key),
            codes,
            hidden,
            ..Example::default()
        }
    }
}
