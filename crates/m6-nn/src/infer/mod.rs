//! Kernels used by generation, on plain slices: a row's result does not depend on how many rows are in the call, bit for bit.

mod attention;
mod dots;
mod experts;
mod largest;
mod linear;

pub use attention::*;
pub use experts::{ExpertRows, expert_rows};
pub use largest::LargestInner;
pub use linear::{layer_norm_rows, linear_rows};
