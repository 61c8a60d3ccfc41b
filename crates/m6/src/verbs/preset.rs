//! `m6 preset list|show`.

use crate::cli::{Common, PresetVerb};
use crate::config::{self, PRESETS};
use crate::error::Result;
use crate::out::Terminal;
use serde_json::json;

/// Runs the verb.
pub fn run(verb: &PresetVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    match verb {
        PresetVerb::Show { name } => {
            let loaded = config::load(name, &common.set)?;
            if terminal.json() {
                terminal.object(&loaded.config);
            } else {
                terminal.data(&loaded.resolved);
            }
        }
        PresetVerb::List => {
            for (name, text) in PRESETS {
                let counts = m6_model::count(&config::load(name, &[])?.config.model);
                if terminal.json() {
                    let row = json!({"name": name, "params_total": counts.params_total, "params_active": counts.params_active});
                    terminal.object(&row);
                } else {
                    let about = text
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .trim_start_matches("# ");
                    terminal.data(&format!(
                        "{name:9} {:>9.1} M  {about}\n",
                        counts.params_total as f64 / 1e6
                    ));
                }
            }
        }
    }
    Ok(())
}
