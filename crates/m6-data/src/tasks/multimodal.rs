//! Multimodality to text: the pictures and a noised caption, then the whole caption.

use m6_store::rng::Key;

use super::noise::mask_spans;
use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// V and Tm noised, Td full (paper section 3.1); which caption is drawn anew every epoch (ours).
/// Item: (-, -), bounded by the longest caption.
pub(super) struct Multimodal;

fn limit(entry: &Entry, layout: &Layout) -> usize {
    let room = layout.room(layout.n_shown(entry));
    layout.max_text.min(room.saturating_sub(1) / 2)
}

impl Task for Multimodal {
    fn name(&self) -> &'static str {
        "multimodal"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        let n_shown = layout.n_shown(entry);
        let limit = limit(entry, layout);
        let captions = entry.descriptions();
        let Some(longest) = captions.iter().map(|ids| ids.len()).max() else {
            return;
        };
        if n_shown == 0 || limit == 0 {
            return;
        }
        plan.cut("picture_beyond_row", entry.n_images() - n_shown);
        plan.cut(
            "caption_cut",
            captions.iter().filter(|ids| ids.len() > limit).count(),
        );
        plan.item(
            0,
            0,
            n_shown * layout.n_patches + 2 * longest.min(limit) + 1,
        );
    }

    fn example(
        &self,
        entry: &Entry,
        _item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        let captions = entry.descriptions();
        if captions.is_empty() {
            return Example::default();
        }
        let caption = key.child("caption").stream().choose(&captions).to_owned();
        let text = widen(&caption[..caption.len().min(limit(entry, layout))]);
        Example {
            images: (0..layout.n_shown(entry)).collect(),
            source: mask_spans(&text, options, layout.special.mask, key.child("noise")),
            targets: vec![text],
            ..Example::default()
        }
    }
}
