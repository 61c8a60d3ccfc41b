//! Text to image: a description, then the codes of the picture.

use m6_store::rng::Key;

use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// The text as Tm, the codes as Td (paper section 4.1; there both are one causal sequence, here the text is read whole before the first
/// code, which is ours). Now and then without the text. Item: (description, picture).
pub(super) struct TextToImage;

/// Words that fit beside `n_codes` codes.
pub(super) fn room(layout: &Layout, n_codes: usize) -> usize {
    layout.max_text.min(layout.row_len.saturating_sub(n_codes))
}

/// One item for every description of the first picture, beside `n_codes` codes.
pub(super) fn described(entry: &Entry, layout: &Layout, n_codes: usize, plan: &mut Plan) {
    let room = room(layout, n_codes);
    if entry.codes.is_empty() || n_codes > layout.row_len {
        return;
    }
    let texts = entry.descriptions();
    plan.cut("picture_beyond_first", entry.codes.len() - 1);
    plan.cut(
        "caption_cut",
        texts.iter().filter(|ids| ids.len() > room).count(),
    );
    for (at, ids) in texts.iter().enumerate() {
        plan.item(at, 0, n_codes + ids.len().min(room));
    }
}

/// The description of an item, cut to `room` words, or nothing where the key says so.
pub(super) fn text(
    entry: &Entry,
    item: &Item,
    room: usize,
    options: &TaskOptions,
    key: Key,
) -> Vec<u32> {
    let texts = entry.descriptions();
    let silent = key
        .child("unconditional")
        .stream()
        .bool(options.unconditional_p);
    match texts.get(item.a as usize) {
        Some(ids) if !silent => widen(&ids[..ids.len().min(room)]),
        _ => Vec::new(),
    }
}

/// The codes of the first picture.
pub(super) fn first(codes: &[&[u16]]) -> Vec<u32> {
    codes.first().map(|ids| widen(ids)).unwrap_or_default()
}

impl Task for TextToImage {
    fn name(&self) -> &'static str {
        "text_to_image"
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
        Example {
            source: text(entry, item, room(layout, layout.n_codes), options, key),
            drawn: first(&entry.codes),
            ..Example::default()
        }
    }
}
