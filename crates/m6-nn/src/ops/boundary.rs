//! The place between two blocks of a network, where other ranks can be spoken to.

use crate::error::Result;
use crate::glue::{self, is_fused};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::sync::Arc;

/// What happens around the blocks of a network, numbered from the first: values may be fetched and released, gradients sent off.
pub trait BlockHooks: Send + Sync {
    /// A forward pass is about to enter block `i`.
    ///
    /// # Errors
    /// Whatever keeps the block from being run.
    fn enter(&self, i: usize) -> Result<()>;

    /// A forward pass has left block `i`.
    ///
    /// # Errors
    /// As [`BlockHooks::enter`].
    fn leave(&self, i: usize) -> Result<()>;

    /// A backward pass has made every gradient of block `i`; the blocks below come next.
    ///
    /// # Errors
    /// As [`BlockHooks::enter`].
    fn done(&self, i: usize) -> Result<()>;
}

/// `x` as it is, entering block `i`: tells the hooks now, and again when the backward pass comes by. Costs a copy of `x` where that is on
/// the tape of the fused operators; elsewhere only the forward pass tells.
///
/// # Errors
/// Those of the hooks.
pub fn boundary(x: &Tensor, i: usize, hooks: &Arc<dyn BlockHooks>) -> Result<Tensor> {
    hooks.enter(i)?;
    if !is_fused(x) || !x.track_op() {
        return Ok(x.clone());
    }
    let op = Boundary {
        i,
        hooks: Arc::clone(hooks),
    };
    Ok(x.contiguous()?.apply_op1(op)?)
}

struct Boundary {
    i: usize,
    hooks: Arc<dyn BlockHooks>,
}

impl CustomOp1 for Boundary {
    fn name(&self) -> &'static str {
        "boundary"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let shape = layout.shape().clone();
        Ok(match x {
            CpuStorage::F64(_) => glue::storage(glue::slice::<f64>(x, layout)?.to_vec(), shape),
            _ => glue::storage(glue::slice::<f32>(x, layout)?.to_vec(), shape),
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        self.hooks.done(self.i)?;
        Ok(Some(grad.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Act, linear};
    use crate::{Device, Param, Params, backward};
    use std::sync::Mutex;

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>, Mutex<Vec<Param>>);

    impl Notes {
        fn note(&self, what: &str, i: usize) -> Result<()> {
            // Whether the gradient of this block is there, and that of the one below is not.
            let params = self.1.lock().unwrap();
            let has = |i: usize| params.get(i).is_some_and(|p| p.grad_f32().is_some());
            let below = i > 0 && has(i - 1);
            let line = format!("{what}{i}{}{}", u8::from(has(i)), u8::from(below));
            self.0.lock().unwrap().push(line);
            Ok(())
        }
    }

    impl BlockHooks for Notes {
        fn enter(&self, i: usize) -> Result<()> {
            self.note("enter", i)
        }
        fn leave(&self, i: usize) -> Result<()> {
            self.note("leave", i)
        }
        fn done(&self, i: usize) -> Result<()> {
            self.note("done", i)
        }
    }

    #[test]
    fn gradients_of_a_block_are_complete_when_its_hook_is_told() {
        let notes = Arc::new(Notes::default());
        let hooks: Arc<dyn BlockHooks> = notes.clone();
        let mut params = Params::new();
        for i in 0..3 {
            let w = Tensor::new(&[[0.5_f32, 1.0], [-1.0, 2.0]], &Device::Cpu).unwrap();
            let w = Param::new(format!("w{i}"), &w, true).unwrap();
            params.insert(w.clone()).unwrap();
            notes.1.lock().unwrap().push(w);
        }
        let run = |hooks: Option<&Arc<dyn BlockHooks>>| {
            params.zero_grads();
            let x = Tensor::new(&[[1.0_f32, 3.0]], &Device::Cpu).unwrap();
            // As the first block of a model: its input is on the tape.
            let mut x = crate::Var::from_tensor(&x).unwrap().into_inner();
            for (i, w) in params.iter().enumerate() {
                if let Some(hooks) = hooks {
                    x = boundary(&x, i, hooks).unwrap();
                }
                // Two ways through a block, as with a residual.
                x = (linear(&x, w, None, Act::None).unwrap() + &x).unwrap();
            }
            backward(&x.sum_all().unwrap(), &params).unwrap();
            let grads: Vec<_> = params.iter().map(Param::grad_f32).collect();
            (x.to_vec2::<f32>().unwrap(), grads)
        };
        let plain = run(None);
        assert_eq!(run(Some(&hooks)), plain);
        let told = notes.0.lock().unwrap().join(" ");
        assert_eq!(told, "enter000 enter100 enter200 done210 done110 done010");
    }
}
