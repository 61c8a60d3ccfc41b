//! Choosing one word from logits.

use super::GenerateOptions;
use super::rules::{Allowed, Length, Next, NoRepeat, Rule, Text};
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
    no_repeat: NoRepeat,
    /// Present when the options ask for a least length.
    length: Option<Length>,
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
            no_repeat: NoRepeat(options.no_repeat_ngram),
            length: (options.min_tokens > 0)
                .then(|| Length::words(options.min_tokens..=usize::MAX, options.eos)),
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
        }
    }

    /// What may follow `text`, whatever its logit: the options' own rules, and `rule` where there is one.
    pub fn allowed<'a>(&'a self, text: Text<'_>, rule: Option<&'a dyn Rule>) -> Allowed<'a> {
        let mut next = self.no_repeat.next(text);
        for rule in self.length.iter().map(|l| l as &dyn Rule).chain(rule) {
            next = next.and(rule.next(text));
        }
        Allowed {
            banned: &self.banned,
            next,
        }
    }

    /// A word and its log probability under the unchanged logits; none when every word is forbidden.
    pub fn pick(
        &self,
        logits: &[f32],
        allowed: &Allowed<'_>,
        stream: &mut Stream,
    ) -> Option<(u32, f64)> {
        let id = self.choose(logits, allowed, stream)?;
        Some((id, f64::from(logits[id as usize]) - log_sum_exp(logits)))
    }

    /// The word alone.
    pub fn choose(
        &self,
        logits: &[f32],
        allowed: &Allowed<'_>,
        stream: &mut Stream,
    ) -> Option<u32> {
        match self.temperature == 0.0 {
            true => likeliest(logits, allowed, 1).first().copied(),
            false => self.sample(logits, allowed, stream),
        }
    }

    /// What [`Picker::allowed`] gives where no text bears on it.
    pub fn unbound(&self) -> Allowed<'_> {
        Allowed {
            banned: &self.banned,
            next: Next::Any,
        }
    }

    fn sample(&self, logits: &[f32], allowed: &Allowed<'_>, stream: &mut Stream) -> Option<u32> {
        let n = if self.top_k == 0 {
            logits.len()
        } else {
            self.top_k
        };
        let mut ids = likeliest(logits, allowed, n);
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

/// The `n` likeliest allowed words in order, the lower id first among equals.
pub(super) fn likeliest(logits: &[f32], allowed: &Allowed<'_>, n: usize) -> Vec<u32> {
    let logit = |id: u32| {
        logits
            .get(id as usize)
            .copied()
            .unwrap_or(f32::NEG_INFINITY)
    };
    let mut ids = allowed.ids();
    ids.retain(|&id| logit(id) > f32::NEG_INFINITY);
    let by_logit = |a: &u32, b: &u32| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b));
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

#[cfg(test)]
mod tests {
    use super::super::rules::Choices;
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
        let plain = picker(GenerateOptions::default());
        let (id, logprob) = plain
            .pick(&LOGITS, &plain.unbound(), &mut stream)
            .expect("a word");
        assert_eq!(id, 1);
        let z: f64 = LOGITS.iter().map(|&x| f64::from(x).exp()).sum();
        assert!((logprob - (2.0 - z.ln())).abs() < 1e-12);
        let banned = picker(GenerateOptions {
            banned: vec![1, 3],
            ..GenerateOptions::default()
        });
        let text = Text::default();
        let mut choose = |picker: &Picker, rule| {
            picker.choose(&LOGITS, &picker.allowed(text, rule), &mut stream)
        };
        assert_eq!(choose(&banned, None), Some(2));
        let all = picker(GenerateOptions {
            banned: vec![0, 1, 2, 3, 4],
            ..GenerateOptions::default()
        });
        assert_eq!(choose(&all, None), None);
        let rule = Choices::new(&[vec![0], vec![1], vec![4]], 2).expect("choices");
        assert_eq!(choose(&plain, Some(&rule)), Some(1));
        assert_eq!(choose(&banned, Some(&rule)), Some(0));
        // The end is word 3, which two words must come before.
        let long = picker(GenerateOptions {
            min_tokens: 1,
            banned: vec![0, 1, 2, 4],
            ..GenerateOptions::default()
        });
        assert_eq!(choose(&long, None), None);
    }

    fn draw(options: GenerateOptions, n: u64) -> BTreeMap<u32, usize> {
        let picker = picker(options);
        let mut seen = BTreeMap::new();
        for i in 0..n {
            let picked = picker.choose(&LOGITS, &picker.unbound(), &mut Key::new(3).at(i).stream());
            *seen.entry(picked.expect("a word")).or_default() += 1;
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
