//! AdamW and Muon against PyTorch, and its state saved and loaded.

use crate::cases::{numbers, p};
use crate::pytorch::fixture;
use m6_nn::optimizer::{Optimizer, OptimizerConfig};
use m6_nn::tolerance::{OP_F32, assert_close};
use m6_nn::{DType, Device, Param, Params, Tensor};
use std::collections::BTreeSet;

const CONFIG: OptimizerConfig = OptimizerConfig {
    betas: (0.9, 0.98),
    eps: 1e-6,
    weight_decay: 0.1,
    momentum: 0.9,
};

fn start() -> Params {
    start_of("adamw")
}

fn start_of(rule: &str) -> Params {
    let mut params = Params::new();
    for (name, decay) in [("a", true), ("b", false)] {
        let first = fixture(&format!("{rule}.{name}0"));
        params
            .insert(Param::new(name, first, decay).unwrap())
            .unwrap();
    }
    params
}

/// Step 1, 2 or 3 of the fixture of Muon.
fn muon_step(params: &Params, optimizer: &mut Optimizer, number: usize) {
    params.zero_grads();
    for name in ["a", "b"] {
        let grad = fixture(&format!("muon.g{name}{number}"));
        let grad = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        p(params, name).add_grad(&grad).unwrap();
    }
    optimizer.step(params, 3e-2 / number as f64, 0.5).unwrap();
}

fn muon_for(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn three_steps_of_muon_agree_with_pytorch() {
    let params = start_of("muon");
    let mut optimizer = Optimizer::new(&params, CONFIG, &muon_for(&["a", "b"]));
    for number in 1..=3 {
        muon_step(&params, &mut optimizer, number);
        for name in ["a", "b"] {
            let want = numbers(fixture(&format!("muon.{name}{number}")));
            let got = numbers(p(&params, name).var());
            assert_close(&format!("{name} after {number}"), &got, &want, OP_F32);
        }
    }
}

#[test]
fn muon_goes_on_bit_for_bit_from_a_saved_state_and_refuses_another_rule() {
    let params = start_of("muon");
    let rule = muon_for(&["a"]);
    let mut optimizer = Optimizer::new(&params, CONFIG, &rule);
    muon_step(&params, &mut optimizer, 1);
    let state = optimizer.state().unwrap();
    let mut resumed = Params::new();
    for name in ["a", "b"] {
        let copy = p(&params, name).var().as_tensor().copy().unwrap();
        let decay = p(&params, name).decay();
        resumed
            .insert(Param::new(name, &copy, decay).unwrap())
            .unwrap();
    }
    let mut again = Optimizer::new(&resumed, CONFIG, &rule);
    again.load_state(&state).unwrap();
    for number in 2..=3 {
        muon_step(&params, &mut optimizer, number);
        muon_step(&resumed, &mut again, number);
    }
    for name in ["a", "b"] {
        assert_eq!(
            numbers(p(&params, name).var()),
            numbers(p(&resumed, name).var())
        );
    }
    let mut other = Optimizer::new(&params, CONFIG, &muon_for(&["b"]));
    assert!(other.load_state(&state).is_err());
}

/// Step 1, 2 or 3 of the fixture; in step 2 the second parameter has no gradient.
fn step(params: &Params, optimizer: &mut Optimizer, number: usize) {
    params.zero_grads();
    for name in ["a", "b"] {
        if (number, name) != (2, "b") {
            let grad = fixture(&format!("adamw.g{name}{number}"))
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap();
            p(params, name).add_grad(&grad).unwrap();
        }
    }
    optimizer.step(params, 3e-3 / number as f64, 0.5).unwrap();
}

#[test]
fn three_steps_agree_with_pytorch() {
    let params = start();
    let mut optimizer = Optimizer::new(&params, CONFIG, &BTreeSet::new());
    for number in 1..=3 {
        step(&params, &mut optimizer, number);
        for name in ["a", "b"] {
            let want = numbers(fixture(&format!("adamw.{name}{number}")));
            assert_close(
                &format!("{name} after {number}"),
                &numbers(p(&params, name).var()),
                &want,
                OP_F32,
            );
        }
    }
    assert_eq!(optimizer.n_steps(), 3);
}

#[test]
fn training_goes_on_bit_for_bit_from_a_saved_state() {
    let params = start();
    let mut optimizer = Optimizer::new(&params, CONFIG, &BTreeSet::new());
    step(&params, &mut optimizer, 1);
    let (weights, state) = (params.to_safetensors().unwrap(), optimizer.state().unwrap());
    step(&params, &mut optimizer, 2);
    step(&params, &mut optimizer, 3);

    let resumed = start();
    resumed.load_safetensors(&weights, true).unwrap();
    let mut again = Optimizer::new(&resumed, CONFIG, &BTreeSet::new());
    again.load_state(&state).unwrap();
    assert_eq!(again.state().unwrap(), state);
    step(&resumed, &mut again, 2);
    step(&resumed, &mut again, 3);
    assert!(resumed.to_safetensors().unwrap() == params.to_safetensors().unwrap());
    assert!(again.state().unwrap() == optimizer.state().unwrap());
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let params = start();
    let mut optimizer = Optimizer::new(&params, CONFIG, &BTreeSet::new());
    step(&params, &mut optimizer, 1);
    let state = optimizer.state().unwrap();
    assert!(optimizer.load_state(&state[..state.len() - 1]).is_err());

    let mut other = Params::new();
    let wide = Tensor::zeros((6, 6), DType::F32, &Device::Cpu).unwrap();
    other.insert(Param::new("a", &wide, true).unwrap()).unwrap();
    let mut mismatched = Optimizer::new(&other, CONFIG, &BTreeSet::new());
    let error = mismatched.load_state(&state).unwrap_err().to_string();
    assert!(
        error.contains("exp_avg.a") && error.contains("[6, 5]"),
        "{error}"
    );
    let mut fewer = Params::new();
    fewer.insert(p(&params, "a").clone()).unwrap();
    assert!(
        Optimizer::new(&fewer, CONFIG, &BTreeSet::new())
            .load_state(&state)
            .is_err()
    );
    assert_eq!(optimizer.state().unwrap(), state);
}

#[test]
fn frozen_parameters_and_parameters_without_gradient_stay_as_they_are() {
    let params = start();
    p(&params, "a").set_trainable(false);
    let mut optimizer = Optimizer::new(&params, CONFIG, &BTreeSet::new());
    p(&params, "a").add_grad(&[1.0_f32; 30]).unwrap();
    optimizer.step(&params, 0.1, 1.0).unwrap();
    assert_eq!(numbers(p(&params, "a").var()), numbers(fixture("adamw.a0")));
    assert_eq!(numbers(p(&params, "b").var()), numbers(fixture("adamw.b0")));
}
