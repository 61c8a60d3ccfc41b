//! Self-critical training (Rennie et al. 2017): a model learns from what it says itself, by how good it is. The paper has no such stage; ours.
//!
//! Of every sample some texts are drawn from the model. Each is rewarded by its CIDEr-D against the sample's own targets, and its words weigh
//! its reward above the mean of the others drawn beside it (the baseline of Luo 2020, which needs no greedy text). The gradient of the weighed
//! loss is then the policy gradient of the expected reward, as far as texts are drawn from what is learned: at temperature 1, without dropout,
//! and but for the special tokens, which are never drawn. CIDEr counts the model's word pieces, for Chinese its characters, and the end
//! token as one of them: without it texts that break off in the middle are rewarded as if they had ended.

use crate::cider::CiderReward;
use crate::error::{Error, Result};
use crate::ngrams::Sentences;
use m6_data::tasks::{Example, Layout};
use m6_data::{Batch, Sample};
use m6_model::{GenerateOptions, Generated, Model, Prompt};

/// How a model is told what its own texts are worth.
pub struct SelfCritical {
    reward: CiderReward,
    layout: Layout,
    options: GenerateOptions,
    n_texts: usize,
}

/// A batch of the model's own texts.
#[derive(Clone, Debug)]
pub struct Told {
    /// The samples of the given batch with the texts drawn; every label weighs its text's advantage.
    pub batch: Batch,
    /// Sum of the rewards of the texts.
    pub reward: f64,
    /// How many texts there are.
    pub n_texts: usize,
}

impl SelfCritical {
    /// Texts drawn of each sample (`n_texts`, at least 2) as `options` say, but for their seed and streams; `references` are the targets of the
    /// training samples, from which the rarity of n-grams is taken.
    ///
    /// # Errors
    /// [`Error::Reward`] for options that draw nothing different, or no text to compare with.
    pub fn new(
        references: Vec<Vec<Vec<u32>>>,
        layout: Layout,
        options: GenerateOptions,
        n_texts: usize,
    ) -> Result<Self> {
        let problem = match () {
            () if n_texts < 2 => Some(format!(
                "{n_texts} texts a sample; two at least are compared"
            )),
            () if options.temperature <= 0.0 || options.beams > 1 => {
                Some("texts must be drawn: temperature above 0, one beam".to_owned())
            }
            () if references.iter().all(Vec::is_empty) => {
                Some("the data has no texts to compare with".to_owned())
            }
            () => None,
        };
        if let Some(problem) = problem {
            return Err(Error::Reward(problem));
        }
        let eos = options.eos;
        let ended = |texts: Vec<Vec<u32>>| texts.iter().map(|text| ended(text, eos)).collect();
        Ok(Self {
            reward: CiderReward::new(references.into_iter().map(ended).collect()),
            layout,
            options,
            n_texts,
        })
    }

    /// Replaces the targets of a batch by texts that `model` draws, weighed. The same for the same weights, batch and seed.
    ///
    /// # Errors
    /// A batch that writes something else than texts, or texts that cannot be drawn.
    pub fn tell(&self, model: &Model, batch: &Batch, seed: u64) -> Result<Told> {
        let samples = batch.samples().map_err(|e| Error::Reward(e.to_string()))?;
        let drawn = self.draw(model, &samples, seed)?;
        let mut told = Batch {
            n_rows: batch.n_rows,
            ..Batch::default()
        };
        let mut sum = 0.0;
        for (sample, drawn) in samples.iter().zip(drawn.chunks_exact(self.n_texts)) {
            let rewards = self.rewards(sample, drawn);
            sum += rewards.iter().sum::<f64>();
            self.push(&mut told, sample, drawn, &advantages(&rewards));
        }
        Ok(Told {
            batch: told,
            reward: sum,
            n_texts: drawn.len(),
        })
    }

    /// The texts of all samples, those of one behind each other.
    fn draw(&self, model: &Model, samples: &[Sample<'_>], seed: u64) -> Result<Vec<Generated>> {
        let prompts = samples.iter().flat_map(|sample| {
            let prompt = Prompt {
                pictures: sample.pictures.concat(),
                source: sample.source.clone(),
                ..Prompt::default()
            };
            std::iter::repeat_n(prompt, self.n_texts)
        });
        let prompts: Vec<Prompt> = prompts.collect();
        let options = GenerateOptions {
            seed,
            streams: (0..prompts.len() as u64).collect(),
            ..self.options.clone()
        };
        m6_model::generate(model, &prompts, &options, &mut |_, _| true)
            .map_err(|e| Error::Reward(e.to_string()))
    }

    fn rewards(&self, sample: &Sample<'_>, drawn: &[Generated]) -> Vec<f64> {
        let eos = self.options.eos;
        let references: Vec<Vec<u32>> = sample.targets.iter().map(|t| ended(t, eos)).collect();
        let reward = |text: &Generated| {
            self.reward.of(&Sentences {
                candidate: match text.finished {
                    true => ended(&text.ids, eos),
                    false => text.ids.clone(),
                },
                references: references.clone(),
            })
        };
        drawn.iter().map(reward).collect()
    }

    fn push(&self, told: &mut Batch, sample: &Sample<'_>, drawn: &[Generated], advantages: &[f64]) {
        let example = Example {
            images: (0..sample.pictures.len()).collect(),
            source: sample.source.clone(),
            targets: drawn.iter().map(|text| text.ids.clone()).collect(),
            ..Example::default()
        };
        let pictures = sample.pictures.iter().copied();
        told.push(&example, pictures, &self.layout, sample.task, sample.from);
        for (text, &advantage) in drawn.iter().zip(advantages) {
            let words = std::iter::repeat_n(advantage as f32, text.ids.len());
            // A text that a limit broke off did not choose its end.
            let end = if text.finished { advantage as f32 } else { 0.0 };
            told.weights.extend(words.chain([end]));
        }
    }
}

/// A text with its end token.
fn ended(text: &[u32], eos: u32) -> Vec<u32> {
    text.iter().copied().chain([eos]).collect()
}

/// Each reward above the mean of the others; they sum to 0.
fn advantages(rewards: &[f64]) -> Vec<f64> {
    let n = rewards.len() as f64;
    let sum: f64 = rewards.iter().sum();
    let above = |&reward: &f64| reward - (sum - reward) / (n - 1.0);
    rewards.iter().map(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_model::ModelConfig;

    const PIXELS: usize = 3 * 8 * 8;

    fn layout() -> Layout {
        let config = m6_data::DataConfig {
            image_side: 8,
            grid: 2,
            max_text: 12,
            ..m6_data::DataConfig::default()
        };
        let special = m6_text::Special {
            pad: 0,
            unk: 1,
            cls: 2,
            sep: 3,
            mask: 4,
        };
        Layout::new(&config, special)
    }

    fn model() -> Model {
        let mut config = ModelConfig {
            vocab_size: 20,
            d_model: 16,
            n_layers: 1,
            n_heads: 2,
            d_ff: 32,
            max_len: 16,
            ..ModelConfig::default()
        };
        config.patches.kind = m6_model::PatchKind::Linear;
        (config.patches.image_side, config.patches.grid) = (8, 2);
        Model::new(&config, 1).expect("a small model")
    }

    fn batch(layout: &Layout) -> Batch {
        let mut batch = Batch::default();
        let pictures = [[7u8; PIXELS], [200u8; PIXELS]];
        for (picture, targets) in pictures
            .iter()
            .zip([vec![vec![5, 6, 7], vec![5, 8]], vec![vec![9, 9]]])
        {
            let example = Example {
                images: vec![0],
                targets,
                ..Example::default()
            };
            batch.push(&example, [&picture[..]], layout, 2, 0);
        }
        batch
    }

    fn teacher(layout: &Layout, n_texts: usize) -> Result<SelfCritical> {
        let references = vec![vec![vec![5, 6, 7], vec![5, 8]], vec![vec![9, 9]]];
        let options = GenerateOptions {
            max_tokens: 6,
            temperature: 1.0,
            banned: vec![0, 1, 2, 4],
            ..GenerateOptions::default()
        };
        SelfCritical::new(references, layout.clone(), options, n_texts)
    }

    #[test]
    fn texts_of_the_model_stand_in_the_place_of_the_targets_with_weights_that_sum_to_nothing() {
        let (layout, model) = (layout(), model());
        let told = teacher(&layout, 4).and_then(|t| t.tell(&model, &batch(&layout), 3));
        let told = told.expect("told");
        let samples = told.batch.samples().expect("texts");
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[1].pictures, [&[200u8; PIXELS][..]]);
        assert!(samples.iter().all(|sample| sample.targets.len() == 4));
        assert_eq!(told.batch.weights.len(), told.batch.labels.len());
        assert!(told.batch.weights.iter().any(|&weight| weight != 0.0));
        let (mut at, mut n_cut) = (0, 0);
        for sample in &samples {
            let mut sum = 0.0;
            for target in &sample.targets {
                let weights = &told.batch.weights[at..=at + target.len()];
                let (end, words) = weights.split_last().expect("an end");
                // Six words are all that may be drawn: a text that has them was cut, and its end was not chosen.
                let is_cut = target.len() == 6;
                assert!(words.iter().all(|weight| weight == &weights[0]));
                assert!(*end == if is_cut { 0.0 } else { weights[0] }, "{weights:?}");
                sum += weights[0];
                n_cut += usize::from(is_cut);
                at += weights.len();
            }
            assert!(sum.abs() < 1e-4, "advantages of a sample sum to {sum}");
        }
        assert!((1..8).contains(&n_cut), "{n_cut} of 8 texts were cut");
        assert_eq!(at, told.batch.labels.len());
        let again = teacher(&layout, 4).and_then(|t| t.tell(&model, &batch(&layout), 3));
        assert_eq!(again.expect("told").batch, told.batch);
        let other = teacher(&layout, 4).and_then(|t| t.tell(&model, &batch(&layout), 4));
        assert_ne!(other.expect("told").batch, told.batch);
    }

    #[test]
    fn the_better_text_is_above_the_mean_of_the_others() {
        assert_eq!(advantages(&[3.0, 0.0, 0.0]), [3.0, -1.5, -1.5]);
        let layout = layout();
        let teacher = teacher(&layout, 2).expect("a teacher");
        let batch = batch(&layout);
        let samples = batch.samples().expect("texts");
        let text = |ids: &[u32], finished| Generated {
            ids: ids.to_vec(),
            finished,
            ..Generated::default()
        };
        let drawn = [
            text(&[5, 6, 7], true),
            text(&[5, 6, 7], false),
            text(&[9], true),
        ];
        let rewards = teacher.rewards(&samples[0], &drawn);
        assert!(rewards[0] > rewards[1], "the end counts: {rewards:?}");
        assert!(rewards[1] > rewards[2], "{rewards:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let layout = layout();
        assert!(teacher(&layout, 1).is_err());
        let greedy = GenerateOptions::default();
        assert!(SelfCritical::new(vec![vec![vec![5]]], layout.clone(), greedy.clone(), 4).is_err());
        let drawing = GenerateOptions {
            temperature: 1.0,
            ..greedy
        };
        assert!(SelfCritical::new(vec![], layout, drawing, 4).is_err());
    }
}
