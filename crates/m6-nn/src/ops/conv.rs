//! Two-dimensional convolution as an operator on tensors.
