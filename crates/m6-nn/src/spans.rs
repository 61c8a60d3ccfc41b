//! Which token may look at which: packed rows of samples with a shared prefix and several causal targets.

use crate::error::{Error, Result};
use std::ops::Range;

/// The attention pattern of a flat token array that holds many samples one after another (paper section 2.3, figure 3; packing
/// and shared prefixes are ours).
///
/// A sample has one *prefix* (picture patches and source text), whose tokens see exactly the prefix, and any number of *targets*.
/// A token of a target sees the prefix of its sample and its own target up to and including itself. Targets of one sample do not
/// see each other, so several captions share the cost of one picture. Every token belongs to exactly one prefix or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    n_tokens: usize,
    prefixes: Vec<[u32; 2]>,
    targets: Vec<[u32; 3]>,
    samples: Vec<Sample>,
}

/// One sample: the flat range of its prefix (possibly empty) and those of its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Tokens every token of the sample sees.
    pub prefix: Range<usize>,
    /// Causal continuations, independent of each other, in the order given.
    pub targets: Vec<Range<usize>>,
}

impl Sample {
    /// Number of query-key pairs inside the pattern; the cost of the sample, up to a factor.
    pub fn n_pairs(&self) -> usize {
        let p = self.prefix.len();
        let own: usize = self
            .targets
            .iter()
            .map(|t| t.len() * p + t.len() * (t.len() + 1) / 2)
            .sum();
        p * p + own
    }
}

impl Spans {
    /// Builds the pattern of `n_tokens` flat tokens from `prefixes` `[from, to)` and `targets` `[prefix index, from, to)`.
    ///
    /// # Errors
    /// When a range is reversed or leaves the array, a target names a prefix that is not there, or a token is covered by no range
    /// or by more than one.
    pub fn new(n_tokens: usize, prefixes: Vec<[u32; 2]>, targets: Vec<[u32; 3]>) -> Result<Self> {
        let mut samples = Vec::with_capacity(prefixes.len());
        let mut ranges = Vec::with_capacity(prefixes.len() + targets.len());
        for (i, &[from, to]) in prefixes.iter().enumerate() {
            let range = checked_range(n_tokens, from, to, || format!("prefix {i}"))?;
            ranges.push((range.clone(), "prefix", i));
            samples.push(Sample {
                prefix: range,
                targets: Vec::new(),
            });
        }
        for (i, &[sample, from, to]) in targets.iter().enumerate() {
            let range = checked_range(n_tokens, from, to, || format!("target {i}"))?;
            let n_prefixes = samples.len();
            let sample = samples.get_mut(sample as usize).ok_or_else(|| {
                bad(format!(
                    "target {i} names prefix {sample}, but there are {n_prefixes} prefixes"
                ))
            })?;
            ranges.push((range.clone(), "target", i));
            sample.targets.push(range);
        }
        check_cover(n_tokens, ranges)?;
        Ok(Self {
            n_tokens,
            prefixes,
            targets,
            samples,
        })
    }

    /// Causal attention over `n_rows` rows of `row_len` tokens each, without prefixes.
    pub fn causal(n_rows: usize, row_len: usize) -> Self {
        let at = |i: usize| (i * row_len) as u32;
        let prefixes = (0..n_rows).map(|i| [at(i), at(i)]).collect();
        let targets = (0..n_rows).map(|i| [i as u32, at(i), at(i + 1)]).collect();
        let range = |i: usize| i * row_len..(i + 1) * row_len;
        let samples = (0..n_rows).map(|i| Sample {
            prefix: i * row_len..i * row_len,
            targets: Vec::from([range(i)]),
        });
        let samples = samples.collect();
        Self {
            n_tokens: n_rows * row_len,
            prefixes,
            targets,
            samples,
        }
    }

    /// Length of the flat token array.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// The prefixes as given, `[from, to)`.
    pub fn prefixes(&self) -> &[[u32; 2]] {
        &self.prefixes
    }

    /// The targets as given, `[prefix index, from, to)`.
    pub fn targets(&self) -> &[[u32; 3]] {
        &self.targets
    }

    /// The samples, in the order of their prefixes.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The pattern as a dense mask `[n_tokens, n_tokens]`, query-major, 1 where the query sees the key.
    ///
    /// Written straight from the definition and quadratic in memory: for the composed operator and for tests.
    pub fn mask(&self) -> Vec<u8> {
        let n = self.n_tokens;
        let mut mask = vec![0u8; n * n];
        let mut allow = |query: usize, keys: Range<usize>| mask[query * n..][keys].fill(1);
        for sample in &self.samples {
            for query in sample.prefix.clone() {
                allow(query, sample.prefix.clone());
            }
            for target in &sample.targets {
                for query in target.clone() {
                    allow(query, sample.prefix.clone());
                    allow(query, target.start..query + 1);
                }
            }
        }
        mask
    }
}

fn bad(what: String) -> Error {
    Error::Value { op: "spans", what }
}

fn checked_range(
    n_tokens: usize,
    from: u32,
    to: u32,
    what: impl Fn() -> String,
) -> Result<Range<usize>> {
    if from > to || to as usize > n_tokens {
        return Err(bad(format!(
            "{} is [{from}, {to}), outside the {n_tokens} tokens or reversed",
            what()
        )));
    }
    Ok(from as usize..to as usize)
}

/// Every token lies in exactly one range; empty ranges are left out.
fn check_cover(
    n_tokens: usize,
    mut ranges: Vec<(Range<usize>, &'static str, usize)>,
) -> Result<()> {
    ranges.retain(|(range, ..)| !range.is_empty());
    ranges.sort_by_key(|(range, ..)| range.start);
    let mut at = 0;
    for (range, kind, i) in &ranges {
        if range.start > at {
            return Err(bad(format!(
                "tokens {at}..{} belong to no prefix and no target",
                range.start
            )));
        }
        if range.start < at {
            return Err(bad(format!(
                "{kind} {i} starts at token {}, which another range covers too",
                range.start
            )));
        }
        at = range.end;
    }
    if at != n_tokens {
        return Err(bad(format!(
            "tokens {at}..{n_tokens} belong to no prefix and no target"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_spans_are_named() {
        let cases: [(usize, Vec<[u32; 2]>, Vec<[u32; 3]>, &str); 6] = [
            (4, vec![[0, 5]], vec![], "prefix 0 is [0, 5)"),
            (4, vec![[3, 1]], vec![], "prefix 0 is [3, 1)"),
            (4, vec![[0, 4]], vec![[1, 4, 4]], "target 0 names prefix 1"),
            (4, vec![[0, 2]], vec![], "tokens 2..4 belong to no"),
            (4, vec![[0, 2]], vec![[0, 3, 4]], "tokens 2..3 belong to no"),
            (
                4,
                vec![[0, 2]],
                vec![[0, 1, 4]],
                "target 0 starts at token 1",
            ),
        ];
        for (n, prefixes, targets, want) in cases {
            let message = Spans::new(n, prefixes, targets).unwrap_err().to_string();
            assert!(
                message.contains(want),
                "{message:?} should contain {want:?}"
            );
        }
    }

    #[test]
    fn mask_follows_the_definition() {
        // Tokens 0-1 are a prefix shared by targets 4-5 and 2-2; token 3 is a sample of its own without prefix.
        let spans = Spans::new(
            6,
            vec![[0, 2], [3, 3]],
            vec![[0, 4, 6], [1, 3, 4], [0, 2, 3]],
        )
        .unwrap();
        #[rustfmt::skip]
        let want = [
            1, 1, 0, 0, 0, 0,
            1, 1, 0, 0, 0, 0,
            1, 1, 1, 0, 0, 0,
            0, 0, 0, 1, 0, 0,
            1, 1, 0, 0, 1, 0,
            1, 1, 0, 0, 1, 1,
        ];
        assert_eq!(spans.mask(), want);
        assert_eq!(spans.samples()[0].n_pairs(), 4 + 3 + 4 + 3);
    }

    #[test]
    fn causal_rows_equal_the_general_form() {
        let general = Spans::new(6, vec![[0, 0], [3, 3]], vec![[0, 0, 3], [1, 3, 6]]).unwrap();
        assert_eq!(Spans::causal(2, 3), general);
    }
}
