//! `metrics.jsonl`: one object a step, cut back on resume to the steps that the checkpoint has seen.

use crate::error::Result;
use crate::experts::ExpertReport;
use m6_store::atomic::AppendLog;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the metrics file in a run folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// What one update did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// The update, counted from 1.
    pub step: u64,
    /// Updates of the whole run.
    pub steps: u64,
    /// Mean negative log-likelihood over the labels of the global batch, in nats.
    pub loss: f64,
    /// The same per task, over that task's labels; tasks without a label in this batch are left out.
    pub losses: Vec<(String, f64)>,
    /// Learning rate of the update.
    pub lr: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// True when the update was skipped for its gradient norm.
    pub skipped: bool,
    /// Updates skipped so far; `None` when skipping is off.
    pub n_skipped: Option<u64>,
    /// Tokens of the global batch per second of wall clock.
    pub tokens_per_s: f64,
    /// Seconds of the update that this rank spent on exchanges with others and on waiting for them; `None` when it trains alone.
    pub comm_s: Option<f64>,
    /// Tokens seen since the first update of the run.
    pub tokens: u64,
    /// Seconds of training since the first update of the run, over all its processes.
    pub seconds: f64,
    /// Held-out loss per task, on the steps that evaluate.
    pub eval: BTreeMap<String, f64>,
    /// What the best checkpoint is chosen by, on the steps that evaluate for it; higher is better.
    pub score: Option<f64>,
    /// Mean reward of the texts that were learned, where they are the model's own.
    pub reward: Option<f64>,
    /// How evenly tokens went to experts, for a model that has some; the loads on the steps that log.
    pub experts: Option<ExpertReport>,
}

impl StepReport {
    /// Every number with its name in `metrics.jsonl` and TensorBoard, `step` apart; names read like paths.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let mut out = vec![("loss".to_string(), self.loss)];
        out.extend(
            self.losses
                .iter()
                .map(|(task, loss)| (format!("loss/{task}"), *loss)),
        );
        out.extend(self.reward.map(|reward| ("reward".to_string(), reward)));
        out.push(("lr".to_string(), self.lr));
        out.push(("grad_norm".to_string(), self.grad_norm));
        out.extend(self.experts.iter().flat_map(ExpertReport::scalars));
        out.push(("tokens_per_s".to_string(), self.tokens_per_s));
        out.push(("seconds".to_string(), self.seconds));
        out.extend(self.comm_s.map(|comm_s| ("comm_s".to_string(), comm_s)));
        out.extend(
            self.eval
                .iter()
                .map(|(task, loss)| (format!("eval/{task}"), *loss)),
        );
        out.extend(self.score.map(|score| ("score".to_string(), score)));
        out
    }

    /// The line of `metrics.jsonl`, without its newline.
    pub fn to_line(&self) -> String {
        let mut object = Map::new();
        object.insert("step".into(), json!(self.step));
        for (name, value) in self.scalars() {
            if name == "tokens_per_s" {
                object.insert("tokens".into(), json!(self.tokens));
                if let Some(n_skipped) = self.n_skipped {
                    object.insert("updates_skipped".into(), json!(n_skipped));
                }
            }
            object.insert(name, json!(value));
        }
        for (layer, load) in self.experts.iter().flat_map(|experts| &experts.load) {
            object.insert(format!("moe/load/{layer}"), json!(load));
        }
        Value::Object(object).to_string()
    }
}

/// The open metrics file of a run.
pub(crate) struct MetricsLog(AppendLog);

impl MetricsLog {
    /// Opens the file for the steps after `resumed_step`: a torn last line and every later step go.
    pub fn open(run_dir: &Path, resumed_step: u64) -> Result<Self> {
        let mut log = AppendLog::open(&run_dir.join(METRICS_FILE))?;
        let n_kept =
            log.truncate_after(|line| step_of(line).is_some_and(|step| step <= resumed_step))?;
        if (n_kept as u64) < resumed_step {
            tracing::warn!(
                "{METRICS_FILE} has {n_kept} lines for {resumed_step} steps; the others were lost"
            );
        }
        Ok(Self(log))
    }

    /// Hands everything to the disk, so that no checkpoint is ahead of its metrics.
    pub fn sync(&mut self) -> Result<()> {
        Ok(self.0.sync()?)
    }

    /// Appends the line of one step.
    pub fn push(&mut self, report: &StepReport) -> Result<()> {
        Ok(self.0.line(&report.to_line())?)
    }
}

fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line)
        .ok()?
        .get("step")?
        .as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(step: u64) -> StepReport {
        StepReport {
            step,
            steps: 9,
            loss: 1.25,
            losses: vec![("b".into(), 1.0), ("a".into(), 1.5)],
            eval: BTreeMap::from([("a".to_string(), 2.0)]),
            ..StepReport::default()
        }
    }

    fn lines(dir: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(dir.join(METRICS_FILE)).unwrap();
        text.lines().map(|line| step_of(line).unwrap()).collect()
    }

    #[test]
    fn a_line_holds_every_number_under_its_name() {
        let value: Value = serde_json::from_str(&report(3).to_line()).unwrap();
        let keys: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "step",
                "loss",
                "loss/b",
                "loss/a",
                "lr",
                "grad_norm",
                "tokens",
                "tokens_per_s",
                "seconds",
                "eval/a"
            ]
        );
        assert_eq!(value["loss/a"], 1.5);
    }

    #[test]
    fn a_line_of_a_model_with_experts_tells_their_loads() {
        let experts = ExpertReport {
            dropped: 0.25,
            load: vec![(1, vec![3, 5])],
            ..ExpertReport::default()
        };
        let with = StepReport {
            experts: Some(experts),
            ..report(3)
        };
        let value: Value = serde_json::from_str(&with.to_line()).unwrap();
        assert_eq!(value["moe/dropped"], 0.25);
        for name in ["moe/load_cv", "moe/aux_loss", "moe/z_loss"] {
            assert_eq!(value[name], 0.0, "{name}");
        }
        assert_eq!(value["moe/load/1"], json!([3, 5]));
        assert!(!report(3).to_line().contains("moe/"));
    }

    #[test]
    fn opening_cuts_torn_lines_and_later_steps() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::open(dir.path(), 0).unwrap();
        (1..=5).for_each(|step| log.push(&report(step)).unwrap());
        drop(log);
        let path = dir.path().join(METRICS_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(br#"{"step":6,"lo"#);
        m6_store::atomic::write_file(&path, &bytes).unwrap();
        let mut log = MetricsLog::open(dir.path(), 3).unwrap();
        log.push(&report(4)).unwrap();
        drop(log);
        assert_eq!(lines(dir.path()), [1, 2, 3, 4]);
    }

    #[test]
    fn skipped_updates_are_counted_only_when_skipping_is_on() {
        assert!(!report(1).to_line().contains("updates_skipped"));
        let on = StepReport {
            n_skipped: Some(2),
            ..report(1)
        };
        assert!(on.to_line().contains("\"updates_skipped\":2"));
    }
}
