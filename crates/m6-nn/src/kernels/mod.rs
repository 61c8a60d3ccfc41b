//! Operator bodies: plain generic functions on slices, no tensors, no tape.

pub mod adafactor;
pub mod adamw;
pub mod adamw8;
pub mod attention;
pub mod conv;
pub mod dynamic8;
pub mod elementwise;
pub mod embed;
pub mod experts;
pub mod gates;
pub mod group_norm;
pub mod head_ce;
pub mod im2col;
pub mod info_nce;
pub mod layer_norm;
pub mod linear;
pub mod muon;
pub mod pool;
pub mod route;
pub mod shared;
pub mod winograd;
