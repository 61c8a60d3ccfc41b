//! The whole model against plain PyTorch: dense (`reference/model_prefix_lm.py`) and with experts (`reference/model_experts.py`).

mod common;

use common::{Fixture, Ranges, fixture_config, numbers, relative_error};
use m6_model::{ExpertsConfig, ForwardOptions, Model, ModelConfig, ModelInput, Output};
use m6_nn::tolerance;

struct Case {
    model: Model,
    fixture: Fixture,
    ranges: Ranges,
}

impl Case {
    fn dense() -> Self {
        Self::new("model_prefix_lm", &fixture_config())
    }

    /// Four experts in both blocks, few enough places for some tokens to find none, both losses of the router.
    fn with_experts() -> Self {
        let cfg = ModelConfig {
            experts: ExpertsConfig {
                n_experts: 4,
                moe_every: 1,
                min_capacity: 2,
                z_loss_weight: 0.001,
                ..ExpertsConfig::default()
            },
            dropout: 0.0,
            ..fixture_config()
        };
        Self::new("model_experts", &cfg)
    }

    fn new(name: &str, cfg: &ModelConfig) -> Self {
        let fixture = Fixture::read(name);
        Self {
            model: fixture.model(cfg),
            ranges: fixture.ranges(),
            fixture,
        }
    }

    fn input(&self) -> ModelInput<'_> {
        self.fixture.input(&self.ranges)
    }

    fn assert_blocks_and_logits(&self) {
        let options = ForwardOptions::default();
        let blocks = self.model.block_outputs(&self.input(), &options);
        for (i, block) in blocks.expect("runs").iter().enumerate() {
            let error =
                relative_error(&numbers(block), self.fixture.floats(&format!("blocks.{i}")));
            assert!(error <= tolerance::BLOCK_F32, "block {i}: {error:e}");
        }
        let logits = self.model.logits(&self.input(), &options).expect("runs");
        let error = relative_error(&numbers(&logits), self.fixture.floats("logits"));
        assert!(error <= tolerance::LOGITS_F32, "logits: {error:e}");
    }

    fn assert_loss_and_gradients(&self, options: &ForwardOptions) -> Output {
        let output = self.model.forward(&self.input(), options).expect("runs");
        let loss: f32 = output.loss.to_scalar().expect("a scalar");
        let expected = self.fixture.floats("loss")[0];
        assert!(
            f64::from((loss / expected - 1.0).abs()) <= tolerance::BLOCK_F32,
            "{loss} instead of {expected}"
        );
        assert!(relative_error(&output.nll, self.fixture.floats("nll")) <= tolerance::BLOCK_F32);
        m6_nn::backward(&output.loss, self.model.params()).expect("runs");
        for name in self.fixture.names("grads.") {
            let param = self.model.params().get(&name);
            let got = param.expect("a parameter of that name").grad_f32();
            let got = got.unwrap_or_else(|| panic!("no gradient of {name}"));
            let error = relative_error(&got, self.fixture.floats(&format!("grads.{name}")));
            assert!(
                error <= tolerance::LOGITS_F32,
                "gradient of {name}: {error:e}"
            );
        }
        output
    }
}

#[test]
fn blocks_and_logits_equal_pytorch() {
    Case::dense().assert_blocks_and_logits();
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    Case::dense().assert_loss_and_gradients(&ForwardOptions::default());
}

#[test]
fn blocks_and_logits_of_a_model_with_experts_equal_pytorch() {
    Case::with_experts().assert_blocks_and_logits();
}

#[test]
fn loss_gradients_and_dropped_tokens_of_a_model_with_experts_equal_pytorch() {
    let case = Case::with_experts();
    for checkpoint in [false, true] {
        case.model.params().zero_grads();
        let options = ForwardOptions {
            train: true,
            checkpoint,
            ..ForwardOptions::default()
        };
        let output = case.assert_loss_and_gradients(&options);
        let dropped = output.experts.iter().map(|load| load.n_dropped as u32);
        assert_eq!(dropped.collect::<Vec<_>>(), case.fixture.ints("n_dropped"));
    }
}
