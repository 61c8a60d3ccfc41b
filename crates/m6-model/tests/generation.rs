//! Generation against the training path, against itself alone, and against exhaustive search.

mod common;

use common::{Sample, model, numbers, pack, picture, tiny};
use m6_model::{
    ForwardOptions, GenerateOptions, Generated, Model, ModelConfig, Prompt, generate, score_target,
    score_targets,
};

const BOS: u32 = 2;
const EOS: u32 = 3;

fn greedy() -> GenerateOptions {
    GenerateOptions {
        max_tokens: 8,
        ..GenerateOptions::default()
    }
}

/// A model whose words are not all alike: the weights as drawn say next to nothing.
fn lively(cfg: &ModelConfig) -> Model {
    let model = model(cfg);
    for param in model.params() {
        if param.name().ends_with("weight") && param.shape().len() == 2
            || param.name().starts_with("embed.")
        {
            let scaled = (param.tensor().detach() * 8.0).expect("scales");
            param.var().set(&scaled).expect("same shape");
        }
    }
    model
}

fn prompts(cfg: &ModelConfig) -> Vec<Prompt> {
    let two = [picture(cfg, 1), picture(cfg, 2)].concat();
    vec![
        Prompt {
            pictures: picture(cfg, 0),
            source: vec![],
            target: vec![],
            ..Prompt::default()
        },
        Prompt {
            pictures: vec![],
            source: vec![5, 6, 7],
            target: vec![8],
            ..Prompt::default()
        },
        Prompt {
            pictures: vec![],
            source: vec![],
            target: vec![9, 10],
            ..Prompt::default()
        },
        Prompt {
            pictures: two,
            source: vec![11],
            target: vec![],
            ..Prompt::default()
        },
        Prompt::default(),
    ]
}

fn run(model: &Model, prompts: &[Prompt], options: &GenerateOptions) -> Vec<Generated> {
    generate(model, prompts, options, &mut |_, _| true).expect("runs")
}

/// Logits after the last word of a target, by the training path.
fn uncached(model: &Model, prompt: &Prompt, more: &[u32]) -> Vec<f32> {
    let cfg = model.config();
    let target = [&[BOS], prompt.target.as_slice(), more].concat();
    let n_pictures = prompt.pictures.len() / cfg.patches.picture_bytes();
    let sample = Sample {
        n_pictures,
        source: prompt.source.clone(),
        targets: vec![target],
    };
    let mut arrays = pack(cfg, &[sample], 0);
    arrays.pictures = prompt.pictures.clone();
    let all = numbers(
        &model
            .logits(&arrays.input(), &ForwardOptions::default())
            .expect("runs"),
    );
    all[all.len() - cfg.vocab_size..].to_vec()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    logits
        .iter()
        .map(|&x| f64::from(x - max) - sum.ln())
        .collect()
}

#[test]
fn cached_greedy_equals_the_training_path() {
    let cfg = tiny();
    let model = lively(&cfg);
    for (prompt, got) in prompts(&cfg)
        .iter()
        .zip(run(&model, &prompts(&cfg), &greedy()))
    {
        let (mut ids, mut logprob, mut finished) = (Vec::new(), 0.0, false);
        while ids.len() < 8 && !finished {
            let scores = log_softmax(&uncached(&model, prompt, &ids));
            let best = (0..scores.len())
                .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
                .expect("words");
            logprob += scores[best];
            finished = best as u32 == EOS;
            if !finished {
                ids.push(best as u32);
            }
        }
        assert_eq!((&got.ids, got.finished), (&ids, finished));
        assert!(
            (got.logprob - logprob).abs() < 1e-3,
            "{} instead of {logprob}",
            got.logprob
        );
    }
}

#[test]
fn a_prompt_gives_bit_for_bit_what_it_gives_alone() {
    let cfg = tiny();
    let model = lively(&cfg);
    let sampling = GenerateOptions {
        temperature: 0.9,
        top_k: 12,
        top_p: 0.95,
        seed: 4,
        ..greedy()
    };
    let beams = GenerateOptions {
        beams: 3,
        no_repeat_ngram: 2,
        ..greedy()
    };
    for options in [greedy(), sampling, beams] {
        let together = run(&model, &prompts(&cfg), &options);
        for (prompt, together) in prompts(&cfg).into_iter().zip(together) {
            let alone = run(&model, &[prompt], &options).remove(0);
            assert_eq!(alone.ids, together.ids);
            assert_eq!(alone.logprob.to_bits(), together.logprob.to_bits());
        }
    }
}

#[test]
fn samples_follow_seed_and_stream() {
    let cfg = tiny();
    let model = lively(&cfg);
    let same = vec![Prompt::default(); 4];
    let options = GenerateOptions {
        temperature: 1.5,
        streams: vec![0, 1, 2, 0],
        ..greedy()
    };
    let got = run(&model, &same, &options);
    assert_eq!(got, run(&model, &same, &options));
    assert_eq!(got[0], got[3]);
    assert!(got[0] != got[1] || got[0] != got[2]);
    assert_ne!(
        got,
        run(&model, &same, &GenerateOptions { seed: 1, ..options })
    );
}

#[test]
fn score_equals_the_log_probability_of_generation() {
    let cfg = tiny();
    let model = lively(&cfg);
    for (prompt, got) in prompts(&cfg)
        .iter()
        .zip(run(&model, &prompts(&cfg), &greedy()))
    {
        let mut target = got.ids.clone();
        if got.finished {
            target.push(EOS);
        }
        let score = score_target(&model, prompt, BOS, &target).expect("scores");
        assert!(
            (score - got.logprob).abs() < 1e-9,
            "{score} instead of {}",
            got.logprob
        );
    }
    assert!(score_target(&model, &Prompt::default(), BOS, &[]).is_err());
    assert!(score_target(&model, &Prompt::default(), BOS, &[29]).is_err());
    assert!(score_target(&model, &Prompt::default(), BOS, &[1; 17]).is_err());
}

#[test]
fn targets_scored_together_are_scored_as_alone() {
    let cfg = tiny();
    let model = lively(&cfg);
    // More words than are worked on at once, of all lengths that fit behind the longest prompt.
    let word = |i: usize| (i * 7 % 29) as u32;
    let targets: Vec<Vec<u32>> = (0..80)
        .map(|i| (0..1 + i % 9).map(|j| word(i + 3 * j)).collect())
        .collect();
    for prompt in &prompts(&cfg) {
        let together = score_targets(&model, prompt, BOS, &targets).expect("scores");
        assert_eq!(together.len(), targets.len());
        for (target, together) in targets.iter().zip(&together) {
            let alone = score_target(&model, prompt, BOS, target).expect("scores");
            assert_eq!(alone.to_bits(), together.to_bits(), "{target:?}");
        }
        assert!(together.windows(2).any(|w| w[0] != w[1]));
        let none = score_targets(&model, prompt, BOS, &[]);
        assert!(none.is_ok_and(|scores| scores.is_empty()));
    }
    for bad in [vec![], vec![29], vec![1; 17]] {
        let targets = [vec![1], bad];
        assert!(score_targets(&model, &Prompt::default(), BOS, &targets).is_err());
    }
}

#[test]
fn wide_beam_finds_the_best_text_of_all() {
    let cfg = ModelConfig {
        vocab_size: 6,
        ..tiny()
    };
    let model = lively(&cfg);
    for length_penalty in [0.0, 1.0] {
        let options = GenerateOptions {
            beams: 64,
            max_tokens: 2,
            length_penalty,
            ..greedy()
        };
        let got = run(&model, &[Prompt::default()], &options).remove(0);
        // All texts of up to two words; the end is a word of its own.
        let mut best = (f64::NEG_INFINITY, vec![]);
        let mut texts = vec![vec![EOS]];
        for a in (0..6).filter(|&a| a != EOS) {
            texts.extend((0..6).map(|b| vec![a, b]));
        }
        for text in texts {
            let score = score_target(&model, &Prompt::default(), BOS, &text).expect("scores");
            let score = score / (text.len() as f64).powf(length_penalty);
            if score > best.0 {
                best = (score, text);
            }
        }
        let mut found = got.ids.clone();
        if got.finished {
            found.push(EOS);
        }
        assert_eq!(found, best.1, "length_penalty {length_penalty}");
    }
}

#[test]
fn length_never_passes_max_len_and_listener_may_stop() {
    let cfg = tiny();
    let model = lively(&cfg);
    let forever = GenerateOptions {
        max_tokens: 1000,
        banned: vec![EOS],
        ..GenerateOptions::default()
    };
    let start = Prompt {
        target: vec![9; 5],
        ..Prompt::default()
    };
    for options in [
        forever.clone(),
        GenerateOptions {
            beams: 2,
            ..forever.clone()
        },
    ] {
        let got = run(&model, std::slice::from_ref(&start), &options).remove(0);
        assert_eq!((got.ids.len(), got.finished), (cfg.max_len - 5, false));
        assert!(!got.ids.contains(&EOS));
        let mut heard = Vec::new();
        let cut = generate(
            &model,
            &[start.clone(), Prompt::default()],
            &options,
            &mut |prompt, id| {
                if prompt == 0 {
                    heard.push(id);
                }
                prompt != 0 || heard.len() < 3
            },
        );
        let cut = cut.expect("runs");
        assert_eq!(heard, got.ids[..3]);
        let kept = if options.beams > 1 { got.ids.len() } else { 3 };
        assert_eq!(cut[0].ids, got.ids[..kept]);
        assert_eq!(cut[1].ids.len(), cfg.max_len);
    }
    let full = Prompt {
        target: vec![9; 16],
        ..Prompt::default()
    };
    assert!(generate(&model, &[full], &forever, &mut |_, _| true).is_err());
    let none = GenerateOptions {
        max_tokens: 0,
        ..greedy()
    };
    assert_eq!(run(&model, &[start], &none), [Generated::default()]);
    assert!(run(&model, &[], &greedy()).is_empty());
}

#[test]
fn no_repeat_holds_in_every_mode() {
    let cfg = ModelConfig {
        vocab_size: 8,
        ..tiny()
    };
    let model = lively(&cfg);
    for beams in [1, 3] {
        let options = GenerateOptions {
            no_repeat_ngram: 2,
            banned: vec![EOS],
            beams,
            max_tokens: 14,
            ..greedy()
        };
        let ids = run(&model, &[Prompt::default()], &options).remove(0).ids;
        let mut pairs: Vec<_> = ids.windows(2).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), ids.len() - 1, "{ids:?}");
    }
}

#[test]
fn bad_options_and_prompts_are_named() {
    let cfg = tiny();
    let model = model(&cfg);
    let check = |options: GenerateOptions, prompt: Prompt, word: &str| {
        let error = generate(&model, &[prompt], &options, &mut |_, _| true)
            .expect_err(word)
            .to_string();
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    };
    let with = |change: &dyn Fn(&mut GenerateOptions)| {
        let mut options = greedy();
        change(&mut options);
        options
    };
    check(
        with(&|o| o.temperature = f64::NAN),
        Prompt::default(),
        "temperature",
    );
    check(with(&|o| o.top_p = 0.0), Prompt::default(), "top_p");
    check(with(&|o| o.beams = 0), Prompt::default(), "beams");
    check(
        with(&|o| (o.beams, o.temperature) = (2, 1.0)),
        Prompt::default(),
        "beams",
    );
    check(with(&|o| o.bos = 29), Prompt::default(), "bos");
    check(
        with(&|o| o.streams = vec![1, 2]),
        Prompt::default(),
        "streams",
    );
    check(
        greedy(),
        Prompt {
            pictures: vec![0; 5],
            ..Prompt::default()
        },
        "pictures",
    );
    check(
        greedy(),
        Prompt {
            source: vec![29],
            ..Prompt::default()
        },
        "source word 29",
    );
    check(
        greedy(),
        Prompt {
            source: vec![1; 17],
            ..Prompt::default()
        },
        "max_len",
    );
}
