//! A stack of residual blocks with group normalisation, forward and backward.

use super::{Store, Timing, Weights, timed};
use crate::error::Result;
use crate::ops::{add, conv2d, group_norm_silu, up2};
use crate::param::{Param, Params, backward};
use candle_core::Tensor;

/// Name, input channels, output channels and kernel side of every convolution.
const CONVS: [(&str, usize, usize, usize); 18] = [
    ("in", 3, 64, 3),
    ("r1.c1", 64, 64, 3),
    ("r1.c2", 64, 64, 3),
    ("d1", 64, 64, 3),
    ("r2.c1", 64, 128, 3),
    ("r2.c2", 128, 128, 3),
    ("r2.s", 64, 128, 1),
    ("d2", 128, 128, 3),
    ("r3.c1", 128, 128, 3),
    ("r3.c2", 128, 128, 3),
    ("u1", 128, 128, 3),
    ("r4.c1", 128, 64, 3),
    ("r4.c2", 64, 64, 3),
    ("r4.s", 128, 64, 1),
    ("u2", 64, 64, 3),
    ("r5.c1", 64, 64, 3),
    ("r5.c2", 64, 64, 3),
    ("out", 64, 3, 3),
];

/// Name and channels of every normalisation.
const NORMS: [(&str, usize); 11] = [
    ("r1.n1", 64),
    ("r1.n2", 64),
    ("r2.n1", 64),
    ("r2.n2", 128),
    ("r3.n1", 128),
    ("r3.n2", 128),
    ("r4.n1", 128),
    ("r4.n2", 64),
    ("r5.n1", 64),
    ("r5.n2", 64),
    ("no", 64),
];

/// Forward and backward of an encoder-decoder of 64 to 128 channels on 8 pictures of 3 x 64 x 64, `n_iterations` times; the loss is
/// the mean square of output minus input.
///
/// # Errors
/// When the weights cannot be read.
pub fn conv(weights: &Weights, n_iterations: usize) -> Result<Timing> {
    let (picture, net) = Net::open(weights)?;
    timed(n_iterations, || {
        net.params.zero_grads();
        let difference = (net.forward(&picture)? - &picture)?;
        let loss = difference.sqr()?.mean_all()?;
        backward(&loss, &net.params)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })
}

struct Net {
    params: Params,
}

impl Net {
    fn open(weights: &Weights) -> Result<(Tensor, Self)> {
        let mut store = Store::open(weights, "conv.safetensors")?;
        let picture = store.take("img", &[8, 3, 64, 64], 0.0, 1.0)?;
        let mut params = Params::new();
        for (name, c_in, c_out, k) in CONVS {
            let std = 1.0 / ((c_in * k * k) as f64).sqrt();
            let w = store.take(&format!("{name}.w"), &[c_out, c_in, k, k], 0.0, std)?;
            params.insert(Param::new(format!("{name}.w"), &w, true)?)?;
            let b = store.take(&format!("{name}.b"), &[c_out], 0.0, 0.02)?;
            params.insert(Param::new(format!("{name}.b"), &b, false)?)?;
        }
        for (name, channels) in NORMS {
            for (part, mean) in [("w", 1.0), ("b", 0.0)] {
                let name = format!("{name}.{part}");
                let values = store.take(&name, &[channels], mean, 0.02)?;
                params.insert(Param::new(name, &values, false)?)?;
            }
        }
        Ok((picture, Self { params }))
    }

    fn param(&self, name: &str, part: &str) -> &Param {
        self.params
            .get(&format!("{name}.{part}"))
            .expect("every name in this file is in its two tables")
    }

    fn conv(&self, name: &str, x: &Tensor, stride: usize) -> Result<Tensor> {
        let w = self.param(name, "w");
        conv2d(x, w, Some(self.param(name, "b")), stride, w.shape()[2] / 2)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        group_norm_silu(x, self.param(name, "w"), self.param(name, "b"), 32, 1e-5)
    }

    fn residual(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let h = self.conv(
            &format!("{name}.c1"),
            &self.norm(&format!("{name}.n1"), x)?,
            1,
        )?;
        let h = self.conv(
            &format!("{name}.c2"),
            &self.norm(&format!("{name}.n2"), &h)?,
            1,
        )?;
        if self.params.get(&format!("{name}.s.w")).is_some() {
            return add(&h, &self.conv(&format!("{name}.s"), x, 1)?);
        }
        add(&h, x)
    }

    fn forward(&self, picture: &Tensor) -> Result<Tensor> {
        let x = self.residual("r1", &self.conv("in", picture, 1)?)?;
        let x = self.residual("r2", &self.conv("d1", &x, 2)?)?;
        let x = self.residual("r3", &self.conv("d2", &x, 2)?)?;
        let x = self.residual("r4", &self.conv("u1", &up2(&x)?, 1)?)?;
        let x = self.residual("r5", &self.conv("u2", &up2(&x)?, 1)?)?;
        self.conv("out", &self.norm("no", &x)?, 1)
    }
}
