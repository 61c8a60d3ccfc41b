//! Retrieval: pictures on their own and a text on its own, to be told from those of other records.

use m6_store::rng::Key;

use super::matching::{pair, pair_item};
use super::{Ask, Example, Item, Layout, Plan, Task};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// V alone and a text alone, each with one position behind it (ours; the paper ranks by the match head alone). Which text is drawn anew
/// every epoch. Item: (-, -), bounded by the longest text.
pub(super) struct Retrieval;

/// Longest text that an example of this record shows.
fn room(entry: &Entry, layout: &Layout) -> usize {
    let captions = entry.descriptions();
    let longest = captions.iter().map(|ids| ids.len()).max().unwrap_or(0);
    let limit = layout.room(layout.n_shown(entry)).saturating_sub(2);
    longest.min(layout.max_text).min(limit)
}

impl Task for Retrieval {
    fn name(&self) -> &'static str {
        "retrieval"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        pair_item(entry, layout, room(entry, layout), 2, plan);
    }

    fn example(
        &self,
        entry: &Entry,
        _item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        key: Key,
    ) -> Example {
        // What is of one record is of one group, in whatever row of a batch it stands.
        let group = Key::new(0).child(entry.id).stream().next_u64() as u32;
        pair(entry, layout, room(entry, layout), Ask::Pair(group), key)
    }
}
