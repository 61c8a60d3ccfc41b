//! Question answering: pictures or a passage and a question, then the answer.

use std::ops::Range;

use m6_store::rng::Key;

use super::{Example, Item, Layout, Plan, Task, widen};
use crate::config::TaskOptions;
use crate::entry::Entry;

/// V and the question as Tm, the answer as Td (paper section 2.2); without a picture, a text of the record
/// follows the question after a separator (ours). Item: (pair, -).
pub(super) struct Answer;

/// Which part of a passage too long for its row is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// The part that holds the answer.
    AroundAnswer,
    /// Its beginning.
    FromStart,
}

/// How much of each part is kept.
struct Cut {
    n_shown: usize,
    question: usize,
    answer: usize,
    context: Range<usize>,
}

impl Cut {
    fn new(entry: &Entry, pair: usize, layout: &Layout, passage: Passage) -> Option<Self> {
        let &(question, answer) = entry.qa.get(pair)?;
        let n_shown = layout.n_shown(entry);
        let room = layout.room(n_shown).saturating_sub(1);
        let n_answer = answer.len().min(layout.max_text).min(room / 2);
        let n_question = question.len().min(layout.max_text).min(room - n_answer);
        // Question, separator and context together are one segment, which may be as long as any text.
        let left = (room - n_answer).min(layout.max_text);
        let left = left.saturating_sub(n_question + 1);
        let context = match entry.text {
            Some(text) if n_shown == 0 => match passage {
                Passage::AroundAnswer => around(text, answer, left),
                Passage::FromStart => 0..left.min(text.len()),
            },
            _ => 0..0,
        };
        Some(Self {
            n_shown,
            question: n_question,
            answer: n_answer,
            context,
        })
    }

    fn n_source(&self) -> usize {
        self.question + self.context.len() + usize::from(!self.context.is_empty())
    }
}

/// At most `n` tokens of a text, around the first place where the answer stands, if it does: a passage
/// that does not hold the answer would teach guessing.
fn around(text: &[u16], answer: &[u16], n: usize) -> Range<usize> {
    let n = n.min(text.len());
    let found = match answer.is_empty() {
        true => None,
        false => text.windows(answer.len()).position(|part| part == answer),
    };
    let middle = found.map_or(0, |at| at + answer.len() / 2);
    let from = middle.saturating_sub(n / 2).min(text.len() - n);
    from..from + n
}

/// An item for every pair.
pub(super) fn items(entry: &Entry, layout: &Layout, passage: Passage, plan: &mut Plan) {
    for (at, (question, answer)) in entry.qa.iter().enumerate() {
        let Some(cut) = Cut::new(entry, at, layout, passage) else {
            continue;
        };
        if cut.question == 0 || cut.answer == 0 {
            plan.cut("pair_without_room", 1);
            continue;
        }
        plan.cut("question_cut", usize::from(cut.question < question.len()));
        plan.cut("answer_cut", usize::from(cut.answer < answer.len()));
        plan.cut("picture_beyond_row", entry.n_images() - cut.n_shown);
        let n_text = entry
            .text
            .filter(|_| cut.n_shown == 0)
            .map_or(0, <[u16]>::len);
        plan.cut("context_cut", usize::from(cut.context.len() < n_text));
        let len = cut.n_shown * layout.n_patches + cut.n_source() + cut.answer + 1;
        plan.item(at, 0, len);
    }
}

/// The example of a pair, its pictures shown.
pub(super) fn example(entry: &Entry, item: &Item, layout: &Layout, passage: Passage) -> Example {
    let pair = item.a as usize;
    let Some(cut) = Cut::new(entry, pair, layout, passage) else {
        return Example::default();
    };
    let (question, answer) = entry.qa[pair];
    let mut source = widen(&question[..cut.question]);
    if let (Some(text), false) = (entry.text, cut.context.is_empty()) {
        source.push(layout.special.sep);
        source.extend(widen(&text[cut.context.clone()]));
    }
    Example {
        images: (0..cut.n_shown).collect(),
        source,
        targets: vec![widen(&answer[..cut.answer])],
        ..Example::default()
    }
}

impl Task for Answer {
    fn name(&self) -> &'static str {
        "answer"
    }

    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan) {
        items(entry, layout, Passage::AroundAnswer, plan);
    }

    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        let mut example = example(entry, item, layout, Passage::AroundAnswer);
        let is_shown = !example.images.is_empty();
        if is_shown && key.child("blind").stream().bool(options.blind_p) {
            example.images.clear();
        }
        example
    }
}
