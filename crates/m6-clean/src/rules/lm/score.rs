//! Scoring by blocks: all places of a block go up one order together, so that the reads of the tables overlap instead of waiting for one
//! another. The sums run in the order of the text, so that a score does not depend on where blocks end.

use super::table::{Table, extend, log2_of, start};
use super::vocab::{BOS, EOS, UNK};
use super::{MAX_SENTENCE_CHARS, Model, ORDERS, Score};
use crate::rules::{fold, split};

/// Ids after which a block is scored; its last sentence is kept whole.
const BLOCK: usize = 2048;
/// The longest n-gram of any model.
const MAX_ORDER: usize = *ORDERS.end();

/// Sentences as ids, and what is found out about each place.
#[derive(Default)]
struct Block {
    ids: Vec<u16>,
    /// Ids before this one in its sentence; 0 for the mark of its beginning.
    depths: Vec<u16>,
    /// Packed values of the n-grams that end here, shortest first.
    packed: Vec<[u32; MAX_ORDER]>,
    /// How many of them there are.
    n_found: Vec<u8>,
    /// Hash of the longest.
    hashes: Vec<u64>,
}

/// Scores the sentences of all lines of a text.
pub(super) fn score(model: &Model, text: &str) -> Score {
    let mut score = Score::default();
    let mut block = Block::default();
    for line in text.lines() {
        for sentence in split::sentences(line) {
            let known = line[sentence].chars().filter_map(fold::fold);
            let mut known = known.map(|c| model.vocab.id(c)).peekable();
            while known.peek().is_some() {
                block.push(known.by_ref().take(MAX_SENTENCE_CHARS));
            }
            if block.ids.len() >= BLOCK {
                block.score(model, &mut score);
            }
        }
    }
    block.score(model, &mut score);
    score
}

impl Block {
    /// Adds a sentence between its marks.
    fn push(&mut self, ids: impl Iterator<Item = u16>) {
        let from = self.ids.len();
        self.ids.push(BOS);
        self.ids.extend(ids);
        self.ids.push(EOS);
        self.depths
            .extend((0..self.ids.len() - from).map(|depth| depth as u16));
    }

    /// Adds the block to the score and empties it.
    fn score(&mut self, model: &Model, score: &mut Score) {
        self.look_up(model);
        for at in (1..self.ids.len()).filter(|at| self.depths[*at] > 0) {
            score.log2_prob += self.log2_prob(at, model.tables.len());
            score.n_tokens += 1;
            score.n_unknown += u64::from(self.ids[at] == UNK);
        }
        self.ids.clear();
        self.depths.clear();
    }

    /// The base-2 logarithm of the probability of the id at a place that does not begin its sentence.
    #[inline]
    fn log2_prob(&self, at: usize, n_tables: usize) -> f64 {
        let n_found = usize::from(self.n_found[at]);
        let n_before = usize::from(self.n_found[at - 1]).min(n_tables);
        let (mut log2_prob, _) = log2_of(self.packed[at][n_found - 1]);
        // The contexts longer than the one used were seen, but not with this id: each hands on its share. The n-gram found used a
        // context one shorter than itself; a context of all the order allows never hands on.
        for shorter in n_found - 1..n_before {
            log2_prob += log2_of(self.packed[at - 1][shorter]).1;
        }
        log2_prob
    }

    /// Finds the n-grams that end at each place, order by order.
    fn look_up(&mut self, model: &Model) {
        let unigram = |id: &u16| {
            model
                .unigrams
                .get(usize::from(*id))
                .copied()
                .unwrap_or_default()
        };
        self.packed.clear();
        self.packed.extend(self.ids.iter().map(|id| {
            let mut packed = [0; MAX_ORDER];
            packed[0] = unigram(id);
            packed
        }));
        self.n_found.clear();
        self.n_found.resize(self.ids.len(), 1);
        self.hashes.clear();
        self.hashes.extend(self.ids.iter().map(|id| start(*id)));
        let mut places: Vec<usize> = (0..self.ids.len()).collect();
        let mut slots = Vec::with_capacity(places.len());
        for (order, table) in (1..).zip(&model.tables) {
            self.longer(order, table, &mut places, &mut slots);
        }
    }

    /// From n-grams of `order` ids to those of one more; places without any leave the list.
    fn longer(
        &mut self,
        order: usize,
        table: &Table,
        places: &mut Vec<usize>,
        slots: &mut Vec<u64>,
    ) {
        places.retain(|at| usize::from(self.depths[*at]) >= order);
        slots.clear();
        for at in places.iter() {
            let hash = extend(self.hashes[*at], self.ids[at - order]);
            self.hashes[*at] = hash;
            // Nothing depends on what is read here, so that many reads are under way at once.
            slots.push(table.first_slot(hash));
        }
        let mut slots = slots.iter();
        places.retain(|at| {
            let first = slots.next().copied().unwrap_or_default();
            let Some(packed) = table.get_from(self.hashes[*at], first) else {
                return false;
            };
            self.packed[*at][order] = packed;
            self.n_found[*at] += 1;
            true
        });
    }
}

/// The base-2 logarithm of the probability of the last id after the others.
#[cfg(test)]
pub(super) fn log2_prob_of_last(model: &Model, ids: &[u16]) -> f64 {
    let mut block = Block {
        ids: ids.to_vec(),
        depths: (0..ids.len() as u16).collect(),
        ..Block::default()
    };
    block.look_up(model);
    block.log2_prob(ids.len() - 1, model.tables.len())
}
