//! Classification: pictures or a passage, then the name of its class.

use m6_store::rng::Key;

use super::answer::{Passage, example, items};
use super::{Example, Item, Layout, Plan, Task};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// The example of [`answer`](super::answer): V or a passage behind the question as Tm, the label as Td. But a long passage is kept from its
/// beginning, since where the label's words stand says nothing, and pictures are always shown. An evaluation takes the likeliest
/// of the labels that the data has (ours; the paper classifies pairs alone, by a head). Item: (pair, -).
pub(super) struct Classify;

impl Task for Classify {
    fn name(&self) -> &'static str {
        "classify"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        items(entry, layout, Passage::FromStart, plan);
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        _key: Key,
    ) -> Example {
        example(entry, item, layout, Passage::FromStart)
    }
}
