//! Span masking: contiguous spans, each replaced by one single mask (paper section 3.1).

use std::ops::Range;

use m6_store::rng::{Key, Stream};

use crate::config::{SpanLaw, TaskOptions};

/// Spans of a text of `n` tokens to mask, in order; they never touch, so that each leaves one mask.
///
/// Exactly `noise_ratio * n` tokens are covered, a fraction rounded by lot, and at least one (ours). Lengths follow
/// `span_law`; places are uniform among all that keep spans apart.
pub fn spans(n: usize, options: &TaskOptions, key: Key) -> Vec<Range<usize>> {
    let mut stream = key.stream();
    if n == 0 || options.noise_ratio <= 0.0 {
        return Vec::new();
    }
    let wanted = options.noise_ratio * n as f64;
    let n_masked = (wanted as usize + usize::from(stream.bool(wanted.fract()))).clamp(1, n);
    let lengths = lengths(n_masked, n - n_masked + 1, options, &mut stream);
    let gaps = gaps(n - n_masked + 1, lengths.len(), &mut stream);
    let mut out = Vec::with_capacity(lengths.len());
    let mut masked_before = 0;
    for (gap, length) in gaps.into_iter().zip(lengths) {
        let from = gap + masked_before;
        out.push(from..from + length);
        masked_before += length;
    }
    out
}

/// Span lengths that add up to `n_masked`; at most `most` spans, since each needs a gap of its own.
fn lengths(n_masked: usize, most: usize, options: &TaskOptions, stream: &mut Stream) -> Vec<usize> {
    let mut out = Vec::new();
    let mut left = n_masked;
    while left > 0 {
        let drawn = match options.span_law {
            SpanLaw::Poisson => stream.poisson(options.span_mean) as usize,
            SpanLaw::Fixed => options.span_mean.round() as usize,
        };
        let length = drawn.clamp(1, left);
        out.push(length);
        left -= length;
    }
    while out.len() > most {
        let last = out.pop().unwrap_or(0);
        let at = out.len() - 1;
        out[at] += last;
        // The longer span goes to the front so that merging spreads over all spans.
        out.rotate_right(1);
    }
    stream.shuffle(&mut out);
    out
}

/// `k` of `n` gaps, ascending, every choice equally likely (selection sampling).
fn gaps(n: usize, k: usize, stream: &mut Stream) -> Vec<usize> {
    let mut out = Vec::with_capacity(k);
    for gap in 0..n {
        let needed = k - out.len();
        if needed > 0 && (stream.below((n - gap) as u64) as usize) < needed {
            out.push(gap);
        }
    }
    out
}

/// The text with each span replaced by one `mask`.
pub fn mask_spans(text: &[u32], options: &TaskOptions, mask: u32, key: Key) -> Vec<u32> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for span in spans(text.len(), options, key) {
        out.extend_from_slice(&text[at..span.start]);
        out.push(mask);
        at = span.end;
    }
    out.extend_from_slice(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: u32 = u32::MAX;

    proptest! {
        #[test]
        fn spans_are_apart_and_cover_the_share(n in 1usize..400, ratio in 0.01f64..1.0, seed: u64) {
            let options = TaskOptions { noise_ratio: ratio, ..TaskOptions::default() };
            let spans = spans(n, &options, Key::new(seed));
            let covered: usize = spans.iter().map(|span| span.len()).sum();
            prop_assert!(covered as f64 >= (ratio * n as f64).floor().max(1.0));
            prop_assert!(covered as f64 <= (ratio * n as f64).ceil().max(1.0));
            prop_assert!(spans.iter().all(|span| !span.is_empty() && span.end <= n));
            prop_assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start));
        }

        #[test]
        fn a_noised_text_with_its_spans_put_back_is_the_text(n in 1usize..300, seed: u64) {
            let text: Vec<u32> = (0..n as u32).collect();
            let options = TaskOptions::default();
            let noised = mask_spans(&text, &options, MASK, Key::new(seed));
            prop_assert!(noised.len() <= n);
            let mut spans = spans(n, &options, Key::new(seed)).into_iter();
            let mut back: Vec<u32> = Vec::new();
            for id in noised {
                match id {
                    MASK => back.extend(spans.next().expect("a span a mask").map(|i| i as u32)),
                    id => back.push(id),
                }
            }
            prop_assert!(spans.next().is_none());
            prop_assert_eq!(back, text);
        }
    }

    #[test]
    fn the_mean_share_is_the_ratio_and_every_place_is_as_likely() {
        let options = TaskOptions::default();
        let (n, rounds) = (50usize, 4000u64);
        let mut hits = vec![0u32; n];
        for seed in 0..rounds {
            for span in spans(n, &options, Key::new(seed)) {
                span.for_each(|i| hits[i] += 1);
            }
        }
        let share = hits.iter().sum::<u32>() as f64 / (n as f64 * rounds as f64);
        assert!((share - 0.15).abs() < 0.003, "{share}");
        // The two ends are reached by fewer spans; everywhere else the share is even.
        let inner = &hits[5..45];
        let mean = inner.iter().sum::<u32>() as f64 / inner.len() as f64;
        assert!(
            inner
                .iter()
                .all(|&hit| (hit as f64 / mean - 1.0).abs() < 0.25),
            "{hits:?}"
        );
    }

    #[test]
    fn fixed_spans_have_the_mean_length() {
        let options = TaskOptions {
            span_law: SpanLaw::Fixed,
            span_mean: 5.0,
            ..TaskOptions::default()
        };
        let spans = spans(200, &options, Key::new(3));
        assert!(spans.iter().all(|span| span.len() == 5));
        assert_eq!(spans.len(), 6);
    }
}
