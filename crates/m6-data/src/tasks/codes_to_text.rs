//! Codes to text: the codes of a picture, then its description.

use m6_store::rng::Key;

use super::text_to_image::{described, first, room};
use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// The other direction of drawing in the same weights (ERNIE-ViLG; CogView ranks its pictures by it). Item: (description, picture).
pub(super) struct CodesToText;

impl Task for CodesToText {
    fn name(&self) -> &'static str {
        "codes_to_text"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        described(entry, layout, layout.n_codes, plan);
        // The begin token of the text.
        plan.items.retain_mut(|item| {
            item.len += 1;
            item.len as usize <= layout.row_len
        });
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        _key: Key,
    ) -> Example {
        let texts = entry.descriptions();
        let Some(ids) = texts.get(item.a as usize) else {
            return Example::default();
        };
        Example {
            codes: first(&entry.codes),
            targets: vec![widen(&ids[..ids.len().min(room(layout, layout.n_codes))])],
            ..Example::default()
        }
    }
}
