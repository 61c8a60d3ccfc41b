//! Core operators: against PyTorch, against finite differences, against their stock compositions, and bit for bit against themselves.

mod cases;
mod exact;
mod expert_cases;
mod experts;
mod gradients;
mod optimizer;
mod optimizer_memory;
mod pytorch;
