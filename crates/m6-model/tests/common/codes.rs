//! A model that draws, small enough for every test.

use m6_model::{CodesConfig, DrawMethod, DrawOptions, DrawPrompt, Model, ModelConfig, draw};

/// Codes per side of a picture.
pub const GRID: usize = 3;
/// Entries of the codebook.
pub const K: usize = 20;
/// Entries of the vocabulary.
pub const WORDS: usize = 30;

/// Codes apart from words, or behind them in one vocabulary; with finer codes per side of a code, or none (0).
pub fn config(joint: bool, fine: usize) -> ModelConfig {
    ModelConfig {
        vocab_size: WORDS,
        n_heads: 2,
        d_ff: 48,
        max_len: 12,
        dropout: 0.0,
        codes: CodesConfig {
            codebook_size: K,
            grid: GRID,
            joint,
            fine,
        },
        ..super::tiny()
    }
}

/// A model of [`config`] with opinions: fresh weights say nearly the same everywhere.
pub fn model(joint: bool, fine: usize) -> Model {
    let model = Model::new(&config(joint, fine), 7).expect("valid");
    for param in model.params() {
        let louder = (param.var().as_tensor() * 6.0).expect("numbers").detach();
        if param.shape().len() > 1 {
            param.var().set(&louder).expect("same shape");
        }
    }
    model
}

/// Guided sampling among the likeliest codes.
pub fn sampled(method: DrawMethod) -> DrawOptions {
    DrawOptions {
        method,
        guidance: 2.5,
        temperature: 1.0,
        top_k: 12,
        steps: 4,
        seed: 3,
        ..DrawOptions::default()
    }
}

/// Codes and log probability of every prompt.
pub fn drawn(model: &Model, prompts: &[DrawPrompt], options: &DrawOptions) -> Vec<(Vec<u32>, f64)> {
    let made = draw(model, prompts, options, &mut |_, _| {}).expect("draws");
    made.into_iter().map(|d| (d.codes, d.logprob)).collect()
}
