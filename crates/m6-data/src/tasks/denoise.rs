//! Text denoising: the text with masked spans, then the whole text.

use m6_store::rng::Key;

use super::noise::mask_spans;
use super::windows::{window, windows};
use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// Tm noised, Td full (paper section 3.1). Item: (window, -).
pub(super) struct Denoise;

/// Noised text is never longer than the text: twice the text and the start mark must fit.
fn limit(layout: &Layout) -> usize {
    layout.max_text.min((layout.row_len - 1) / 2)
}

impl Task for Denoise {
    fn name(&self) -> &'static str {
        "denoise"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        let all = windows(entry, limit(layout), layout);
        for (at, (_, range)) in all.iter().enumerate() {
            plan.item(at, 0, 2 * range.len() + 1);
        }
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        let text = widen(window(entry, item.a as usize, limit(layout), layout));
        Example {
            images: Vec::new(),
            source: mask_spans(&text, options, layout.special.mask, key),
            targets: vec![text],
            ..Example::default()
        }
    }
}
