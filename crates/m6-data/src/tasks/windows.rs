//! Long texts in windows: every token in exactly one of them.

use std::ops::Range;

use m6_store::hash::hash64;

use super::Layout;
use crate::entry::Entry;

/// The windows of the entry's passages: (passage, tokens). Passages are its text or, without one, its captions.
///
/// A text of `n` tokens gives `ceil(n / limit)` windows; a key drawn from the identity decides where
/// the first cut falls, so that cuts of many texts are not all at multiples of the limit.
pub(super) fn windows(entry: &Entry, limit: usize, layout: &Layout) -> Vec<(usize, Range<usize>)> {
    let mut out = Vec::new();
    for (passage, ids) in passages(entry).into_iter().enumerate() {
        let n_windows = ids.len().div_ceil(limit);
        let slack = n_windows * limit - ids.len();
        let mut stream = layout.windows.at(hash64(entry.id.as_bytes())).stream();
        let shift = match n_windows {
            0 | 1 => 0,
            _ => stream.below(slack as u64 + 1) as usize,
        };
        for window in 0..n_windows {
            let from = (window * limit).saturating_sub(shift);
            let to = ((window + 1) * limit - shift).min(ids.len());
            out.push((passage, from..to));
        }
    }
    out
}

/// The texts that `lm` and `denoise` learn from.
pub(super) fn passages<'a>(entry: &Entry<'a>) -> Vec<&'a [u16]> {
    match entry.text {
        Some(text) => vec![text],
        None => entry.captions.clone(),
    }
}

/// The tokens of window `index`, and of none where there is no such window.
pub(super) fn window<'a>(
    entry: &Entry<'a>,
    index: usize,
    limit: usize,
    layout: &Layout,
) -> &'a [u16] {
    let found = windows(entry, limit, layout).into_iter().nth(index);
    found
        .and_then(|(passage, range)| passages(entry).get(passage)?.get(range))
        .unwrap_or_default()
}
