//! The whole model against plain PyTorch (`reference/model_prefix_lm.py`).

mod common;

use common::{Fixture, numbers, relative_error};
use m6_model::{ForwardOptions, Model, ModelConfig, ModelInput, PatchConfig, PatchKind};
use m6_nn::tolerance;

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 23,
        d_model: 16,
        n_layers: 2,
        n_heads: 2,
        d_ff: 32,
        max_len: 12,
        patches: PatchConfig {
            kind: PatchKind::Linear,
            grid: 2,
            image_side: 8,
            ..PatchConfig::default()
        },
        ..ModelConfig::default()
    }
}

fn triples<const N: usize>(flat: &[u32]) -> Vec<[u32; N]> {
    flat.chunks_exact(N)
        .map(|c| c.try_into().expect("N numbers"))
        .collect()
}

struct Case {
    model: Model,
    fixture: Fixture,
    prefixes: Vec<[u32; 2]>,
    targets: Vec<[u32; 3]>,
}

impl Case {
    fn new() -> Self {
        let fixture = Fixture::read("model_prefix_lm");
        let model = Model::new(&config(), 0).expect("a valid configuration");
        model
            .params()
            .load_safetensors(&fixture.part("weights."), true)
            .expect("every weight has its name and shape");
        let (prefixes, targets) = (
            triples(fixture.ints("prefixes")),
            triples(fixture.ints("targets")),
        );
        Self {
            model,
            fixture,
            prefixes,
            targets,
        }
    }

    fn input(&self) -> ModelInput<'_> {
        ModelInput {
            tokens: self.fixture.ints("tokens"),
            positions: self.fixture.ints("positions"),
            segments: self.fixture.ints("segments"),
            prefixes: &self.prefixes,
            targets: &self.targets,
            pictures: self.fixture.bytes("pictures"),
            picture_at: self.fixture.ints("picture_at"),
            loss_at: self.fixture.ints("loss_at"),
            labels: self.fixture.ints("labels"),
            loss_weights: self.fixture.floats("loss_weights"),
        }
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
