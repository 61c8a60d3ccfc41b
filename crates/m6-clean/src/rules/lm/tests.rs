//! Tests of the language model as a whole.

use super::vocab::{BOS, UNK};
use super::*;
use crate::rules::testing;

const SENTENCES: &[&str] = &[
    "长江是中国最长的河流。",
    "黄河是中国第二长的河流。",
    "长江发源于青藏高原。",
    "黄河也发源于青藏高原。",
    "中国的河流大多向东流入大海。",
    "珠江是中国南方最大的河流。",
];

fn model(order: usize, min_counts: &[u32]) -> Model {
    let config = Config {
        order,
        min_counts: min_counts.to_vec(),
        min_char_count: 1,
        ..Config::default()
    };
    train(SENTENCES, &config).unwrap().model
}

/// The sum of the probabilities of everything that can follow `text`.
fn total_after(model: &Model, text: &str) -> f64 {
    let mut ids = vec![BOS];
    ids.extend(text.chars().map(|c| model.vocab.id(c)));
    let ends = (0..model.vocab.n_ids() as u16).filter(|id| *id != BOS);
    ends.map(|id| {
        let longer: Vec<u16> = ids.iter().copied().chain([id]).collect();
        libm::exp2(score::log2_prob_of_last(model, &longer))
    })
    .sum()
}

#[test]
fn blocks_change_nothing() {
    let model = model(5, &[1]);
    let (mut whole, mut parts) = (Score::default(), Vec::new());
    for i in 0..400 {
        let sentence = SENTENCES[i % SENTENCES.len()];
        let part = model.score(sentence);
        whole.log2_prob += part.log2_prob;
        whole.n_tokens += part.n_tokens;
        parts.push(sentence);
    }
    let score = model.score(&parts.concat());
    assert_eq!((score.n_tokens, score.n_unknown), (whole.n_tokens, 0));
    assert!((score.log2_prob - whole.log2_prob).abs() < 1e-6);
}

#[test]
fn probabilities_sum_to_one_after_any_context() {
    for (order, min_counts) in [
        (2, &[1][..]),
        (3, &[1]),
        (5, &[1, 1, 1, 2, 2]),
        (5, &[1, 2, 2, 2, 2]),
        (6, &[1, 1, 3]),
    ] {
        let model = model(order, min_counts);
        for text in [
            "",
            "长",
            "长江",
            "中国的",
            "是中国最长",
            "青藏高原。",
            "从未见过的",
            "河流河流河流",
        ] {
            let total = total_after(&model, text);
            assert!(
                (total - 1.0).abs() < 2e-3,
                "order {order} after {text:?}: {total}"
            );
        }
    }
}

#[test]
fn likely_text_has_less_perplexity_than_unlikely() {
    let model = model(5, &[1]);
    let of = |text: &str| model.perplexity(text).unwrap();
    let known = of("长江是中国最长的河流。");
    let similar = of("黄河发源于中国。");
    let shuffled = of("流河的长最国中是江长。");
    let foreign = of("股票市场今日收盘");
    assert!(known < 3.0, "{known}");
    assert!(
        known < similar && similar < shuffled && shuffled < foreign,
        "{similar} {shuffled} {foreign}"
    );
}

#[test]
fn blanks_widths_and_digits_do_not_count() {
    let config = Config {
        min_char_count: 1,
        ..Config::default()
    };
    let model = train(["2020年ABC公司"], &config).unwrap().model;
    assert_eq!(
        model.score("2020年ABC公司"),
        model.score("１９９９ 年ａｂｃ\u{3000}公司")
    );
    assert_eq!(model.perplexity(""), None);
    assert_eq!(model.perplexity(" \n\u{3000}\0"), None);
    assert_eq!(model.score("2020年").n_tokens, 6);
    assert_eq!(model.score("某年").n_unknown, 1);
}

#[test]
fn the_report_counts_what_was_used() {
    let config = Config {
        order: 2,
        min_counts: vec![1],
        min_char_count: 2,
        max_chars: 9,
        ..Config::default()
    };
    let Trained { model, report } = train(["山山水。山", "水山水山水山"], &config).unwrap();
    assert_eq!(
        (report.n_sentences, report.n_chars, report.is_cut),
        (3, 9, true)
    );
    assert_eq!((report.n_vocab, report.n_unknown), (2, 1));
    assert_eq!(report.n_grams[0], 5);
    assert_eq!(model.vocab.id('。'), UNK);
}

#[test]
fn wrong_settings_are_refused_with_the_reason() {
    let check = |config: Config, expected: &str| {
        let error = train(["山"], &config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        Config {
            order: 1,
            ..Config::default()
        },
        "order 1",
    );
    check(
        Config {
            order: 7,
            ..Config::default()
        },
        "2..=6",
    );
    check(
        Config {
            max_vocab: 0,
            ..Config::default()
        },
        "max_vocab",
    );
    assert!(
        train(["", " \n"], &Config::default())
            .unwrap_err()
            .to_string()
            .contains("empty")
    );
    assert!(train(Vec::<String>::new(), &Config::default()).is_err());
}

#[test]
fn a_page_without_an_end_is_scored_in_pieces() {
    let model = model(3, &[1]);
    let score = model.score(&"长江".repeat(MAX_SENTENCE_CHARS));
    assert_eq!(score.n_tokens as usize, 2 * MAX_SENTENCE_CHARS + 2);
}

#[test]
fn held_out_encyclopedia_text_is_told_from_other_text() {
    let Some(shared) = testing::shared() else {
        return;
    };
    let texts = testing::texts(&shared, "qa/cmrc2018-dev.jsonl", "context", 600);
    let (held_out, sample) = texts.split_at(60);
    let Trained { model, report } = train(sample, &Config::default()).unwrap();
    assert!(
        report.n_chars > 200_000 && report.n_unknown * 50 < report.n_chars,
        "{report:?}"
    );
    let mean = |texts: &[String]| {
        let scores: Vec<Score> = texts.iter().map(|text| model.score(text)).collect();
        let (bits, n) = scores.iter().fold((0.0, 0), |(bits, n), score| {
            (bits - score.log2_prob, n + score.n_tokens)
        });
        libm::exp2(bits / n as f64)
    };
    let reversed: Vec<String> = held_out
        .iter()
        .map(|text| text.chars().rev().collect())
        .collect();
    let classical = testing::texts(&shared, "classical/parallel.jsonl", "classical", 500);
    let (own, reversed, classical) = (mean(held_out), mean(&reversed), mean(&classical));
    assert!((20.0..200.0).contains(&own), "held out: {own}");
    assert!(
        own * 2.0 < reversed && own * 2.0 < classical,
        "{own} {reversed} {classical}"
    );
}
