//! Files from outside are refused with a reason; they never panic and never claim memory.

use m6_text::{Error, Tokenizer};
use proptest::prelude::*;
use std::sync::LazyLock;

static VALID: LazyLock<String> = LazyLock::new(|| {
    let tokens = "[PAD] [UNK] [CLS] [SEP] [MASK] 红 色 a ##b ##色";
    let tokens = tokens.split_whitespace().map(String::from).collect();
    Tokenizer::from_tokens(tokens).unwrap().to_json()
});

fn refused(from: &str, to: &str) -> Error {
    assert!(VALID.contains(from), "{from} is not in the file");
    let json = VALID.replace(from, to);
    Tokenizer::from_json_bytes(json.as_bytes()).expect_err(to)
}

#[test]
fn each_fault_has_its_own_error() {
    assert!(matches!(
        refused("\"红\": 5", "\"红\": 4000000000"),
        Error::IdOutOfRange {
            id: 4_000_000_000,
            ..
        }
    ));
    assert!(matches!(
        refused("\"红\": 5", "\"红\": 10"),
        Error::IdOutOfRange {
            id: 10,
            n_tokens: 10,
            ..
        }
    ));
    assert!(matches!(
        refused("\"红\": 5", "\"红\": 6"),
        Error::DuplicateId { id: 6, .. }
    ));
    assert!(matches!(
        refused("\"红\": 5", "\"色\": 5"),
        Error::DuplicateToken { .. }
    ));
    assert!(matches!(
        refused("\"红\": 5", "\"红\": -5"),
        Error::Json { .. }
    ));
    assert!(matches!(
        refused("\"红\": 5", "\"红\": 1e99"),
        Error::Json { .. }
    ));
    assert!(matches!(
        refused("\"红\": 5", "\"红\": \"5\""),
        Error::Json { .. }
    ));
    assert!(matches!(
        refused(
            "\"type\": \"WordPiece\",\n    \"unk",
            "\"type\": \"BPE\",\n    \"unk"
        ),
        Error::Unsupported { .. }
    ));
    assert!(matches!(
        refused("BertNormalizer", "NFC"),
        Error::Unsupported { .. }
    ));
    assert!(matches!(
        refused("BertPreTokenizer", "Whitespace"),
        Error::Unsupported { .. }
    ));
    assert!(matches!(
        refused("\"lstrip\": false", "\"lstrip\": true"),
        Error::Unsupported { .. }
    ));
    assert!(matches!(
        refused("\"unk_token\": \"[UNK]\"", "\"unk_token\": \"<unk>\""),
        Error::MissingSpecial { .. }
    ));
    assert!(matches!(
        refused("[MASK]", "[MUSK]"),
        Error::MissingSpecial { .. }
    ));
}

#[test]
fn broken_files_are_refused_by_place() {
    for end in 0..VALID.trim_end().len() {
        assert!(Tokenizer::from_json_bytes(&VALID.as_bytes()[..end]).is_err());
    }
    let deep = format!("{{\"model\": {}", "[".repeat(1_000_000));
    assert!(matches!(
        Tokenizer::from_json_bytes(deep.as_bytes()),
        Err(Error::Json { .. })
    ));
    let bad = Tokenizer::from_vocab_lines(b"[PAD]\n[UNK]\n\xff\xfe\n");
    assert!(matches!(bad, Err(Error::NotUtf8 { line: 3 })));
    let twice = Tokenizer::from_vocab_lines(b"[PAD]\na\na\n");
    assert!(matches!(
        twice,
        Err(Error::DuplicateToken {
            first: 1,
            second: 2,
            ..
        })
    ));
    assert!(matches!(
        Tokenizer::from_vocab_lines(b""),
        Err(Error::MissingSpecial { .. })
    ));
}

#[test]
fn files_are_told_apart_by_content_and_named_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        use std::io::Write;
        let path = dir.path().join(name);
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        path
    };
    let json = Tokenizer::from_file(&write("a", VALID.as_bytes())).unwrap();
    let txt = Tokenizer::from_file(&write("b", json.to_vocab_txt().as_bytes())).unwrap();
    assert_eq!(json.to_json(), txt.to_json());
    let lower = b"\xef\xbb\xbf[pad]\r\n[unk]\r\n[cls]\r\n[sep]\r\n[mask]\r\n";
    let lower = Tokenizer::from_file(&write("c", lower)).unwrap();
    assert_eq!(lower.special().ids(), [0, 1, 2, 3, 4]);
    let error = Tokenizer::from_file(&write("torn.json", b"{\"model\"")).unwrap_err();
    assert!(error.to_string().contains("torn.json"), "{error}");
    let error = Tokenizer::from_file(&dir.path().join("none")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let mut bytes = VALID.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        if let Ok(tokenizer) = Tokenizer::from_json_bytes(&bytes) {
            let ids = tokenizer.encode("红色 ab [MASK] 色b");
            prop_assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
            tokenizer.decode(&ids);
            let json = tokenizer.to_json();
            let again = Tokenizer::from_json_bytes(json.as_bytes()).unwrap();
            prop_assert_eq!(json, again.to_json());
        }
    }
}
