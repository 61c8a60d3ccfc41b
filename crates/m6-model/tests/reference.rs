//! The whole model against plain PyTorch (`reference/model_prefix_lm.py`).

mod common;

use common::{Fixture, Ranges, fixture_config, numbers, relative_error};
use m6_model::{ForwardOptions, Model, ModelInput};
use m6_nn::tolerance;

struct Case {
    model: Model,
    fixture: Fixture,
    ranges: Ranges,
}

impl Case {
    fn new() -> Self {
        let fixture = Fixture::read("model_prefix_lm");
        Self {
            model: fixture.model(&fixture_config()),
            ranges: fixture.ranges(),
            fixture,
        }
    }

    fn input(&self) -> ModelInput<'_> {
        self.fixture.input(&self.ranges)
    }
}

#[test]
fn blocks_and_logits_equal_pytorch() {
    let case = Case::new();
    let options = ForwardOptions::default();
    let blocks = case
        .model
        .block_outputs(&case.input(), &options)
        .expect("runs");
    for (i, block) in blocks.iter().enumerate() {
        let error = relative_error(&numbers(block), case.fixture.floats(&format!("blocks.{i}")));
        assert!(error <= tolerance::BLOCK_F32, "block {i}: {error:e}");
    }
    let logits = case.model.logits(&case.input(), &options).expect("runs");
    let error = relative_error(&numbers(&logits), case.fixture.floats("logits"));
    assert!(error <= tolerance::LOGITS_F32, "logits: {error:e}");
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let case = Case::new();
    let output = case
        .model
        .forward(&case.input(), &ForwardOptions::default())
        .expect("runs");
    let loss: f32 = output.loss.to_scalar().expect("a scalar");
    let expected = case.fixture.floats("loss")[0];
    assert!(
        f64::from((loss / expected - 1.0).abs()) <= tolerance::BLOCK_F32,
        "{loss} instead of {expected}"
    );
    assert!(relative_error(&output.nll, case.fixture.floats("nll")) <= tolerance::BLOCK_F32);
    m6_nn::backward(&output.loss, case.model.params()).expect("runs");
    for name in case.fixture.names("grads.") {
        let param = case
            .model
            .params()
            .get(&name)
            .expect("a parameter of that name");
        let got = param
            .grad_f32()
            .unwrap_or_else(|| panic!("no gradient of {name}"));
        let error = relative_error(&got, case.fixture.floats(&format!("grads.{name}")));
        assert!(
            error <= tolerance::LOGITS_F32,
            "gradient of {name}: {error:e}"
        );
    }
}
