//! `m6 inspect PATH`: what is in a run, a checkpoint, prepared data, or a safetensors file.

use crate::cli::{Common, InspectArgs};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use serde_json::{Value, json};
use std::path::Path;

/// Runs the verb.
pub fn run(args: &InspectArgs, _common: &Common, terminal: &Terminal) -> Result<()> {
    let path = &args.path;
    let row = if path.is_file() {
        tensors(path)?
    } else if path.join("MANIFEST.json").is_file() && path.join("state.json").is_file() {
        checkpoint(path)?
    } else if path.join(m6_data::MANIFEST_FILE).is_file() {
        m6_store::manifest::verify(path).or_data()?;
        json!({"kind": "data", "manifest": read_json(&path.join(m6_data::MANIFEST_FILE))?})
    } else if path.join("checkpoints").is_dir() {
        run_folder(path)?
    } else {
        return Err(Failure::usage(format!(
            "{}: not a run, a checkpoint, prepared data or a safetensors file",
            path.display()
        )));
    };
    let n_damaged = row["checkpoints"].as_array().map_or(0, |list| {
        list.iter().filter(|c| c["intact"] == false).count()
    });
    if terminal.json() {
        terminal.object(&row);
    } else {
        let text = serde_json::to_string_pretty(&row).or_data()?;
        terminal.data(&format!("{text}\n"));
    }
    if n_damaged > 0 {
        return Err(Failure::new(
            Code::Check,
            format!("{n_damaged} damaged checkpoint(s) in {}", path.display()),
        ));
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| Failure::data(format!("{}: {e}", path.display())))
}

fn checkpoint(path: &Path) -> Result<Value> {
    m6_store::manifest::verify(path).or_data()?;
    let state = read_json(&path.join("state.json"))?;
    let weights = tensors(&path.join("model.safetensors"))?;
    Ok(
        json!({"kind": "checkpoint", "intact": true, "state": state, "n_tensors": weights["n_tensors"], "params": weights["params"]}),
    )
}

fn run_folder(path: &Path) -> Result<Value> {
    let found = m6_store::checkpoints::list(&path.join("checkpoints")).or_data()?;
    let steps: Vec<Value> = found
        .iter()
        .map(|(step, dir)| match m6_store::manifest::verify(dir) {
            Ok(_) => json!({"step": step, "intact": true}),
            Err(e) => json!({"step": step, "intact": false, "reason": e.to_string()}),
        })
        .collect();
    let last = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap_or_default();
    let last: Value = last
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or(Value::Null);
    Ok(json!({"kind": "run", "checkpoints": steps, "last_step": last}))
}

fn tensors(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| {
        Failure::data(format!(
            "{}: not a sound safetensors file: {e}",
            path.display()
        ))
    })?;
    let mut list: Vec<(String, Vec<usize>)> = file
        .iter()
        .map(|(name, view)| (name.to_string(), view.shape().to_vec()))
        .collect();
    list.sort();
    let params: usize = list
        .iter()
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    let names: serde_json::Map<String, Value> = list
        .iter()
        .map(|(name, shape)| (name.clone(), json!(shape)))
        .collect();
    Ok(json!({"kind": "safetensors", "n_tensors": list.len(), "params": params, "tensors": names}))
}
