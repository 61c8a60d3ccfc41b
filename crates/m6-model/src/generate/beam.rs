//! Beam search: the likeliest whole texts instead of the likeliest next words.

use super::decoder::{Decoder, Lane};
use super::pick::{Picker, likeliest, log_sum_exp};
use super::rules::{Rule, Text};
use super::{GenerateOptions, Generated, Prompt, Read, read_all};
use crate::error::Result;
use m6_nn::threads::on_pool;
use rayon::prelude::*;

/// A text that is still growing.
struct Hypothesis {
    lane: Lane,
    logits: Vec<f32>,
    ids: Vec<u32>,
    logprob: f64,
}

/// The search of one prompt.
struct Search {
    target: Vec<u32>,
    limit: usize,
    live: Vec<Hypothesis>,
    done: Vec<Generated>,
    open: bool,
}

/// Searches all prompts together; each is decided as if it were alone.
pub(super) fn search(
    decoder: &Decoder<'_>,
    prompts: &[Prompt],
    rules: &[&dyn Rule],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<Vec<Generated>> {
    let picker = Picker::new(options, decoder.vocab_size());
    let mut searches = Vec::with_capacity(prompts.len());
    for (prompt, read) in prompts.iter().zip(read_all(decoder, prompts, options)?) {
        let limit = options.limit(decoder.config(), prompt);
        searches.push(Search::start(read, prompt, limit));
    }
    let mut results = vec![Generated::default(); prompts.len()];
    while searches.iter().any(|search| search.open) {
        let mut open: Vec<(usize, &mut Search)> = searches.iter_mut().enumerate().collect();
        open.retain(|(_, search)| search.open);
        on_pool(|| {
            open.par_iter_mut().for_each(|(i, search)| {
                search.advance(&picker, rules.get(*i).copied(), options);
            });
        });
        for (i, search) in open.into_iter().filter(|(_, search)| !search.open) {
            results[i] = search.best(options);
            // The text is decided, so that a listener who stops only hears no more of it.
            let _ = results[i].ids.iter().all(|&id| on_token(i, id));
        }
        step(decoder, &mut searches)?;
    }
    Ok(results)
}

/// Computes the logits of every growing text in one call.
fn step(decoder: &Decoder<'_>, searches: &mut [Search]) -> Result<()> {
    let live = searches
        .iter_mut()
        .filter(|search| search.open)
        .flat_map(|search| &mut search.live);
    let mut live: Vec<&mut Hypothesis> = live.collect();
    if live.is_empty() {
        return Ok(());
    }
    let tokens: Vec<u32> = live.iter().filter_map(|h| h.ids.last().copied()).collect();
    let mut lanes: Vec<&mut Lane> = live.iter_mut().map(|h| &mut h.lane).collect();
    let logits = decoder.step(&mut lanes, &tokens)?;
    for (hypothesis, logits) in live
        .iter_mut()
        .zip(logits.chunks_exact(decoder.vocab_size()))
    {
        hypothesis.logits.clear();
        hypothesis.logits.extend_from_slice(logits);
    }
    Ok(())
}

impl Search {
    fn start((lane, logits): Read, prompt: &Prompt, limit: usize) -> Self {
        let first = Hypothesis {
            lane,
            logits,
            ids: Vec::new(),
            logprob: 0.0,
        };
        Self {
            target: prompt.target.clone(),
            limit,
            live: vec![first],
            done: Vec::new(),
            open: limit > 0,
        }
    }

    /// Extends every growing text by one word and keeps the best.
    fn advance(&mut self, picker: &Picker, rule: Option<&dyn Rule>, options: &GenerateOptions) {
        let mut kept = Vec::new();
        // Twice as many as beams, so that enough remain when all the best ones end here.
        for (rank, (logprob, parent, id)) in self
            .candidates(picker, rule, 2 * options.beams)
            .into_iter()
            .enumerate()
        {
            if id == options.eos {
                // An end that is not among the best may not crowd out texts that go on.
                if rank < options.beams {
                    let ids = self.live[parent].ids.clone();
                    self.done.push(Generated {
                        ids,
                        logprob,
                        finished: true,
                    });
                }
            } else if kept.len() < options.beams {
                kept.push((logprob, parent, id));
            }
        }
        self.live = grow(std::mem::take(&mut self.live), &kept);
        self.done
            .sort_by(|a, b| score(b, options).total_cmp(&score(a, options)));
        self.done.truncate(options.beams);
        let n_words = self.live.first().map_or(self.limit, |h| h.ids.len());
        self.open = n_words < self.limit && !self.is_decided(options);
    }

    /// The best continuations `(logprob, parent, word)` of all growing texts, at most `n`.
    fn candidates(
        &self,
        picker: &Picker,
        rule: Option<&dyn Rule>,
        n: usize,
    ) -> Vec<(f64, usize, u32)> {
        let mut all = Vec::new();
        for (parent, hypothesis) in self.live.iter().enumerate() {
            let total = log_sum_exp(&hypothesis.logits);
            let ids = [self.target.as_slice(), &hypothesis.ids].concat();
            let text = Text {
                ids: &ids,
                n_given: self.target.len(),
            };
            let allowed = picker.allowed(text, rule);
            for id in likeliest(&hypothesis.logits, &allowed, n) {
                let logprob = f64::from(hypothesis.logits[id as usize]) - total;
                all.push((hypothesis.logprob + logprob, parent, id));
            }
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        all.truncate(n);
        all
    }

    /// Whether the search may stop: as many ends as beams, and the best growing text, scored at the length it would have if it
    /// ended now, is no better than the worst of them (the usual rule; exact unless longer texts are favoured).
    fn is_decided(&self, options: &GenerateOptions) -> bool {
        let (Some(best), Some(worst)) = (self.live.first(), self.done.last()) else {
            return self.live.is_empty();
        };
        if self.done.len() < options.beams {
            return false;
        }
        let length = best.ids.len() + 1;
        best.logprob / (length as f64).powf(options.length_penalty) <= score(worst, options)
    }

    fn best(&mut self, options: &GenerateOptions) -> Generated {
        let cut = |h: Hypothesis| Generated {
            ids: h.ids,
            logprob: h.logprob,
            finished: false,
        };
        self.done
            .extend(std::mem::take(&mut self.live).into_iter().map(cut));
        // Of equals the earlier one wins, and ended texts come before cut ones.
        let better = |a: Generated, b: Generated| {
            if score(&b, options) > score(&a, options) {
                b
            } else {
                a
            }
        };
        std::mem::take(&mut self.done)
            .into_iter()
            .reduce(better)
            .unwrap_or_default()
    }
}

/// `logprob / length^length_penalty`, the end token counted.
fn score(text: &Generated, options: &GenerateOptions) -> f64 {
    let length = (text.ids.len() + usize::from(text.finished)).max(1);
    text.logprob / (length as f64).powf(options.length_penalty)
}

/// The kept continuations as texts; a cache is copied only when its text goes on in more than one way.
fn grow(parents: Vec<Hypothesis>, kept: &[(f64, usize, u32)]) -> Vec<Hypothesis> {
    let mut uses = vec![0usize; parents.len()];
    for &(_, parent, _) in kept {
        uses[parent] += 1;
    }
    let mut parents: Vec<Option<Hypothesis>> = parents.into_iter().map(Some).collect();
    let mut grown = Vec::with_capacity(kept.len());
    for &(logprob, parent, id) in kept {
        uses[parent] -= 1;
        let slot = &mut parents[parent];
        let lane = match uses[parent] {
            0 => slot.take().map(|h| (h.lane, h.ids)),
            _ => slot.as_ref().map(|h| (h.lane.clone(), h.ids.clone())),
        };
        if let Some((lane, mut ids)) = lane {
            ids.push(id);
            grown.push(Hypothesis {
                lane,
                logits: Vec::new(),
                ids,
                logprob,
            });
        }
    }
    grown
}
