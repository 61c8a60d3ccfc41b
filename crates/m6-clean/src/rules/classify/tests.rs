//! Tests of the classifier as a whole.

use super::*;
use crate::rules::testing;

fn examples(good: &[&str], bad: &[&str]) -> Vec<Example> {
    let label = |texts: &[&str], label| -> Vec<Example> {
        texts
            .iter()
            .map(|text| Example {
                text: (*text).to_owned(),
                label,
            })
            .collect()
    };
    [label(good, true), label(bad, false)].concat()
}

fn toy() -> Vec<Example> {
    examples(
        &[
            "长江发源于青藏高原。",
            "他在书房里读书。",
            "这座桥建于一九三七年。",
            "河水缓缓流过村庄。",
        ],
        &[
            "加微信领红包",
            "点击链接免费领取",
            "代开发票加微信",
            "兼职日结点击领取",
        ],
    )
}

#[test]
fn what_was_learned_is_told_apart() {
    let Trained { model, epochs } = train(&toy(), &Config::default()).unwrap();
    assert!(model.score("黄河发源于高原。") > 0.5 && model.score("免费领红包") < 0.5);
    assert!(epochs.last().unwrap().loss < epochs[0].loss, "{epochs:?}");
    let metrics = evaluate(&model, &toy());
    assert_eq!((metrics.n, metrics.accuracy, metrics.auc), (8, 1.0, 1.0));
    assert_eq!((metrics.precision, metrics.recall), (1.0, 1.0));
    assert_eq!(evaluate(&model, &[]), Metrics::default());
    let neutral = model.score("");
    assert!((0.0..=1.0).contains(&neutral) && neutral == model.score(" \n"));
}

#[test]
fn the_same_seed_gives_the_same_model_on_any_threads() {
    let many: Vec<Example> = (0..400).flat_map(|_| toy()).collect();
    let config = Config {
        n_epochs: 2,
        ..Config::default()
    };
    let on = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| train(&many, &config).unwrap().model)
    };
    let one = on(1);
    assert_eq!(one, on(3));
    let other = train(
        &many,
        &Config {
            seed: 1,
            ..config.clone()
        },
    )
    .unwrap()
    .model;
    assert!(other != one);
}

#[test]
fn wrong_settings_are_refused_with_the_reason() {
    let check = |config: Config, examples: &[Example], expected: &str| {
        let error = train(examples, &config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let with = |shape: Shape| Config {
        shape,
        ..Config::default()
    };
    check(
        with(Shape {
            bits: 7,
            ..Shape::default()
        }),
        &toy(),
        "bits",
    );
    check(
        with(Shape {
            bits: 25,
            ..Shape::default()
        }),
        &toy(),
        "bits",
    );
    check(
        with(Shape {
            min_n: 3,
            max_n: 2,
            ..Shape::default()
        }),
        &toy(),
        "max_n",
    );
    check(
        with(Shape {
            max_chars: 0,
            ..Shape::default()
        }),
        &toy(),
        "max_chars",
    );
    check(
        Config {
            lr: f64::NAN,
            ..Config::default()
        },
        &toy(),
        "lr",
    );
    check(Config::default(), &toy()[..4], "both labels");
    check(Config::default(), &[], "both labels");
}

#[test]
fn odds_do_not_overflow() {
    assert_eq!(sigmoid(0.0), 0.5);
    assert_eq!((sigmoid(1e4), sigmoid(-1e4)), (1.0, 0.0));
    assert!((sigmoid(2.0) + sigmoid(-2.0) - 1.0).abs() < 1e-15);
}

#[test]
fn praise_is_told_from_complaint_in_real_reviews() {
    let Some(shared) = testing::shared() else {
        return;
    };
    let lines = std::fs::read_to_string(shared.join("data/ecommerce/reviews.jsonl")).unwrap();
    let rows = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let all: Vec<Example> = rows
        .map(|row| Example {
            text: row["review"].as_str().unwrap().to_owned(),
            label: row["positive"] == 1,
        })
        .collect();
    // Every fifth review is held out.
    let (held_out, sample): (Vec<_>, Vec<_>) = all
        .into_iter()
        .enumerate()
        .partition(|(index, _)| index % 5 == 0);
    let plain = |examples: Vec<(usize, Example)>| -> Vec<Example> {
        examples.into_iter().map(|(_, example)| example).collect()
    };
    let Trained { model, epochs } = train(&plain(sample), &Config::default()).unwrap();
    let metrics = evaluate(&model, &plain(held_out));
    assert!(
        metrics.accuracy > 0.86 && metrics.auc > 0.92,
        "{metrics:?} {epochs:?}"
    );
}
