//! Language modelling: nothing before the text, which is written from left to right.

use m6_store::rng::Key;

use super::windows::{window, windows};
use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// Td only (paper section 3.1). Item: (window, -).
pub(super) struct Lm;

fn limit(layout: &Layout) -> usize {
    layout.max_text.min(layout.row_len - 1)
}

impl Task for Lm {
    fn name(&self) -> &'static str {
        "lm"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        let all = windows(entry, limit(layout), layout);
        for (at, (_, range)) in all.iter().enumerate() {
            plan.item(at, 0, range.len() + 1);
        }
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        _key: Key,
    ) -> Example {
        Example {
            targets: vec![widen(window(entry, item.a as usize, limit(layout), layout))],
            ..Example::default()
        }
    }
}
