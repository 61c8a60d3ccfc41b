//! Super-resolution: a description and the codes of a picture, then the finer codes of the same picture.

use m6_store::rng::Key;

use super::masked_image::hide;
use super::text_to_image::{described, first, room, text};
use super::{Example, Item, Layout, Plan, Task};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// Text and codes are read, the finer codes are written in raster order (a second stage as CogView's; that both grids are of one codebook
/// and one model is ours). Now and then without the text. Item: (description, picture).
pub(super) struct SuperResolution;

/// The same with all finer codes in the prefix, some hidden, which are told: they are then drawn in a few steps (CogView2; MaskGIT). What
/// is hidden follows the law of `masked_image`. Item: (description, picture).
pub(super) struct MaskedSuperResolution;

/// Codes and finer codes of an example.
fn n_codes(layout: &Layout) -> usize {
    layout.n_codes + layout.n_fine
}

/// One item for every description of the first picture, if it was large enough.
fn items(entry: &Entry, layout: &Layout, plan: &mut Plan) {
    if entry.fine.first().is_some_and(|ids| !ids.is_empty()) {
        described(entry, layout, n_codes(layout), plan);
    } else if !entry.codes.is_empty() {
        plan.cut("picture_too_small", 1);
    }
}

impl Task for SuperResolution {
    fn name(&self) -> &'static str {
        "super_resolution"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        items(entry, layout, plan);
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        Example {
            source: text(entry, item, room(layout, n_codes(layout)), options, key),
            codes: first(&entry.codes),
            refined: first(&entry.fine),
            ..Example::default()
        }
    }
}

impl Task for MaskedSuperResolution {
    fn name(&self) -> &'static str {
        "masked_super_resolution"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        items(entry, layout, plan);
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        let codes = first(&entry.codes);
        let mut fine = first(&entry.fine);
        if fine.is_empty() {
            return Example::default();
        }
        let hidden = hide(&mut fine, layout.mask_code(), key).into_iter();
        Example {
            hidden: hidden
                .map(|(place, code)| (codes.len() as u32 + place, code))
                .collect(),
            source: text(entry, item, room(layout, n_codes(layout)), options, key),
            codes,
            fine,
            ..Example::default()
        }
    }
}
