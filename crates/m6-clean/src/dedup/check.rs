//! Exact similarity of pairs of documents, in batches within a memory budget.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::mark::Traits;
use super::shingle::Shingles;
use super::{Documents, Options, share};
use crate::{Error, Result};

/// Most pairs of a batch.
const BATCH: usize = 1024;
/// Pairs that one thread takes at a time.
const GRAIN: usize = 16;

/// Who asks for similarities and hears them, in the order of the pairs.
pub(super) trait Judge {
    /// Whether the similarity of a pair is still of interest.
    fn wants(&mut self, a: u32, b: u32) -> bool;
    /// Takes the similarity of a pair that was wanted.
    fn hears(&mut self, a: u32, b: u32, jaccard: f64);
}

/// Reads documents again and compares their shingles.
pub(super) struct Checker<'d, D: ?Sized> {
    documents: &'d D,
    traits: &'d [Option<Traits>],
    shingle: usize,
    memory: usize,
    kept: Kept,
}

impl<'d, D: Documents + ?Sized> Checker<'d, D> {
    pub fn new(documents: &'d D, options: &Options, traits: &'d [Option<Traits>]) -> Self {
        Self {
            documents,
            traits,
            shingle: options.shingle,
            memory: options.memory,
            kept: Kept::new(share::GENERATION.of(options.memory)),
        }
    }

    /// What is remembered of the documents.
    pub fn traits(&self) -> &'d [Option<Traits>] {
        self.traits
    }

    /// Tells the judge the similarity of every pair it wants. Pairs in order of the first document are fastest.
    pub fn check(
        &mut self,
        pairs: impl Iterator<Item = Result<(u32, u32)>>,
        judge: &mut impl Judge,
    ) -> Result<()> {
        let (mut batch, mut n_bytes) = (Vec::with_capacity(BATCH), 0);
        let mut last = None;
        for pair in pairs {
            let (a, b) = pair?;
            if !judge.wants(a, b) {
                continue;
            }
            n_bytes += self.size(b) + if last == Some(a) { 0 } else { self.size(a) };
            last = Some(a);
            batch.push((a, b));
            if batch.len() == BATCH || n_bytes >= share::BATCH.of(self.memory) {
                self.judge(&batch, judge)?;
                batch.clear();
                (n_bytes, last) = (0, None);
            }
        }
        self.judge(&batch, judge)
    }

    /// Most bytes that the shingles of a document take.
    fn size(&self, document: u32) -> usize {
        let traits = self.traits.get(document as usize).copied().flatten();
        traits.map_or(0, |traits| traits.n_chars as usize * size_of::<u64>())
    }

    fn judge(&mut self, batch: &[(u32, u32)], judge: &mut impl Judge) -> Result<()> {
        let mut needed: Vec<u32> = batch.iter().flat_map(|(a, b)| [*a, *b]).collect();
        needed.sort_unstable();
        needed.dedup();
        let known: Vec<Option<Arc<Shingles>>> = needed.iter().map(|i| self.kept.get(*i)).collect();
        let (documents, shingle) = (self.documents, self.shingle);
        let held: Vec<Arc<Shingles>> = needed
            .par_iter()
            .zip(known)
            .map(|(i, known)| known.map_or_else(|| load(documents, *i, shingle), Ok))
            .collect::<Result<_>>()?;
        for (i, shingles) in needed.iter().zip(&held) {
            self.kept.put(*i, shingles);
        }
        let of = |i: &u32| needed.binary_search(i).ok().and_then(|at| held.get(at));
        let scores: Vec<f64> = batch
            .par_iter()
            .with_min_len(GRAIN)
            .map(|(a, b)| of(a).zip(of(b)).map_or(0.0, |(a, b)| a.jaccard(b)))
            .collect();
        for ((a, b), jaccard) in batch.iter().zip(scores) {
            judge.hears(*a, *b, jaccard);
        }
        Ok(())
    }
}

fn load<D: Documents + ?Sized>(documents: &D, index: u32, shingle: usize) -> Result<Arc<Shingles>> {
    let document = documents.document(index as usize)?;
    let document = document.ok_or_else(|| {
        Error::Config(format!(
            "document {index} could be read once and not again; the input changed meanwhile"
        ))
    })?;
    Ok(Arc::new(Shingles::of(&document.text, shingle)))
}

/// Shingles of late: when the young generation is full it becomes the old one, which is let go.
struct Kept {
    young: HashMap<u32, Arc<Shingles>>,
    old: HashMap<u32, Arc<Shingles>>,
    n_bytes: usize,
    most: usize,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            n_bytes: 0,
            most,
        }
    }

    fn get(&self, index: u32) -> Option<Arc<Shingles>> {
        self.young
            .get(&index)
            .or_else(|| self.old.get(&index))
            .cloned()
    }

    fn put(&mut self, index: u32, shingles: &Arc<Shingles>) {
        let n_bytes = shingles.len() * size_of::<u64>();
        if n_bytes > self.most {
            return;
        }
        if self.n_bytes + n_bytes > self.most {
            self.old = std::mem::take(&mut self.young);
            self.n_bytes = 0;
        }
        if self.young.insert(index, Arc::clone(shingles)).is_none() {
            self.n_bytes += n_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_stay_within_their_size() {
        let mut kept = Kept::new(80);
        // Each text has five shingles: 40 bytes.
        let texts = [
            "一二三四五六七八九",
            "甲乙丙丁戊己庚辛壬",
            "子丑寅卯辰巳午未申",
            "天地玄黄宇宙洪荒日",
        ];
        for (i, text) in texts.iter().enumerate() {
            kept.put(i as u32, &Arc::new(Shingles::of(text, 5)));
            assert!(kept.young.len() <= 2 && kept.old.len() <= 2);
        }
        assert!(kept.get(3).is_some() && kept.get(0).is_some());
        kept.put(4, &Arc::new(Shingles::of(texts[0], 5)));
        assert!(kept.get(0).is_none() && kept.get(4).is_some());
        let long: String = ('一'..='乿').collect();
        kept.put(5, &Arc::new(Shingles::of(&long, 5)));
        assert!(kept.get(5).is_none());
    }

    struct All(Vec<(u32, u32, f64)>);

    impl Judge for All {
        fn wants(&mut self, a: u32, _: u32) -> bool {
            a != 2
        }

        fn hears(&mut self, a: u32, b: u32, jaccard: f64) {
            self.0.push((a, b, jaccard));
        }
    }

    #[test]
    fn wanted_pairs_are_answered_in_order_whatever_the_budget() {
        let texts = ["一二三四五六", "一二三四五", "一二三四五六", "天地玄黄宇宙"];
        let expected = vec![(0, 1, 0.5), (0, 2, 1.0), (1, 3, 0.0)];
        for memory in [0, 100, 1 << 20] {
            let options = Options {
                memory,
                ..Options::default()
            };
            let traits = [Some(Traits {
                n_chars: 6,
                quality: 0.0,
            }); 4];
            let mut checker = Checker::new(&texts[..], &options, &traits);
            let mut all = All(Vec::new());
            let pairs = [(0, 1), (0, 2), (1, 3), (2, 3)].map(Ok);
            checker.check(pairs.into_iter(), &mut all).unwrap();
            assert_eq!(all.0, expected);
        }
    }
}
