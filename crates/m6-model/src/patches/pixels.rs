//! Bytes to the numbers a patch network takes.

use crate::config::{PatchConfig, PatchKind, PatchScope};
use m6_nn::{Device, Result, Tensor};
use rayon::prelude::*;

/// Mean of ImageNet's channels, as torchvision's weights expect.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of ImageNet's channels.
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Input of the patch network: `[n, 3, side, side]` for whole pictures, `[n * p, 3, cell, cell]` for cells (and always
/// for `linear`); normalised as ImageNet for `resnet50`, to [-1, 1] otherwise.
pub(crate) fn to_tensor(cfg: &PatchConfig, pictures: &[u8]) -> Result<Tensor> {
    let whole = cfg.scope == PatchScope::Picture && cfg.kind != PatchKind::Linear;
    let n = pictures.len() / cfg.picture_bytes();
    let values = normalise(cfg, pictures);
    let (n, side, values) = match whole {
        true => (n, cfg.image_side, values),
        false => (n * cfg.n_patches(), cfg.cell(), cut(cfg, &values)),
    };
    Ok(Tensor::from_vec(values, (n, 3, side, side), &Device::Cpu)?)
}

/// Pictures `[n, 3, h, w]` in [-1, 1] normalised as torchvision's weights expect.
pub(crate) fn to_imagenet(x_nchw: &Tensor) -> Result<Tensor> {
    let channel = |f: &dyn Fn(usize) -> f32| {
        let values: Vec<f32> = (0..3).map(f).collect();
        Tensor::from_vec(values, (1, 3, 1, 1), &Device::Cpu)
    };
    let scale = channel(&|c| 0.5 / IMAGENET_STD[c])?;
    let shift = channel(&|c| (0.5 - IMAGENET_MEAN[c]) / IMAGENET_STD[c])?;
    Ok(x_nchw.broadcast_mul(&scale)?.broadcast_add(&shift)?)
}

fn normalise(cfg: &PatchConfig, pictures: &[u8]) -> Vec<f32> {
    let plane = cfg.image_side * cfg.image_side;
    let imagenet = cfg.kind == PatchKind::Resnet50;
    let mut out = vec![0.0; pictures.len()];
    out.par_chunks_mut(plane)
        .zip(pictures.par_chunks(plane))
        .enumerate()
        .for_each(|(i, (out, from))| {
            let (mean, std) = if imagenet {
                (IMAGENET_MEAN[i % 3], IMAGENET_STD[i % 3])
            } else {
                (0.5, 0.5)
            };
            for (o, &b) in out.iter_mut().zip(from) {
                *o = (f32::from(b) / 255.0 - mean) / std;
            }
        });
    out
}

/// Reorders whole pictures into cells in raster order, channels first inside each.
fn cut(cfg: &PatchConfig, values: &[f32]) -> Vec<f32> {
    let (side, cell, grid) = (cfg.image_side, cfg.cell(), cfg.grid);
    let mut out = vec![0.0; values.len()];
    out.par_chunks_mut(3 * cell * cell)
        .enumerate()
        .for_each(|(i, out)| {
            let (picture, patch) = (i / cfg.n_patches(), i % cfg.n_patches());
            let (top, left) = (patch / grid * cell, patch % grid * cell);
            for (row, out) in out.chunks_exact_mut(cell).enumerate() {
                let (channel, y) = (row / cell, row % cell);
                let from = ((picture * 3 + channel) * side + top + y) * side + left;
                out.copy_from_slice(&values[from..from + cell]);
            }
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_in_raster_order_channels_first() {
        let cfg = PatchConfig {
            kind: PatchKind::Linear,
            grid: 2,
            image_side: 4,
            ..PatchConfig::default()
        };
        let values: Vec<f32> = (0..48).map(|i| i as f32).collect();
        let cells = cut(&cfg, &values);
        assert_eq!(&cells[..4], [0.0, 1.0, 4.0, 5.0]);
        assert_eq!(&cells[4..8], [16.0, 17.0, 20.0, 21.0]);
        assert_eq!(&cells[12..16], [2.0, 3.0, 6.0, 7.0]);
        assert_eq!(&cells[24..28], [8.0, 9.0, 12.0, 13.0]);
        let mut sorted = cells.clone();
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, values);
    }
}
