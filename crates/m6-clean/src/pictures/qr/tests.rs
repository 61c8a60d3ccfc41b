//! Real codes, drawn in many ways, and pictures that only look a little like one.

use m6_store::rng::Key;
use qrcode::{Color, EcLevel, QrCode};

use super::has_code;
use crate::pictures::scale::Gray;

/// A code drawn at `module` pixels a module, turned by `degrees`, in the middle of a picture of that size; edges are smoothed.
fn draw(
    text: &str,
    module: f32,
    degrees: f32,
    (width, height): (usize, usize),
    [dark, light]: [f32; 2],
) -> Gray {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
    let n = code.width() as f32;
    let colors = code.to_colors();
    let (sin, cos) = degrees.to_radians().sin_cos();
    let value = |x: f32, y: f32| {
        let (dx, dy) = (x - width as f32 / 2.0, y - height as f32 / 2.0);
        let (u, v) = (
            (cos * dx + sin * dy) / module + n / 2.0,
            (cos * dy - sin * dx) / module + n / 2.0,
        );
        if u < 0.0 || v < 0.0 || u >= n || v >= n {
            return light;
        }
        match colors[v as usize * code.width() + u as usize] {
            Color::Dark => dark,
            Color::Light => light,
        }
    };
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (
                x as f32 - width as f32 / 2.0,
                y as f32 - height as f32 / 2.0,
            );
            // Well outside the code there is nothing to smooth.
            if libm::hypotf(dx, dy) > 0.75 * n * module + 2.0 {
                data.push(light as u8);
                continue;
            }
            let mut sum = 0.0;
            for at in 0..16 {
                let part = |i: usize| (i as f32 + 0.5) / 4.0;
                sum += value(x as f32 + part(at % 4), y as f32 + part(at / 4));
            }
            data.push((sum / 16.0) as u8);
        }
    }
    Gray {
        width,
        height,
        data,
    }
}

const SHORT: &str = "https://example.org/m6";
const LONG: &str = "微信扫一扫，关注公众号，领取优惠券。https://example.org/a/very/long/address?with=many&parameters=1234567890&and=more";

#[test]
fn codes_are_found_upright_and_turned_at_many_sizes() {
    let mut missed = Vec::new();
    let mut n = 0;
    for text in [SHORT, LONG] {
        for module in [2.0, 2.5, 3.0, 4.3, 6.0, 9.0] {
            for degrees in [0.0, 90.0, 180.0, 3.0, 10.0, 30.0, 45.0, 200.0] {
                n += 1;
                if !has_code(&draw(text, module, degrees, (640, 640), [20.0, 240.0])) {
                    missed.push((text.len(), module, degrees));
                }
            }
        }
    }
    // Turned codes of two pixels a module may be lost; upright ones never.
    assert!(
        missed.len() * 20 <= n,
        "{} of {n} missed: {missed:?}",
        missed.len()
    );
    assert!(
        missed
            .iter()
            .all(|&(_, module, degrees)| module <= 2.5 && degrees % 90.0 != 0.0),
        "{missed:?}"
    );
}

#[test]
fn a_code_may_fill_the_picture_or_be_pale() {
    assert!(has_code(&draw(SHORT, 20.0, 0.0, (560, 560), [10.0, 250.0])));
    assert!(has_code(&draw(SHORT, 3.0, 0.0, (90, 90), [10.0, 250.0])));
    assert!(has_code(&draw(SHORT, 5.0, 0.0, (400, 300), [100.0, 170.0])));
    assert!(has_code(&draw(LONG, 5.0, 5.0, (640, 480), [90.0, 140.0])));
}

#[test]
fn noise_on_a_code_does_not_hide_it() {
    let mut gray = draw(SHORT, 5.0, 12.0, (400, 400), [40.0, 220.0]);
    let mut stream = Key::new(4).stream();
    for value in &mut gray.data {
        *value = (f64::from(*value) + 18.0 * stream.normal()).clamp(0.0, 255.0) as u8;
    }
    assert!(has_code(&gray));
}

#[test]
fn a_code_without_a_finder_or_without_timing_is_none() {
    let whole = draw(SHORT, 6.0, 0.0, (300, 300), [0.0, 255.0]);
    let n = 25.0 * 6.0;
    let start = 150.0 - n / 2.0;
    assert!(has_code(&whole));
    // One finder pattern wiped out.
    let mut gray = Gray {
        data: whole.data.clone(),
        ..whole
    };
    for y in 0..(start + 48.0) as usize {
        for x in 0..(start + 48.0) as usize {
            gray.data[y * 300 + x] = 255;
        }
    }
    assert!(!has_code(&gray));
    // Everything but the finder patterns wiped out: three nested squares, as in a logo.
    let mut gray = whole;
    let far = |at: usize| (start + 43.0..start + n - 43.0).contains(&(at as f32));
    for y in 0..300 {
        for x in 0..300 {
            if far(x) || far(y) {
                gray.data[y * 300 + x] = 255;
            }
        }
    }
    assert!(!has_code(&gray));
}

#[test]
fn patterns_and_noise_are_no_codes() {
    let (width, height) = (400, 300);
    let make = |value: &dyn Fn(usize, usize) -> u8| Gray {
        width,
        height,
        data: (0..width * height)
            .map(|at| value(at % width, at / width))
            .collect(),
    };
    let stripes = make(&|x, _| 255 * ((x / 7) % 2) as u8);
    let board = make(&|x, y| 255 * ((x / 9 + y / 9) % 2) as u8);
    let rings = make(&|x, y| {
        let far = libm::hypot(x as f64 - 200.0, y as f64 - 150.0);
        255 * ((far as usize / 10) % 2) as u8
    });
    let mut stream = Key::new(8).stream();
    let noise: Vec<u8> = (0..width * height)
        .map(|_| stream.next_u32() as u8)
        .collect();
    let blocks = make(&|x, y| noise[(y / 6) * width + x / 6] / 128 * 255);
    let noise = make(&|x, y| noise[y * width + x]);
    let flat = make(&|_, _| 130);
    for (name, gray) in [
        ("stripes", stripes),
        ("board", board),
        ("rings", rings),
        ("noise", noise),
        ("blocks", blocks),
        ("flat", flat),
    ] {
        assert!(!has_code(&gray), "{name}");
    }
}
