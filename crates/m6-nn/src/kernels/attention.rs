//! Attention over packed rows: blockwise forward, recomputing backward.
//!
//! Work is cut into (sample, head) tasks: several targets add to the gradients of the prefix they share, so one task owns all of
//! them and the sums have one order. Inside a task queries are taken 64 at a time against every key that any of them sees; blocks
//! that are masked altogether are never computed, and the scores of one block are all that exists at a time. The backward pass
//! makes the probabilities again from the log-sum-exp of each query.

use crate::gemm::{Threads, gemm_raw};
use crate::glue::uninit;
use crate::kernels::shared::Shared;
use crate::real::{Real, dot, exp_sum, max};
use crate::spans::{Sample, Spans};
use rayon::prelude::*;
use std::ops::Range;

/// Queries per block.
const QUERY_BLOCK: usize = 64;

/// Consecutive queries with the same keys, except that causal ones see one more each.
struct Block {
    queries: Range<usize>,
    /// At most two runs of keys in the order of the score columns: the prefix, then the own past. One run where they adjoin.
    keys: [Range<usize>; 2],
    n_keys: usize,
    first_visible: usize,
    causal: bool,
}

impl Block {
    fn new(queries: Range<usize>, prefix: &Range<usize>, own_start: Option<usize>) -> Self {
        let own = own_start.map_or(0..0, |start| start..queries.end);
        let n_keys = prefix.len() + own.len();
        let first_visible = if own_start.is_some() {
            n_keys + 1 - queries.len()
        } else {
            n_keys
        };
        let keys = if prefix.end == own.start {
            [prefix.start..own.end, 0..0]
        } else {
            [prefix.clone(), own]
        };
        Self {
            queries,
            keys,
            n_keys,
            first_visible,
            causal: own_start.is_some(),
        }
    }

    /// Score columns that the block's query `i` sees; they come first.
    fn visible(&self, i: usize) -> usize {
        self.first_visible + if self.causal { i } else { 0 }
    }

    /// The runs of keys with the score column each starts at.
    fn key_runs(&self) -> impl Iterator<Item = (usize, &Range<usize>)> {
        let columns = [0, self.keys[0].len()];
        columns
            .into_iter()
            .zip(&self.keys)
            .filter(|(_, keys)| !keys.is_empty())
    }
}

/// Every block of a sample.
fn blocks(sample: &Sample) -> impl Iterator<Item = Block> {
    let cut = |range: &Range<usize>| {
        let end = range.end;
        range
            .clone()
            .step_by(QUERY_BLOCK)
            .map(move |from| from..(from + QUERY_BLOCK).min(end))
    };
    let prefix = cut(&sample.prefix).map(|queries| Block::new(queries, &sample.prefix, None));
    let targets = sample.targets.iter().flat_map(move |target| {
        cut(target).map(|queries| Block::new(queries, &sample.prefix, Some(target.start)))
    });
    prefix.chain(targets)
}

/// The packed projections `[n_tokens, 3 d_model]` (queries, keys, values; heads side by side) as one head sees them.
struct Head<'a, T> {
    qkv: &'a [T],
    d_model: usize,
    d_head: usize,
    head: usize,
}

impl<T: Real> Head<'_, T> {
    /// Flat offset of the head's query (`part` 0), key (1) or value (2) of a token.
    fn offset(&self, token: usize, part: usize) -> usize {
        (token * 3 + part) * self.d_model + self.head * self.d_head
    }

    /// Flat offset of the head's part of an output row.
    fn out_offset(&self, token: usize) -> usize {
        token * self.d_model + self.head * self.d_head
    }

    fn scale(&self) -> T {
        T::one() / T::number(self.d_head as f64).sqrt()
    }

    /// A pointer with strides to the rows of `part` from `token` on.
    fn rows(&self, token: usize, part: usize) -> (*const T, usize, usize) {
        (
            self.qkv[self.offset(token, part)..].as_ptr(),
            3 * self.d_model,
            1,
        )
    }

    /// `out[i, j] = scale * sum(rows[i] * part[keys[j]])` for all queries and keys of a block.
    fn against_keys(
        &self,
        block: &Block,
        scale: T,
        rows: (*const T, usize, usize),
        part: usize,
        out: &mut [T],
    ) {
        let m = block.queries.len();
        assert!(out.len() >= m * block.n_keys);
        for (column, keys) in block.key_runs() {
            let (pointer, row, _) = self.rows(keys.start, part);
            let dst = (out[column..].as_mut_ptr(), block.n_keys);
            // SAFETY: `out` holds m rows of n_keys columns, of which these are `keys.len()`; `rows` and the keys are rows of d_head
            // elements inside live slices (`Spans` keeps every range inside the n_tokens rows that the caller checked).
            unsafe {
                gemm_raw(
                    Threads::One,
                    (m, keys.len(), self.d_head),
                    dst,
                    false,
                    scale,
                    rows,
                    (pointer, 1, row),
                )
            };
        }
    }
}

fn transposed<T>(matrix: (*const T, usize, usize)) -> (*const T, usize, usize) {
    (matrix.0, matrix.2, matrix.1)
}

/// Room for the scores of the largest block.
fn n_scores(spans: &Spans) -> usize {
    let n_keys = |sample: &Sample| {
        sample.prefix.len() + sample.targets.iter().map(Range::len).max().unwrap_or(0)
    };
    QUERY_BLOCK * spans.samples().iter().map(n_keys).max().unwrap_or(0)
}

fn check_sizes<T>(qkv: &[T], d_model: usize, n_heads: usize, spans: &Spans) {
    assert!(
        n_heads > 0 && d_model.is_multiple_of(n_heads),
        "d_model {d_model} with {n_heads} heads"
    );
    assert_eq!(qkv.len(), spans.n_tokens() * 3 * d_model, "elements of qkv");
}

/// Attention of `qkv` `[n_tokens, 3 d_model]` under `spans` into `out` `[n_tokens, d_model]`; `lse` `[n_heads, n_tokens]` gets the
/// log-sum-exp of every query's scores. Panics when the sizes do not fit.
pub fn attention<T: Real>(
    qkv: &[T],
    d_model: usize,
    n_heads: usize,
    spans: &Spans,
    out: &mut [T],
    lse: &mut [T],
) {
    check_sizes(qkv, d_model, n_heads, spans);
    assert_eq!(
        (out.len(), lse.len()),
        (spans.n_tokens() * d_model, spans.n_tokens() * n_heads)
    );
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    let n_tasks = spans.samples().len() * n_heads;
    let tasks = (0..n_tasks).into_par_iter().with_max_len(1);
    tasks.for_each_init(
        || uninit(n_scores(spans)),
        |scores, task| {
            let head = Head {
                qkv,
                d_model,
                d_head: d_model / n_heads,
                head: task % n_heads,
            };
            for block in blocks(&spans.samples()[task / n_heads]) {
                forward_block(&head, &block, scores, spans.n_tokens(), &out, &lse);
            }
        },
    );
}

/// Output and log-sum-exp of one block of queries of one head.
fn forward_block<T: Real>(
    head: &Head<'_, T>,
    block: &Block,
    scores: &mut [T],
    n_tokens: usize,
    out: &Shared<'_, T>,
    lse: &Shared<'_, T>,
) {
    let (m, n) = (block.queries.len(), block.n_keys);
    head.against_keys(
        block,
        head.scale(),
        head.rows(block.queries.start, 0),
        1,
        scores,
    );
    // SAFETY: only this task has this head of these queries.
    let lse = unsafe { lse.slice(head.head * n_tokens + block.queries.start, m) };
    for (i, row) in scores.chunks_exact_mut(n).take(m).enumerate() {
        let (seen, hidden) = row.split_at_mut(block.visible(i));
        let largest = max(seen);
        let total = exp_sum(seen, largest);
        lse[i] = largest + total.ln();
        let inverse = T::one() / total;
        seen.iter_mut().for_each(|p| *p *= inverse);
        hidden.fill(T::zero());
    }
    let dst = (out.at(head.out_offset(block.queries.start)), head.d_model);
    for (column, keys) in block.key_runs() {
        let weights = (scores[column..].as_ptr(), n, 1);
        // SAFETY: the rows of `dst` are this head's part of this block's queries, written by no other task; the operands as in
        // `against_keys`.
        unsafe {
            let size = (m, head.d_head, keys.len());
            gemm_raw(
                Threads::One,
                size,
                dst,
                column > 0,
                T::one(),
                weights,
                head.rows(keys.start, 2),
            );
        }
    }
}

/// What the backward pass reads.
pub struct Saved<'a, T> {
    /// Projections, `[n_tokens, 3 d_model]`.
    pub qkv: &'a [T],
    /// Result of the forward pass, `[n_tokens, d_model]`.
    pub out: &'a [T],
    /// Log-sum-exp of the forward pass, `[n_heads, n_tokens]`.
    pub lse: &'a [T],
    /// Gradient of the result, `[n_tokens, d_model]`.
    pub d_out: &'a [T],
}

/// Gradient of [`attention`] with respect to `qkv`; overwrites `d_qkv`. Panics when the sizes do not fit.
pub fn attention_backward<T: Real>(
    saved: &Saved<'_, T>,
    d_model: usize,
    n_heads: usize,
    spans: &Spans,
    d_qkv: &mut [T],
) {
    check_sizes(saved.qkv, d_model, n_heads, spans);
    check_sizes(d_qkv, d_model, n_heads, spans);
    let n_tokens = spans.n_tokens();
    assert_eq!(
        (saved.out.len(), saved.d_out.len()),
        (n_tokens * d_model, n_tokens * d_model)
    );
    assert_eq!(saved.lse.len(), n_tokens * n_heads);
    crate::glue::fill_zero(d_qkv);
    let d_qkv = Shared::new(d_qkv);
    let tasks = (0..spans.samples().len() * n_heads)
        .into_par_iter()
        .with_max_len(1);
    tasks.for_each_init(
        || (uninit(n_scores(spans)), uninit(n_scores(spans))),
        |(p, dp), task| {
            let head = Head {
                qkv: saved.qkv,
                d_model,
                d_head: d_model / n_heads,
                head: task % n_heads,
            };
            for block in blocks(&spans.samples()[task / n_heads]) {
                probability_gradients(&head, &block, saved, n_tokens, p, dp);
                add_gradients(&head, &block, saved.d_out, p, dp, &d_qkv);
            }
        },
    );
}

/// Makes the probabilities `p` of a block again, and the gradient `dp` of its scores (before the scale).
fn probability_gradients<T: Real>(
    head: &Head<'_, T>,
    block: &Block,
    saved: &Saved<'_, T>,
    n_tokens: usize,
    p: &mut [T],
    dp: &mut [T],
) {
    let (m, n, from) = (block.queries.len(), block.n_keys, block.queries.start);
    head.against_keys(block, head.scale(), head.rows(from, 0), 1, p);
    let d_rows = (
        saved.d_out[head.out_offset(from)..].as_ptr(),
        head.d_model,
        1,
    );
    head.against_keys(block, T::one(), d_rows, 2, dp);
    let lse = &saved.lse[head.head * n_tokens + from..][..m];
    for (i, (p, dp)) in p
        .chunks_exact_mut(n)
        .zip(dp.chunks_exact_mut(n))
        .take(m)
        .enumerate()
    {
        let at = head.out_offset(from + i);
        let delta = dot(
            &saved.out[at..][..head.d_head],
            &saved.d_out[at..][..head.d_head],
        );
        let visible = block.visible(i);
        p[visible..].fill(T::zero());
        dp[visible..].fill(T::zero());
        for (p, dp) in p[..visible].iter_mut().zip(&mut dp[..visible]) {
            *p = Real::exp(*p - lse[i]);
            *dp = *p * (*dp - delta);
        }
    }
}

/// Adds a block's part of the gradients of queries, keys and values.
fn add_gradients<T: Real>(
    head: &Head<'_, T>,
    block: &Block,
    d_out: &[T],
    p: &[T],
    dp: &[T],
    d_qkv: &Shared<'_, T>,
) {
    let (m, n, from) = (block.queries.len(), block.n_keys, block.queries.start);
    let d_rows = (d_out[head.out_offset(from)..].as_ptr(), head.d_model, 1);
    let dst = |token, part| (d_qkv.at(head.offset(token, part)), 3 * head.d_model);
    for (column, keys) in block.key_runs() {
        let (p, dp) = ((p[column..].as_ptr(), n, 1), (dp[column..].as_ptr(), n, 1));
        let by_key = (keys.len(), head.d_head, m);
        let by_query = (m, head.d_head, keys.len());
        // SAFETY: this task alone writes this head of this sample's tokens; all operands are inside their slices as in
        // `against_keys`.
        unsafe {
            gemm_raw(
                Threads::One,
                by_key,
                dst(keys.start, 2),
                true,
                T::one(),
                transposed(p),
                d_rows,
            );
            gemm_raw(
                Threads::One,
                by_key,
                dst(keys.start, 1),
                true,
                head.scale(),
                transposed(dp),
                head.rows(from, 0),
            );
            gemm_raw(
                Threads::One,
                by_query,
                dst(from, 0),
                true,
                head.scale(),
                dp,
                head.rows(keys.start, 1),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Random samples in random places: lengths of prefixes and targets, then an order of the pieces in the token array.
    fn any_spans() -> impl Strategy<Value = Spans> {
        let sample = (0usize..90, prop::collection::vec(0usize..140, 0..4));
        (prop::collection::vec(sample, 1..4), any::<u64>()).prop_map(|(samples, order)| {
            let mut pieces: Vec<(usize, Option<usize>, usize)> = Vec::new();
            for (s, (prefix, targets)) in samples.iter().enumerate() {
                pieces.push((s, None, *prefix));
                pieces.extend(
                    targets
                        .iter()
                        .enumerate()
                        .map(|(t, len)| (s, Some(t), *len)),
                );
            }
            pieces.sort_by_key(|piece| {
                (piece.0 as u64 * 7 + piece.1.map_or(0, |t| t as u64 + 1)).wrapping_mul(order | 1)
            });
            let (mut at, mut prefixes, mut targets) =
                (0u32, vec![[0, 0]; samples.len()], Vec::new());
            for (sample, target, len) in pieces {
                let to = at + len as u32;
                match target {
                    None => prefixes[sample] = [at, to],
                    Some(_) => targets.push([sample as u32, at, to]),
                }
                at = to;
            }
            Spans::new(at as usize, prefixes, targets).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn blocks_allow_exactly_the_pairs_of_the_mask(spans in any_spans()) {
            let n = spans.n_tokens();
            let mut seen = vec![0u8; n * n];
            for block in spans.samples().iter().flat_map(blocks) {
                let keys: Vec<usize> = block.key_runs().flat_map(|(_, keys)| keys.clone()).collect();
                prop_assert_eq!(keys.len(), block.n_keys);
                for (i, query) in block.queries.clone().enumerate() {
                    for key in &keys[..block.visible(i)] {
                        seen[query * n + key] += 1;
                    }
                }
                // The last query sees every key of its block, so nothing wholly masked is computed.
                prop_assert_eq!(block.visible(block.queries.len() - 1), block.n_keys);
            }
            prop_assert!(seen == spans.mask(), "a pair is missing, extra or counted twice");
        }
    }
}
