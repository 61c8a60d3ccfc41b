//! An optimizer that updates a part of each parameter, the others being other ranks' (ZeRO).

use super::Optimizer;
use crate::error::{Error, Result};
use crate::param::Param;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

impl Optimizer {
    /// Confines the optimizer to these elements of each named parameter, ranges in their order; the others stay whole. Before the first step.
    ///
    /// # Errors
    /// A name that the optimizer does not know, a range outside of its parameter, or one that the rule cannot update by itself: Muon and
    /// Adafactor need all of a parameter, moments of 8 bits whole blocks.
    pub fn confine(&mut self, parts: &BTreeMap<String, Vec<Range<usize>>>) -> Result<()> {
        for (name, parts) in parts {
            let slot = self.slots.get_mut(name);
            let slot = slot.ok_or_else(|| refused(format!("parameter {name} is unknown")))?;
            let n = slot.n_elements();
            let refuses = |part: &&Range<usize>| part.end > n || !slot.may_hold(part);
            if let Some(part) = parts.iter().find(refuses) {
                let rule = slot.rule;
                let limit = match rule.unit(&slot.shape) {
                    None => format!(", which {rule} updates whole"),
                    Some(1) => String::new(),
                    Some(unit) => format!(", which {rule} updates in blocks of {unit}"),
                };
                return Err(refused(format!(
                    "{part:?} of the {n} elements of {name}{limit}"
                )));
            }
            slot.parts = parts.clone();
        }
        Ok(())
    }

    /// Leaves the moments of these parameters out of what [`Optimizer::state`] saves: another rank, which makes the same updates, saves them.
    pub fn save_elsewhere(&mut self, names: &BTreeSet<String>) {
        for (name, slot) in &mut self.slots {
            slot.is_saved_elsewhere = names.contains(name);
        }
    }

    /// Counts a step that [`Optimizer::update_part`] then makes, parameter by parameter.
    pub fn begin_step(&mut self) {
        self.n_steps += 1;
    }

    /// Updates the own part of a parameter, whose values and gradient these are; the gradient is multiplied by `grad_scale` first.
    ///
    /// # Errors
    /// A parameter that the optimizer does not know, numbers of another length than its part, or another type than `f32`.
    pub fn update_part(
        &mut self,
        param: &Param,
        values: &mut [f32],
        grad: &[f32],
        lr: f64,
        grad_scale: f32,
    ) -> Result<()> {
        let slot = self.slots.get(param.name());
        let n = slot.map_or(usize::MAX, super::Slot::n_own);
        if n != values.len() || n != grad.len() {
            return Err(refused(format!(
                "{} values and {} gradients for the part of {}, expected {n} of both",
                values.len(),
                grad.len(),
                param.name()
            )));
        }
        if n == 0 {
            return Ok(());
        }
        self.update_with(param, grad, lr, grad_scale, |update| {
            update.run(values);
            Ok(())
        })
    }

    /// Bytes of the moments that exist, in memory or offloaded.
    pub fn n_bytes(&self) -> usize {
        let moments = self.slots.values().filter_map(|slot| slot.moments.as_ref());
        let values = moments.flat_map(|moments| &moments.values);
        values.map(super::Values::n_bytes).sum()
    }
}

fn refused(what: String) -> Error {
    Error::Value {
        op: "optimizer",
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::Shards;
    use crate::optimizer::{OptimizerConfig, Rule};
    use crate::{Device, Params, Tensor};

    const LR: f64 = 1e-2;

    fn params() -> Params {
        let mut params = Params::new();
        for (name, rows, cols) in [("a", 1, 70_001), ("b", 3, 2), ("m", 4, 5), ("idle", 1, 2)] {
            let values: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.37).sin()).collect();
            let tensor = Tensor::from_vec(values, (rows, cols), &Device::Cpu).unwrap();
            params
                .insert(Param::new(name, &tensor, name == "a").unwrap())
                .unwrap();
        }
        params
    }

    fn gradient(step: usize, n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i + 31 * step) as f32 * 0.11).cos())
            .collect()
    }

    /// Updates `m` by Muon, the others by this rule.
    fn optimizer(params: &Params, rule: Rule) -> Optimizer {
        Optimizer::with_rules(params, OptimizerConfig::default(), |p| match p.name() {
            "m" => Rule::Muon,
            _ => rule,
        })
    }

    /// The optimizers of `n` ranks.
    fn split(params: &Params, n: usize, rule: Rule) -> Vec<Optimizer> {
        let whole = optimizer(params, rule).indivisible();
        let tensors: Vec<_> = params
            .iter()
            .map(|p| (p.n_elements(), whole.contains(p.name())))
            .collect();
        let shards = Shards::plan(&tensors, n);
        (0..n)
            .map(|rank| {
                let mut own = optimizer(params, rule);
                let parts = params.iter().enumerate();
                let parts =
                    parts.map(|(i, p)| (p.name().to_string(), vec![shards.of(i)[rank].clone()]));
                own.confine(&parts.collect()).unwrap();
                own
            })
            .collect()
    }

    fn step_whole(optimizer: &mut Optimizer, params: &Params, step: usize) {
        params.zero_grads();
        for param in params.iter().filter(|p| p.name() != "idle") {
            param.add_grad(&gradient(step, param.n_elements())).unwrap();
        }
        optimizer.step(params, LR, 0.5).unwrap();
    }

    fn step_parts(ranks: &mut [Optimizer], params: &Params, step: usize) {
        for rank in ranks {
            rank.begin_step();
            for param in params.iter().filter(|p| p.name() != "idle") {
                let part = rank.slots[param.name()].parts[0].clone();
                let grad = &gradient(step, param.n_elements())[part.clone()];
                param
                    .edit_values(|values| rank.update_part(param, &mut values[part], grad, LR, 0.5))
                    .unwrap()
                    .unwrap();
            }
        }
    }

    fn bytes(params: &Params) -> Vec<u8> {
        params.to_safetensors().unwrap()
    }

    #[test]
    fn parts_make_the_same_steps_and_move_between_any_number_of_ranks() {
        for rule in [Rule::AdamW, Rule::AdamW8, Rule::Adafactor] {
            check_parts(rule);
        }
    }

    fn check_parts(rule: Rule) {
        let (whole, parted) = (params(), params());
        let mut one = optimizer(&whole, rule);
        let mut ranks = split(&parted, 3, rule);
        (0..3).for_each(|step| step_whole(&mut one, &whole, step));
        (0..2).for_each(|step| step_parts(&mut ranks, &parted, step));
        // Three ranks become two, these one, and this three again, with a step between.
        let save = |ranks: &[Optimizer]| -> Vec<Vec<u8>> {
            ranks.iter().map(|rank| rank.state().unwrap()).collect()
        };
        for n in [2, 1, 3] {
            let saved = save(&ranks);
            let saved: Vec<&[u8]> = saved.iter().map(Vec::as_slice).collect();
            ranks = split(&parted, n, rule);
            for rank in &mut ranks {
                rank.load_states(&saved).unwrap();
            }
            if n == 2 {
                step_parts(&mut ranks, &parted, 2);
                assert!(bytes(&whole) == bytes(&parted));
            }
            if n == 1 {
                assert!(ranks[0].state().unwrap() == one.state().unwrap());
            }
        }
        step_whole(&mut one, &whole, 3);
        step_parts(&mut ranks, &parted, 3);
        assert!(bytes(&whole) == bytes(&parted));
        let sizes: Vec<usize> = ranks.iter().map(Optimizer::n_bytes).collect();
        assert_eq!(sizes.iter().sum::<usize>(), one.n_bytes());
        assert!(sizes.iter().all(|&n| n < one.n_bytes()));
    }

    #[test]
    fn a_missing_part_and_a_part_that_a_rule_cannot_update_are_refused() {
        let params = params();
        let mut ranks = split(&params, 2, Rule::AdamW);
        step_parts(&mut ranks, &params, 0);
        let half = ranks[0].state().unwrap();
        let error = optimizer(&params, Rule::AdamW)
            .load_states(&[&half])
            .unwrap_err()
            .to_string();
        assert!(error.contains("missing"), "{error}");
        let twice = ranks[1].load_states(&[&half, &half]);
        assert!(twice.is_err());
        let mut other = optimizer(&params, Rule::AdamW);
        other.begin_step();
        other.begin_step();
        let ahead = other.state().unwrap();
        let error = ranks[0]
            .load_states(&[&half, &ahead])
            .unwrap_err()
            .to_string();
        assert!(error.contains("different steps"), "{error}");
        let part = BTreeMap::from([("m".to_string(), vec![0..3; 1])]);
        let error = other.confine(&part).unwrap_err().to_string();
        assert!(error.contains("Muon"), "{error}");
        let part = BTreeMap::from([("a".to_string(), vec![0..300; 1])]);
        let refused = |rule| {
            optimizer(&params, rule)
                .confine(&part)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(Rule::Adafactor).contains("Adafactor updates whole"));
        assert!(refused(Rule::AdamW8).contains("blocks of 256"));
    }

    #[test]
    fn offloaded_moments_are_not_in_memory_between_updates() {
        use crate::optimizer::rule::Values;
        let folder = tempfile::tempdir().unwrap();
        let scratch = m6_store::scratch::Scratch::create(folder.path()).unwrap();
        let params = params();
        let mut one = optimizer(&params, Rule::AdamW8);
        step_whole(&mut one, &params, 0);
        let n_bytes = one.n_bytes();
        one.offload(scratch.into()).unwrap();
        let all_stored = |one: &Optimizer| {
            let moments = one.slots.values().filter_map(|slot| slot.moments.as_ref());
            let mut values = moments.flat_map(|moments| &moments.values);
            values.all(|values| matches!(values, Values::Stored(_)))
        };
        assert!(all_stored(&one));
        step_whole(&mut one, &params, 1);
        assert!(all_stored(&one));
        let state = one.state().unwrap();
        one.load_state(&state).unwrap();
        assert!(all_stored(&one));
        assert_eq!(one.n_bytes(), n_bytes, "as many, elsewhere");
    }
}
