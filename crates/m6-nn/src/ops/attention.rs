//! Attention as an operator on tensors.
