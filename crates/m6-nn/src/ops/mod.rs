//! Differentiable operators on tensors: fused on the CPU for `f32` and `f64`, composed of stock operators elsewhere.

mod add;
mod attention;
mod checkpoint;
pub mod composed;
pub mod composed2d;
mod conv;
mod embed;
mod head_ce;
mod layer_norm;
mod linear;
mod norm2d;

