//! Core operators against PyTorch, forward and gradients, in `f32`; fixtures made by `reference/nn_core.py`.

use crate::cases::{grad, numbers, p};
use m6_nn::ops::{self, Act};
use m6_nn::tolerance::{OP_F32, assert_close};
use m6_nn::{DType, Device, Params, Result, Tensor, backward};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

static FIXTURES: LazyLock<HashMap<String, Tensor>> = LazyLock::new(|| {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/core.safetensors"
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
});

/// A tensor of the fixture file.
pub fn fixture(name: &str) -> &'static Tensor {
    FIXTURES
        .get(name)
        .unwrap_or_else(|| panic!("no fixture {name}"))
}

fn ids(name: &str) -> Arc<[u32]> {
    let list: Vec<i64> = fixture(name).to_vec1().unwrap();
    list.into_iter()
        .map(|id| u32::try_from(id).unwrap())
        .collect()
}

/// Runs an operator on the case's leaves and compares result and gradients with PyTorch's.
fn check(case: &str, leaves: &[&str], f: impl Fn(&Params) -> Result<Tensor>) {
    let mut params = Params::new();
    for leaf in leaves {
        let value = fixture(&format!("{case}.{leaf}"));
        params
            .insert(m6_nn::Param::new(*leaf, value, true).unwrap())
            .unwrap();
    }
    let y = f(&params).unwrap();
    assert_eq!(y.dims(), fixture(&format!("{case}.y")).dims(), "{case}");
    assert_close(
        case,
        &numbers(&y),
        &numbers(fixture(&format!("{case}.y"))),
        OP_F32,
    );
    let loss = (y * fixture(&format!("{case}.grad")))
        .unwrap()
        .sum_all()
        .unwrap();
    backward(&loss, &params).unwrap();
    for leaf in leaves {
        let want = numbers(fixture(&format!("{case}.d{leaf}")));
        assert_close(
            &format!("{case} d{leaf}"),
            &grad(p(&params, leaf)),
            &want,
            OP_F32,
        );
    }
}

#[test]
fn linear_maps_agree_with_pytorch() {
    for (case, act) in [
        ("linear_none", Act::None),
        ("linear_gelu", Act::Gelu),
        ("linear_relu", Act::Relu),
    ] {
        check(case, &["x", "w", "b"], |q| {
            ops::linear(&p(q, "x").tensor(), p(q, "w"), Some(p(q, "b")), act)
        });
    }
    check("linear_no_bias", &["x", "w"], |q| {
        ops::linear(&p(q, "x").tensor(), p(q, "w"), None, Act::None)
    });
}

#[test]
fn gelu_agrees_with_pytorch_over_its_whole_range() {
    check("gelu_range", &["x", "w"], |q| {
        ops::linear(&p(q, "x").tensor(), p(q, "w"), None, Act::Gelu)
    });
}

#[test]
fn layer_norm_agrees_with_pytorch() {
    let f = |q: &Params| ops::layer_norm(&p(q, "x").tensor(), p(q, "w"), p(q, "b"), 1e-5);
    check("layer_norm", &["x", "w", "b"], f);
}

#[test]
fn embeddings_and_row_operators_agree_with_pytorch() {
    check("embed", &["tokens", "segments"], |q| {
        ops::embed(&[
            (p(q, "tokens"), ids("embed.ids")),
            (p(q, "segments"), ids("embed.parts")),
        ])
    });
    check("select_rows", &["x"], |q| {
        ops::select_rows(&p(q, "x").tensor(), ids("rows.at"))
    });
    check("scatter_rows", &["x", "rows"], |q| {
        ops::scatter_rows(&p(q, "x").tensor(), &p(q, "rows").tensor(), ids("rows.at"))
    });
}

#[test]
fn head_and_cross_entropy_agree_with_pytorch() {
    for (case, smoothing, leaves) in [
        ("head_ce_plain", 0.0, &["h", "w"][..]),
        ("head_ce_smooth", 0.1, &["h", "w", "bias"][..]),
    ] {
        let weights: Vec<f32> = fixture(&format!("{case}.weights")).to_vec1().unwrap();
        let weights: Arc<[f32]> = weights.into();
        // The upstream gradient in the fixture is not 1.
        check(case, leaves, |q| {
            let labels = ids(&format!("{case}.labels"));
            let h = p(q, "h").tensor();
            let (loss, nll) = ops::head_ce(
                &h,
                p(q, "w"),
                q.get("bias"),
                labels,
                weights.clone(),
                smoothing,
            )?;
            let nll: Vec<f64> = nll.into_iter().map(f64::from).collect();
            assert_close(
                "nll",
                &nll,
                &numbers(fixture(&format!("{case}.nll"))),
                OP_F32,
            );
            Ok(loss)
        });
    }
}

#[test]
fn fixtures_hold_single_precision() {
    assert!(
        FIXTURES
            .values()
            .all(|t| matches!(t.dtype(), DType::F32 | DType::I64))
    );
}
