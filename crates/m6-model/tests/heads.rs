//! The heads for matching and retrieval against plain PyTorch (`reference/model_heads.py`), and what they refuse.

mod common;

use common::{Fixture, Ranges, fixture_config, relative_error};
use m6_model::{
    ForwardOptions, HeadsConfig, MatchPair, Model, ModelConfig, ModelInput, SEGMENT_PICTURE,
    SEGMENT_POOL_PICTURE, SEGMENT_POOL_TEXT, SEGMENT_VERDICT,
};
use m6_nn::tolerance;

const BEGIN: u32 = 2;
const PICTURE: usize = 3 * 8 * 8;

fn config(heads: HeadsConfig) -> ModelConfig {
    ModelConfig {
        heads,
        ..fixture_config()
    }
}

struct Case {
    model: Model,
    fixture: Fixture,
    ranges: Ranges,
}

impl Case {
    fn new() -> Self {
        let fixture = Fixture::read("model_heads");
        let heads = HeadsConfig {
            matching: true,
            contrastive: 6,
        };
        Self {
            model: fixture.model(&config(heads)),
            ranges: fixture.ranges(),
            fixture,
        }
    }

    fn input(&self) -> ModelInput<'_> {
        self.fixture.input(&self.ranges)
    }

    /// Picture and text of every sample that ends in this segment.
    fn samples(&self, segment: u32) -> Vec<(&[u8], &[u32])> {
        let input = self.input();
        let mut found = Vec::new();
        for &[prefix, from, _] in &self.ranges.targets {
            let [start, end] = self.ranges.prefixes[prefix as usize];
            if input.segments[from as usize] != segment {
                continue;
            }
            let picture = input.picture_at.iter().position(|at| *at == start);
            let pixels = picture.map_or(&[][..], |i| &input.pictures[i * PICTURE..][..PICTURE]);
            let range = start as usize..end as usize;
            let n_patches = input.segments[range.clone()]
                .iter()
                .filter(|s| **s == SEGMENT_PICTURE)
                .count();
            found.push((pixels, &input.tokens[range][n_patches..]));
        }
        found
    }
}

#[test]
fn losses_and_gradients_of_every_head_equal_pytorch() {
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
        let param = case.model.params().get(&name).expect("a parameter");
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

#[test]
fn verdicts_and_vectors_equal_pytorch() {
    let case = Case::new();
    let pairs: Vec<MatchPair> = case
        .samples(SEGMENT_VERDICT)
        .into_iter()
        .map(|(pictures, text)| MatchPair { pictures, text })
        .collect();
    let scores = case.model.match_scores(&pairs, BEGIN).expect("runs");
    assert!(relative_error(&scores, case.fixture.floats("verdicts")) <= tolerance::LOGITS_F32);
    let pictures = case.samples(SEGMENT_POOL_PICTURE);
    let pictures: Vec<&[u8]> = pictures.into_iter().map(|(pixels, _)| pixels).collect();
    let p = case.model.embed_pictures(&pictures, BEGIN).expect("runs");
    assert!(relative_error(&p, case.fixture.floats("p")) <= tolerance::LOGITS_F32);
    let texts = case.samples(SEGMENT_POOL_TEXT);
    let texts: Vec<&[u32]> = texts.into_iter().map(|(_, text)| text).collect();
    let t = case.model.embed_texts(&texts, BEGIN).expect("runs");
    assert!(relative_error(&t, case.fixture.floats("t")) <= tolerance::LOGITS_F32);
    // What is read together does not matter.
    let alone = case.model.embed_texts(&texts[1..2], BEGIN).expect("runs");
    assert!(relative_error(&alone, &t[6..12]) <= tolerance::OP_F32);
}

#[test]
fn a_model_without_the_heads_says_what_to_do() {
    let model = Model::new(&config(HeadsConfig::default()), 0).expect("valid");
    let error = model.embed_texts(&[&[1]], BEGIN).expect_err("no head");
    assert!(error.to_string().contains("m6 finetune retrieval"));
    let error = model.match_scores(&[], BEGIN).expect_err("no head");
    assert!(error.to_string().contains("m6 finetune match"));
    let case = Case::new();
    let error = model
        .forward(&case.input(), &ForwardOptions::default())
        .expect_err("no head");
    assert!(error.to_string().contains("model.heads"), "{error}");
}

#[test]
fn labels_of_heads_are_checked() {
    let case = Case::new();
    let run = |labels: &[u32]| {
        let input = ModelInput {
            labels,
            ..case.input()
        };
        case.model.forward(&input, &ForwardOptions::default())
    };
    let mut labels = case.fixture.ints("labels").to_vec();
    labels[0] = 2;
    let error = run(&labels).expect_err("a verdict is 0 or 1").to_string();
    assert!(error.contains("label 2 at 0 must be below 2"), "{error}");
    labels[0] = 0;
    labels[1] = u32::MAX;
    assert!(run(&labels).is_ok(), "a group is any number");
    // A pair needs both sides.
    let input = case.input();
    let n = input.loss_at.len();
    let keep: Vec<usize> = (0..n).filter(|i| *i != 2).collect();
    let pick = |list: &[u32]| keep.iter().map(|&i| list[i]).collect::<Vec<u32>>();
    let (loss_at, labels) = (pick(input.loss_at), pick(input.labels));
    let lacking = ModelInput {
        loss_at: &loss_at,
        labels: &labels,
        loss_weights: &[],
        ..input
    };
    let error = case.model.forward(&lacking, &ForwardOptions::default());
    let error = error.expect_err("no partner").to_string();
    assert!(error.contains("cannot be paired"), "{error}");
}
