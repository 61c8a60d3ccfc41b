//! Models with experts: training against checkpointing, generation against the training path, losses of routers, room, and names.

mod common;

use common::{Arrays, Sample, model, numbers, pack, picture, samples, tiny};
use m6_model::{
    ExpertsConfig, ForwardOptions, GenerateOptions, Model, ModelConfig, Output, Prompt,
    SecondPolicy, generate, score_target,
};

/// Experts in both blocks.
fn sparse(experts: ExpertsConfig) -> ModelConfig {
    ModelConfig {
        experts: ExpertsConfig {
            n_experts: 4,
            moe_every: 1,
            ..experts
        },
        dropout: 0.0,
        ..tiny()
    }
}

/// What can be routed: one choice, two, two prototypes, and everything that is drawn.
fn kinds() -> Vec<ModelConfig> {
    let base = ExpertsConfig::default();
    vec![
        sparse(base.clone()),
        sparse(ExpertsConfig {
            top_k: 2,
            z_loss_weight: 0.1,
            capacity_factor: 0.6,
            min_capacity: 1,
            ..base.clone()
        }),
        sparse(ExpertsConfig {
            prototypes: 2,
            dropless: true,
            aux_loss_weight: 0.0,
            ..base.clone()
        }),
        sparse(ExpertsConfig {
            top_k: 2,
            jitter: 0.2,
            second_policy: SecondPolicy::Random,
            ..base
        }),
    ]
}

/// A model whose routers and words are not all alike.
fn lively(cfg: &ModelConfig) -> Model {
    let model = model(cfg);
    for param in model.params() {
        if param.name().ends_with("weight") && param.shape().len() >= 2 {
            let scaled = (param.tensor().detach() * 8.0).expect("scales");
            param.var().set(&scaled).expect("same shape");
        }
    }
    model
}

fn forward(model: &Model, arrays: &Arrays, options: &ForwardOptions) -> Output {
    model.forward(&arrays.input(), options).expect("runs")
}

fn train() -> ForwardOptions {
    ForwardOptions {
        train: true,
        dropout_key: 9,
        ..ForwardOptions::default()
    }
}

fn gradients(model: &Model, output: &Output) -> Vec<Option<Vec<f32>>> {
    model.params().zero_grads();
    m6_nn::backward(&output.loss, model.params()).expect("runs");
    model.params().iter().map(|p| p.grad_f32()).collect()
}

fn value(output: &Output) -> f32 {
    output.loss.to_scalar().expect("a scalar")
}

#[test]
fn checkpointing_is_bit_equal_and_tells_the_same_loads() {
    for mut cfg in kinds() {
        cfg.dropout = 0.1;
        let (model, arrays) = (lively(&cfg), pack(&cfg, &samples(), 0));
        let plain = forward(&model, &arrays, &train());
        let grads = gradients(&model, &plain);
        let options = ForwardOptions {
            checkpoint: true,
            ..train()
        };
        let again = forward(&model, &arrays, &options);
        assert_eq!(value(&plain).to_bits(), value(&again).to_bits());
        assert_eq!(plain.experts, again.experts);
        assert!(grads == gradients(&model, &again), "{:?}", cfg.experts);
    }
}

#[test]
fn router_losses_are_part_of_the_training_loss_alone_and_scale_with_the_weights() {
    let cfg = sparse(ExpertsConfig {
        aux_loss_weight: 0.5,
        z_loss_weight: 0.25,
        ..ExpertsConfig::default()
    });
    let (model, mut arrays) = (lively(&cfg), pack(&cfg, &samples(), 0));
    let output = forward(&model, &arrays, &train());
    let mean = output.nll.iter().sum::<f32>() / output.nll.len() as f32;
    let own = |output: &Output| -> f64 {
        let of = |load: &m6_model::ExpertLoad| 0.5 * load.balance + 0.25 * load.z;
        output.experts.iter().map(of).sum()
    };
    assert!(own(&output) > 0.5);
    assert!((f64::from(value(&output) - mean) - own(&output)).abs() < 1e-4);
    // A micro-batch with half of the weights has half of the loss.
    arrays.loss_weights.iter_mut().for_each(|w| *w *= 0.5);
    let half = value(&forward(&model, &arrays, &train()));
    assert!((half - 0.5 * value(&output)).abs() < 1e-4);
    // Labels that weigh nothing together leave the router's losses what the caller says this batch is of them.
    let mut none = arrays.clone();
    none.loss_weights.iter_mut().for_each(|w| *w = 0.0);
    let told = |aux_share| {
        let options = ForwardOptions {
            aux_share,
            ..train()
        };
        f64::from(value(&forward(&model, &none, &options)))
    };
    assert!(told(None).abs() < 1e-6);
    assert!((told(Some(0.5)) - 0.5 * own(&output)).abs() < 1e-4);
    let held_out = ForwardOptions {
        eval_capacity: true,
        ..ForwardOptions::default()
    };
    for options in [ForwardOptions::default(), held_out] {
        let output = forward(&model, &arrays, &options);
        let nll: f32 = output.nll.iter().sum::<f32>() / output.nll.len() as f32;
        assert!((value(&output) - 0.5 * nll).abs() < 1e-4);
    }
}

#[test]
fn experts_have_the_room_of_the_pass() {
    let cfg = sparse(ExpertsConfig {
        capacity_factor: 0.5,
        capacity_factor_eval: 1.0,
        min_capacity: 0,
        ..ExpertsConfig::default()
    });
    let (model, arrays) = (lively(&cfg), pack(&cfg, &samples(), 0));
    let dropped = |options: ForwardOptions| -> Vec<u64> {
        let output = forward(&model, &arrays, &options);
        output.experts.iter().map(|load| load.n_dropped).collect()
    };
    let held_out = ForwardOptions {
        eval_capacity: true,
        ..ForwardOptions::default()
    };
    let (in_training, in_evaluation) = (dropped(train()), dropped(held_out));
    assert!(
        in_training
            .iter()
            .zip(&in_evaluation)
            .all(|(a, b)| a > b && *a > 0)
    );
    assert_eq!(dropped(ForwardOptions::default()), [0, 0]);
    // The last block routes only rows that have a loss.
    let output = forward(&model, &arrays, &train());
    let routed = |layer: usize| output.experts[layer].load.iter().sum::<u32>() as usize;
    assert_eq!(
        (routed(0), routed(1)),
        (arrays.tokens.len(), arrays.labels.len())
    );
    assert_eq!(output.experts[1].layer, 1);
}

#[test]
fn a_small_step_down_the_gradient_lowers_the_loss_of_routers_and_experts() {
    for cfg in kinds() {
        let (model, arrays) = (lively(&cfg), pack(&cfg, &samples(), 0));
        let output = forward(&model, &arrays, &train());
        gradients(&model, &output);
        for name in [
            "router.weight",
            "up.weight",
            "up.bias",
            "down.weight",
            "down.bias",
        ] {
            let norm = model.params().grad_norm_of(&format!("blocks.0.moe.{name}"));
            assert!(norm > 0.0, "{name} learns nothing");
        }
        let squares = model.params().grad_norm().powi(2);
        let step = 1e-3 / squares;
        for param in model.params() {
            if let Some(grad) = param.grad_f32() {
                let moved: Vec<f32> = numbers(&param.tensor())
                    .iter()
                    .zip(&grad)
                    .map(|(x, g)| x - step as f32 * g)
                    .collect();
                let moved = m6_nn::Tensor::from_vec(moved, param.shape(), &m6_nn::Device::Cpu);
                param.var().set(&moved.expect("its shape")).expect("set");
            }
        }
        let lower = value(&forward(&model, &arrays, &train()));
        // A step of s along the gradient changes the loss by s times its squared norm.
        let change = f64::from(value(&output) - lower);
        assert!(
            (change / 1e-3 - 1.0).abs() < 0.3,
            "{change:e} {:?}",
            cfg.experts
        );
    }
}

fn prompts(cfg: &ModelConfig) -> Vec<Prompt> {
    vec![
        Prompt {
            pictures: picture(cfg, 0),
            ..Prompt::default()
        },
        Prompt {
            source: vec![5, 6, 7],
            target: vec![8],
            ..Prompt::default()
        },
        Prompt {
            target: vec![9, 10],
            ..Prompt::default()
        },
    ]
}

#[test]
fn a_prompt_gives_bit_for_bit_what_it_gives_alone() {
    for cfg in kinds() {
        let model = lively(&cfg);
        let options = GenerateOptions {
            max_tokens: 8,
            ..GenerateOptions::default()
        };
        let run = |prompts: &[Prompt]| {
            generate(&model, prompts, &options, &mut |_, _| true).expect("runs")
        };
        let together = run(&prompts(&cfg));
        for (prompt, got) in prompts(&cfg).iter().zip(&together) {
            let alone = &run(std::slice::from_ref(prompt))[0];
            assert_eq!(got.ids, alone.ids);
            assert_eq!(got.logprob.to_bits(), alone.logprob.to_bits());
        }
    }
}

#[test]
fn what_is_generated_with_a_cache_has_the_likelihood_of_the_training_path() {
    for cfg in kinds() {
        let model = lively(&cfg);
        for (i, source) in [vec![], vec![5, 6, 7]].into_iter().enumerate() {
            let prompt = Prompt {
                pictures: picture(&cfg, 0),
                source: source.clone(),
                ..Prompt::default()
            };
            let target = [11 + i as u32, 12, 13, 3];
            let cached = score_target(&model, &prompt, 2, &target).expect("scores");
            let sample = Sample {
                n_pictures: 1,
                source,
                targets: vec![vec![2, 11 + i as u32, 12, 13]],
            };
            let arrays = pack(&cfg, &[sample], 0);
            let output = forward(&model, &arrays, &ForwardOptions::default());
            let uncached: f64 = output.nll.iter().map(|&nll| -f64::from(nll)).sum();
            assert!((cached - uncached).abs() < 1e-3, "{cached} {uncached}");
        }
    }
}

#[test]
fn weights_are_stacked_and_muon_takes_their_matrices_but_no_router() {
    let cfg = sparse(ExpertsConfig::default());
    let model = model(&cfg);
    let shape = |name: &str| {
        let param = model.params().get(&format!("blocks.0.moe.{name}"));
        param.expect("a parameter").shape().to_vec()
    };
    assert_eq!(shape("router.weight"), [4, 32]);
    assert_eq!(
        (shape("up.weight"), shape("up.bias")),
        (vec![4, 64, 32], vec![4, 64])
    );
    assert_eq!(
        (shape("down.weight"), shape("down.bias")),
        (vec![4, 32, 64], vec![4, 32])
    );
    let hidden = model.hidden_matrices();
    for (name, is_hidden) in [
        ("up.weight", true),
        ("down.weight", true),
        ("up.bias", false),
        ("router.weight", false),
    ] {
        assert_eq!(
            hidden.contains(&format!("blocks.0.moe.{name}")),
            is_hidden,
            "{name}"
        );
    }
    assert!(model.params().get("blocks.0.ffn.up.weight").is_none());
    let counts = m6_model::count(&cfg);
    assert_eq!(counts.params_total as usize, model.params().n_elements());
}
