//! Layers, fused operators and the optimizer; the only crate that names the tensor backend in full.
