//! Who looks like whom: search within a Hamming radius, and clusters.
//!
//! A hash is cut into four words of 16 bits. Two hashes at most `r` bits apart agree in one of the words up to `r / 4` bits
//! (pigeonhole), so a search looks up that word's neighbourhood in four tables and checks what it finds: nothing is missed.

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::hash::{Fingerprint, distance};
use crate::{Error, Result};

const N_WORDS: usize = 4;
const N_VALUES: usize = 1 << 16;
/// The largest radius a search takes: 697 look-ups a table; above it a scan of everything is faster.
const MAX_RADIUS: u32 = 15;
/// Fingerprints that are searched between two rounds of joining: bounds the edges held at a time.
const BATCH: usize = 1 << 16;

/// A found hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Its place in the list the index was made of.
    pub at: u32,
    /// Bits that differ.
    pub distance: u32,
}

/// The places of all hashes, sorted by one of their words.
struct Table {
    /// `starts[value]..starts[value + 1]` in `places`.
    starts: Vec<u32>,
    places: Vec<u32>,
}

impl Table {
    fn new(hashes: &[u64], word: usize) -> Self {
        let mut starts = vec![0u32; N_VALUES + 1];
        for &hash in hashes {
            starts[value_of(hash, word) + 1] += 1;
        }
        for value in 0..N_VALUES {
            starts[value + 1] += starts[value];
        }
        let mut next = starts.clone();
        let mut places = vec![0u32; hashes.len()];
        for (at, &hash) in (0u32..).zip(hashes) {
            let slot = &mut next[value_of(hash, word)];
            places[*slot as usize] = at;
            *slot += 1;
        }
        Self { starts, places }
    }

    fn at(&self, value: usize) -> &[u32] {
        &self.places[self.starts[value] as usize..self.starts[value + 1] as usize]
    }
}

fn value_of(hash: u64, word: usize) -> usize {
    usize::from((hash >> (16 * word)) as u16)
}

/// 64-bit hashes that can be searched within a Hamming radius; 24 bytes a hash.
pub struct HashIndex {
    hashes: Vec<u64>,
    tables: Vec<Table>,
}

impl HashIndex {
    /// An index of these hashes; equal ones may occur.
    ///
    /// # Errors
    /// [`Error::Config`] for more than 2^32 - 1 hashes.
    pub fn new(hashes: Vec<u64>) -> Result<Self> {
        if u32::try_from(hashes.len()).is_err() {
            let n = hashes.len();
            return Err(Error::Config(format!(
                "{n} picture hashes in one index; at most {} go in, split them by a hash of the host",
                u32::MAX
            )));
        }
        let tables = (0..N_WORDS)
            .into_par_iter()
            .map(|word| Table::new(&hashes, word))
            .collect();
        Ok(Self { hashes, tables })
    }

    /// All hashes at most `radius` bits from `hash`, in the order of their places; a radius above 15 is searched one by one.
    pub fn within(&self, hash: u64, radius: u32) -> Vec<Match> {
        let mut found = Vec::new();
        if radius > MAX_RADIUS {
            found.extend((0u32..).zip(&self.hashes).filter_map(|(at, &other)| {
                let distance = distance(hash, other);
                (distance <= radius).then_some(Match { at, distance })
            }));
            return found;
        }
        for (word, table) in self.tables.iter().enumerate() {
            for &mask in neighbourhood(radius / N_WORDS as u32) {
                for &at in table.at(value_of(hash, word) ^ usize::from(mask)) {
                    let distance = distance(hash, self.hashes[at as usize]);
                    if distance <= radius {
                        found.push(Match { at, distance });
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// All 16-bit words of at most `radius` (0..=3) bits, sorted.
fn neighbourhood(radius: u32) -> &'static [u16] {
    static WORDS: std::sync::OnceLock<[Vec<u16>; N_WORDS]> = std::sync::OnceLock::new();
    let words = WORDS.get_or_init(|| {
        std::array::from_fn(|radius| {
            (0..=u16::MAX)
                .filter(|word| word.count_ones() as usize <= radius)
                .collect()
        })
    });
    &words[(radius as usize).min(N_WORDS - 1)]
}

/// How near two pictures must be to count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Near {
    /// Most bits between the hashes of frequencies.
    pub phash: u32,
    /// Most bits between the hashes of gradients.
    pub dhash: u32,
}

impl Default for Near {
    /// 6 and 10 of 64 bits (ours): another size, another quality or a thin border is the same picture, another picture of
    /// the same thing is not.
    fn default() -> Self {
        Self {
            phash: 6,
            dhash: 10,
        }
    }
}

/// The cluster of each picture, named by the place of its first member; both hashes must be near.
///
/// Clusters are chained: a and c fall together when b is near both. The result depends on nothing but the input.
///
/// # Errors
/// [`Error::Config`] for more than 2^32 - 1 pictures.
pub fn cluster(prints: &[Fingerprint], near: &Near) -> Result<Vec<u32>> {
    let too_many = |_| Error::Config(format!("{} pictures to cluster at once", prints.len()));
    let n_prints = u32::try_from(prints.len()).map_err(too_many)?;
    // Equal fingerprints are one from here on: a placeholder found a million times costs one search.
    let mut place_of = FxHashMap::default();
    let mut unique = Vec::new();
    let mut leaders: Vec<u32> = (0..n_prints)
        .zip(prints)
        .map(|(at, print)| {
            *place_of.entry(*print).or_insert_with(|| {
                unique.push(at);
                at
            })
        })
        .collect();
    let hashes = unique.iter().map(|&at| prints[at as usize].phash);
    let index = HashIndex::new(hashes.collect())?;
    for batch in unique.chunks(BATCH) {
        let edges: Vec<(u32, u32)> = batch
            .par_iter()
            .flat_map_iter(|&at| near_before(at, prints, &unique, &index, near))
            .collect();
        for (a, b) in edges {
            join(&mut leaders, a, b);
        }
    }
    for at in 0..n_prints {
        leaders[at as usize] = root(&mut leaders, at);
    }
    Ok(leaders)
}

/// Edges from a picture to those before it that are near.
fn near_before<'a>(
    at: u32,
    prints: &'a [Fingerprint],
    unique: &'a [u32],
    index: &HashIndex,
    near: &'a Near,
) -> impl Iterator<Item = (u32, u32)> + use<'a> {
    let print = prints[at as usize];
    index
        .within(print.phash, near.phash)
        .into_iter()
        .map(|found| unique[found.at as usize])
        .filter(move |&other| {
            other < at && distance(prints[other as usize].dhash, print.dhash) <= near.dhash
        })
        .map(move |other| (other, at))
}

/// The first member of a cluster, with the path to it halved.
fn root(leaders: &mut [u32], mut at: u32) -> u32 {
    while leaders[at as usize] != at {
        let above = leaders[leaders[at as usize] as usize];
        leaders[at as usize] = above;
        at = above;
    }
    at
}

fn join(leaders: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(leaders, a), root(leaders, b));
    leaders[a.max(b) as usize] = a.min(b);
}

/// Which pictures to keep: of each cluster the one of the highest quality (say, pixels), the first of equals.
///
/// `leaders` as from [`cluster`]; `quality` of the same length, a missing one counts as 0.
pub fn keep_best(leaders: &[u32], quality: &[u64]) -> Vec<bool> {
    let quality_of = |at: usize| quality.get(at).copied().unwrap_or(0);
    let mut best: FxHashMap<u32, usize> = FxHashMap::default();
    for (at, &leader) in leaders.iter().enumerate() {
        let held = best.entry(leader).or_insert(at);
        if quality_of(at) > quality_of(*held) {
            *held = at;
        }
    }
    (0..leaders.len())
        .map(|at| best.get(&leaders[at]) == Some(&at))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_store::rng::Key;
    use proptest::prelude::*;

    /// Hashes in families: a base and members some bits away.
    fn families(n: usize, seed: u64) -> Vec<u64> {
        let mut stream = Key::new(seed).stream();
        let mut hashes: Vec<u64> = Vec::new();
        while hashes.len() < n {
            let mut hash = stream.next_u64();
            if !hashes.is_empty() && stream.bool(0.6) {
                hash = hashes[stream.below(hashes.len() as u64) as usize];
                for _ in 0..stream.below(10) {
                    hash ^= 1 << stream.below(64);
                }
            }
            hashes.push(hash);
        }
        hashes
    }

    #[test]
    fn a_search_finds_what_a_scan_finds() {
        let hashes = families(3000, 1);
        let index = HashIndex::new(hashes.clone()).unwrap();
        for radius in [0, 1, 3, 4, 6, 7, 8, 12, 15, 16, 20] {
            for &hash in hashes.iter().step_by(97) {
                let expected: Vec<Match> = (0u32..)
                    .zip(&hashes)
                    .map(|(at, &other)| Match {
                        at,
                        distance: distance(hash, other),
                    })
                    .filter(|found| found.distance <= radius)
                    .collect();
                assert_eq!(index.within(hash, radius), expected, "radius {radius}");
            }
        }
        assert!(HashIndex::new(vec![]).unwrap().within(5, 6).is_empty());
    }

    #[test]
    fn neighbourhoods_have_the_binomial_sizes() {
        for (radius, n) in [(0, 1), (1, 17), (2, 137), (3, 697)] {
            assert_eq!(neighbourhood(radius).len(), n);
        }
    }

    fn slow_clusters(prints: &[Fingerprint], near: &Near) -> Vec<u32> {
        let mut leaders: Vec<u32> = (0..prints.len() as u32).collect();
        for (b, other) in prints.iter().enumerate() {
            for (a, print) in prints[..b].iter().enumerate() {
                let [p, d] = [
                    distance(print.phash, other.phash),
                    distance(print.dhash, other.dhash),
                ];
                if p <= near.phash && d <= near.dhash {
                    join(&mut leaders, a as u32, b as u32);
                }
            }
        }
        for at in 0..prints.len() as u32 {
            leaders[at as usize] = root(&mut leaders, at);
        }
        leaders
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn clusters_are_those_of_all_pairs_for_any_number_of_threads(seed: u64, n in 0usize..120, threads in 1usize..4) {
            let [phash, dhash] = [families(n, seed), families(n, seed ^ 1)];
            let prints: Vec<Fingerprint> =
                phash.iter().zip(&dhash).map(|(&phash, &dhash)| Fingerprint { phash, dhash: dhash & 0xFFF }).collect();
            let near = Near::default();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let got = pool.install(|| cluster(&prints, &near)).unwrap();
            prop_assert_eq!(got, slow_clusters(&prints, &near));
        }
    }

    #[test]
    fn the_thresholds_hold_just_under_and_just_over() {
        let check = |p: u32, d: u32, together: bool| {
            let far = |bits: u32| (1u64 << bits) - 1;
            let prints = [
                Fingerprint::default(),
                Fingerprint {
                    phash: far(p),
                    dhash: far(d),
                },
            ];
            let leaders = cluster(&prints, &Near::default()).unwrap();
            assert_eq!(leaders[1] == 0, together, "{p} and {d} bits");
        };
        check(6, 10, true);
        check(7, 10, false);
        check(6, 11, false);
        check(0, 0, true);
    }

    #[test]
    fn the_best_of_a_cluster_is_kept() {
        let check = |leaders: &[u32], quality: &[u64], expected: &[bool]| {
            assert_eq!(keep_best(leaders, quality), expected);
        };
        check(&[0, 0, 2, 0], &[5, 9, 1, 9], &[false, true, true, false]);
        check(&[0, 0], &[], &[true, false]);
        check(&[], &[], &[]);
    }
}
