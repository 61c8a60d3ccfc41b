//! `m6 export --model RUN --out DIR`.

use super::common as shared;
use crate::cli::{Common, ExportArgs};
use crate::error::{OrFail, Result};
use crate::out::Terminal;
use serde_json::json;

/// Runs the verb.
pub fn run(args: &ExportArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    shared::check_out(&args.out, false)?;
    let adapters = match args.without_adapters {
        true => m6_train::Adapters::Drop,
        false => m6_train::Adapters::Merge,
    };
    if common.dry_run {
        let loaded = shared::load_model(&args.model, terminal)?;
        terminal.say(&format!("would export {}", loaded.path.display()));
        return Ok(());
    }
    let loaded = m6_train::export_model(&args.model, &args.out, adapters).or_data()?;
    let n_params = m6_model::count(loaded.model.config()).params_total;
    if terminal.json() {
        terminal.object(&json!({"model": args.out, "from": loaded.path, "step": loaded.step, "params": n_params}));
    } else {
        terminal.say(&format!(
            "{} -> {}",
            loaded.path.display(),
            args.out.display()
        ));
    }
    Ok(())
}
