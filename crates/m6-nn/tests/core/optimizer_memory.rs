//! The optimizers that keep less than AdamW: Adafactor and AdamW of 8 bits, against `reference/nn_optimizers.py`, against AdamW, and
//! saved and loaded.

use crate::cases::{numbers, p};
use m6_nn::kernels::dynamic8::Map;
use m6_nn::optimizer::{Optimizer, OptimizerConfig, Rule};
use m6_nn::tolerance::{OP_F32, assert_close};
use m6_nn::{Device, Param, Params, Tensor};
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

static FIXTURES: LazyLock<HashMap<String, Tensor>> = LazyLock::new(|| {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/optimizers.safetensors"
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
});

const CONFIG: OptimizerConfig = OptimizerConfig {
    betas: (0.9, 0.98),
    eps: 1e-8,
    weight_decay: 0.1,
    momentum: 0.9,
};

/// Parameters by name, each with its first value and whether it decays.
fn params_of(names: &[&str], first: impl Fn(&str) -> (Tensor, bool)) -> Params {
    let mut params = Params::new();
    for &name in names {
        let (value, decay) = first(name);
        params
            .insert(Param::new(name, &value, decay).unwrap())
            .unwrap();
    }
    params
}

fn flat(name: &str) -> Vec<f32> {
    FIXTURES[name].flatten_all().unwrap().to_vec1().unwrap()
}

fn of_rule(params: &Params, rule: Rule) -> Optimizer {
    Optimizer::with_rules(params, CONFIG, |_| rule)
}

#[test]
fn four_steps_of_adafactor_agree_with_the_reference() {
    let params = params_of(&["a", "b", "e", "f"], |name| {
        (FIXTURES[&format!("adafactor.{name}0")].clone(), name != "b")
    });
    let mut optimizer = of_rule(&params, Rule::Adafactor);
    for number in 1..=4 {
        params.zero_grads();
        for param in params.iter() {
            if (number, param.name()) != (2, "b") {
                let grad = flat(&format!("adafactor.g{}{number}", param.name()));
                param.add_grad(&grad).unwrap();
            }
        }
        optimizer
            .step(&params, 3e-2 / f64::from(number), 0.5)
            .unwrap();
        for param in params.iter() {
            let name = format!("{}{number}", param.name());
            let want = numbers(&FIXTURES[&format!("adafactor.{name}")]);
            assert_close(&name, &numbers(param.var()), &want, OP_F32);
        }
    }
    // Rows and columns: 6 + 5; the vector and the one row it is; 3 matrices of 4 + 5; filters of 4 + 12.
    assert_eq!(optimizer.n_bytes(), 4 * (11 + 6 + 27 + 16));
}

#[test]
fn maps_and_codes_are_those_of_the_reference() {
    for (name, map) in [("signed", Map::signed()), ("unsigned", Map::unsigned())] {
        for (got, want) in map.values().iter().zip(flat(&format!("map.{name}"))) {
            // Ours is rounded once.
            assert!(
                (got - want).abs() <= 2e-7 * want.abs(),
                "{name}: {got} {want}"
            );
        }
        let block = flat(&format!("{name}.numbers"));
        let mut codes = vec![0; block.len()];
        let scale = map.encode(&block, &mut codes);
        assert_eq!(scale, block.iter().fold(0.0_f32, |m, x| m.max(x.abs())));
        let want: Vec<i64> = FIXTURES[&format!("{name}.codes")].to_vec1().unwrap();
        let codes: Vec<i64> = codes.into_iter().map(i64::from).collect();
        assert_eq!(codes, want, "{name}");
    }
}

/// A large matrix, a small one and a vector.
fn three() -> Params {
    params_of(&["large", "small", "vector"], |name| {
        let shape: &[usize] = match name {
            "large" => &[300, 251],
            "small" => &[12, 11],
            _ => &[5001],
        };
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        (tensor, name != "vector")
    })
}

/// A step with gradients of many magnitudes.
fn step(params: &Params, optimizer: &mut Optimizer, number: usize) {
    params.zero_grads();
    for param in params.iter() {
        let grad: Vec<f32> = (0..param.n_elements())
            .map(|i| ((i * 7 + 31 * number) as f32 * 0.11).cos() * 10_f32.powi((i % 9) as i32 - 8))
            .collect();
        param.add_grad(&grad).unwrap();
    }
    optimizer.step(params, 1e-2, 0.5).unwrap();
}

fn bytes(params: &Params) -> Vec<u8> {
    params.to_safetensors().unwrap()
}

#[test]
fn the_first_step_with_8_bits_is_that_of_adamw_and_the_others_are_near() {
    let (full, eight) = (three(), three());
    let mut adamw = of_rule(&full, Rule::AdamW);
    let mut adamw8 = of_rule(&eight, Rule::AdamW8);
    step(&full, &mut adamw, 1);
    step(&eight, &mut adamw8, 1);
    // Steps are made of moments that have all of their digits still.
    assert!(bytes(&full) == bytes(&eight));
    for number in 2..=20 {
        step(&full, &mut adamw, number);
        step(&eight, &mut adamw8, number);
    }
    assert_eq!(
        numbers(p(&full, "small").var()),
        numbers(p(&eight, "small").var())
    );
    let (want, got) = (
        numbers(p(&full, "large").var()),
        numbers(p(&eight, "large").var()),
    );
    let apart: f64 = want.iter().zip(&got).map(|(a, b)| (a - b).powi(2)).sum();
    let apart = (apart / want.len() as f64).sqrt();
    // Of a way of up to 20 steps of 1e-2.
    assert!(0.0 < apart && apart < 2e-2, "{apart}");
    let n_large = [300 * 251, 5001_usize];
    let large: usize = n_large.iter().map(|n| 2 * n + 8 * n.div_ceil(256)).sum();
    assert_eq!(adamw8.n_bytes(), large + 8 * 12 * 11);
}

#[test]
fn states_do_not_depend_on_threads_and_go_on_bit_for_bit() {
    for rule in [Rule::AdamW8, Rule::Adafactor] {
        let run = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new();
            let pool = pool.num_threads(n_threads).build().unwrap();
            pool.install(|| {
                let params = three();
                let mut optimizer = of_rule(&params, rule);
                (1..=4).for_each(|number| step(&params, &mut optimizer, number));
                (bytes(&params), optimizer.state().unwrap())
            })
        };
        let whole = run(1);
        assert!(whole == run(2), "{rule}");
        let params = three();
        let mut optimizer = of_rule(&params, rule);
        (1..=2).for_each(|number| step(&params, &mut optimizer, number));
        let state = optimizer.state().unwrap();
        let mut again = of_rule(&params, rule);
        again.load_state(&state).unwrap();
        assert!(again.state().unwrap() == state, "{rule}");
        (3..=4).for_each(|number| step(&params, &mut again, number));
        assert!((bytes(&params), again.state().unwrap()) == whole, "{rule}");
    }
}

#[test]
fn the_state_of_another_optimizer_is_refused_by_name() {
    let rules = [Rule::AdamW, Rule::AdamW8, Rule::Muon, Rule::Adafactor];
    let made = |rule| {
        let (params, matrices) = (three(), BTreeSet::from(["large", "small"]));
        let mut optimizer = Optimizer::with_rules(&params, CONFIG, |p| match rule {
            Rule::Muon if !matrices.contains(p.name()) => Rule::AdamW,
            rule => rule,
        });
        step(&params, &mut optimizer, 1);
        optimizer
    };
    for from in rules {
        let state = made(from).state().unwrap();
        for to in rules {
            let mut optimizer = made(to);
            let before = optimizer.state().unwrap();
            let loaded = optimizer.load_state(&state);
            assert_eq!(loaded.is_ok(), from == to, "{from} to {to}");
            if let Err(error) = loaded {
                let error = error.to_string();
                assert!(
                    error.contains("the state is of another optimizer"),
                    "{error}"
                );
                assert!(error.contains(&from.to_string()) && error.contains(&to.to_string()));
                assert!(optimizer.state().unwrap() == before);
            }
        }
    }
    // A scale too few.
    let short = params_of(&["large"], |_| {
        (
            Tensor::zeros((300, 250), m6_nn::DType::F32, &Device::Cpu).unwrap(),
            true,
        )
    });
    let error = of_rule(&short, Rule::AdamW8).load_state(&made(Rule::AdamW8).state().unwrap());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("exp_avg_codes.large") && error.contains("[300, 250]"),
        "{error}"
    );
}

/// Mean squared error of a noisy linear map of 64 to 96 numbers, 128 samples, after 300 steps.
fn fitted(rule: Rule) -> f64 {
    const SIZES: (usize, usize, usize) = (128, 64, 96);
    let (n, from, to) = SIZES;
    let noise = |i: usize, seed: f64| ((i as f64 + 1.0) * seed).sin() * 1e4 % 1.0;
    let x: Vec<f64> = (0..n * from).map(|i| noise(i, 12.9898)).collect();
    let w: Vec<f64> = (0..to * from).map(|i| noise(i, 78.233)).collect();
    let y: Vec<f64> = (0..n * to)
        .map(|i| {
            let (sample, out) = (i / to, i % to);
            let exact: f64 = (0..from)
                .map(|k| x[sample * from + k] * w[out * from + k])
                .sum();
            exact + 0.5 * noise(i, 39.425)
        })
        .collect();
    let params = params_of(&["w"], |_| {
        (
            Tensor::zeros((to, from), m6_nn::DType::F32, &Device::Cpu).unwrap(),
            false,
        )
    });
    let config = OptimizerConfig {
        weight_decay: 0.0,
        ..CONFIG
    };
    let mut optimizer = Optimizer::with_rules(&params, config, |_| rule);
    let mut loss = 0.0;
    for number in 0..300 {
        let now = numbers(p(&params, "w").var());
        let mut grad = vec![0.0_f32; to * from];
        loss = 0.0;
        for (i, y) in y.iter().enumerate() {
            let (sample, out) = (&x[i / to * from..][..from], i % to);
            let own = &now[out * from..][..from];
            let error = sample.iter().zip(own).map(|(x, w)| x * w).sum::<f64>() - y;
            loss += error * error / (n * to) as f64;
            for (grad, x) in grad[out * from..][..from].iter_mut().zip(sample) {
                *grad += (2.0 * error * x / n as f64) as f32;
            }
        }
        params.zero_grads();
        p(&params, "w").add_grad(&grad).unwrap();
        let rate = 3e-2 * (1.0 - f64::from(number) / 300.0);
        optimizer.step(&params, rate, 1.0).unwrap();
    }
    loss
}

#[test]
fn a_small_problem_is_learned_as_well_as_by_adamw() {
    let [adamw, adamw8, adafactor] = [Rule::AdamW, Rule::AdamW8, Rule::Adafactor].map(fitted);
    assert!((adamw8 / adamw - 1.0).abs() < 0.02, "{adamw8} {adamw}");
    // Without momentum it goes on shaking a little longer.
    assert!(
        (adafactor / adamw - 1.0).abs() < 0.15,
        "{adafactor} {adamw}"
    );
}
