//! Choosing one word from logits.

use super::GenerateOptions;
use m6_store::rng::Stream;

/// Logarithm of the sum of exponentials, in f64.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let max = f64::from(max);
    max + logits
        .iter()
        .map(|&x| (f64::from(x) - max).exp())
        .sum::<f64>()
        .ln()
}

/// Chooses words by the options of one call.
pub(super) struct Picker {
    banned: Vec<bool>,
    no_repeat_ngram: usize,
    temperature: f64,
    top_k: usize,
    top_p: f64,
}

impl Picker {
    pub fn new(options: &GenerateOptions, vocab_size: usize) -> Self {
        let mut banned = vec![false; vocab_size];
        for &id in &options.banned {
            if let Some(slot) = banned.get_mut(id as usize) {
                *slot = true;
            }
        }
        Self {
            banned,
            no_repeat_ngram: options.no_repeat_ngram,
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
        }
    }

    /// A word and its log probability under the unchanged logits; none when every word is forbidden.
    pub fn pick(&self, logits: &[f32], text: &[u32], stream: &mut Stream) -> Option<(u32, f64)> {
        let id = self.choose(logits, text, stream)?;
        Some((id, f64::from(logits[id as usize]) - log_sum_exp(logits)))
    }

    /// The word alone.
    pub fn choose(&self, logits: &[f32], text: &[u32], stream: &mut Stream) -> Option<u32> {
        match self.temperature == 0.0 {
            true => self.likeliest(logits, text, 1).first().copied(),
            false => self.sample(logits, text, stream),
        }
    }

    /// The `n` likeliest allowed words in order, the lower id first among equals.
    pub fn likeliest(&self, logits: &[f32], text: &[u32], n: usize) -> Vec<u32> {
        let allowed = self.allowed(text);
        let usable = |&id: &u32| logits[id as usize] > f32::NEG_INFINITY && allowed(id);
        let mut ids: Vec<u32> = (0..logits.len() as u32).filter(usable).collect();
        let by_logit = |a: &u32, b: &u32| {
            logits[*b as usize]
                .total_cmp(&logits[*a as usize])
                .then(a.cmp(b))
        };
        if n == 0 || ids.is_empty() {
            return Vec::new();
        }
        if n < ids.len() {
            ids.select_nth_unstable_by(n - 1, by_logit);
            ids.truncate(n);
        }
        ids.sort_unstable_by(by_logit);
        ids
    }

    /// Whether a word may follow `text`, whatever its logit.
    pub fn allowed(&self, text: &[u32]) -> impl Fn(u32) -> bool + Sync {
        let repeated = repeats(text, self.no_repeat_ngram);
        move |id| !self.banned[id as usize] && !repeated.contains(&id)
    }

    fn sample(&self, logits: &[f32], text: &[u32], stream: &mut Stream) -> Option<u32> {
        let n = if self.top_k == 0 {
            logits.len()
        } else {
            self.top_k
        };
        let mut ids = self.likeliest(logits, text, n);
        let max = f64::from(logits[*ids.first()? as usize]);
        let weight = |id: &u32| ((f64::from(logits[*id as usize]) - max) / self.temperature).exp();
        let mut weights: Vec<f64> = ids.iter().map(weight).collect();
        self.cut_to_top_p(&mut ids, &mut weights);
        let mut left = stream.f64() * weights.iter().sum::<f64>();
        for (id, w) in ids.iter().zip(&weights) {
            left -= w;
            if left < 0.0 {
                return Some(*id);
            }
        }
        // Rounding may leave a crumb after the last word.
        ids.last().copied()
    }

    /// Keeps the fewest leading words whose share reaches `top_p`.
    fn cut_to_top_p(&self, ids: &mut Vec<u32>, weights: &mut Vec<f64>) {
        if self.top_p >= 1.0 {
            return;
        }
        let wanted = self.top_p * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let reached = weights.iter().position(|w| {
            sum += w;
            sum >= wanted
        });
        let keep = reached.map_or(weights.len(), |i| i + 1);
        ids.truncate(keep);
        weights.truncate(keep);
    }
}

/// Words that would complete a sequence of `n` words which `text` already holds.
fn repeats(text: &[u32], n: usize) -> Vec<u32> {
    if n == 0 || text.len() < n {
        return Vec::new();
    }
    let tail = &text[text.len() + 1 - n..];
    text.windows(n)
        .filter(|window| window[..n - 1] == *tail)
        .map(|window| window[n - 1])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_store::rng::Key;
    use std::collections::BTreeMap;

    fn picker(options: GenerateOptions) -> Picker {
        Picker::new(&options, 5)
    }

    const LOGITS: [f32; 5] = [0.0, 2.0, 1.0, 2.0, -1.0];

    #[test]
    fn greedy_takes_the_lowest_of_equals_and_respects_bans() {
        let mut stream = Key::new(1).stream();
        let plain = picker(GenerateOptions::default()).pick(&LOGITS, &[], &mut stream);
        let (id, logprob) = plain.expect("a word");
        assert_eq!(id, 1);
        let z: f64 = LOGITS.iter().map(|&x| f64::from(x).exp()).sum();
        assert!((logprob - (2.0 - z.ln())).abs() < 1e-12);
        let banned = picker(GenerateOptions {
            banned: vec![1, 3],
            ..GenerateOptions::default()
        });
        assert_eq!(banned.pick(&LOGITS, &[], &mut stream).map(|p| p.0), Some(2));
        let all = picker(GenerateOptions {
            banned: vec![0, 1, 2, 3, 4],
            ..GenerateOptions::default()
        });
        assert_eq!(all.pick(&LOGITS, &[], &mut stream), None);
    }

    #[test]
    fn ngrams_do_not_repeat() {
        assert_eq!(repeats(&[7, 8, 9, 7, 8], 3), [9]);
        assert_eq!(repeats(&[7, 8, 7], 2), [8]);
        assert_eq!(repeats(&[7, 8], 1), [7, 8]);
        assert!(repeats(&[7], 2).is_empty());
        assert!(repeats(&[7, 8, 9], 0).is_empty());
    }

    fn draw(options: GenerateOptions, n: u64) -> BTreeMap<u32, usize> {
        let picker = picker(options);
        let mut seen = BTreeMap::new();
        for i in 0..n {
            let picked = picker.pick(&LOGITS, &[], &mut Key::new(3).at(i).stream());
            *seen.entry(picked.expect("a word").0).or_default() += 1;
        }
        seen
    }

    #[test]
    fn samples_follow_the_softmax() {
        let n = 20_000;
        let seen = draw(
            GenerateOptions {
                temperature: 1.0,
                ..GenerateOptions::default()
            },
            n,
        );
        let z: f64 = LOGITS.iter().map(|&x| f64::from(x).exp()).sum();
        for (id, &logit) in LOGITS.iter().enumerate() {
            let share = seen.get(&(id as u32)).copied().unwrap_or(0) as f64 / n as f64;
            let expected = f64::from(logit).exp() / z;
            assert!(
                (share - expected).abs() < 0.015,
                "word {id}: {share} instead of {expected}"
            );
        }
    }

    #[test]
    fn cuts_keep_the_likeliest() {
        let base = GenerateOptions {
            temperature: 1.0,
            ..GenerateOptions::default()
        };
        let ids = |options| draw(options, 500).into_keys().collect::<Vec<_>>();
        assert_eq!(
            ids(GenerateOptions {
                top_k: 3,
                ..base.clone()
            }),
            [1, 2, 3]
        );
        // The two likeliest hold 80 % together.
        assert_eq!(
            ids(GenerateOptions {
                top_p: 0.75,
                ..base.clone()
            }),
            [1, 3]
        );
        assert_eq!(ids(GenerateOptions { top_p: 0.1, ..base }), [1]);
    }
}
