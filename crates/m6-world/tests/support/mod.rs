//! What may happen to a picture before it is measured.
#![allow(dead_code)]

use m6_image::Rgb8;
use m6_store::rng::Key;

/// Means over 3 by 3 pixels (a box of radius 1), the border repeated.
pub fn blurred(image: &Rgb8) -> Rgb8 {
    let mut out = image.clone();
    for y in 0..image.height {
        for x in 0..image.width {
            for c in 0..3 {
                let mut sum = 0;
                for dy in 0..3 {
                    for dx in 0..3 {
                        let x = (x + dx).saturating_sub(1).min(image.width - 1);
                        let y = (y + dy).saturating_sub(1).min(image.height - 1);
                        sum += u32::from(image.data[3 * (y * image.width + x) + c]);
                    }
                }
                out.data[3 * (y * image.width + x) + c] = ((sum + 4) / 9) as u8;
            }
        }
    }
    out
}

/// Normal noise of `sigma` levels on every value.
pub fn noisy(image: &Rgb8, sigma: f64, seed: u64) -> Rgb8 {
    let mut stream = Key::new(seed).child("noise").stream();
    let mut out = image.clone();
    for value in &mut out.data {
        // A cast from f64 saturates.
        *value = (f64::from(*value) + sigma * stream.normal()).round() as u8;
    }
    out
}

/// Every value drawn evenly.
pub fn random(width: usize, height: usize, seed: u64) -> Rgb8 {
    let mut stream = Key::new(seed).child("random").stream();
    let data = (0..3 * width * height)
        .map(|_| stream.below(256) as u8)
        .collect();
    Rgb8 {
        width,
        height,
        data,
    }
}

/// The quantisation tables of ITU T.81, annex K: luminance, chrominance.
const TABLES: [[u8; 64]; 2] = [
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69,
        56, 14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81,
        104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ],
    [
        17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99,
        99, 47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    ],
];

/// What JPEG of a quality (50 to 100) leaves of a picture: blocks of 8 by 8 in YCbCr with rounded cosine coefficients,
/// without subsampling. Sides must be multiples of 8.
pub fn jpeg(image: &Rgb8, quality: u32) -> Rgb8 {
    assert!(image.width.is_multiple_of(8) && image.height.is_multiple_of(8));
    let mut planes = to_ycbcr(image);
    for (c, plane) in planes.iter_mut().enumerate() {
        let scale = f64::from(200 - 2 * quality) / 100.0;
        let table = TABLES[c.min(1)].map(|q| (f64::from(q) * scale).round().max(1.0));
        for y in (0..image.height).step_by(8) {
            for x in (0..image.width).step_by(8) {
                round_block(plane, image.width, x, y, &table);
            }
        }
    }
    to_rgb(&planes, image.width, image.height)
}

fn to_ycbcr(image: &Rgb8) -> [Vec<f64>; 3] {
    let rows = [
        [0.299, 0.587, 0.114],
        [-0.168_736, -0.331_264, 0.5],
        [0.5, -0.418_688, -0.081_312],
    ];
    rows.map(|row| {
        (image.data.chunks_exact(3))
            .map(|p| (0..3).map(|c| row[c] * f64::from(p[c])).sum())
            .collect()
    })
}

fn to_rgb(planes: &[Vec<f64>; 3], width: usize, height: usize) -> Rgb8 {
    let mut data = Vec::with_capacity(3 * width * height);
    for at in 0..width * height {
        let [y, cb, cr] = [planes[0][at], planes[1][at], planes[2][at]];
        let rgb = [
            y + 1.402 * cr,
            y - 0.344_136 * cb - 0.714_136 * cr,
            y + 1.772 * cb,
        ];
        data.extend(rgb.map(|level| level.round() as u8));
    }
    Rgb8 {
        width,
        height,
        data,
    }
}

fn round_block(plane: &mut [f64], width: usize, x: usize, y: usize, table: &[f64; 64]) {
    let basis = |frequency: usize, at: usize| {
        let angle = std::f64::consts::PI * (2 * at + 1) as f64 * frequency as f64 / 16.0;
        let norm = if frequency == 0 { 0.125f64 } else { 0.25 };
        norm.sqrt() * angle.cos()
    };
    let mut rounded = [0.0; 64];
    for (k, value) in rounded.iter_mut().enumerate() {
        let mut sum = 0.0;
        for at in 0..64 {
            let weight = basis(k % 8, at % 8) * basis(k / 8, at / 8);
            sum += weight * plane[(y + at / 8) * width + x + at % 8];
        }
        *value = (sum / table[k]).round() * table[k];
    }
    for at in 0..64 {
        plane[(y + at / 8) * width + x + at % 8] = (0..64)
            .map(|k| rounded[k] * basis(k % 8, at % 8) * basis(k / 8, at / 8))
            .sum();
    }
}
