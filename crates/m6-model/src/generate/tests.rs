//! The cached path against the training path, logit by logit.

use super::decoder::{Decoder, Lane};
use super::{GenerateOptions, Prompt, generate};
use crate::config::{ModelConfig, PatchConfig, PatchKind};
use crate::input::ModelInput;
use crate::model::{ForwardOptions, Model};

/// Bound on cached against uncached logits, relative to the largest logit.
const CACHED: f32 = 1e-4;

fn lively() -> Model {
    let cfg = ModelConfig {
        vocab_size: 29,
        d_model: 32,
        n_layers: 3,
        n_heads: 4,
        d_ff: 64,
        max_len: 16,
        patches: PatchConfig {
            kind: PatchKind::Linear,
            grid: 2,
            image_side: 8,
            ..PatchConfig::default()
        },
        ..ModelConfig::default()
    };
    let model = Model::new(&cfg, 3).expect("a valid configuration");
    for param in model.params().iter().filter(|p| p.shape().len() == 2) {
        // The weights as drawn give all words nearly the same logit.
        let scaled = (param.tensor().detach() * 8.0).expect("scales");
        param.var().set(&scaled).expect("same shape");
    }
    model
}

/// Logits `[n, v]` at the target's words, by the training path: one picture, three source words, the target.
fn uncached(model: &Model, prompt: &Prompt, words: &[u32]) -> Vec<f32> {
    let (n_source, n) = (prompt.source.len() as u32, words.len() as u32);
    let n_prefix = 4 + n_source;
    let tokens = [&[0; 4], prompt.source.as_slice(), words].concat();
    let positions: Vec<u32> = (0..4).chain(0..n_source).chain(0..n).collect();
    let segments = [vec![0; 4], vec![1; n_source as usize], vec![2; words.len()]].concat();
    let input = ModelInput {
        tokens: &tokens,
        positions: &positions,
        segments: &segments,
        prefixes: &[[0, n_prefix]],
        targets: &[[0, n_prefix, n_prefix + n]],
        pictures: &prompt.pictures,
        picture_at: &[0],
        ..ModelInput::default()
    };
    let logits = model
        .logits(&input, &ForwardOptions::default())
        .and_then(|t| Ok(t.flatten_all().map_err(m6_nn::Error::from)?));
    let all: Vec<f32> = logits.expect("runs").to_vec1().expect("numbers");
    all[n_prefix as usize * 29..].to_vec()
}

fn assert_near(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let scale = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let worst = got
        .iter()
        .zip(expected)
        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(
        scale > 1.0 && worst / scale <= CACHED,
        "{worst:e} of {scale}"
    );
}

fn prompt() -> Prompt {
    let pictures = (0..192u32).map(|i| (i * i % 251) as u8).collect();
    Prompt {
        pictures,
        source: vec![7, 8, 9],
        target: vec![11],
        ..Prompt::default()
    }
}

#[test]
fn cached_logits_equal_the_training_path_at_every_word() {
    let model = lively();
    let decoder = Decoder::new(&model);
    let words = [2, 11, 12, 13, 14, 15];
    let expected = uncached(&model, &prompt(), &words);
    let (_, at_once) = decoder
        .prefill(&prompt(), &words, 0, words.len())
        .expect("runs");
    assert_near(&at_once, &expected);
    let (mut lane, mut stepwise) = decoder.prefill(&prompt(), &words[..2], 4, 2).expect("runs");
    for &word in &words[2..] {
        let mut lanes: Vec<&mut Lane> = vec![&mut lane];
        stepwise.extend(decoder.step(&mut lanes, &[word]).expect("runs"));
    }
    // One kernel serves both, so that reading at once and word by word agree to the last bit.
    assert!(stepwise == at_once);
}

#[test]
fn generation_says_something() {
    let model = lively();
    let options = GenerateOptions {
        max_tokens: 6,
        banned: vec![3],
        ..GenerateOptions::default()
    };
    let got = generate(&model, &[prompt()], &options, &mut |_, _| true)
        .expect("runs")
        .remove(0);
    assert_eq!(got.ids.len(), 6);
    assert!(got.logprob < 0.0 && got.logprob.is_finite());
}

#[test]
fn a_lone_greedy_prompt_gives_what_it_gives_among_others() {
    let model = lively();
    let other = Prompt {
        target: vec![5, 6],
        ..Prompt::default()
    };
    for (banned, no_repeat_ngram) in [(vec![], 0), (vec![3], 0), (vec![3, 7, 20], 2)] {
        let options = GenerateOptions {
            max_tokens: 14,
            banned,
            no_repeat_ngram,
            ..GenerateOptions::default()
        };
        let write = |prompts: &[Prompt]| {
            let mut heard = Vec::new();
            let mut on_token = |prompt, id| {
                heard.extend((prompt == 0).then_some(id));
                true
            };
            let got = generate(&model, prompts, &options, &mut on_token).expect("runs");
            (got[0].clone(), heard)
        };
        let (alone, heard) = write(&[prompt()]);
        assert_eq!(
            (alone.clone(), heard.clone()),
            write(&[prompt(), other.clone()])
        );
        assert_eq!(alone.ids, heard);
        assert!(alone.logprob < 0.0);
    }
}
