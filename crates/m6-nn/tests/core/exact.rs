//! What must hold to the last bit, and what must be refused.

use crate::cases::{all, grad, numbers, p, with_threads};
use m6_nn::gradcheck::{normal_param, probe};
use m6_nn::ops::{self, Act};
use m6_nn::{DType, Device, Param, Params, Result, Tensor, backward, no_grad};
use std::sync::Arc;

fn f32_params(list: &[(&str, &[usize])]) -> Params {
    let mut params = Params::new();
    for (name, shape) in list {
        let value = normal_param(name, shape, 0.3)
            .unwrap()
            .var()
            .to_dtype(DType::F32)
            .unwrap();
        params
            .insert(Param::new(*name, &value, true).unwrap())
            .unwrap();
    }
    params
}

/// A feed-forward block; `composed` uses stock operators for its first map.
fn block(q: &Params, x: &Tensor, composed: bool) -> Result<Tensor> {
    let h = ops::layer_norm(x, p(q, "ln.w"), p(q, "ln.b"), 1e-5)?;
    let up = if composed {
        ops::composed::linear
    } else {
        ops::linear
    };
    let h = up(&h, p(q, "up.w"), Some(p(q, "up.b")), Act::Gelu)?;
    let h = ops::linear(&h, p(q, "down.w"), None, Act::None)?;
    ops::add_dropout(x, &h, 0.2, 5)
}

const D: usize = 48;
const N: usize = 600;

fn block_params() -> Params {
    f32_params(&[
        ("x", &[N, D]),
        ("ln.w", &[D]),
        ("ln.b", &[D]),
        ("up.w", &[4 * D, D]),
        ("up.b", &[4 * D]),
        ("down.w", &[D, 4 * D]),
        ("head", &[301, D]),
    ])
}

/// Loss and all gradients of two blocks and a head on the tied table; `checkpointed` keeps only the blocks' edges.
fn train(q: &Params, checkpointed: bool, composed: bool, scale: f64) -> (Vec<f64>, Vec<Vec<f64>>) {
    q.zero_grads();
    let ids: Arc<[u32]> = (0..N as u32).map(|i| i * 7 % 301).collect();
    let labels: Arc<[u32]> = (0..N as u32).map(|i| i * 11 % 301).collect();
    let weights: Arc<[f32]> = vec![1.0 / N as f32; N].into();
    let mut h = ops::add(
        &ops::embed(&[(p(q, "head"), ids)]).unwrap(),
        &p(q, "x").tensor(),
    )
    .unwrap();
    for _ in 0..2 {
        h = if checkpointed {
            let q = q.clone();
            ops::checkpoint(&h, Box::new(move |x| block(&q, x, composed))).unwrap()
        } else {
            block(q, &h, composed).unwrap()
        };
    }
    let (loss, nll) = ops::head_ce(&h, p(q, "head"), None, labels, weights, 0.1).unwrap();
    let loss = (loss * scale).unwrap();
    backward(&loss, q).unwrap();
    let mut values: Vec<f64> = nll.into_iter().map(f64::from).collect();
    values.extend(numbers(&loss));
    (values, q.iter().map(grad).collect())
}

#[test]
fn losses_and_gradients_are_bit_equal_for_any_number_of_threads() {
    let q = block_params();
    let one = with_threads(1, || train(&q, false, false, 1.0));
    assert!(one == with_threads(2, || train(&q, false, false, 1.0)));
    assert!(one == with_threads(3, || train(&q, false, false, 1.0)));
    assert!(one.1.iter().all(|g| g.iter().any(|v| *v != 0.0)));
    let norm = |n| with_threads(n, || q.grad_norm());
    assert_eq!(norm(1).to_bits(), norm(2).to_bits());
}

#[test]
fn every_operator_is_bit_equal_for_any_number_of_threads() {
    for case in all(DType::F32) {
        let run = || {
            case.params.zero_grads();
            let y = (case.fused)(&case.params).unwrap();
            backward(&probe(&y).unwrap(), &case.params).unwrap();
            (
                numbers(&y),
                case.params.iter().map(grad).collect::<Vec<_>>(),
            )
        };
        let one = with_threads(1, run);
        assert!(one == with_threads(2, run), "{}", case.name);
        assert!(one == with_threads(3, run), "{}", case.name);
    }
}

#[test]
fn checkpointing_changes_no_bit() {
    let q = block_params();
    assert!(train(&q, true, false, 1.0) == train(&q, false, false, 1.0));
}

#[test]
fn composed_operators_inside_a_checkpoint_give_their_gradients() {
    let q = block_params();
    assert!(train(&q, true, true, 1.0) == train(&q, false, true, 1.0));
}

#[test]
fn a_checkpoint_on_a_leaf_off_the_tape_still_teaches_its_parameters() {
    let q = block_params();
    let x = p(&q, "x").var().as_detached_tensor();
    let grads = |checkpointed: bool| {
        q.zero_grads();
        let inner = q.clone();
        let y = if checkpointed {
            ops::checkpoint(&x, Box::new(move |x| block(&inner, x, false))).unwrap()
        } else {
            block(&q, &x, false).unwrap()
        };
        backward(&probe(&y).unwrap(), &q).unwrap();
        q.iter().map(grad).collect::<Vec<_>>()
    };
    assert!(grads(true) == grads(false));
}

#[test]
fn gradients_of_a_scaled_loss_are_scaled() {
    let q = block_params();
    let (_, plain) = train(&q, false, false, 1.0);
    let (_, doubled) = train(&q, false, false, 2.0);
    for (plain, doubled) in plain.iter().zip(&doubled) {
        // Powers of two scale without rounding, so this is exact.
        assert!(plain.iter().zip(doubled).all(|(a, b)| 2.0 * a == *b));
    }
}

#[test]
fn gradients_accumulate_over_micro_batches() {
    let q = block_params();
    let (_, once) = train(&q, false, false, 1.0);
    let x = p(&q, "x").tensor();
    let (labels, weights): (Arc<[u32]>, Arc<[f32]>) = (vec![3; N].into(), vec![0.5; N].into());
    let before = grad(p(&q, "head"));
    assert!(before == once[6]);
    let add = || {
        let (loss, _) = ops::head_ce(
            &x,
            p(&q, "head"),
            None,
            labels.clone(),
            weights.clone(),
            0.0,
        )
        .unwrap();
        backward(&loss, &q).unwrap();
    };
    add();
    let after = grad(p(&q, "head"));
    q.zero_grads();
    add();
    let alone = grad(p(&q, "head"));
    for ((before, alone), after) in before.iter().zip(&alone).zip(&after) {
        assert_eq!((*before as f32 + *alone as f32) as f64, *after);
    }
}

#[test]
fn frozen_parameters_get_no_gradient_and_nothing_is_saved_without_gradients() {
    let q = block_params();
    for name in ["up.w", "ln.b", "head"] {
        p(&q, name).set_trainable(false);
    }
    let _ = train(&q, false, false, 1.0);
    for param in &q {
        assert_eq!(
            param.grad_f32().is_some(),
            param.is_trainable(),
            "{}",
            param.name()
        );
    }
    let y = no_grad(|| block(&q, &p(&q, "x").tensor(), false)).unwrap();
    assert!(!y.track_op());
}

#[test]
fn a_graph_cannot_be_run_backward_twice_in_silence() {
    let q = block_params();
    let y = ops::linear(
        &p(&q, "x").tensor(),
        p(&q, "up.w"),
        Some(p(&q, "up.b")),
        Act::Gelu,
    )
    .unwrap();
    let loss = probe(&y).unwrap();
    backward(&loss, &q).unwrap();
    let error = backward(&loss, &q).unwrap_err().to_string();
    assert!(error.contains("backward once"), "{error}");
}

#[test]
fn operands_that_do_not_fit_are_refused_with_their_names() {
    let q = block_params();
    let x = p(&q, "x").tensor();
    let says = |result: Result<Tensor>, words: &[&str]| {
        let error = result.unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    };
    says(
        ops::linear(&x, p(&q, "down.w"), None, Act::None),
        &["linear", "down.w", "[48, 192]"],
    );
    says(
        ops::layer_norm(&x, p(&q, "up.b"), p(&q, "ln.b"), 1e-5),
        &["layer_norm", "up.b", "[48]"],
    );
    says(
        ops::embed(&[(p(&q, "head"), vec![0, 301].into())]),
        &["301", "position 1", "301 rows"],
    );
    says(ops::embed(&[]), &["no table"]);
    says(
        ops::select_rows(&x, vec![600].into()),
        &["select_rows", "600"],
    );
    says(ops::add_dropout(&x, &x, 1.0, 0), &["p is 1"]);
    let wide = Tensor::zeros((N, D), DType::F64, &Device::Cpu).unwrap();
    says(ops::add(&x, &wide), &["F64", "F32"]);
    let one = ops::head_ce(
        &x,
        p(&q, "head"),
        None,
        vec![0].into(),
        vec![1.0; N].into(),
        0.0,
    );
    assert!(
        one.unwrap_err()
            .to_string()
            .contains("600 rows with 1 labels")
    );
    let labels: Arc<[u32]> = vec![301; N].into();
    let out = ops::head_ce(&x, p(&q, "head"), None, labels, vec![1.0; N].into(), 0.0);
    assert!(out.unwrap_err().to_string().contains("out of range"));
}

#[test]
fn empty_inputs_give_empty_results() {
    let q = block_params();
    let x = Tensor::zeros((0, D), DType::F32, &Device::Cpu).unwrap();
    let y = ops::linear(&x, p(&q, "up.w"), Some(p(&q, "up.b")), Act::Gelu).unwrap();
    assert_eq!(y.dims(), [0, 4 * D]);
    assert_eq!(
        ops::layer_norm(&x, p(&q, "ln.w"), p(&q, "ln.b"), 1e-5)
            .unwrap()
            .dims(),
        [0, D]
    );
    let (loss, nll) =
        ops::head_ce(&x, p(&q, "head"), None, Arc::new([]), Arc::new([]), 0.0).unwrap();
    assert_eq!((loss.to_scalar::<f32>().unwrap(), nll.len()), (0.0, 0));
    backward(&loss, &q).unwrap();
    assert!(grad(p(&q, "head")).iter().all(|v| *v == 0.0));
}
