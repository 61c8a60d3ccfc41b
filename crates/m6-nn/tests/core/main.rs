//! Core operators: against PyTorch, against finite differences, against their stock compositions, and bit for bit against themselves.

mod cases;
mod exact;
mod gradients;
mod optimizer;
mod pytorch;
