//! Layers, fused operators and the optimizer of m6.
//!
//! The only crate that names the tensor backend (`candle-core`) in full. Every operator in [`ops`] has a fused CPU body for `f32` and
//! `f64` and falls back to a composition of stock backend operators elsewhere ([`ops::composed`]). The bodies themselves are plain
//! generic functions on slices in [`kernels`], so that gradient checks in `f64` run the very same code, and so that another executor
//! could take their place without touching the model.
//!
//! Weight gradients do not travel through the tape: a kernel adds them straight into the buffer that a [`Param`] owns. Call
//! [`backward`] rather than the backend's own method, so that gradients of composed operators arrive there too.

pub mod alloc;
pub mod dist;
pub mod error;
pub mod flops;
pub mod gemm;
pub mod glue;
pub mod gradcheck;
pub mod infer;
pub mod kernels;
pub mod ops;
pub mod optimizer;
pub mod param;
pub mod real;
pub mod spans;
pub mod threads;
pub mod tolerance;
pub mod workloads;

pub use candle_core::{DType, Device, Shape, Tensor, Var};
pub use error::{Error, Result};
pub use param::{LoadReport, Param, Params, Part, TensorFile, backward, gradient_at, no_grad};
pub use spans::Spans;
