//! A rule with its moments and the settings of a step, applied to a parameter's own memory.

use super::rule::{Rule, Values, folded};
use super::{OptimizerConfig, Slot};
use crate::error::{Error, Result};
use crate::glue;
use crate::kernels::adafactor::{AdafactorStep, adafactor};
use crate::kernels::adamw::{AdamWStep, adamw};
use crate::kernels::adamw8::{Codes, adamw8};
use crate::kernels::muon::{MuonStep, muon};
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor};
use std::sync::{Mutex, PoisonError};

/// What the settings are at one step of one parameter.
pub(super) struct Now {
    pub config: OptimizerConfig,
    pub grad_scale: f64,
    pub lr: f64,
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
}

/// A rule's operands.
enum Kernel<'a, T> {
    AdamW(&'a mut [T], &'a mut [T], AdamWStep),
    AdamW8([&'a mut [u8]; 2], [&'a mut [f32]; 2], AdamWStep),
    Muon(&'a mut [T], &'a [usize], MuonStep),
    Adafactor(&'a mut [T], &'a mut [T], (usize, usize), AdafactorStep),
}

impl<'a, T: Real> Kernel<'a, T> {
    fn new(slot: &'a Slot, values: &'a mut [Values], now: &Now) -> Result<Self> {
        let &Now {
            config,
            grad_scale,
            lr,
            weight_decay,
            step,
        } = now;
        let adamw = AdamWStep {
            grad_scale,
            betas: config.betas,
            eps: config.eps,
            lr,
            weight_decay,
            step,
        };
        Ok(match (slot.rule, values) {
            (Rule::AdamW, [avg, avg_sq]) => Self::AdamW(avg.numbers()?, avg_sq.numbers()?, adamw),
            (Rule::AdamW8, [avg, scales, avg_sq, scales_sq]) => Self::AdamW8(
                [avg.codes()?, avg_sq.codes()?],
                [scales.numbers()?, scales_sq.numbers()?],
                adamw,
            ),
            (Rule::Muon, [avg]) => {
                let settings = MuonStep {
                    grad_scale,
                    momentum: config.momentum,
                    lr,
                    weight_decay,
                };
                Self::Muon(avg.numbers()?, &slot.shape, settings)
            }
            (Rule::Adafactor, [row_sq, col_sq]) => {
                let (_, rows, cols) = folded(&slot.shape);
                let settings = AdafactorStep {
                    grad_scale,
                    lr,
                    weight_decay,
                    step,
                };
                Self::Adafactor(row_sq.numbers()?, col_sq.numbers()?, (rows, cols), settings)
            }
            (rule, values) => {
                return Err(Error::Value {
                    op: "optimizer",
                    what: format!("{} moments for {rule}", values.len()),
                });
            }
        })
    }
}

/// One update of one parameter.
pub(super) struct Update<'a, T> {
    grad: &'a [T],
    /// Behind a lock, since the backend hands operators out shared.
    kernel: Mutex<Kernel<'a, T>>,
}

impl<'a, T: Real> Update<'a, T> {
    pub(super) fn new(
        grad: &'a [T],
        slot: &'a Slot,
        values: &'a mut [Values],
        now: &Now,
    ) -> Result<Self> {
        let kernel = Mutex::new(Kernel::new(slot, values, now)?);
        Ok(Self { grad, kernel })
    }

    /// Updates these values.
    pub(super) fn run(&self, values: &mut [T]) {
        let grad = self.grad;
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *kernel {
            Kernel::AdamW(avg, avg_sq, settings) => adamw(values, grad, avg, avg_sq, settings),
            Kernel::AdamW8([codes, codes_sq], [scales, scales_sq], settings) => {
                let avg = Codes { codes, scales };
                let avg_sq = Codes {
                    codes: codes_sq,
                    scales: scales_sq,
                };
                adamw8(values, grad, avg, avg_sq, settings);
            }
            Kernel::Muon(avg, shape, settings) => muon(values, grad, avg, shape, settings),
            Kernel::Adafactor(row_sq, col_sq, sizes, settings) => {
                adafactor(values, grad, row_sq, col_sq, *sizes, settings);
            }
        }
    }

    /// Runs the update on the parameter's own memory, or by way of a copy where that is on another device.
    pub(super) fn apply(&self, param: &Param) -> Result<()> {
        let var = param.var();
        if var.device().is_cpu() {
            return Ok(var.inplace_op1(self)?);
        }
        let host = var.to_device(&Device::Cpu)?;
        let mut values = glue::view::<T>(&host)?.to_vec();
        self.run(&mut values);
        let updated = Tensor::from_vec(values, var.shape(), &Device::Cpu)?;
        Ok(var.set(&updated.to_device(var.device())?)?)
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
