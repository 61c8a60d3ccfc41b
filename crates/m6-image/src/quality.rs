//! How near two pictures are: PSNR and SSIM.

use crate::Rgb8;

/// Side of the Gaussian window of SSIM, and its standard deviation (Wang and others 2004).
const WINDOW: (usize, f64) = (11, 1.5);
/// Constants of SSIM as shares of the largest level.
const K: (f64, f64) = (0.01, 0.03);

/// Peak signal-to-noise ratio in dB over all channels, infinite for equal pictures; `None` when the sizes differ.
pub fn psnr(a: &Rgb8, b: &Rgb8) -> Option<f64> {
    if (a.width, a.height) != (b.width, b.height) || a.data.is_empty() {
        return None;
    }
    let pairs = a.data.iter().zip(&b.data);
    let squares: f64 = pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    let mse = squares / a.data.len() as f64;
    Some(10.0 * (255.0f64.powi(2) / mse).log10())
}

/// Structural similarity, -1 to 1: the mean over the three channels and over every place where the window lies inside the picture;
/// `None` when the sizes differ or a side is below the window's 11 pixels.
pub fn ssim(a: &Rgb8, b: &Rgb8) -> Option<f64> {
    let (width, height) = (a.width, a.height);
    if (width, height) != (b.width, b.height) || width.min(height) < WINDOW.0 {
        return None;
    }
    let channels = (0..3).map(|c| {
        let plane = |image: &Rgb8| -> Vec<f64> {
            let levels = image.data.iter().skip(c).step_by(3);
            levels.map(|v| f64::from(*v)).collect()
        };
        ssim_plane(&plane(a), &plane(b), width)
    });
    Some(channels.sum::<f64>() / 3.0)
}

fn ssim_plane(a: &[f64], b: &[f64], width: usize) -> f64 {
    let window = gaussian();
    let product =
        |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
    let smooth = |x: &[f64]| blur(x, width, &window);
    let (mean_a, mean_b) = (smooth(a), smooth(b));
    let (aa, bb, ab) = (
        smooth(&product(a, a)),
        smooth(&product(b, b)),
        smooth(&product(a, b)),
    );
    let (c1, c2) = ((K.0 * 255.0).powi(2), (K.1 * 255.0).powi(2));
    let places = (0..mean_a.len()).map(|i| {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (va, vb, cov) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
        (2.0 * ma * mb + c1) * (2.0 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    });
    places.sum::<f64>() / mean_a.len() as f64
}

fn gaussian() -> Vec<f64> {
    let (side, sigma) = WINDOW;
    let middle = (side / 2) as f64;
    let weights: Vec<f64> = (0..side)
        .map(|i| (-((i as f64 - middle) / sigma).powi(2) / 2.0).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// The plane under the window, columns then rows, only where the window lies inside.
fn blur(plane: &[f64], width: usize, window: &[f64]) -> Vec<f64> {
    let weigh = |values: &mut dyn Iterator<Item = f64>| -> f64 {
        values.zip(window).map(|(v, w)| v * w).sum()
    };
    let n = window.len();
    let narrow = width + 1 - n;
    let rows: Vec<f64> = plane
        .chunks_exact(width)
        .flat_map(|row| (0..narrow).map(|x| weigh(&mut row[x..x + n].iter().copied())))
        .collect();
    let height = rows.len() / narrow;
    (0..(height + 1 - n) * narrow)
        .map(|at| weigh(&mut (0..n).map(|i| rows[at + i * narrow])))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(seed: u32) -> Rgb8 {
        let mut state = seed;
        let data = (0..3 * 24 * 20).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        Rgb8::from_hwc(24, 20, data.collect()).expect("fits")
    }

    #[test]
    fn equal_pictures_are_as_near_as_can_be() {
        let a = picture(1);
        assert_eq!(psnr(&a, &a), Some(f64::INFINITY));
        assert!((ssim(&a, &a).expect("large enough") - 1.0).abs() < 1e-12);
    }

    /// The figures of scikit-image 0.26 (`gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2`).
    #[test]
    fn other_pictures_have_the_figures_of_scikit_image() {
        let (a, b) = (picture(1), picture(2));
        let mixed: Vec<u8> = a
            .data
            .iter()
            .zip(&b.data)
            .map(|(a, b)| (u16::from(*a) * 3 / 4 + u16::from(*b) / 4) as u8)
            .collect();
        let mixed = Rgb8::from_hwc(24, 20, mixed).expect("fits");
        for (other, want_psnr, want_ssim) in [(&b, PSNR_B, SSIM_B), (&mixed, PSNR_M, SSIM_M)] {
            assert!((psnr(&a, other).expect("fits") - want_psnr).abs() < 1e-9);
            assert!((ssim(&a, other).expect("fits") - want_ssim).abs() < 1e-9);
        }
    }

    const PSNR_B: f64 = 7.642761490741089;
    const SSIM_B: f64 = 0.003208718821157234;
    const PSNR_M: f64 = 19.67898313677527;
    const SSIM_M: f64 = 0.9230645217792394;

    #[test]
    fn sizes_that_do_not_fit_have_no_figure() {
        let (a, small) = (picture(1), Rgb8::filled(10, 30, [0; 3]));
        assert_eq!(psnr(&a, &small), None);
        assert_eq!(ssim(&a, &small), None);
        assert_eq!(ssim(&small, &small), None);
    }
}
