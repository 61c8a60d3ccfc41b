//! Frechet distance equals pytorch-fid's, precision, recall, density and coverage those of prdc; large sets take seconds.
#![allow(clippy::print_stderr)]

use m6_eval::{Features, Gaussian, frechet_distance, manifold_scores};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Relative to the distance or, where it is about 0, to the variance of the sets.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Case {
    d: usize,
    real: Vec<f64>,
    drawn: Vec<f64>,
    frechet: f64,
    /// By k, then by name.
    prdc: BTreeMap<String, BTreeMap<String, f64>>,
}

fn cases() -> BTreeMap<String, Case> {
    serde_json::from_str(include_str!("fixtures/frechet.json")).expect("a fixture")
}

fn distance(a: &Features, b: &Features) -> f64 {
    let of = |set| Gaussian::new(set).expect("two vectors");
    frechet_distance(&of(a), &of(b)).expect("one length")
}

/// Sum of the variances of all dimensions.
fn variance(values: &[f64], d: usize) -> f64 {
    let n = (values.len() / d) as f64;
    let column = |j: usize| values.iter().skip(j).step_by(d);
    let of = |j: usize| {
        let mean = column(j).sum::<f64>() / n;
        column(j).map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)
    };
    (0..d).map(of).sum()
}

#[test]
fn distances_equal_pytorch_fid() {
    for (name, case) in cases() {
        let of = |values: &[f64]| Features::new(values, case.d).expect("whole rows");
        let (real, drawn) = (of(&case.real), of(&case.drawn));
        let scale = case.frechet.max(variance(&case.real, case.d));
        for got in [distance(&real, &drawn), distance(&drawn, &real)] {
            let error = (got - case.frechet).abs() / scale;
            assert!(
                error < TOLERANCE,
                "{name}: {got} against {}: {error:e}",
                case.frechet
            );
            if case.frechet > 0.1 * scale {
                assert!((got / case.frechet - 1.0).abs() < TOLERANCE, "{name}");
            }
        }
    }
}

#[test]
fn manifolds_equal_prdc() {
    for (name, case) in cases() {
        let of = |values: &[f64]| Features::new(values, case.d).expect("whole rows");
        for (k, want) in &case.prdc {
            let got = manifold_scores(&of(&case.real), &of(&case.drawn), k.parse().expect("k"))
                .expect("enough vectors");
            for (key, got) in [
                ("precision", got.precision),
                ("recall", got.recall),
                ("density", got.density),
                ("coverage", got.coverage),
            ] {
                assert!((got - want[key]).abs() < 1e-9, "{name}, k {k}: {key} {got}");
            }
        }
    }
}

/// Vectors whose deviations fall from 1 to 1e-3, by a formula.
fn steep_values(n: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..n * d)
        .map(|i| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let uniform = (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
            uniform * 10f64.powf(-3.0 * (i % d) as f64 / d as f64)
        })
        .collect()
}

fn steep(n: usize, d: usize, seed: u64) -> Features {
    Features::new(&steep_values(n, d, seed), d).expect("whole rows")
}

/// The size of Inception's features; shown by `--ignored --nocapture`.
#[test]
#[ignore = "half a minute; for the figure in docs/drawing.md"]
fn features_of_2048_dimensions_take_seconds() {
    let (a, b) = (steep(5000, 2048, 1), steep(5000, 2048, 2));
    let started = std::time::Instant::now();
    let frechet = distance(&a, &b);
    eprintln!("frechet {frechet} in {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let scores = manifold_scores(&a, &b, 3).expect("enough");
    eprintln!("{scores:?} in {:?}", started.elapsed());
    assert!(distance(&a, &a) < 1e-6 * frechet);
}

#[test]
fn figures_are_bit_equal_for_any_number_of_threads() {
    let (a, b) = (steep(300, 150, 3), steep(170, 150, 4));
    let run = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .expect("a pool");
        pool.install(|| {
            (
                distance(&a, &b),
                manifold_scores(&a, &b, 3).expect("enough"),
            )
        })
    };
    assert!(run(1) == run(2) && run(1) == run(5));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..Default::default() })]

    /// Whatever the ranks: equal sets lie about 0 apart, a shift adds its square, and the order does not matter.
    #[test]
    fn a_shift_adds_its_square(n in 2usize..20, m in 2usize..20, d in 1usize..24, seed in 0u64..1000, shift in -3.0f64..3.0) {
        let (a, b) = (steep(n, d, seed), steep(m, d, seed + 7));
        prop_assert!(distance(&a, &a) < 1e-6);
        let apart = distance(&a, &b);
        prop_assert!((apart - distance(&b, &a)).abs() < 1e-6);
        let values: Vec<f64> = steep_values(n, d, seed).iter().map(|v| v + shift).collect();
        let moved = Features::new(&values, d).expect("whole rows");
        prop_assert!((distance(&a, &moved) - d as f64 * shift * shift).abs() < 1e-6);
    }
}
