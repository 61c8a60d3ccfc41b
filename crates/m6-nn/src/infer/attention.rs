//! Attention of new tokens over cached keys and values, one query at a time.

use crate::error::{Error, Result};
use crate::infer::dots::{dots, inner};
use crate::real::{exp_sum, max};
use rayon::prelude::*;

/// Elements of the cached keys that a task goes over, at least.
const N_TASK_ELEMENTS: usize = 1 << 15;

/// Keys and values of one sequence, for every layer, in the order they were computed: `[n, d_model]` each, heads side by side.
///
/// Grows by [`KvCache::push`], up to its capacity.
#[derive(Clone, Debug)]
pub struct KvCache {
    d_model: usize,
    capacity: usize,
    k: Vec<Vec<f32>>,
    v: Vec<Vec<f32>>,
}

impl KvCache {
    /// An empty cache for `n_layers` layers of width `d_model` and at most `capacity` tokens.
    pub fn new(n_layers: usize, d_model: usize, capacity: usize) -> Self {
        let empty = || (0..n_layers).map(|_| Vec::new()).collect();
        Self {
            d_model,
            capacity,
            k: empty(),
            v: empty(),
        }
    }

    /// Appends the keys and values of one or more tokens, `[n, d_model]` each, to `layer`.
    ///
    /// # Errors
    /// When the two lengths differ or are no multiple of `d_model`, or the cache would exceed its capacity.
    pub fn push(&mut self, layer: usize, k: &[f32], v: &[f32]) -> Result<()> {
        let (d, held) = (self.d_model, self.len(layer));
        if k.len() != v.len() || !k.len().is_multiple_of(d) {
            return Err(bad(format!(
                "{} key and {} value elements do not make rows of {d}",
                k.len(),
                v.len()
            )));
        }
        if held + k.len() / d > self.capacity {
            let (more, capacity) = (k.len() / d, self.capacity);
            return Err(bad(format!(
                "{more} tokens after {held} exceed the cache of {capacity} tokens"
            )));
        }
        self.k[layer].extend_from_slice(k);
        self.v[layer].extend_from_slice(v);
        Ok(())
    }

    /// Tokens held by `layer`.
    pub fn len(&self, layer: usize) -> usize {
        self.k[layer].len() / self.d_model
    }

    /// Whether no layer holds a token.
    pub fn is_empty(&self) -> bool {
        self.k.iter().all(Vec::is_empty)
    }

    /// Forgets all but the first `n` tokens of every layer.
    pub fn truncate(&mut self, n: usize) {
        for rows in self.k.iter_mut().chain(&mut self.v) {
            rows.truncate(n * self.d_model);
        }
    }

    /// Keys of `layer`, `[n, d_model]`.
    pub fn keys(&self, layer: usize) -> &[f32] {
        &self.k[layer]
    }

    /// Values of `layer`, `[n, d_model]`.
    pub fn values(&self, layer: usize) -> &[f32] {
        &self.v[layer]
    }
}

fn bad(what: String) -> Error {
    Error::Value {
        op: "attention over a cache",
        what,
    }
}

/// Attention of one query `q` `[d_model]` over the keys `k` and values `v`, `[m, d_model]` each, into `out` `[d_model]`; heads in
/// parallel.
///
/// Depends on nothing but its arguments, so a token gets the same bits whatever else is computed beside it.
///
/// # Panics
/// When `d_model` is no multiple of `n_heads` or the lengths do not fit each other.
pub fn attend_cached(q: &[f32], n_heads: usize, k: &[f32], v: &[f32], out: &mut [f32]) {
    let d_model = q.len();
    let d_head = d_model / n_heads;
    assert!(d_head * n_heads == d_model && out.len() == d_model && k.len() == v.len());
    assert!(
        !k.is_empty() && k.len().is_multiple_of(d_model),
        "{} key elements, rows of {d_model}",
        k.len()
    );
    let heads = out.par_chunks_mut(d_head).zip(q.par_chunks(d_head));
    // Short loops are not worth a second thread.
    let n_heads_at_least = (N_TASK_ELEMENTS / (k.len() / n_heads)).max(1);
    heads
        .with_min_len(n_heads_at_least)
        .enumerate()
        .for_each_init(Vec::new, |scores, (h, (out, q))| {
            let rows = |x| Columns {
                x,
                d_model,
                from: h * d_head,
                n: d_head,
            };
            attend_head(q, rows(k), rows(v), scores, out);
        });
}

/// Columns `from..from + n` of the rows of `x [_, d_model]`.
#[derive(Clone, Copy)]
struct Columns<'a> {
    x: &'a [f32],
    d_model: usize,
    from: usize,
    n: usize,
}

impl<'a> Columns<'a> {
    fn len(self) -> usize {
        self.x.len() / self.d_model
    }

    #[inline(always)]
    fn row(self, i: usize) -> &'a [f32] {
        &self.x[i * self.d_model + self.from..][..self.n]
    }
}

/// One head: keys and values row by row, `[d_head]` each; `scores` is scratch.
fn attend_head(
    q: &[f32],
    keys: Columns<'_>,
    values: Columns<'_>,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let (m, scale) = (keys.len(), 1.0 / (q.len() as f32).sqrt());
    let in_fours = m / 4 * 4;
    scores.clear();
    for i in (0..in_fours).step_by(4) {
        let found: [f32; 4] = dots::<1, 4, 4, false>([q], [0, 1, 2, 3].map(|j| keys.row(i + j)));
        scores.extend(found.map(|dot| scale * dot));
    }
    scores.extend((in_fours..m).map(|i| scale * inner(q, keys.row(i))));
    let largest = max(scores);
    let inverse = 1.0 / exp_sum(scores, largest);
    scores.iter_mut().for_each(|score| *score *= inverse);
    // Four sums side by side, for each waits for the one before it; then what is left.
    let done = weighted_sum::<64>(scores, values, 0, out);
    let done = done + weighted_sum::<16>(scores, values, done, &mut out[done..]);
    weighted_sum::<1>(scores, values, done, &mut out[done..]);
}

/// The sum of the values' rows, each times its score, in whole groups of `N` elements of `out`, which begins at element `from` of a row;
/// gives how many elements those are.
#[inline(always)]
fn weighted_sum<const N: usize>(
    scores: &[f32],
    values: Columns<'_>,
    from: usize,
    out: &mut [f32],
) -> usize {
    let groups = out.as_chunks_mut::<N>().0;
    for (group, out) in groups.iter_mut().enumerate() {
        // A value, not a place: that keeps it in vector registers.
        let mut sum = [0.0; N];
        for (i, score) in scores.iter().enumerate() {
            let v = &values.row(i)[from + group * N..][..N];
            sum = std::array::from_fn(|l| sum[l] + score * v[l]);
        }
        *out = sum;
    }
    groups.len() * N
}

/// [`attend_cached`] for several queries `q` `[n, d_model]` of one sequence; query `i` sees the first `visible[i]` tokens of `layer`.
///
/// # Errors
/// When a query would see no token or more than the cache holds, or the lengths do not fit.
pub fn attend_rows(
    q: &[f32],
    n_heads: usize,
    cache: &KvCache,
    layer: usize,
    visible: &[usize],
    out: &mut [f32],
) -> Result<()> {
    let (d, held) = (cache.d_model, cache.len(layer));
    if q.len() != visible.len() * d || out.len() != q.len() {
        let (q, out, n) = (q.len(), out.len(), visible.len());
        return Err(bad(format!(
            "{q} query and {out} output elements for {n} rows of {d}"
        )));
    }
    if let Some(m) = visible.iter().find(|m| !(1..=held).contains(*m)) {
        return Err(bad(format!(
            "a query is to see {m} tokens, but the cache holds {held}"
        )));
    }
    let (k, v) = (cache.keys(layer), cache.values(layer));
    let rows = out.par_chunks_mut(d).zip(q.par_chunks(d)).zip(visible);
    rows.for_each(|((out, q), m)| attend_cached(q, n_heads, &k[..m * d], &v[..m * d], out));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::attention::attention;
    use crate::spans::Spans;
    use crate::tolerance::{OP_F32, assert_close};
    use m6_store::rng::Key;

    /// Heads of 332 and of 249 elements: groups of 64, of 16 and of 1.
    const D: usize = 996;

    fn rows(n: usize, name: &str) -> Vec<f32> {
        let mut stream = Key::new(5).child(name).stream();
        (0..n * D).map(|_| stream.normal() as f32).collect()
    }

    fn filled(n: usize) -> (KvCache, Vec<f32>, Vec<f32>) {
        let (k, v) = (rows(n, "k"), rows(n, "v"));
        let mut cache = KvCache::new(1, D, n);
        cache.push(0, &k, &v).unwrap();
        (cache, k, v)
    }

    #[test]
    fn cached_attention_equals_the_training_kernel() {
        let n = 70;
        let (cache, k, v) = filled(n);
        let q = rows(n, "q");
        let visible: Vec<usize> = (0..n).map(|i| if i < 9 { 9 } else { i + 1 }).collect();
        let mut out = vec![0.0; n * D];
        attend_rows(&q, 3, &cache, 0, &visible, &mut out).unwrap();
        let packed: Vec<f32> = (0..n * 3)
            .flat_map(|i| [&q, &k, &v][i % 3][i / 3 * D..][..D].to_vec())
            .collect();
        let spans = Spans::new(n, vec![[0, 9]], vec![[0, 9, n as u32]]).unwrap();
        let (mut want, mut lse) = (vec![0.0; n * D], vec![0.0; n * 3]);
        attention(&packed, D, 3, &spans, &mut want, &mut lse);
        let wide = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        assert_close("attend_rows", &wide(&out), &wide(&want), OP_F32);
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_company() {
        let (cache, k, v) = filled(40);
        let q = rows(40, "q");
        let visible: Vec<usize> = (1..=40).collect();
        let mut together = vec![0.0; 40 * D];
        attend_rows(&q, 4, &cache, 0, &visible, &mut together).unwrap();
        for i in 0..40 {
            let mut alone = vec![f32::NAN; D];
            let held = (i + 1) * D;
            attend_cached(&q[i * D..][..D], 4, &k[..held], &v[..held], &mut alone);
            assert!(alone == together[i * D..][..D], "row {i}");
        }
    }

    #[test]
    fn a_full_or_short_cache_is_an_error_and_truncation_forgets_the_end() {
        let (mut cache, k, v) = filled(3);
        let message = cache.push(0, &k[..D], &v[..D]).unwrap_err().to_string();
        assert!(
            message.contains("1 tokens after 3 exceed the cache of 3"),
            "{message}"
        );
        assert!(cache.push(0, &k[..D - 1], &v[..D - 1]).is_err());
        let mut out = vec![0.0; D];
        assert!(attend_rows(&k[..D], 1, &cache, 0, &[4], &mut out).is_err());
        assert!(attend_rows(&k[..D], 1, &cache, 0, &[0], &mut out).is_err());
        cache.truncate(1);
        assert_eq!(
            (cache.len(0), cache.keys(0), cache.is_empty()),
            (1, &k[..D], false)
        );
    }
}
