//! AdamW, also with moments of 8 bits, Muon for the matrices that are named, and Adafactor; with state of their own, updated in place.

use crate::by_dtype;
use crate::error::{Error, Result};
use crate::param::{Param, Params};
use crate::real::Real;
use candle_core::DType;
use m6_store::scratch::Scratch;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

mod parts;
mod rule;
mod state;
mod update;

pub use rule::Rule;
use rule::{Kind, Stored, Values};
pub use state::StateEntry;
use update::{Now, Update};

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
    rule: Rule,
    /// What the learning rate is multiplied by; a setting, so no part of the saved state.
    lr_scale: f64,
    /// The elements that this optimizer updates, in their order: all, or the own part of a rank.
    parts: Vec<Range<usize>>,
    /// Another optimizer of the same elements saves the state of them.
    is_saved_elsewhere: bool,
    moments: Option<Moments>,
}

impl Slot {
    fn new(param: &Param, rule: Rule) -> Self {
        Self {
            shape: param.shape().to_vec(),
            dtype: param.var().dtype(),
            rule: rule.of(param.shape()),
            lr_scale: 1.0,
            parts: std::iter::once(0..param.n_elements()).collect(),
            is_saved_elsewhere: false,
            moments: None,
        }
    }

    /// The moments of the rule, in the order of their names.
    fn kinds(&self) -> Vec<Kind> {
        self.rule.moments(&self.shape)
    }

    fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    fn is_whole(&self) -> bool {
        let all = 0..self.n_elements();
        self.parts.len() == 1 && self.parts.first() == Some(&all)
    }

    /// Number of the elements that this optimizer updates.
    fn n_own(&self) -> usize {
        self.parts.iter().map(Range::len).sum()
    }

    /// Number of the entries that a moment has for the elements of `parts`.
    fn n_entries(kind: &Kind, parts: &[Range<usize>]) -> usize {
        parts.iter().map(|part| kind.entries(part).len()).sum()
    }

    /// Whether the rule can update this part of the parameter by itself.
    fn may_hold(&self, part: &Range<usize>) -> bool {
        let n = self.n_elements();
        let ends = |unit| {
            part.start.is_multiple_of(unit) && (part.end == n || part.end.is_multiple_of(unit))
        };
        part.is_empty() || *part == (0..n) || self.rule.unit(&self.shape).is_some_and(ends)
    }
}

struct Moments {
    /// In the order of the rule's names.
    values: Vec<Values>,
    /// Updates so far; parameters that were without gradient in some steps have fewer.
    n_updates: u64,
}

impl Moments {
    /// Brings what is stored into memory; gives where each moment was.
    fn fetch(&mut self, scratch: &Scratch) -> Result<Vec<Option<Stored>>> {
        self.values
            .iter_mut()
            .map(|values| values.fetch(scratch))
            .collect()
    }

    /// Puts all into the file, to where they were.
    fn store(&mut self, scratch: &Scratch, places: Vec<Option<Stored>>) -> Result<()> {
        let places = places.into_iter().chain(std::iter::repeat(None));
        let mut values = self.values.iter_mut().zip(places);
        values.try_for_each(|(values, place)| values.store(scratch, place))
    }
}

/// The optimizer. Moments exist from a parameter's first update on, so that a frozen parameter costs nothing.
pub struct Optimizer {
    config: OptimizerConfig,
    slots: BTreeMap<String, Slot>,
    n_steps: u64,
    /// Where moments are between updates, when not in memory.
    scratch: Option<Arc<Scratch>>,
}

impl Optimizer {
    /// An optimizer for these parameters: Muon for those in `muon` (hidden matrices; not tables, norms and biases), AdamW for the
    /// others.
    pub fn new(params: &Params, config: OptimizerConfig, muon: &BTreeSet<String>) -> Self {
        Self::with_rules(params, config, |param| match muon.contains(param.name()) {
            true => Rule::Muon,
            false => Rule::AdamW,
        })
    }

    /// An optimizer that updates each of these parameters by the rule that `rule` says.
    pub fn with_rules(
        params: &Params,
        config: OptimizerConfig,
        rule: impl Fn(&Param) -> Rule,
    ) -> Self {
        let slots = params.iter();
        let slots = slots.map(|p| (p.name().to_owned(), Slot::new(p, rule(p))));
        Self {
            config,
            slots: slots.collect(),
            n_steps: 0,
            scratch: None,
        }
    }

    /// An optimizer of no parameters, in the place of one that is lent out.
    pub fn of_nothing() -> Self {
        Self {
            config: OptimizerConfig::default(),
            slots: BTreeMap::new(),
            n_steps: 0,
            scratch: None,
        }
    }

    /// The parameters that are updated as a whole, and so cannot be shared out in parts.
    pub fn indivisible(&self) -> BTreeSet<String> {
        let whole = self.slots.iter().filter(|(_, slot)| !slot.rule.divides());
        whole.map(|(name, _)| name.clone()).collect()
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

    /// Keeps moments in this file between updates, those that exist as well: of one parameter at a time they are in memory. Every number stays what it
    /// is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn offload(&mut self, scratch: Arc<Scratch>) -> Result<()> {
        for moments in self
            .slots
            .values_mut()
            .filter_map(|slot| slot.moments.as_mut())
        {
            moments.store(&scratch, Vec::new())?;
        }
        self.scratch = Some(scratch);
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
            self.update_with(param, grad, lr, grad_scale, |update| update.apply(param))
        });
        updated.unwrap_or(Ok(()))
    }

    /// Hands the update of a parameter, with its moments, to `apply`.
    fn update_with<T: Real>(
        &mut self,
        param: &Param,
        grad: &[T],
        lr: f64,
        grad_scale: f32,
        apply: impl FnOnce(Update<'_, T>) -> Result<()>,
    ) -> Result<()> {
        let Some(slot) = self.slots.get_mut(param.name()) else {
            return Ok(());
        };
        let mut moments = slot.moments.take().unwrap_or_else(|| Moments {
            values: slot
                .kinds()
                .iter()
                .map(|kind| kind.zeros(slot.dtype, Slot::n_entries(kind, &slot.parts)))
                .collect(),
            n_updates: 0,
        });
        moments.n_updates += 1;
        let scratch = self.scratch.as_deref();
        let places = scratch.map(|scratch| moments.fetch(scratch)).transpose()?;
        let now = Now {
            config: self.config,
            grad_scale: f64::from(grad_scale),
            lr: lr * slot.lr_scale,
            weight_decay: match param.decay() {
                true => self.config.weight_decay,
                false => 0.0,
            },
            step: moments.n_updates,
        };
        let update = Update::new(grad, slot, &mut moments.values, &now);
        let done = update.and_then(apply);
        if let (Some(scratch), Some(places)) = (scratch, places) {
            moments.store(scratch, places)?;
        }
        slot.moments = Some(moments);
        done
    }
}
