//! Differentiable operators on tensors: fused on the CPU for `f32` and `f64`, composed of stock operators elsewhere.

mod add;
mod attention;
mod boundary;
mod checkpoint;
pub mod composed;
pub mod composed2d;
pub mod composed_experts;
mod conv;
mod embed;
mod expert_rows;
mod experts;
mod gelu;
mod head_ce;
mod info_nce;
mod layer_norm;
mod linear;
mod norm2d;
mod packed;
mod route;
mod scale_rows;
mod split;
pub(crate) mod tape;

pub use add::{add, add_dropout};
pub use attention::*;
pub use boundary::{BlockHooks, boundary};
pub use checkpoint::{Block, checkpoint};
pub use conv::*;
pub use embed::{NONE, embed, scatter_rows, select_rows};
pub(crate) use expert_rows::Hidden;
pub use experts::{ExpertPeers, ExpertWeights, Peered, experts};
pub use gelu::gelu;
pub use head_ce::{head_ce, head_ce_split};
pub use info_nce::info_nce;
pub use layer_norm::layer_norm;
pub use linear::{Act, linear};
pub use norm2d::*;
pub use packed::{pack, unpack};
pub use route::{
    NO_ROW, Renormalize, RouteOptions, Routed, Routing, SecondChoice, capacity, jitter, route,
    router_loss,
};
pub use scale_rows::scale_rows;
pub use split::{Peers, SplitPeers, copied, summed};
