//! Ranking the first candidates again: by a match head, or by how much likelier a captioner finds a text for a picture than for others.

use super::common as shared;
use super::eval_items::{self, Item, PairArgs};
use crate::cli::Common;
use crate::error::{OrFail, Result};
use crate::out::Terminal;
use m6_model::{MatchPair, Prompt, score_targets};
use m6_train::LoadedModel;
use std::collections::BTreeMap;
use std::path::Path;

/// Pictures over which the likelihood of a text as such is averaged.
const N_PRIOR: usize = 16;

/// Who ranks again.
pub enum Kind {
    /// A match head reads picture and text together.
    Match,
    /// A captioner tells how likely the text is.
    Likelihood,
}

/// A model that ranks again, with the records as it reads them: another vocabulary or picture size reads them its own way.
pub struct Judge<'a> {
    kind: Kind,
    model: &'a LoadedModel,
    items: Vec<Item>,
    /// Log probability of the texts of every record as such; empty for a match head.
    prior: Vec<Vec<f64>>,
}

/// A text: its record, and its number there.
pub type TextRef = (usize, usize);

impl<'a> Judge<'a> {
    /// Loads nothing but the records.
    pub fn new(
        kind: Kind,
        model: &'a LoadedModel,
        pairs: &PairArgs,
        common: &Common,
        terminal: &Terminal,
    ) -> Result<Self> {
        let items = eval_items::read(pairs, common, model, terminal)?;
        let mut judge = Self {
            kind,
            model,
            items,
            prior: Vec::new(),
        };
        if let Kind::Likelihood = judge.kind {
            judge.prior = judge.prior(terminal)?;
        }
        Ok(judge)
    }

    /// The mean of the likelihoods that each text has under some of the pictures, spread over all of them.
    fn prior(&self, terminal: &Terminal) -> Result<Vec<Vec<f64>>> {
        let n = N_PRIOR.min(self.items.len());
        let texts = self.items.iter().enumerate();
        let texts = texts.flat_map(|(i, item)| (0..item.texts.len()).map(move |k| (i, k)));
        let texts: Vec<TextRef> = texts.collect();
        let mut bar = terminal.progress(n as u64, "prior");
        let mut under = vec![Vec::with_capacity(n); texts.len()];
        for i in 0..n {
            let scores = self.likelihoods(i * self.items.len() / n, &texts)?;
            for (under, score) in under.iter_mut().zip(scores) {
                under.push(score);
            }
            bar.at(i as u64 + 1, "");
        }
        bar.finish();
        let mut prior: Vec<Vec<f64>> = vec![Vec::new(); self.items.len()];
        for ((record, _), under) in texts.iter().zip(under) {
            prior[*record].push(log_mean_exp(&under));
        }
        Ok(prior)
    }

    /// Log probabilities in nats of texts with their ends, after a picture that is read once.
    fn likelihoods(&self, picture: usize, texts: &[TextRef]) -> Result<Vec<f64>> {
        let marks = self.model.tokenizer.special();
        let prompt = Prompt {
            pictures: self.items[picture].picture.clone(),
            ..Prompt::default()
        };
        let ended = |&(record, k): &TextRef| {
            let text = self.items[record].texts[k].iter().copied();
            text.chain([marks.sep]).collect()
        };
        let targets: Vec<Vec<u32>> = texts.iter().map(ended).collect();
        score_targets(&self.model.model, &prompt, marks.cls, &targets).or_usage()
    }

    /// How well each text goes with a picture.
    fn scores(&self, picture: usize, texts: &[TextRef], batch: usize) -> Result<Vec<f64>> {
        if let Kind::Likelihood = self.kind {
            let scores = self.likelihoods(picture, texts)?;
            let prior = texts.iter().map(|&(record, k)| self.prior[record][k]);
            return Ok(scores
                .iter()
                .zip(prior)
                .map(|(score, own)| score - own)
                .collect());
        }
        let begin = self.model.tokenizer.special().cls;
        let mut scores = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(batch) {
            let pair = |&(record, k): &TextRef| MatchPair {
                pictures: &self.items[picture].picture,
                text: &self.items[record].texts[k],
            };
            let pairs: Vec<MatchPair> = chunk.iter().map(pair).collect();
            let found = self.model.model.match_scores(&pairs, begin).or_usage()?;
            scores.extend(found.into_iter().map(f64::from));
        }
        Ok(scores)
    }

    /// Orders the first `n` candidates of every query by how well picture and text go together; equal ones stay as they were. `pair` gives
    /// picture and text of a query and a candidate.
    pub fn rerank(
        &self,
        rankings: &mut [Vec<usize>],
        pair: &dyn Fn(usize, usize) -> (usize, TextRef),
        n: usize,
        batch: usize,
        terminal: &Terminal,
    ) -> Result<()> {
        // Every picture is read once for all the texts it is held against: query and place of each.
        let mut of_picture: BTreeMap<usize, Vec<(usize, usize, TextRef)>> = BTreeMap::new();
        for (query, ranking) in rankings.iter().enumerate() {
            for (place, candidate) in ranking.iter().take(n).enumerate() {
                let (picture, text) = pair(query, *candidate);
                let asked = of_picture.entry(picture).or_default();
                asked.push((query, place, text));
            }
        }
        let mut scores: Vec<Vec<f64>> =
            rankings.iter().map(|r| vec![0.0; n.min(r.len())]).collect();
        let mut bar = terminal.progress(of_picture.len() as u64, "rerank");
        for (i, (picture, asked)) in of_picture.into_iter().enumerate() {
            let texts: Vec<TextRef> = asked.iter().map(|(_, _, text)| *text).collect();
            let found = self.scores(picture, &texts, batch)?;
            for ((query, place, _), score) in asked.into_iter().zip(found) {
                scores[query][place] = score;
            }
            bar.at(i as u64 + 1, "");
        }
        bar.finish();
        for (ranking, scores) in rankings.iter_mut().zip(scores) {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let first: Vec<usize> = order.into_iter().map(|i| ranking[i]).collect();
            ranking[..first.len()].copy_from_slice(&first);
        }
        Ok(())
    }
}

/// Loads the model that ranks again, if one is named.
pub fn load(path: Option<&Path>, terminal: &Terminal) -> Result<Option<LoadedModel>> {
    path.map(|path| shared::load_model(path, terminal))
        .transpose()
}

fn log_mean_exp(x: &[f64]) -> f64 {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
    largest + (sum / x.len().max(1) as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_likelihoods_is_taken_without_underflow() {
        assert!((log_mean_exp(&[-1000.0, -1000.0]) + 1000.0).abs() < 1e-12);
        let mean = (0.5 + 0.25_f64) / 2.0;
        assert!((log_mean_exp(&[0.5_f64.ln(), 0.25_f64.ln()]) - mean.ln()).abs() < 1e-12);
    }
}
