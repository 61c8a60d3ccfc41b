//! Image to text: the pictures, then every caption on its own.

use m6_store::rng::Key;

use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// V, then captions that share it and do not see each other (paper section 3.1; sharing is ours: the patches
/// of a picture with five captions are computed once instead of five times). Item: (first caption, number).
pub(super) struct ImageToText;

fn limit(entry: &Entry, layout: &Layout) -> usize {
    let room = layout.room(layout.n_shown(entry));
    layout.max_text.min(room.saturating_sub(1))
}

impl Task for ImageToText {
    fn name(&self) -> &'static str {
        "image_to_text"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        let n_shown = layout.n_shown(entry);
        let limit = limit(entry, layout);
        let captions = entry.descriptions();
        if n_shown == 0 || limit == 0 || captions.is_empty() {
            return;
        }
        plan.cut("picture_beyond_row", entry.n_images() - n_shown);
        plan.cut(
            "caption_cut",
            captions.iter().filter(|ids| ids.len() > limit).count(),
        );
        let prefix = n_shown * layout.n_patches;
        let (mut first, mut len) = (0, prefix);
        for (at, caption) in captions.iter().enumerate() {
            let cost = caption.len().min(limit) + 1;
            if len + cost > layout.row_len {
                plan.item(first, at - first, len);
                (first, len) = (at, prefix);
            }
            len += cost;
        }
        plan.item(first, captions.len() - first, len);
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        _key: Key,
    ) -> Example {
        let limit = limit(entry, layout);
        let captions = entry.descriptions();
        let group = captions.iter().skip(item.a as usize).take(item.b as usize);
        Example {
            images: (0..layout.n_shown(entry)).collect(),
            source: Vec::new(),
            targets: group
                .map(|ids| widen(&ids[..ids.len().min(limit)]))
                .collect(),
            ..Example::default()
        }
    }
}
