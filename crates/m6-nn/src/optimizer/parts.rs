//! An optimizer that updates a part of each parameter, the others being other ranks' (ZeRO), and state that moves between any number of them.

use super::{Moments, Optimizer, RANGE_KEY, STEP_KEY, Slot, load_error, read_count};
use crate::error::{Error, Result};
use crate::param::{Param, parse};
use crate::real::Buffer;
use candle_core::DType;
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::ops::Range;

impl Optimizer {
    /// Confines the optimizer to these elements of each named parameter; the others stay whole. Before the first step.
    ///
    /// # Errors
    /// A name that the optimizer does not know, a range outside of its parameter, or a part of a matrix that Muon updates, which it
    /// does as a whole.
    pub fn confine(&mut self, parts: &BTreeMap<String, Range<usize>>) -> Result<()> {
        for (name, part) in parts {
            let slot = self.slots.get_mut(name);
            let slot = slot.ok_or_else(|| refused(format!("parameter {name} is unknown")))?;
            let n: usize = slot.shape.iter().product();
            let is_whole = *part == (0..n);
            if part.end > n || (slot.muon && !is_whole && !part.is_empty()) {
                return Err(refused(format!(
                    "{part:?} of the {n} elements of {name}{}",
                    if slot.muon {
                        ", which Muon updates whole"
                    } else {
                        ""
                    }
                )));
            }
            slot.part = part.clone();
        }
        Ok(())
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
        let n = slot.map_or(usize::MAX, |slot| slot.part.len());
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

    /// Bytes of the moments that exist.
    pub fn n_bytes(&self) -> usize {
        let moments = self.slots.values().filter_map(|slot| slot.moments.as_ref());
        let buffers = moments.flat_map(|moments| &moments.buffers);
        buffers
            .map(|buffer| match buffer {
                Buffer::F32(values) => 4 * values.len(),
                Buffer::F64(values) => 8 * values.len(),
            })
            .sum()
    }

    /// Takes over the state that one or more optimizers made with [`Optimizer::state`], each of its parts of the same parameters, whatever
    /// their parts were; training goes on bit for bit.
    ///
    /// # Errors
    /// As [`Optimizer::load_state`], and for elements that no state has; nothing changes then.
    pub fn load_states(&mut self, states: &[&[u8]]) -> Result<()> {
        let files = states
            .iter()
            .map(|bytes| parse(bytes))
            .collect::<Result<Vec<_>>>()?;
        let steps = files.iter().map(|file| read_count(file, STEP_KEY));
        let steps = steps.collect::<Result<Vec<u64>>>()?;
        let n_steps = match steps.first() {
            Some(first) if steps.iter().all(|step| step == first) => *first,
            _ => return Err(load_error(format!("states of different steps: {steps:?}"))),
        };
        let mut n_known = files.len();
        let mut loaded = BTreeMap::new();
        for (name, slot) in &self.slots {
            let mut found = Found::default();
            for file in &files {
                n_known += found.look(file, name, slot)?;
            }
            loaded.insert(name.clone(), found.moments(name, slot)?);
        }
        let n_tensors: usize = files.iter().map(SafeTensors::len).sum();
        if n_known != n_tensors {
            return Err(load_error(format!(
                "{n_tensors} tensors, of which {n_known} belong to parameters of this model"
            )));
        }
        for (name, moments) in loaded {
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.moments = moments;
            }
        }
        self.n_steps = n_steps;
        Ok(())
    }
}

fn refused(what: String) -> Error {
    Error::Value {
        op: "optimizer",
        what,
    }
}

/// The moments of one parameter's own part, as they are found.
#[derive(Default)]
struct Found {
    buffers: Vec<Vec<f32>>,
    n_updates: Option<u64>,
    /// Elements of the own part that were found, and of the parameter.
    n_own: usize,
    n_all: usize,
}

impl Found {
    /// Takes what a file has of the parameter; gives the number of its tensors that are known with that.
    fn look(&mut self, file: &SafeTensors<'_>, name: &str, slot: &Slot) -> Result<usize> {
        let kinds = slot.kinds();
        if file.tensor(&format!("{}.{name}", kinds[0])).is_err() {
            return Ok(0);
        }
        if slot.dtype != DType::F32 {
            return Err(load_error(format!(
                "{name} is {:?}, expected F32",
                slot.dtype
            )));
        }
        let n: usize = slot.shape.iter().product();
        let stored = stored_range(file, name)?;
        let range = stored.clone().unwrap_or(0..n);
        if range.end > n {
            return Err(load_error(format!(
                "{range:?} of the {n} elements of {name}"
            )));
        }
        let n_updates = read_count(file, &format!("{STEP_KEY}.{name}"))?;
        if self.n_updates.is_some_and(|known| known != n_updates) {
            return Err(load_error(format!("parts of {name} of different steps")));
        }
        self.n_updates = Some(n_updates);
        self.buffers.resize(kinds.len(), Vec::new());
        let shared = range.start.max(slot.part.start)..range.end.min(slot.part.end);
        for (kind, buffer) in kinds.iter().zip(&mut self.buffers) {
            let view = file.tensor(&format!("{kind}.{name}"))?;
            let fits = match stored {
                Some(_) => view.shape() == [range.len()],
                None => view.shape() == slot.shape,
            };
            if !fits || view.dtype() != Dtype::F32 {
                return Err(load_error(format!(
                    "{kind}.{name} is {:?} {:?}, the model has F32 {:?} of {:?}",
                    view.dtype(),
                    view.shape(),
                    range,
                    slot.shape
                )));
            }
            if shared.is_empty() {
                continue;
            }
            buffer.resize(slot.part.len(), 0.0);
            let from = &view.data()[4 * (shared.start - range.start)..];
            let to = &mut buffer[shared.start - slot.part.start..shared.end - slot.part.start];
            for (to, from) in to.iter_mut().zip(from.chunks_exact(4)) {
                *to = f32::from_le_bytes([from[0], from[1], from[2], from[3]]);
            }
        }
        self.n_own += shared.len();
        self.n_all += range.len();
        Ok(kinds.len() + 1 + usize::from(stored.is_some()))
    }

    fn moments(self, name: &str, slot: &Slot) -> Result<Option<Moments>> {
        let Some(n_updates) = self.n_updates else {
            return Ok(None);
        };
        let n: usize = slot.shape.iter().product();
        if self.n_all != n || self.n_own != slot.part.len() {
            return Err(load_error(format!(
                "moments of {} elements of {name}, expected {n}; a part of the state is missing",
                self.n_all
            )));
        }
        if slot.part.is_empty() {
            return Ok(None);
        }
        Ok(Some(Moments {
            buffers: self.buffers.into_iter().map(Buffer::F32).collect(),
            n_updates,
        }))
    }
}

/// The part that a state has of a parameter; `None` for all of it.
fn stored_range(file: &SafeTensors<'_>, name: &str) -> Result<Option<Range<usize>>> {
    let Ok(view) = file.tensor(&format!("{RANGE_KEY}.{name}")) else {
        return Ok(None);
    };
    let ends: Vec<usize> = view
        .data()
        .chunks_exact(8)
        .filter_map(|b| usize::try_from(u64::from_le_bytes(b.try_into().ok()?)).ok())
        .collect();
    match (view.dtype(), ends.as_slice()) {
        (Dtype::U64, &[start, end]) if start <= end => Ok(Some(start..end)),
        (dtype, _) => Err(load_error(format!(
            "{RANGE_KEY}.{name} holds {dtype:?} {ends:?}, expected the two ends of a range"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::Shards;
    use crate::optimizer::OptimizerConfig;
    use crate::{Device, Params, Tensor};
    use std::collections::BTreeSet;

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

    fn optimizer(params: &Params) -> Optimizer {
        let muon = BTreeSet::from(["m".to_string()]);
        Optimizer::new(params, OptimizerConfig::default(), &muon)
    }

    /// The optimizers of `n` ranks.
    fn split(params: &Params, n: usize) -> Vec<Optimizer> {
        let tensors: Vec<_> = params
            .iter()
            .map(|p| (p.n_elements(), p.name() == "m"))
            .collect();
        let shards = Shards::plan(&tensors, n);
        (0..n)
            .map(|rank| {
                let mut own = optimizer(params);
                let parts = params.iter().enumerate();
                let parts = parts.map(|(i, p)| (p.name().to_string(), shards.of(i)[rank].clone()));
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
                let part = rank.slots[param.name()].part.clone();
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
        let (whole, parted) = (params(), params());
        let mut one = optimizer(&whole);
        let mut ranks = split(&parted, 3);
        (0..3).for_each(|step| step_whole(&mut one, &whole, step));
        (0..2).for_each(|step| step_parts(&mut ranks, &parted, step));
        // Three ranks become two, these one, and this three again, with a step between.
        let save = |ranks: &[Optimizer]| -> Vec<Vec<u8>> {
            ranks.iter().map(|rank| rank.state().unwrap()).collect()
        };
        for n in [2, 1, 3] {
            let saved = save(&ranks);
            let saved: Vec<&[u8]> = saved.iter().map(Vec::as_slice).collect();
            ranks = split(&parted, n);
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
    fn a_missing_part_and_a_part_for_muon_are_refused() {
        let params = params();
        let mut ranks = split(&params, 2);
        step_parts(&mut ranks, &params, 0);
        let half = ranks[0].state().unwrap();
        let error = optimizer(&params)
            .load_states(&[&half])
            .unwrap_err()
            .to_string();
        assert!(error.contains("missing"), "{error}");
        let twice = ranks[1].load_states(&[&half, &half]);
        assert!(twice.is_err());
        let mut other = optimizer(&params);
        other.begin_step();
        other.begin_step();
        let ahead = other.state().unwrap();
        let error = ranks[0]
            .load_states(&[&half, &ahead])
            .unwrap_err()
            .to_string();
        assert!(error.contains("different steps"), "{error}");
        let part = BTreeMap::from([("m".to_string(), 0..3)]);
        let error = other.confine(&part).unwrap_err().to_string();
        assert!(error.contains("Muon"), "{error}");
    }
}
