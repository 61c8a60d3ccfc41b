//! Retrieval: pictures on their own and a text on its own, to be told from those of other records.

use m6_store::rng::Key;

use super::{Ask, Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// V alone and a text alone, each with one position behind it (ours; the paper ranks by the match head alone). Which text is drawn anew
/// every epoch. Item: (-, -), bounded by the longest text.
pub(super) struct Retrieval;

fn limit(entry: &Entry, layout: &Layout) -> usize {
    let room = layout.room(layout.n_shown(entry));
    layout.max_text.min(room.saturating_sub(2))
}

impl Task for Retrieval {
    fn name(&self) -> &'static str {
        "retrieval"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        let n_shown = layout.n_shown(entry);
        let limit = limit(entry, layout);
        let captions = entry.descriptions();
        let longest = captions.iter().map(|ids| ids.len()).max().unwrap_or(0);
        if n_shown == 0 || limit == 0 || longest == 0 {
            return;
        }
        plan.cut("picture_beyond_row", entry.n_images() - n_shown);
        plan.cut(
            "caption_cut",
            captions.iter().filter(|ids| ids.len() > limit).count(),
        );
        plan.item(0, 0, n_shown * layout.n_patches + longest.min(limit) + 2);
    }

    fn example(
        &self,
        entry: &Entry,
        _item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        key: Key,
    ) -> Example {
        let captions = entry.descriptions();
        if captions.is_empty() {
            return Example::default();
        }
        let text = *key.child("caption").stream().choose(&captions);
        // What is of one record is of one group, in whatever row of a batch it stands.
        let group = Key::new(0).child(entry.id).stream().next_u64() as u32;
        Example {
            images: (0..layout.n_shown(entry)).collect(),
            source: widen(&text[..text.len().min(limit(entry, layout))]),
            ask: Ask::Pair(group),
            ..Example::default()
        }
    }
}
