//! Poems: the form and a title or a first line, then the verse.

use m6_store::rng::Key;

use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// Share of the examples that ask by the first line instead of the title (ours).
const FIRST_LINE_P: f64 = 0.25;

/// Tm in plain words (`五言八句诗，题春望。`), the verse as Td (paper section 4.5: the form is ours, the paper searches without one). The source
/// gives two pairs a poem, asked by title and by first line ([`crate::sources::open`]); a coin decides between them. A poem that does not fit whole is
/// left out, since a part of one has another form. Item: (pair by title, -).
pub(super) struct Poem;

/// The questions of the poem at `pair` that fit a row with the whole verse.
fn questions<'a>(entry: &Entry<'a>, pair: usize, layout: &Layout) -> Vec<&'a [u16]> {
    let Some(&(_, verse)) = entry.qa.get(pair) else {
        return Vec::new();
    };
    let fits = |question: &&[u16]| {
        let n = question.len() + verse.len() + 1;
        n <= layout.row_len && question.len() <= layout.max_text && verse.len() <= layout.max_text
    };
    let asked = entry.qa[pair..].iter().take(2).map(|pair| pair.0);
    asked.filter(fits).collect()
}

impl Task for Poem {
    fn name(&self) -> &'static str {
        "poem"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        for pair in (0..entry.qa.len()).step_by(2) {
            let asked = questions(entry, pair, layout);
            match asked.iter().map(|question| question.len()).max() {
                Some(n) => plan.item(pair, 0, n + entry.qa[pair].1.len() + 1),
                None => plan.cut("poem_without_room", 1),
            }
        }
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        _options: &TaskOptions,
        key: Key,
    ) -> Example {
        let pair = item.a as usize;
        let asked = questions(entry, pair, layout);
        let by_line = key.child("first-line").stream().bool(FIRST_LINE_P);
        let question = if by_line { asked.last() } else { asked.first() };
        let Some(question) = question else {
            return Example::default();
        };
        Example {
            source: widen(question),
            targets: vec![widen(entry.qa[pair].1)],
            ..Example::default()
        }
    }
}
