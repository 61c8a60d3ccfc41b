//! The published cases: ids, tokens and offsets of `BertWordPieceTokenizer(lowercase=True)`.
#![allow(clippy::print_stderr)]

use m6_text::Tokenizer;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Case {
    text: String,
    tokens: Vec<String>,
    ids: Vec<u32>,
    offsets: Vec<[usize; 2]>,
}

fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("M6_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join("data").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is absent (set M6_SHARED)", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn every_published_case_is_met_exactly() {
    let Some(vocab) = shared("vocab/bert-base-chinese-vocab.txt") else {
        return;
    };
    let Some(cases) = shared("vocab/wordpiece-cases.jsonl") else {
        return;
    };
    let tokenizer = Tokenizer::from_file(&vocab).unwrap();
    assert_eq!(tokenizer.vocab_size(), 21128);
    let again = Tokenizer::from_json_bytes(tokenizer.to_json().as_bytes()).unwrap();
    let mut n_cases = 0;
    for line in std::fs::read_to_string(cases).unwrap().lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        for tokenizer in [&tokenizer, &again] {
            let got = tokenizer.encode_full(&case.text, true);
            assert_eq!(got.ids, case.ids, "{:?}", case.text);
            assert_eq!(got.tokens, case.tokens, "{:?}", case.text);
            assert_eq!(got.offsets, case.offsets, "{:?}", case.text);
            let inner = &case.ids[1..case.ids.len() - 1];
            assert_eq!(tokenizer.encode(&case.text), inner, "{:?}", case.text);
            if !inner.contains(&tokenizer.special().unk) {
                let normal = tokenizer.normalize(&case.text);
                assert_eq!(tokenizer.decode(&case.ids), normal, "{:?}", case.text);
            }
        }
        n_cases += 1;
    }
    assert_eq!(n_cases, 608);
}

#[test]
fn both_files_of_a_vocabulary_say_the_same() {
    let Some(vocab) = shared("vocab/bert-base-chinese-vocab.txt") else {
        return;
    };
    let tokenizer = Tokenizer::from_file(&vocab).unwrap();
    let from_txt = Tokenizer::from_vocab_lines(tokenizer.to_vocab_txt().as_bytes()).unwrap();
    assert_eq!(tokenizer.to_json(), from_txt.to_json());
}
