//! Expert layers against DeepSpeed and lucidrains' mixture-of-experts (fixtures made by `reference/nn_experts.py`, which runs both), and
//! what must hold of any layer.

use crate::cases::{grad, numbers, p, with_threads};
use m6_nn::gradcheck::normal_param;
use m6_nn::ops::{
    self, Act, ExpertWeights, NO_ROW, Renormalize, RouteOptions, Routed, SecondChoice, capacity,
};
use m6_nn::tolerance::{COMPOSED_F64, OP_F32, assert_close};
use m6_nn::{Device, Param, Params, Result, Tensor, backward};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Weight of the balance loss in the script.
const BALANCE: f64 = 0.37;
const LEAVES: [&str; 6] = ["x", "router", "up", "up_bias", "down", "down_bias"];

static FIXTURES: LazyLock<HashMap<String, Tensor>> = LazyLock::new(|| {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/experts.safetensors"
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
});

fn weights(q: &Params) -> ExpertWeights {
    ExpertWeights {
        up_efd: p(q, "up").clone(),
        up_bias_ef: p(q, "up_bias").clone(),
        down_edf: p(q, "down").clone(),
        down_bias_ed: p(q, "down_bias").clone(),
    }
}

/// The layer: logits, routing and output.
fn layer(q: &Params, options: &RouteOptions) -> Result<(Tensor, Routed, Tensor)> {
    let x_nd = p(q, "x").tensor();
    let logits = ops::linear(&x_nd, p(q, "router"), None, Act::None)?;
    let routed = ops::route(&logits, options)?;
    let y_nd = ops::experts(&x_nd, &routed.gates_ns, &routed.routing, &weights(q), None)?;
    Ok((logits, routed, y_nd))
}

/// Compares choices, places, gates, balance loss, output and every gradient with the published implementation's.
fn check(case: &str, options: &RouteOptions) {
    let fixture = |name: &str| {
        let name = format!("{case}.{name}");
        FIXTURES
            .get(&name)
            .unwrap_or_else(|| panic!("no fixture {name}"))
    };
    let mut q = Params::new();
    for leaf in LEAVES {
        q.insert(Param::new(leaf, fixture(leaf), true).unwrap())
            .unwrap();
    }
    let (logits, routed, y_nd) = layer(&q, options).unwrap();
    let routing = &routed.routing;

    let (n, e) = logits.dims2().unwrap();
    let (mut gates, mut places) = (vec![0.0; n * e], vec![0i64; n * e]);
    let own = numbers(&routed.gates_ns);
    for (at, &row) in routing
        .row_ns
        .iter()
        .enumerate()
        .filter(|(_, row)| **row != NO_ROW)
    {
        let expert = routing.expert_ns[at] as usize;
        let cell = at / routing.n_choices * e + expert;
        gates[cell] = own[at];
        places[cell] = (row as usize - routing.offsets[expert]) as i64;
    }
    let want = numbers(fixture("gates"));
    let kept = |gates: &[f64]| gates.iter().map(|&g| g > 0.0).collect::<Vec<_>>();
    assert_eq!(
        kept(&gates),
        kept(&want),
        "{case}: other choices are dropped"
    );
    assert!(
        routing.n_dropped() > 0 || case.ends_with("none"),
        "{case} drops nothing"
    );
    let want_places: Vec<i64> = fixture("places").flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(places, want_places, "{case}");
    assert_close(&format!("{case} gates"), &gates, &want, OP_F32);
    let balance = numbers(fixture("balance"));
    assert_close(
        &format!("{case} balance"),
        &[routed.balance],
        &balance,
        OP_F32,
    );
    assert_close(
        &format!("{case} y"),
        &numbers(&y_nd),
        &numbers(fixture("y")),
        OP_F32,
    );

    let probe = (y_nd * fixture("grad")).unwrap().sum_all().unwrap();
    let loss = ops::router_loss(&logits, &routed, BALANCE, 0.0).unwrap();
    backward(&(probe + loss).unwrap(), &q).unwrap();
    for leaf in LEAVES {
        let want = numbers(fixture(&format!("d{leaf}")));
        assert_close(
            &format!("{case} d{leaf}"),
            &grad(p(&q, leaf)),
            &want,
            OP_F32,
        );
    }
}

fn rule(top_k: usize, capacity: usize, renormalize: Renormalize) -> RouteOptions {
    RouteOptions {
        top_k,
        prototypes: 1,
        capacity: Some(capacity),
        renormalize,
        second: SecondChoice::All,
    }
}

#[test]
fn routing_agrees_with_deepspeed() {
    for (case, n, top_k, factor, least) in [
        ("deepspeed_top1", 64, 1, 1.25, 4),
        ("deepspeed_top1_tight", 64, 1, 0.5, 2),
        ("deepspeed_top1_least", 20, 1, 0.3, 4),
        ("deepspeed_top2", 64, 2, 1.0, 4),
        ("deepspeed_top2_tight", 64, 2, 0.45, 2),
    ] {
        check(
            case,
            &rule(
                top_k,
                capacity(n, 8, top_k, factor, least, 1),
                Renormalize::Kept,
            ),
        );
    }
}

#[test]
fn routing_agrees_with_lucidrains() {
    // There the share of an expert is that of one choice, also for two, and gates are made before choices are dropped.
    for (case, factor, second) in [
        ("lucidrains_all", 1.25, SecondChoice::All),
        ("lucidrains_tight", 0.75, SecondChoice::All),
        ("lucidrains_none", 1.25, SecondChoice::None),
    ] {
        let options = rule(2, capacity(64, 8, 1, factor, 4, 1), Renormalize::Chosen);
        check(case, &RouteOptions { second, ..options });
    }
}

/// Drawn parameters of a layer in `f64`.
fn drawn(n: usize, d: usize, f: usize, e: usize) -> Params {
    let mut params = Params::new();
    let shapes: [(&str, &[usize]); 6] = [
        ("x", &[n, d]),
        ("router", &[e, d]),
        ("up", &[e, f, d]),
        ("up_bias", &[e, f]),
        ("down", &[e, d, f]),
        ("down_bias", &[e, d]),
    ];
    for (name, shape) in shapes {
        params
            .insert(normal_param(name, shape, 1.0).unwrap())
            .unwrap();
    }
    params
}

#[test]
fn with_room_for_all_a_layer_is_the_sum_of_its_experts_token_by_token() {
    let q = drawn(13, 6, 9, 4);
    let options = RouteOptions {
        prototypes: 2,
        ..rule(2, 1000, Renormalize::Kept)
    };
    let (_, routed, y_nd) = layer(&q, &options).unwrap();
    assert_eq!(routed.routing.n_dropped(), 0);
    let gates = numbers(&routed.gates_ns);
    let mut want = Vec::new();
    for t in 0..13 {
        let x = p(&q, "x").tensor().narrow(0, t, 1).unwrap();
        let mut sum = vec![0.0; 6];
        for s in 0..4 {
            let at = t * 4 + s;
            let e = routed.routing.expert_ns[at] as usize;
            let part = |name: &str| {
                let value = p(&q, name).tensor().get(e).unwrap();
                Param::new(name, &value.contiguous().unwrap(), true).unwrap()
            };
            let h = ops::linear(&x, &part("up"), Some(&part("up_bias")), Act::Gelu).unwrap();
            let y = ops::linear(&h, &part("down"), Some(&part("down_bias")), Act::None).unwrap();
            for (sum, y) in sum.iter_mut().zip(numbers(&y)) {
                *sum += gates[at] * y;
            }
        }
        want.extend(sum);
    }
    assert_close("layer", &numbers(&y_nd), &want, COMPOSED_F64);
}

#[test]
fn a_layer_is_bit_equal_for_any_number_of_threads() {
    let wide = drawn(700, 64, 96, 8);
    let mut q = Params::new();
    for param in &wide {
        let value = param.var().to_dtype(m6_nn::DType::F32).unwrap();
        q.insert(Param::new(param.name(), &value, true).unwrap())
            .unwrap();
    }
    let options = rule(2, 150, Renormalize::Kept);
    let run = |n_threads| {
        with_threads(n_threads, || {
            q.zero_grads();
            let (logits, routed, y_nd) = layer(&q, &options).unwrap();
            let loss = ops::router_loss(&logits, &routed, 0.5, 0.5).unwrap();
            let sum = y_nd.sqr().unwrap().sum_all().unwrap();
            backward(&(sum + loss).unwrap(), &q).unwrap();
            (numbers(&y_nd), q.iter().map(grad).collect::<Vec<_>>())
        })
    };
    let first = run(1);
    assert!(first == run(2) && first == run(3));
}

#[test]
fn an_even_router_has_balance_one_and_a_blind_one_the_number_of_experts() {
    let e = 8;
    let even: Vec<f32> = (0..e * e)
        .map(|i| if i / e == i % e { 30.0 } else { 0.0 })
        .collect();
    let blind: Vec<f32> = (0..e * e)
        .map(|i| if i % e == 3 { 30.0 } else { 0.0 })
        .collect();
    for (logits, want) in [(even, 1.0), (blind, e as f64)] {
        let logits = Tensor::from_vec(logits, (e, e), &Device::Cpu).unwrap();
        let routed = ops::route(&logits, &rule(1, 1, Renormalize::Kept)).unwrap();
        assert_close("balance", &[routed.balance], &[want], OP_F32);
    }
}

#[test]
fn operands_that_do_not_fit_are_refused_with_their_names() {
    let q = drawn(5, 4, 3, 6);
    let says = |result: Result<Routed>, words: &[&str]| {
        let error = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let logits = Tensor::zeros((5, 6), m6_nn::DType::F64, &Device::Cpu).unwrap();
    let options = rule(2, 9, Renormalize::Kept);
    says(
        ops::route(
            &logits,
            &RouteOptions {
                prototypes: 4,
                ..options
            },
        ),
        &["6 experts", "4 prototypes"],
    );
    says(
        ops::route(
            &logits,
            &RouteOptions {
                top_k: 7,
                ..options
            },
        ),
        &["top_k = 7"],
    );
    let routed = ops::route(&logits, &options).unwrap();
    let narrow = Tensor::zeros((5, 3), m6_nn::DType::F64, &Device::Cpu).unwrap();
    let refused = ops::experts(
        &narrow,
        &routed.gates_ns,
        &routed.routing,
        &weights(&q),
        None,
    );
    assert!(refused.unwrap_err().to_string().contains("up"));
    let few = Tensor::zeros((4, 4), m6_nn::DType::F64, &Device::Cpu).unwrap();
    assert!(ops::experts(&few, &routed.gates_ns, &routed.routing, &weights(&q), None).is_err());
    assert!(ops::jitter(&few, 1.0, 0).is_err());
}

#[test]
fn no_tokens_give_no_rows_and_gradients_of_zero() {
    let q = drawn(0, 4, 3, 6);
    let (logits, routed, y_nd) = layer(&q, &rule(2, 4, Renormalize::Kept)).unwrap();
    assert_eq!((y_nd.dims(), routed.routing.n_rows()), (&[0, 4][..], 0));
    let loss = ops::router_loss(&logits, &routed, 1.0, 1.0).unwrap();
    backward(&(y_nd.sum_all().unwrap() + loss).unwrap(), &q).unwrap();
    assert!(grad(p(&q, "up")).iter().all(|g| *g == 0.0));
}
