//! Convolutions of networks that are loaded and never learn.

use m6_nn::{Result, Tensor, TensorFile, ops};

/// A convolution with its bias, stride and padding.
pub(crate) struct FrozenConv {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    pad: [usize; 2],
}

impl FrozenConv {
    /// `{name}.weight` of this shape `[c_out, c_in, k_h, k_w]` and `{name}.bias`.
    ///
    /// # Errors
    /// When a weight is missing or of another shape.
    pub fn plain(
        file: &TensorFile<'_>,
        name: &str,
        shape: [usize; 4],
        stride: usize,
        pad: [usize; 2],
    ) -> Result<Self> {
        Ok(Self {
            weight: file.f32(&format!("{name}.weight"), &shape)?,
            bias: file.f32(&format!("{name}.bias"), &shape[..1])?,
            stride,
            pad,
        })
    }

    /// `{name}.conv.weight` with the batch norm `{name}.bn` and its saved statistics folded in: weight `w * g / sqrt(var + eps)`, bias
    /// `b - mean * g / sqrt(var + eps)`.
    ///
    /// # Errors
    /// When a weight is missing or of another shape.
    pub fn folded(
        file: &TensorFile<'_>,
        name: &str,
        shape: [usize; 4],
        stride: usize,
        pad: [usize; 2],
        eps: f64,
    ) -> Result<Self> {
        let norm = |part: &str| file.f32(&format!("{name}.bn.{part}"), &shape[..1]);
        let weight = file.f32(&format!("{name}.conv.weight"), &shape)?;
        let scale = (norm("weight")? / (norm("running_var")? + eps)?.sqrt()?)?;
        let bias = (norm("bias")? - (norm("running_mean")? * &scale)?)?;
        Ok(Self {
            weight: weight.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?,
            bias,
            stride,
            pad,
        })
    }

    /// The convolution of `[n, c_in, h, w]` and ReLU after it.
    ///
    /// # Errors
    /// When the picture does not fit.
    pub fn relu(&self, x_nchw: &Tensor) -> Result<Tensor> {
        let y = ops::conv2d_t(
            x_nchw,
            &self.weight,
            Some(&self.bias),
            self.stride,
            self.pad,
        )?;
        ops::relu(&y)
    }
}
