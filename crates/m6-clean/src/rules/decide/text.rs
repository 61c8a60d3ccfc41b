//! Judging a text: parts out first, then the document.

use std::borrow::Cow;

use super::{Calibration, Failure, Judge, LedgerRow, Stage};
use crate::rules::signals::{PartSignals, Signals, n_visible};
use crate::rules::{Assets, pii, split};

/// A part taken out of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// Paragraph or sentence.
    pub stage: Stage,
    /// The line of the given text it stood in, from 0.
    pub line: usize,
    /// Its characters, blanks left out.
    pub n_chars: u64,
    /// Why.
    pub failure: Failure,
}

/// A text without the parts that fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Trimmed {
    /// What is left.
    pub text: String,
    /// The parts taken out, in order.
    pub edits: Vec<Edit>,
    /// Characters cut from an unfinished end, blanks left out.
    pub n_cut_chars: u64,
}

/// A text after its rules.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedText {
    /// What is left of the text; whole even when the document fails, so that its signals can be checked.
    pub text: String,
    /// The parts taken out, in order.
    pub edits: Vec<Edit>,
    /// Characters cut from an unfinished end, blanks left out.
    pub n_cut_chars: u64,
    /// Places masked as personal data.
    pub n_masked: u64,
    /// The numbers of what is left, before masking: they keep how much personal data there was.
    pub signals: Signals,
    /// The first rule that the document fails; `None` when it is kept.
    pub failure: Option<Failure>,
}

impl JudgedText {
    /// The ledger's rows: one for each rule that took parts out, with its first value, then the document's verdict.
    pub fn ledger(&self, record_id: &str) -> Vec<LedgerRow> {
        let mut rows: Vec<LedgerRow> = Vec::new();
        for edit in &self.edits {
            let is_told = |row: &LedgerRow| {
                row.stage == edit.stage.name() && row.rule.as_ref() == Some(&edit.failure.rule)
            };
            if !rows.iter().any(is_told) {
                rows.push(LedgerRow::trimmed(record_id, edit.stage, &edit.failure));
            }
        }
        rows.push(LedgerRow::of(
            record_id,
            Stage::Document,
            self.failure.as_ref(),
        ));
        rows
    }
}

impl Judge {
    /// Judges a text: paragraphs, sentences, unfinished end, personal data, document; a pure function of its arguments.
    pub fn text(
        &self,
        assets: &Assets,
        text: &str,
        title: Option<&str>,
        url: Option<&str>,
    ) -> JudgedText {
        let Trimmed {
            mut text,
            edits,
            n_cut_chars,
        } = self.trim(assets, text);
        let spans = pii::find(&text);
        let signals = Signals::with_spans(assets, &text, title, url, &spans);
        let mut n_masked = 0;
        if self.actions().mask_pii {
            n_masked = spans.len() as u64;
            if n_masked > 0 {
                text = pii::mask(&text, &spans);
            }
        }
        let failure = self.document(&signals);
        JudgedText {
            text,
            edits,
            n_cut_chars,
            n_masked,
            signals,
            failure,
        }
    }

    /// Takes out paragraphs and sentences that fail, and the unfinished end if the pack says so: what comes before measuring
    /// the document. A line that loses everything goes with its line end.
    pub fn trim(&self, assets: &Assets, text: &str) -> Trimmed {
        let mut edits = Vec::new();
        let is_whole = !self.has(Stage::Paragraph) && !self.has(Stage::Sentence);
        let mut text = if is_whole {
            text.to_owned()
        } else {
            let lines = text.split('\n').enumerate();
            let left: Vec<Cow<'_, str>> = lines
                .filter_map(|(number, line)| self.trim_line(assets, number, line, &mut edits))
                .collect();
            left.join("\n")
        };
        let mut n_cut_chars = 0;
        if self.actions().cut_unfinished_end {
            let kept = cut_unfinished_end(&text).len();
            n_cut_chars = text.get(kept..).map_or(0, n_visible);
            text.truncate(kept);
        }
        Trimmed {
            text,
            edits,
            n_cut_chars,
        }
    }

    /// What stays of a line; `None` when nothing does.
    fn trim_line<'a>(
        &self,
        assets: &Assets,
        number: usize,
        line: &'a str,
        edits: &mut Vec<Edit>,
    ) -> Option<Cow<'a, str>> {
        if line.trim().is_empty() {
            return Some(Cow::Borrowed(line));
        }
        if self.has(Stage::Paragraph)
            && let Some(edit) = self.look(assets, Stage::Paragraph, number, line)
        {
            edits.push(edit);
            return None;
        }
        if !self.has(Stage::Sentence) {
            return Some(Cow::Borrowed(line));
        }
        let mut kept = String::with_capacity(line.len());
        for sentence in split::sentences(line).filter_map(|range| line.get(range)) {
            match self.look(assets, Stage::Sentence, number, sentence) {
                Some(edit) => edits.push(edit),
                None => kept.push_str(sentence),
            }
        }
        (!kept.trim().is_empty()).then_some(Cow::Owned(kept))
    }

    fn look(&self, assets: &Assets, stage: Stage, line: usize, part: &str) -> Option<Edit> {
        let row = PartSignals::with(assets, part, self.wants_perplexity(stage));
        let failure = self.part(stage, &row)?;
        Some(Edit {
            stage,
            line,
            n_chars: row.n_chars,
            failure,
        })
    }
}

impl Calibration {
    /// Adds a text of the sample: its paragraphs, its sentences and itself, as far as a rule asks for them.
    pub fn add_text(
        &mut self,
        assets: &Assets,
        text: &str,
        title: Option<&str>,
        url: Option<&str>,
    ) {
        let (by_line, by_sentence) = (
            !self.is_idle(Stage::Paragraph),
            !self.is_idle(Stage::Sentence),
        );
        for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
            if by_line {
                self.add(Stage::Paragraph, &PartSignals::with(assets, line, true));
            }
            if by_sentence {
                for sentence in split::sentences(line).filter_map(|range| line.get(range)) {
                    self.add(Stage::Sentence, &PartSignals::with(assets, sentence, true));
                }
            }
        }
        if !self.is_idle(Stage::Document) {
            self.add(Stage::Document, &Signals::with(assets, text, title, url));
        }
    }
}

/// The text without what follows the last sentence end of its last paragraph; a last paragraph without any goes whole, unless it is the
/// only one (WuDao's rule).
pub fn cut_unfinished_end(text: &str) -> &str {
    let body = text.trim_end();
    let line_start = body.rfind('\n').map_or(0, |at| at + 1);
    let (before, last) = body.split_at(line_start);
    if split::has_end_mark(last) {
        return body;
    }
    let mut finished = 0;
    for sentence in split::sentences(last) {
        if last.get(sentence.clone()).is_some_and(split::has_end_mark) {
            finished = sentence.end;
        }
    }
    match (finished, before.is_empty()) {
        (0, true) => body,
        (0, false) => before.trim_end(),
        _ => body.get(..line_start + finished).unwrap_or(body).trim_end(),
    }
}
