//! Matching: pictures and a text, then whether they belong together.

use std::collections::BTreeSet;

use m6_store::rng::Key;

use super::{Ask, Example, Item, Layout, Peers, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// V and a text as Tm, the verdict behind them (paper section 4.6: half of the texts are swapped with those of other records). A share of
/// the swapped ones is hard: of a few drawn texts the one that shares most words (ours). Item: (-, -), bounded by the longest text
/// that may be shown.
pub(super) struct Matching;

/// Share of examples whose text is of another record (paper section 4.6: random swaps; the share is ours).
const SWAPPED: f64 = 0.5;
/// Texts among which a hard one is chosen.
const N_CANDIDATES: usize = 16;
/// Draws for every text that is wanted: some are of the other split, too long, or of the record itself.
const N_DRAWS: usize = 8;
/// Texts up to this length may be shown even where all of the record's own are shorter.
const LEAST_ROOM: usize = 32;

/// Longest text that an example of this record shows: no swapped text is cut, or its end would tell on it.
fn room(entry: &Entry, layout: &Layout) -> usize {
    let captions = entry.descriptions();
    let longest = captions.iter().map(|ids| ids.len()).max().unwrap_or(0);
    longest.max(LEAST_ROOM).min(limit(entry, layout))
}

fn limit(entry: &Entry, layout: &Layout) -> usize {
    let room = layout.room(layout.n_shown(entry));
    layout.max_text.min(room.saturating_sub(1))
}

/// A text of another record, or none after so many draws.
fn swapped(
    entry: &Entry,
    own: &[u16],
    room: usize,
    hard: bool,
    peers: &dyn Peers,
    key: Key,
) -> Option<Vec<u16>> {
    let n_wanted = if hard { N_CANDIDATES } else { 1 };
    let mut stream = key.child("swap").stream();
    let all_own = entry.descriptions();
    let mut found: Vec<Vec<u16>> = Vec::new();
    for _ in 0..n_wanted * N_DRAWS {
        if found.len() == n_wanted || peers.n_records() == 0 {
            break;
        }
        let (record, pick) = (stream.below(peers.n_records()), stream.next_u64());
        peers.visit(record, &mut |other| {
            let texts = other.descriptions();
            let Some(text) = texts.get((pick % texts.len().max(1) as u64) as usize) else {
                return;
            };
            let fits = !text.is_empty() && text.len() <= room;
            if fits && other.id != entry.id && !all_own.contains(text) {
                found.push(text.to_vec());
            }
        });
    }
    // Of equally near ones the first.
    let near = |text: &Vec<u16>| likeness(own, text);
    found.into_iter().reduce(|best, text| {
        if near(&text) > near(&best) {
            text
        } else {
            best
        }
    })
}

/// Shared words as a share of all words of both.
fn likeness(a: &[u16], b: &[u16]) -> f64 {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (a.iter().collect(), b.iter().collect());
    let shared = a.intersection(&b).count();
    shared as f64 / (a.len() + b.len() - shared).max(1) as f64
}

/// One item of a record's pictures and a text of up to `room` words, with `n_answers` positions behind them.
pub(super) fn pair_item(
    entry: &Entry,
    layout: &Layout,
    room: usize,
    n_answers: usize,
    plan: &mut Plan,
) {
    let n_shown = layout.n_shown(entry);
    if n_shown == 0 || room == 0 {
        return;
    }
    let captions = entry.descriptions();
    let n_cut = captions.iter().filter(|ids| ids.len() > room).count();
    plan.cut("picture_beyond_row", entry.n_images() - n_shown);
    plan.cut("caption_cut", n_cut);
    plan.item(0, 0, n_shown * layout.n_patches + room + n_answers);
}

/// The pictures of a record and one of its own texts, drawn by the key and cut to `room` words.
pub(super) fn pair(entry: &Entry, layout: &Layout, room: usize, ask: Ask, key: Key) -> Example {
    let captions = entry.descriptions();
    if captions.is_empty() {
        return Example::default();
    }
    let text = *key.child("caption").stream().choose(&captions);
    Example {
        images: (0..layout.n_shown(entry)).collect(),
        source: widen(&text[..text.len().min(room)]),
        ask,
        ..Example::default()
    }
}

impl Task for Matching {
    fn name(&self) -> &'static str {
        "match"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        let captions = entry.descriptions();
        if captions.iter().any(|ids| !ids.is_empty()) {
            pair_item(entry, layout, room(entry, layout), 1, plan);
        }
    }

    /// The pictures with their own text; with other records at hand see [`Task::example_among`].
    fn example(
        &self,
        entry: &Entry,
        _item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        key: Key,
    ) -> Example {
        pair(entry, layout, room(entry, layout), Ask::Verdict(true), key)
    }

    fn example_among(
        &self,
        entry: &Entry,
        peers: &dyn Peers,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        let own = self.example(entry, item, layout, options, key);
        let mut coins = key.child("verdict").stream();
        let (swap, hard) = (coins.bool(SWAPPED), coins.bool(options.hard_negatives));
        if !swap {
            return own;
        }
        let text: Vec<u16> = own.source.iter().map(|&id| id as u16).collect();
        match swapped(entry, &text, room(entry, layout), hard, peers, key) {
            Some(other) => Example {
                source: widen(&other),
                ask: Ask::Verdict(false),
                ..own
            },
            // Nothing to swap with: a source of one record, say.
            None => own,
        }
    }
}
