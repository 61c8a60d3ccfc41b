//! What of a model learns, and how fast: frozen parts, and rates that fall with the distance from the output.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::spec::{Part, specs};
use std::collections::{BTreeMap, BTreeSet};

impl Model {
    /// Freezes every parameter whose name is one of `parts` or begins with one of them and a dot: `embed`, `patches`, `blocks.0`, `norm`,
    /// `blocks.1.attn.qkv.weight`. A frozen one keeps its bytes.
    ///
    /// # Errors
    /// [`Error::Config`] with every part that no parameter has, or when nothing would be left to learn.
    pub fn freeze(&self, parts: &[String]) -> Result<()> {
        let params = self.params();
        let is_of = |name: &str, part: &str| {
            let rest = name.strip_prefix(part);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let unknown = parts
            .iter()
            .filter(|part| !params.iter().any(|param| is_of(param.name(), part)));
        let known: BTreeSet<&str> = params
            .iter()
            .filter_map(|param| param.name().split('.').next())
            .collect();
        let known: Vec<&str> = known.into_iter().collect();
        let mut problems: Vec<String> = unknown
            .map(|part| {
                format!(
                    "freeze: the model has no part `{part}`; parts begin with {}, as in blocks.0 or patches.proj",
                    known.join(", ")
                )
            })
            .collect();
        let frozen = |name: &str| parts.iter().any(|part| is_of(name, part));
        let learns = |param: &&m6_nn::Param| param.is_trainable() && !frozen(param.name());
        if problems.is_empty() && !params.iter().any(|param| learns(&param)) {
            problems.push("freeze: nothing is left to learn".into());
        }
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let all = params.iter().filter(|param| frozen(param.name()));
        all.for_each(|param| param.set_trainable(false));
        Ok(())
    }

    /// What the learning rate of each parameter is multiplied by under layer-wise decay: 1 for the last norm and the heads, `decay` for the
    /// last block, `decay^n_layers` for the first, and `decay^(n_layers + 1)` for tables and patch network (as in BEiT and ELECTRA; a head
    /// that is the word table learns with the table).
    pub fn lr_scales(&self, decay: f64) -> BTreeMap<String, f64> {
        let n_layers = self.config().n_layers;
        let depth = |name: &str, part: Part| match name.strip_prefix("blocks.") {
            Some(rest) => {
                let layer = rest.split('.').next().and_then(|n| n.parse::<usize>().ok());
                layer.map_or(0, |layer| layer + 1)
            }
            None if matches!(part, Part::Head | Part::Heads)
                || name.starts_with("norm.")
                || name.starts_with("code_head.") =>
            {
                n_layers + 1
            }
            None => 0,
        };
        let scale = |depth: usize| decay.powi((n_layers + 1 - depth) as i32);
        let all = specs(self.config()).into_iter();
        all.map(|spec| {
            let depth = depth(&spec.name, spec.part);
            (spec.name, scale(depth))
        })
        .collect()
    }
}
