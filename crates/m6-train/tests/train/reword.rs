//! Labels that weigh more or less than one.

use crate::fixture::{self, small_train};
use m6_data::Batch;
use m6_model::Model;
use m6_train::Trainer;

/// Gradients after one update on a batch with these weights, by parameter.
fn gradients(model: Model, weights: impl Fn(&Batch) -> Vec<f32>) -> Vec<Option<Vec<f32>>> {
    let mut batches = fixture::batches(2);
    for batch in &mut batches {
        batch.weights = weights(batch);
    }
    let mut trainer = Trainer::new(model, &small_train(), fixture::task_names()).unwrap();
    trainer.step(1, &batches, None).unwrap();
    let params = trainer.model.params().iter();
    params.map(|param| param.grad_f32()).collect()
}

fn all(weight: f32) -> impl Fn(&Batch) -> Vec<f32> {
    move |batch| vec![weight; batch.labels.len()]
}

#[test]
fn a_label_learns_as_much_as_it_weighs_and_unlearns_below_nothing() {
    let of = |weights: &dyn Fn(&Batch) -> Vec<f32>| gradients(fixture::model(0.1), weights);
    let plain = of(&|_| Vec::new());
    assert!(plain.iter().flatten().flatten().any(|&g| g != 0.0));
    assert_eq!(of(&all(1.0)), plain);
    let negated = |of: Vec<f32>| of.into_iter().map(|g| -g).collect::<Vec<f32>>();
    let turned: Vec<_> = of(&all(-1.0)).into_iter().map(|g| g.map(negated)).collect();
    assert_eq!(turned, plain);
    let none = of(&all(0.0));
    assert!(none.iter().flatten().flatten().all(|&g| g == 0.0));
    let half = |batch: &Batch| -> Vec<f32> {
        let n = batch.labels.len();
        (0..n).map(|i| if i < n / 2 { 1.0 } else { 0.0 }).collect()
    };
    assert_ne!(of(&half), plain);
}
