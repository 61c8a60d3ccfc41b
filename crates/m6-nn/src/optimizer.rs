//! AdamW (Loshchilov and Hutter), and Muon (Jordan and others) for the matrices that are named; with state of their own, updated in
//! place.

use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue;
use crate::kernels::adamw::{AdamWStep, adamw};
use crate::kernels::muon::{MuonStep, muon};
use crate::param::{Param, Params, bytes_of, parse};
use crate::real::{Buffer, Real};
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

mod parts;

/// Settings that hold for a whole run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerConfig {
    /// Decay rates of the two moments, each in `[0, 1)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, for parameters that ask for it.
    pub weight_decay: f64,
    /// Decay rate of Muon's momentum, in `[0, 1)`.
    pub momentum: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.01,
            momentum: 0.95,
        }
    }
}

struct Slot {
    shape: Vec<usize>,
    dtype: DType,
    muon: bool,
    /// What the learning rate is multiplied by; a setting, so no part of the saved state.
    lr_scale: f64,
    /// The elements that this optimizer updates: all, or the own part of a rank.
    part: Range<usize>,
    moments: Option<Moments>,
}

impl Slot {
    /// Names of the moments in a saved state.
    fn kinds(&self) -> &'static [&'static str] {
        match self.muon {
            true => &["momentum"],
            false => &["exp_avg", "exp_avg_sq"],
        }
    }

    fn is_whole(&self) -> bool {
        self.part == (0..self.shape.iter().product())
    }
}

struct Moments {
    /// One of Muon, two of AdamW.
    buffers: Vec<Buffer>,
    /// Updates so far; parameters that were without gradient in some steps have fewer.
    n_updates: u64,
}

/// The optimizer. Moments exist from a parameter's first update on, so that a frozen parameter costs nothing.
pub struct Optimizer {
    config: OptimizerConfig,
    slots: BTreeMap<String, Slot>,
    n_steps: u64,
}

const STEP_KEY: &str = "step";
const RANGE_KEY: &str = "range";

impl Optimizer {
    /// An optimizer for these parameters: Muon for those in `muon` (hidden matrices; not tables, norms and biases), AdamW for the
    /// others.
    pub fn new(params: &Params, config: OptimizerConfig, muon: &BTreeSet<String>) -> Self {
        let slot = |p: &Param| Slot {
            shape: p.shape().to_vec(),
            dtype: p.var().dtype(),
            muon: muon.contains(p.name()),
            lr_scale: 1.0,
            part: 0..p.n_elements(),
            moments: None,
        };
        Self {
            config,
            slots: params
                .iter()
                .map(|p| (p.name().to_owned(), slot(p)))
                .collect(),
            n_steps: 0,
        }
    }

    /// An optimizer of no parameters, in the place of one that is lent out.
    pub fn of_nothing() -> Self {
        Self {
            config: OptimizerConfig::default(),
            slots: BTreeMap::new(),
            n_steps: 0,
        }
    }

    /// Lets parameters learn at a share of the rate: layer-wise decay. Those that are not named keep theirs.
    ///
    /// # Errors
    /// A name that this optimizer does not know.
    pub fn scale_lr(&mut self, scales: &BTreeMap<String, f64>) -> Result<()> {
        for (name, scale) in scales {
            let slot = self.slots.get_mut(name).ok_or_else(|| Error::Value {
                op: "optimizer",
                what: format!("parameter {name} is unknown to this optimizer"),
            })?;
            slot.lr_scale = *scale;
        }
        Ok(())
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// Updates every trainable parameter that has a gradient, multiplied by `grad_scale` first; gradients are left as they are.
    ///
    /// Errors if a parameter is not one that the optimizer was made for.
    pub fn step(&mut self, params: &Params, lr: f64, grad_scale: f32) -> Result<()> {
        for param in params.iter().filter(|p| p.is_trainable()) {
            if !self.slots.contains_key(param.name()) {
                let what = format!("parameter {} is unknown to this optimizer", param.name());
                return Err(Error::Value {
                    op: "optimizer",
                    what,
                });
            }
        }
        self.n_steps += 1;
        for param in params.iter().filter(|p| p.is_trainable()) {
            self.update_one(param, lr, grad_scale)?;
        }
        Ok(())
    }

    /// The part of [`Optimizer::step`] that concerns one parameter, for callers that update one after the other; [`Optimizer::begin_step`] counts
    /// the step. Nothing happens to a parameter without gradient, or that the optimizer was not made for.
    ///
    /// # Errors
    /// Moments of another number type.
    pub fn update_one(&mut self, param: &Param, lr: f64, grad_scale: f32) -> Result<()> {
        by_dtype!(param.var().dtype(), T => self.update::<T>(param, lr, grad_scale))
    }

    fn update<T: Real>(&mut self, param: &Param, lr: f64, grad_scale: f32) -> Result<()> {
        let updated = param.with_grad_of(|grad: &[T]| {
            self.update_with(param, grad, lr, grad_scale, |update| apply(param, update))
        });
        updated.unwrap_or(Ok(()))
    }

    /// Hands the rule for a parameter, with its moments, to `apply`.
    fn update_with<T: Real>(
        &mut self,
        param: &Param,
        grad: &[T],
        lr: f64,
        grad_scale: f32,
        apply: impl FnOnce(Update<'_, T>) -> Result<()>,
    ) -> Result<()> {
        let config = self.config;
        let Some(slot) = self.slots.get_mut(param.name()) else {
            return Ok(());
        };
        let n_moments = slot.kinds().len();
        let lr = lr * slot.lr_scale;
        let moments = slot.moments.get_or_insert_with(|| Moments {
            buffers: (0..n_moments)
                .map(|_| T::into_buffer(glue::zeros(grad.len())))
                .collect(),
            n_updates: 0,
        });
        moments.n_updates += 1;
        let grad_scale = f64::from(grad_scale);
        let weight_decay = match param.decay() {
            true => config.weight_decay,
            false => 0.0,
        };
        let adamw = AdamWStep {
            grad_scale,
            betas: config.betas,
            eps: config.eps,
            lr,
            weight_decay,
            step: moments.n_updates,
        };
        let muon = MuonStep {
            grad_scale,
            momentum: config.momentum,
            lr,
            weight_decay,
        };
        let buffers = moments.buffers.iter_mut().map(T::of_buffer_mut);
        let mut buffers: Option<Vec<_>> = buffers.collect();
        let rule = match buffers.as_deref_mut() {
            Some([avg]) => Rule::Muon(avg, &slot.shape, muon),
            Some([avg, avg_sq]) => Rule::AdamW(avg, avg_sq, adamw),
            _ => {
                return Err(Error::DType {
                    what: format!("moments of {}", param.name()),
                    got: slot.dtype,
                    expected: T::DTYPE,
                });
            }
        };
        let rule = Mutex::new(rule);
        apply(Update { grad, rule })
    }

    /// The state as safetensors bytes: `exp_avg.NAME` and `exp_avg_sq.NAME` or `momentum.NAME`, `step.NAME`, and `step`; of a part of a
    /// parameter also `range.NAME`, its first element and the one behind its last. The same state gives the same bytes.
    pub fn state(&self) -> Result<Vec<u8>> {
        let mut owned: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        owned.push((
            STEP_KEY.into(),
            Dtype::U64,
            Vec::new(),
            self.n_steps.to_le_bytes().to_vec(),
        ));
        for (name, slot) in &self.slots {
            let Some(moments) = &slot.moments else {
                continue;
            };
            for (kind, buffer) in slot.kinds().iter().zip(&moments.buffers) {
                let (dtype, bytes) = match buffer {
                    Buffer::F32(values) => (Dtype::F32, bytes_of(values)),
                    Buffer::F64(values) => (Dtype::F64, bytes_of(values)),
                };
                let shape = match slot.is_whole() {
                    true => slot.shape.clone(),
                    false => vec![slot.part.len()],
                };
                owned.push((format!("{kind}.{name}"), dtype, shape, bytes));
            }
            if !slot.is_whole() {
                let ends = [slot.part.start as u64, slot.part.end as u64];
                let bytes = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
                owned.push((format!("{RANGE_KEY}.{name}"), Dtype::U64, vec![2], bytes));
            }
            let n_updates = moments.n_updates.to_le_bytes().to_vec();
            owned.push((
                format!("{STEP_KEY}.{name}"),
                Dtype::U64,
                Vec::new(),
                n_updates,
            ));
        }
        let mut views = Vec::with_capacity(owned.len());
        for (name, dtype, shape, bytes) in &owned {
            views.push((
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes)?,
            ));
        }
        Ok(safetensors::serialize(views, None)?)
    }

    /// Takes over a state that [`Optimizer::state`] made for the same parameters; training goes on bit for bit.
    ///
    /// Errors on damaged bytes, and on names, shapes or number types that do not fit; nothing changes then.
    pub fn load_state(&mut self, bytes: &[u8]) -> Result<()> {
        let file = parse(bytes)?;
        let n_steps = read_count(&file, STEP_KEY)?;
        let mut loaded = BTreeMap::new();
        let mut n_known = 1;
        for (name, slot) in &self.slots {
            let kinds = slot.kinds();
            if file.tensor(&format!("{}.{name}", kinds[0])).is_err() {
                loaded.insert(name.clone(), None);
                continue;
            }
            n_known += kinds.len() + 1;
            let moments = Moments {
                buffers: kinds
                    .iter()
                    .map(|kind| read_moment(&file, &format!("{kind}.{name}"), slot))
                    .collect::<Result<_>>()?,
                n_updates: read_count(&file, &format!("{STEP_KEY}.{name}"))?,
            };
            loaded.insert(name.clone(), Some(moments));
        }
        if n_known != file.len() {
            let problem = format!(
                "{} tensors, of which {n_known} belong to parameters of this model",
                file.len()
            );
            return Err(Error::Load {
                what: "optimizer state",
                problem,
            });
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

fn load_error(problem: String) -> Error {
    Error::Load {
        what: "optimizer state",
        problem,
    }
}

fn read_count(file: &SafeTensors<'_>, name: &str) -> Result<u64> {
    let view = file.tensor(name)?;
    match (view.dtype(), <[u8; 8]>::try_from(view.data())) {
        (Dtype::U64, Ok(bytes)) => Ok(u64::from_le_bytes(bytes)),
        (dtype, _) => Err(load_error(format!(
            "{name} holds {dtype:?} {:?}, expected one U64",
            view.shape()
        ))),
    }
}

fn read_moment(file: &SafeTensors<'_>, name: &str, slot: &Slot) -> Result<Buffer> {
    let view = file.tensor(name)?;
    let dtype = if slot.dtype == DType::F64 {
        Dtype::F64
    } else {
        Dtype::F32
    };
    if view.dtype() != dtype || view.shape() != slot.shape {
        let (got, shape) = (view.dtype(), view.shape());
        return Err(load_error(format!(
            "{name} is {got:?} {shape:?}, the model has {dtype:?} {:?}",
            slot.shape
        )));
    }
    let data = view.data();
    Ok(match dtype {
        Dtype::F64 => Buffer::F64(
            data.chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().expect("eight")))
                .collect(),
        ),
        _ => Buffer::F32(
            data.chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().expect("four")))
                .collect(),
        ),
    })
}

/// Runs the update on the parameter's own memory, or by way of a copy where that is on another device.
fn apply<T: Real>(param: &Param, update: Update<'_, T>) -> Result<()> {
    let var = param.var();
    if var.device().is_cpu() {
        return Ok(var.inplace_op1(&update)?);
    }
    let host = var.to_device(&Device::Cpu)?;
    let mut values = glue::view::<T>(&host)?.to_vec();
    update.run(&mut values);
    Ok(var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?.to_device(var.device())?)?)
}

/// How a parameter is updated, with its moments.
enum Rule<'a, T> {
    AdamW(&'a mut Vec<T>, &'a mut Vec<T>, AdamWStep),
    Muon(&'a mut Vec<T>, &'a [usize], MuonStep),
}

struct Update<'a, T> {
    grad: &'a [T],
    rule: Mutex<Rule<'a, T>>,
}

impl<T: Real> Update<'_, T> {
    fn run(&self, values: &mut [T]) {
        let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *rule {
            Rule::AdamW(avg, avg_sq, settings) => adamw(values, self.grad, avg, avg_sq, settings),
            Rule::Muon(avg, shape, settings) => muon(values, self.grad, avg, shape, settings),
        }
    }
}

impl<T: Real> InplaceOp1 for Update<'_, T> {
    fn name(&self) -> &'static str {
        "optimizer"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((from, to)) = layout.contiguous_offsets() else {
            candle_core::bail!("optimizer: the parameter is not contiguous")
        };
        self.run(&mut T::storage_slice_mut(storage)?[from..to]);
        Ok(())
    }
}
