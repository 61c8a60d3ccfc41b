//! The document of each cluster to keep, and how alike the others are to it.

use super::check::{Checker, Judge};
use super::mark::Traits;
use super::sort::Sorter;
use super::{Documents, Link, Options, Place, Stats, share};
use crate::Result;

/// The place of every document; `roots` and `canon` name for each the first of its set and the first with its very text.
pub(super) fn places<D: Documents + ?Sized>(
    roots: &[u32],
    canon: &[u32],
    options: &Options,
    checker: &mut Checker<'_, D>,
    stats: &mut Stats,
) -> Result<Vec<Option<Place>>> {
    let traits = checker.traits();
    let texts = Texts {
        roots,
        copies: best_copies(canon, traits),
        traits,
    };
    let chosen = choose(&texts, canon, options, checker)?;
    let mut numbers = vec![u32::MAX; roots.len()];
    let mut n_clusters = 0;
    let mut places = Vec::with_capacity(roots.len());
    for (document, traits) in traits.iter().enumerate() {
        if traits.is_none() {
            places.push(None);
            continue;
        }
        let text = canon[document] as usize;
        let owner = chosen.owners[text] as usize;
        if numbers[owner] == u32::MAX {
            numbers[owner] = n_clusters;
            n_clusters += 1;
        }
        places.push(Some(Place {
            cluster: numbers[owner],
            kept: texts.copies[owner] as usize == document,
            jaccard: chosen.scores[text],
        }));
    }
    stats.n_clusters = u64::from(n_clusters);
    Ok(places)
}

/// Different texts, each named by the first document that holds it.
struct Texts<'t> {
    roots: &'t [u32],
    /// For each text the best document that holds it; other entries mean nothing.
    copies: Vec<u32>,
    traits: &'t [Option<Traits>],
}

impl Texts<'_> {
    /// Sets for every root the best of its texts.
    fn leaders(&self, texts: &[u32], leaders: &mut [u32]) {
        for text in texts {
            leaders[self.roots[*text as usize] as usize] = *text;
        }
        for text in texts {
            let leader = &mut leaders[self.roots[*text as usize] as usize];
            let [a, b] = [*text, *leader].map(|text| self.copies[text as usize]);
            if is_better(self.traits, a, b) {
                *leader = *text;
            }
        }
    }
}

/// Text by text: the text that is kept for it, and their similarity.
struct Chosen {
    owners: Vec<u32>,
    scores: Vec<f32>,
    threshold: f64,
}

/// Goes in rounds: the best text of each set is kept and takes those it stands for; the others go on as a set of their own.
fn choose<D: Documents + ?Sized>(
    texts: &Texts<'_>,
    canon: &[u32],
    options: &Options,
    checker: &mut Checker<'_, D>,
) -> Result<Chosen> {
    let n = canon.len();
    let mut leaders = vec![0; n];
    let mut chosen = Chosen {
        owners: vec![u32::MAX; n],
        scores: vec![1.0; n],
        threshold: match options.link {
            Link::Chain => 0.0,
            Link::Kept => options.threshold,
        },
    };
    let mut open: Vec<u32> = (0..n as u32).filter(|i| canon[*i as usize] == *i).collect();
    while !open.is_empty() {
        texts.leaders(&open, &mut leaders);
        let mut pairs = Sorter::new(&options.spill, share::PAIRS.of(options.memory));
        for text in &open {
            let leader = leaders[texts.roots[*text as usize] as usize];
            if leader == *text {
                chosen.owners[*text as usize] = *text;
            } else {
                pairs.push((leader, *text))?;
            }
        }
        checker.check(pairs.finish()?, &mut chosen)?;
        open.retain(|text| chosen.owners[*text as usize] == u32::MAX);
    }
    Ok(chosen)
}

impl Judge for Chosen {
    fn wants(&mut self, _: u32, _: u32) -> bool {
        true
    }

    fn hears(&mut self, leader: u32, text: u32, jaccard: f64) {
        if jaccard >= self.threshold {
            self.owners[text as usize] = leader;
            self.scores[text as usize] = jaccard as f32;
        }
    }
}

/// For every text the best of the documents that hold it.
fn best_copies(canon: &[u32], traits: &[Option<Traits>]) -> Vec<u32> {
    let mut copies: Vec<u32> = (0..canon.len() as u32).collect();
    for (document, text) in canon.iter().enumerate() {
        let best = &mut copies[*text as usize];
        if is_better(traits, document as u32, *best) {
            *best = document as u32;
        }
    }
    copies
}

/// Whether document `a` is to be preferred to `b`: the better one, then the longer one, then the earlier one.
fn is_better(traits: &[Option<Traits>], a: u32, b: u32) -> bool {
    let (Some(x), Some(y)) = (traits[a as usize], traits[b as usize]) else {
        return false;
    };
    let order = x.quality.total_cmp(&y.quality);
    order
        .then(x.n_chars.cmp(&y.n_chars))
        .then(b.cmp(&a))
        .is_gt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn traits(members: &[(f32, u32)]) -> Vec<Option<Traits>> {
        let each = members.iter().map(|(quality, n_chars)| Traits {
            n_chars: *n_chars,
            quality: *quality,
        });
        each.map(Some).collect()
    }

    #[test]
    fn the_best_then_the_longest_then_the_first_is_preferred() {
        let check = |members: &[(f32, u32)], expected: u32| {
            let traits = traits(members);
            let copies = best_copies(&vec![0; members.len()], &traits);
            assert_eq!(copies[0], expected, "{members:?}");
            let texts = Texts {
                roots: &vec![0; members.len()],
                copies: (0..members.len() as u32).collect(),
                traits: &traits,
            };
            let mut leaders = vec![0; members.len()];
            texts.leaders(&texts.copies, &mut leaders);
            assert_eq!(leaders[0], expected, "{members:?}");
        };
        check(&[(NONE, 5), (NONE, 5), (NONE, 4)], 0);
        check(&[(NONE, 5), (NONE, 6), (NONE, 6)], 1);
        check(&[(0.5, 5), (NONE, 99), (0.4, 50)], 0);
        check(&[(0.5, 5), (0.5, 6), (0.5, 6)], 1);
        check(&[(-1.0, 1), (0.0, 1)], 1);
    }

    /// The second text is like both others, which are not like each other.
    const CHAIN: [&str; 4] = [
        "一二三四五六七八九十",
        "二三四五六七八九十甲",
        "三四五六七八九十甲乙",
        "二三四五六七八九十甲",
    ];

    fn placed(link: Link, members: &[(f32, u32)]) -> Vec<(u32, bool, f32)> {
        let options = Options {
            threshold: 0.6,
            link,
            ..Options::default()
        };
        let traits = traits(members);
        let mut checker = Checker::new(&CHAIN[..], &options, &traits);
        let mut stats = Stats::default();
        let placed = places(&[0; 4], &[0, 1, 2, 1], &options, &mut checker, &mut stats).unwrap();
        let placed: Vec<_> = placed.into_iter().flatten().collect();
        let last = placed.iter().map(|place| place.cluster).max();
        assert_eq!(Some(stats.n_clusters as u32), last.map(|last| last + 1));
        placed
            .into_iter()
            .map(|place| (place.cluster, place.kept, place.jaccard))
            .collect()
    }

    #[test]
    fn a_chain_is_one_cluster_or_as_many_as_have_to_be_kept() {
        let far = 0.5;
        let near = 5.0 / 7.0;
        let first_best = [(NONE, 11), (NONE, 10), (NONE, 10), (NONE, 10)];
        assert_eq!(
            placed(Link::Chain, &first_best),
            [
                (0, true, 1.0),
                (0, false, near),
                (0, false, far),
                (0, false, near)
            ]
        );
        assert_eq!(
            placed(Link::Kept, &first_best),
            [
                (0, true, 1.0),
                (0, false, near),
                (1, true, 1.0),
                (0, false, near)
            ]
        );
        // The copy of the middle one is the best document: it stands for all.
        let copy_best = [(NONE, 10), (NONE, 10), (NONE, 10), (1.0, 10)];
        for link in [Link::Chain, Link::Kept] {
            assert_eq!(
                placed(link, &copy_best),
                [
                    (0, false, near),
                    (0, false, 1.0),
                    (0, false, near),
                    (0, true, 1.0)
                ]
            );
        }
    }
}
