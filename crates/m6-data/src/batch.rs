//! From examples to plain arrays: samples one after the other, no padding, masks as ranges.

use crate::error::{Error, Result};
use crate::tasks::{Ask, Example, Layout};

/// Token of a position that holds a patch; no word has this id.
pub const NO_TOKEN: u32 = u32::MAX;

/// Segment of patches (V in paper section 2.2).
pub const SEGMENT_PICTURE: u32 = 0;
/// Segment of source text (Tm).
pub const SEGMENT_SOURCE: u32 = 1;
/// Segment of target text (Td).
pub const SEGMENT_TARGET: u32 = 2;
/// Segment of image codes that are read.
pub const SEGMENT_CODE_READ: u32 = 3;
/// Segment of image codes that are written.
pub const SEGMENT_CODE_WRITTEN: u32 = 4;
/// Segment of finer image codes that are read.
pub const SEGMENT_FINE_READ: u32 = 5;
/// Segment of finer image codes that are written.
pub const SEGMENT_FINE_WRITTEN: u32 = 6;
/// Segment of the position that tells whether pictures and source belong together.
pub const SEGMENT_VERDICT: u32 = 7;
/// Segment of the position behind pictures alone whose state is their vector.
pub const SEGMENT_POOL_PICTURE: u32 = 8;
/// The same behind a source alone.
pub const SEGMENT_POOL_TEXT: u32 = 9;

/// Plain arrays that a training step reads; `n` positions of all rows in one line.
///
/// A sample is a prefix (pictures, then source text; it may be empty) and one or more targets. The prefix sees
/// itself; a target sees the prefix of its sample and its own past. Every position is in exactly one of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Rows in it.
    pub n_rows: usize,
    /// Word or image code of every position, `[n]`; [`NO_TOKEN`] where a patch stands.
    pub tokens: Vec<u32>,
    /// Position inside its own text, or index of the patch inside its picture, `[n]`.
    pub positions: Vec<u32>,
    /// 0 picture, 1 source, 2 target, 3 code read, 4 code written, 5 finer code read, 6 finer code written, 7 verdict, 8 and 9 vectors of
    /// pictures and text, `[n]`.
    pub segments: Vec<u32>,
    /// Ranges `[from, to)` of the prefixes, one a sample, possibly empty.
    pub prefixes: Vec<[u32; 2]>,
    /// Targets `[prefix, from, to)`.
    pub targets: Vec<[u32; 3]>,
    /// Pixels of all `k` pictures, `k * 3 * side * side`, channels first.
    pub pictures: Vec<u8>,
    /// Position of the first patch of each picture; the others follow it.
    pub picture_at: Vec<u32>,
    /// Positions whose next word is learned, `[m]`, ascending.
    pub loss_at: Vec<u32>,
    /// The words to learn, or codes, verdicts (0 or 1) and groups where those are asked for, `[m]`.
    pub labels: Vec<u32>,
    /// Task of each label, `[m]`.
    pub tasks: Vec<u8>,
    /// Source of each label, `[m]`.
    pub sources: Vec<u8>,
    /// What each label counts in the loss, `[m]`; empty when all count 1. Below 0 the label is unlearned.
    pub weights: Vec<f32>,
}

/// One sample of a batch as it can be shown again: pictures, source, and the texts to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Pixels of each of its pictures.
    pub pictures: Vec<&'a [u8]>,
    /// Source text.
    pub source: Vec<u32>,
    /// The texts to write, without specials.
    pub targets: Vec<&'a [u32]>,
    /// Index of the task.
    pub task: u8,
    /// Index of the source it comes from.
    pub from: u8,
}

impl Batch {
    /// Adds a sample. `pictures` are the pixels of the example's pictures, in order.
    ///
    /// A target `t1 .. tn` becomes the input `[CLS] t1 .. tn` with the labels `t1 .. tn [SEP]`.
    pub fn push<'a>(
        &mut self,
        example: &Example,
        pictures: impl IntoIterator<Item = &'a [u8]>,
        layout: &Layout,
        task: u8,
        source: u8,
    ) {
        let prefix = self.prefixes.len() as u32;
        let from = self.tokens.len() as u32;
        for pixels in pictures {
            self.picture_at.push(self.tokens.len() as u32);
            self.pictures.extend_from_slice(pixels);
            let patches = std::iter::repeat_n(NO_TOKEN, layout.n_patches);
            self.words(patches, SEGMENT_PICTURE);
        }
        if let Ask::Pair(group) = example.ask {
            // The text is a sample of its own: it does not see the pictures.
            self.prefixes.push([from, self.tokens.len() as u32]);
            self.answer(SEGMENT_POOL_PICTURE, group, layout);
            let from = self.tokens.len() as u32;
            self.words(example.source.iter().copied(), SEGMENT_SOURCE);
            self.prefixes.push([from, self.tokens.len() as u32]);
            self.answer(SEGMENT_POOL_TEXT, group, layout);
            self.tasks.resize(self.labels.len(), task);
            self.sources.resize(self.labels.len(), source);
            return;
        }
        let first_code = self.tokens.len() as u32;
        self.words(example.codes.iter().copied(), SEGMENT_CODE_READ);
        self.words(example.fine.iter().copied(), SEGMENT_FINE_READ);
        self.words(example.source.iter().copied(), SEGMENT_SOURCE);
        self.prefixes.push([from, self.tokens.len() as u32]);
        for &(place, code) in &example.hidden {
            self.loss_at.push(first_code + place);
            self.labels.push(code);
        }
        self.written(&example.drawn, SEGMENT_CODE_WRITTEN, prefix, layout);
        self.written(&example.refined, SEGMENT_FINE_WRITTEN, prefix, layout);
        if let Ask::Verdict(together) = example.ask {
            self.answer(SEGMENT_VERDICT, u32::from(together), layout);
        }
        for target in &example.targets {
            let from = self.tokens.len() as u32;
            let input = std::iter::once(layout.special.cls).chain(target.iter().copied());
            self.words(input, SEGMENT_TARGET);
            let to = self.tokens.len() as u32;
            self.targets.push([prefix, from, to]);
            self.loss_at.extend(from..to);
            self.labels.extend_from_slice(target);
            self.labels.push(layout.special.sep);
        }
        self.tasks.resize(self.labels.len(), task);
        self.sources.resize(self.labels.len(), source);
    }

    /// Codes as a target.
    fn written(&mut self, codes: &[u32], segment: u32, prefix: u32, layout: &Layout) {
        let Some((_, told)) = codes.split_last() else {
            return;
        };
        let from = self.tokens.len() as u32;
        // A code's row tells the next one: the last code is only told, the begin code only tells.
        let input = std::iter::once(layout.begin_code()).chain(told.iter().copied());
        self.words(input, segment);
        let to = self.tokens.len() as u32;
        self.targets.push([prefix, from, to]);
        self.loss_at.extend(from..to);
        self.labels.extend_from_slice(codes);
    }

    /// One position behind the last prefix, which answers with a label.
    fn answer(&mut self, segment: u32, label: u32, layout: &Layout) {
        let from = self.tokens.len() as u32;
        self.words(std::iter::once(layout.special.cls), segment);
        let prefix = self.prefixes.len() as u32 - 1;
        self.targets.push([prefix, from, from + 1]);
        self.loss_at.push(from);
        self.labels.push(label);
    }

    fn words(&mut self, words: impl Iterator<Item = u32>, segment: u32) {
        for (position, word) in words.enumerate() {
            self.tokens.push(word);
            self.positions.push(position as u32);
            self.segments.push(segment);
        }
    }

    /// The samples again, in order.
    ///
    /// # Errors
    /// A sample that asks for something else than texts: codes, verdicts or vectors.
    pub fn samples(&self) -> Result<Vec<Sample<'_>>> {
        let texts = [SEGMENT_PICTURE, SEGMENT_SOURCE, SEGMENT_TARGET];
        if let Some(&segment) = self.segments.iter().find(|s| !texts.contains(s)) {
            return Err(Error::NotTexts { segment });
        }
        let n_bytes = self.pictures.len() / self.picture_at.len().max(1);
        let mut pictures = self.pictures.chunks_exact(n_bytes.max(1));
        let mut samples: Vec<Sample<'_>> = Vec::with_capacity(self.prefixes.len());
        for &[from, to] in &self.prefixes {
            let before = |at| self.picture_at.partition_point(|&first| first < at);
            let words = self.tokens[from as usize..to as usize].iter();
            samples.push(Sample {
                pictures: pictures.by_ref().take(before(to) - before(from)).collect(),
                source: words.copied().filter(|&word| word != NO_TOKEN).collect(),
                ..Sample::default()
            });
        }
        let mut label = 0;
        for &[prefix, from, to] in &self.targets {
            let sample = &mut samples[prefix as usize];
            let words = &self.labels[label..label + (to - from) as usize];
            sample.targets.push(&words[..words.len().saturating_sub(1)]);
            (sample.task, sample.from) = (self.tasks[label], self.sources[label]);
            label += words.len();
        }
        Ok(samples)
    }

    /// Number of positions.
    pub fn n_positions(&self) -> usize {
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::layout;

    #[test]
    fn the_arrays_of_a_sample_are_as_the_paper_lays_them_out() {
        let layout = layout(64, 2);
        let mut batch = Batch::default();
        let example = Example {
            images: vec![0],
            source: vec![10, 11],
            targets: vec![vec![20], vec![30, 31]],
            ..Example::default()
        };
        let text_only = Example {
            targets: vec![vec![40]],
            ..Example::default()
        };
        batch.push(&text_only, [], &layout, 0, 3);
        batch.push(&example, [&[9u8; 12][..]], &layout, 2, 1);
        let (cls, sep, n) = (layout.special.cls, layout.special.sep, NO_TOKEN);
        assert_eq!(
            batch.tokens,
            [cls, 40, n, n, n, n, 10, 11, cls, 20, cls, 30, 31]
        );
        assert_eq!(batch.positions, [0, 1, 0, 1, 2, 3, 0, 1, 0, 1, 0, 1, 2]);
        assert_eq!(batch.segments, [2, 2, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!(batch.prefixes, [[0, 0], [2, 8]]);
        assert_eq!(batch.targets, [[0, 0, 2], [1, 8, 10], [1, 10, 13]]);
        assert_eq!(batch.picture_at, [2]);
        assert_eq!(batch.loss_at, [0, 1, 8, 9, 10, 11, 12]);
        assert_eq!(batch.labels, [40, sep, 20, sep, 30, 31, sep]);
        assert_eq!(batch.tasks, [0, 0, 2, 2, 2, 2, 2]);
        assert_eq!(batch.sources, [3, 3, 1, 1, 1, 1, 1]);
        let samples = batch.samples().expect("texts alone");
        let again = |sample: &Sample<'_>| Example {
            images: (0..sample.pictures.len()).collect(),
            source: sample.source.clone(),
            targets: sample.targets.iter().map(|ids| ids.to_vec()).collect(),
            ..Example::default()
        };
        let mut same = Batch::default();
        for sample in &samples {
            let pictures = sample.pictures.iter().copied();
            same.push(&again(sample), pictures, &layout, sample.task, sample.from);
        }
        assert_eq!(same, batch);
    }

    #[test]
    fn a_verdict_is_one_position_and_a_pair_is_two_samples() {
        let layout = layout(64, 2);
        let mut batch = Batch::default();
        let shown = |ask| Example {
            images: vec![0],
            source: vec![10, 11],
            ask,
            ..Example::default()
        };
        let (verdict, pair) = (shown(Ask::Verdict(true)), shown(Ask::Pair(77)));
        let pixels = [9u8; 12];
        batch.push(&verdict, [&pixels[..]], &layout, 8, 0);
        batch.push(&pair, [&pixels[..]], &layout, 9, 0);
        assert!(batch.samples().is_err());
        let n_positions = verdict.n_positions(4) + pair.n_positions(4);
        assert_eq!(batch.n_positions(), n_positions);
        let segments = [0, 0, 0, 0, 1, 1, 7, 0, 0, 0, 0, 8, 1, 1, 9];
        assert_eq!(batch.segments, segments);
        assert_eq!(batch.prefixes, [[0, 6], [7, 11], [12, 14]]);
        assert_eq!(batch.targets, [[0, 6, 7], [1, 11, 12], [2, 14, 15]]);
        assert_eq!(batch.loss_at, [6, 11, 14]);
        assert_eq!(batch.labels, [1, 77, 77]);
        assert_eq!(batch.tasks, [8, 9, 9]);
        assert_eq!(batch.tokens[6], layout.special.cls);
    }
}
