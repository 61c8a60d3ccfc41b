//! Caption scores equal those of pycocoevalcap.
#![allow(clippy::print_stderr)]

use m6_eval::{CaptionScores, Segment, score_captions};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Expected {
    #[serde(alias = "BLEU")]
    bleu: [f64; 4],
    #[serde(alias = "ROUGE_L")]
    rouge_l: f64,
    #[serde(alias = "CIDEr")]
    cider: f64,
    #[serde(default)]
    items: Vec<ExpectedItem>,
}

#[derive(Deserialize)]
struct ExpectedItem {
    #[serde(default)]
    system: String,
    #[serde(default)]
    id: String,
    #[serde(alias = "hypothesis")]
    candidate: String,
    references: Vec<String>,
    #[serde(alias = "BLEU_1_4")]
    bleu: [f64; 4],
    #[serde(alias = "ROUGE_L")]
    rouge_l: f64,
    #[serde(alias = "CIDEr")]
    cider: f64,
}

fn near(got: f64, expected: f64, what: &str) {
    assert!(
        (got - expected).abs() <= TOLERANCE,
        "{what}: {got} is not {expected}"
    );
}

fn score(items: &[ExpectedItem], segment: Segment) -> CaptionScores {
    let refs: Vec<_> = items
        .iter()
        .map(|x| (x.id.clone(), x.references.clone()))
        .collect();
    let cands: Vec<_> = items
        .iter()
        .map(|x| (x.id.clone(), x.candidate.clone()))
        .collect();
    score_captions(&refs, &cands, segment, None).unwrap()
}

fn check(name: &str, expected: &Expected, segment: Segment) {
    let got = score(&expected.items, segment);
    assert_eq!(got.n, expected.items.len());
    near(got.rouge_l, expected.rouge_l, &format!("{name}: ROUGE-L"));
    near(got.cider, expected.cider, &format!("{name}: CIDEr"));
    for k in 0..4 {
        near(
            got.bleu[k],
            expected.bleu[k],
            &format!("{name}: BLEU-{}", k + 1),
        );
    }
    for (got, expected) in got.per_item.iter().zip(&expected.items) {
        let what = format!("{name}, item {}", expected.id);
        assert_eq!(got.id, expected.id);
        near(got.rouge_l, expected.rouge_l, &format!("{what}: ROUGE-L"));
        near(got.cider, expected.cider, &format!("{what}: CIDEr"));
        for k in 0..4 {
            near(
                got.bleu[k],
                expected.bleu[k],
                &format!("{what}: BLEU-{}", k + 1),
            );
        }
    }
}

#[test]
fn small_and_odd_sets_score_as_in_pycocoevalcap() {
    let fixture = include_str!("fixtures/captions.json");
    let mut sets: BTreeMap<String, Expected> = serde_json::from_str(fixture).unwrap();
    assert!(sets.len() >= 7);
    for (name, set) in &mut sets {
        for (i, item) in set.items.iter_mut().enumerate() {
            item.id = i.to_string();
        }
        check(name, set, Segment::None);
    }
}

fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("M6_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join("data/caption-metrics").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is absent (set M6_SHARED)", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn every_published_case_scores_as_in_pycocoevalcap() {
    let (Some(corpus), Some(cases)) = (shared("corpus-scores.json"), shared("cases.jsonl")) else {
        return;
    };
    let corpus = std::fs::read_to_string(corpus).unwrap();
    let mut systems: BTreeMap<String, Expected> = serde_json::from_str(&corpus).unwrap();
    let mut n_cases = 0;
    for line in std::fs::read_to_string(cases).unwrap().lines() {
        let item: ExpectedItem = serde_json::from_str(line).unwrap();
        let system = systems.get_mut(&item.system).expect("a known system");
        system.items.push(item);
        n_cases += 1;
    }
    assert_eq!(n_cases, 1500);
    for (name, expected) in &systems {
        check(name, expected, Segment::None);
        // The sentences are single characters already.
        check(name, expected, Segment::Char);
    }
}
