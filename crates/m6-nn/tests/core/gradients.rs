//! Gradients against finite differences in `f64`, and fused bodies against stock compositions.

use crate::cases::{Op, all, grad, numbers};
use m6_nn::gradcheck::{check, probe};
use m6_nn::tolerance::{COMPOSED_F32, COMPOSED_F64, assert_close};
use m6_nn::{DType, backward};

#[test]
fn every_gradient_agrees_with_finite_differences() {
    for case in all(DType::F64) {
        check(&case.params, || (case.fused)(&case.params))
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}

#[test]
fn fused_and_composed_operators_agree() {
    for (dtype, limit) in [(DType::F64, COMPOSED_F64), (DType::F32, COMPOSED_F32)] {
        for case in all(dtype) {
            let run = |f: &Op| {
                case.params.zero_grads();
                let y = f(&case.params).unwrap();
                backward(&probe(&y).unwrap(), &case.params).unwrap();
                let grads: Vec<Vec<f64>> = case.params.iter().map(grad).collect();
                (numbers(&y), grads)
            };
            let (fused, fused_grads) = run(&case.fused);
            let (composed, composed_grads) = run(&case.composed);
            assert_close(case.name, &fused, &composed, limit);
            for (param, (fused, composed)) in case
                .params
                .iter()
                .zip(fused_grads.iter().zip(&composed_grads))
            {
                assert_close(
                    &format!("{} d{}", case.name, param.name()),
                    fused,
                    composed,
                    limit,
                );
            }
        }
    }
}
