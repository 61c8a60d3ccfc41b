//! A model without its training state, in the layout of Hugging Face.

use crate::checkpoint::{CONFIG_FILE, MODEL_FILE, TOKENIZER_FILE, pretty, put};
use crate::error::Result;
use crate::evaluation;
use crate::load::{Adapters, LoadedModel, load_with};
use m6_store::atomic::DirCommit;
use serde_json::json;
use std::path::Path;

/// Writes the model at `from` (whatever [`load_with`] takes) to the new folder `out`: `config.json`,
/// `model.safetensors` (the averaged weights when the run kept an average), `tokenizer.json`,
/// `generation_config.json`, `preprocessor_config.json` and a card, with the scores of the run's `eval.json` when there is one.
///
/// # Errors
/// Those of [`load_with`], or `out` is taken or cannot be written.
pub fn export_model(from: &Path, out: &Path, adapters: Adapters) -> Result<LoadedModel> {
    let loaded = load_with(from, adapters)?;
    let mut commit = DirCommit::begin(out)?;
    put(&mut commit, CONFIG_FILE, &pretty(&loaded.config))?;
    put(
        &mut commit,
        MODEL_FILE,
        &loaded.model.params().to_safetensors()?,
    )?;
    put(
        &mut commit,
        TOKENIZER_FILE,
        loaded.tokenizer.to_json().as_bytes(),
    )?;
    put(
        &mut commit,
        "generation_config.json",
        &pretty(&generation_config(&loaded)),
    )?;
    put(
        &mut commit,
        "preprocessor_config.json",
        &pretty(&preprocessor_config(&loaded)),
    )?;
    let (card, scores) = (card(&loaded), evaluation::section(from)?);
    put(&mut commit, "README.md", (card + &scores).as_bytes())?;
    commit.commit()?;
    Ok(loaded)
}

fn generation_config(loaded: &LoadedModel) -> serde_json::Value {
    let special = loaded.tokenizer.special();
    json!({
        "bos_token_id": special.cls,
        "eos_token_id": special.sep,
        "pad_token_id": special.pad,
        "max_length": loaded.config.model.max_len,
    })
}

fn preprocessor_config(loaded: &LoadedModel) -> serde_json::Value {
    let patches = &loaded.config.model.patches;
    json!({
        "image_side": patches.image_side,
        "patch_grid": patches.grid,
        "fit": loaded.config.data.get("fit"),
    })
}

fn card(loaded: &LoadedModel) -> String {
    let model = &loaded.config.model;
    let step = loaded
        .step
        .map_or("not recorded".to_string(), |step| step.to_string());
    let n_params = m6_model::count(model).params_total;
    format!(
        "# An m6 model\n\n\
         One transformer over text and over pictures with text, trained by m6.\n\n\
         | | |\n|---|---|\n\
         | parameters | {n_params} |\n\
         | layers, width, heads | {}, {}, {} |\n\
         | vocabulary | {} |\n\
         | tasks | {} |\n\
         | updates | {step} |\n\n\
         `m6 generate` takes this folder as `--model`.\n",
        model.n_layers,
        model.d_model,
        model.n_heads,
        model.vocab_size,
        loaded.config.tasks.join(", "),
    )
}
