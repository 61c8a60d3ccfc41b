//! `m6 report run`: one page of a training run, made of its `metrics.jsonl` alone.

use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use crate::report::{Report, curves_of, expert_loads, loss_curves};
use m6_train::METRICS_FILE;
use serde_json::json;
use std::path::Path;

/// Most rows and columns of a heat map.
const HEAT_SIZE: (usize, usize) = (64, 120);

/// Writes the page of the run in `folder` to `out`, or to `report.html` in the folder.
pub fn write(folder: &Path, out: Option<&Path>, terminal: &Terminal) -> Result<()> {
    let file = folder.join(METRICS_FILE);
    let metrics = std::fs::read_to_string(&file).map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()))
            .hint("a folder that `m6 pretrain` or `m6 finetune` wrote to with --out")
    })?;
    let losses = loss_curves(&metrics);
    let n_steps = losses.get("loss").map_or(0, Vec::len);
    if n_steps == 0 {
        return Err(Failure::usage(format!(
            "{}: no step has a loss yet",
            file.display()
        )));
    }
    let loads = expert_loads(&metrics, HEAT_SIZE.0, HEAT_SIZE.1);
    let mut page = Report::new(
        "m6 run",
        &format!("{}, {n_steps} updates", folder.display()),
    );
    page.section("Losses");
    page.text("Nats a label, smoothed.");
    page.curves(&losses);
    let held_out = curves_of(&metrics, |key| key.starts_with("eval/"));
    if !held_out.is_empty() {
        page.section("Held-out losses");
        page.curves(&held_out);
    }
    let dropped = curves_of(&metrics, |key| {
        matches!(key, "moe/dropped" | "moe/load_cv" | "moe/aux_loss")
    });
    if !dropped.is_empty() {
        page.section("Experts");
        page.text("moe/dropped: share of the choices that found no room. moe/load_cv: standard deviation of the experts' loads over their mean. moe/aux_loss: balance loss without its weight, 1 when even.");
        page.curves(&dropped);
    }
    for (layer, (from, to, rows)) in &loads {
        page.section(&format!("Load of the experts of block {layer}"));
        page.text("Tokens relative to an even share, over the updates: white none, blue an even share, red twice as much and more.");
        page.heat_map(*from, *to, rows);
    }
    let path = out.map_or_else(|| folder.join("report.html"), Path::to_path_buf);
    m6_store::atomic::write_file(&path, page.finish("m6 run").as_bytes()).or_usage()?;
    if terminal.json() {
        terminal.object(&json!({"report": path.display().to_string(), "updates": n_steps, "expert_layers": loads.len()}));
    } else {
        terminal.data(&format!("{}\n", path.display()));
    }
    Ok(())
}
