//! Reading and writing Hugging Face tokenizer.json. Every byte read is taken for hostile.

use crate::error::{Error, Result};
use crate::options::BertOptions;
use crate::tokenizer::{Parts, Tokenizer};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Typed>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u64,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "yes")]
    clean_text: bool,
    #[serde(default = "yes")]
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    #[serde(default = "yes")]
    lowercase: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default = "word_piece")]
    kind: String,
    #[serde(default = "unk_token")]
    unk_token: String,
    #[serde(default = "prefix")]
    continuing_subword_prefix: String,
    #[serde(default = "max_chars")]
    max_input_chars_per_word: usize,
    vocab: Entries,
}

fn yes() -> bool {
    true
}

fn word_piece() -> String {
    "WordPiece".to_owned()
}

fn unk_token() -> String {
    "[UNK]".to_owned()
}

fn prefix() -> String {
    "##".to_owned()
}

fn max_chars() -> usize {
    100
}

/// The vocabulary object as a list, so that a token written twice is seen.
struct Entries(Vec<(String, u64)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object from token to id")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Reads a tokenizer.json.
///
/// # Errors
/// [`Error::Json`] for bytes of the wrong shape, [`Error::Unsupported`] for a file that asks for
/// something other than BERT WordPiece, [`Error::DuplicateToken`] for contradicting ids.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parts> {
    let file: File = serde_json::from_slice(bytes)?;
    let model = file.model;
    require("model.type", &model.kind, "WordPiece")?;
    let normalizer = file.normalizer.ok_or_else(|| absent("normalizer"))?;
    require("normalizer.type", &normalizer.kind, "BertNormalizer")?;
    let pre_tokenizer = file.pre_tokenizer.ok_or_else(|| absent("pre_tokenizer"))?;
    require(
        "pre_tokenizer.type",
        &pre_tokenizer.kind,
        "BertPreTokenizer",
    )?;
    let mut entries = model.vocab.0;
    let added = merge_added(&mut entries, file.added_tokens)?;
    Ok(Parts {
        entries,
        options: BertOptions {
            clean_text: normalizer.clean_text,
            handle_chinese_chars: normalizer.handle_chinese_chars,
            strip_accents: normalizer.strip_accents,
            lowercase: normalizer.lowercase,
        },
        prefix: model.continuing_subword_prefix,
        max_word_chars: model.max_input_chars_per_word,
        unk: Some(model.unk_token),
        added,
    })
}

fn absent(what: &str) -> Error {
    Error::Unsupported {
        what: what.to_owned(),
        got: "absent".to_owned(),
        expected: "the one of BERT",
    }
}

fn require(what: &str, got: &str, expected: &'static str) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: what.to_owned(),
        got: format!("{got:?}"),
        expected,
    })
}

/// Adds the tokens that the model's own vocabulary lacks.
fn merge_added(
    entries: &mut Vec<(String, u64)>,
    added_tokens: Vec<AddedToken>,
) -> Result<Vec<(String, bool)>> {
    let known: rustc_hash::FxHashMap<&str, u64> =
        entries.iter().map(|(t, id)| (t.as_str(), *id)).collect();
    let mut missing = Vec::new();
    let mut added = Vec::new();
    for token in added_tokens {
        if token.single_word || token.lstrip || token.rstrip || token.normalized {
            return Err(Error::Unsupported {
                what: format!("added token {:?}", token.content),
                got: "set single_word, lstrip, rstrip or normalized".to_owned(),
                expected: "all four false",
            });
        }
        match known.get(token.content.as_str()) {
            None => missing.push((token.content.clone(), token.id)),
            Some(id) if *id == token.id => {}
            Some(id) => {
                return Err(Error::DuplicateToken {
                    token: token.content,
                    first: *id,
                    second: token.id,
                });
            }
        }
        added.push((token.content, token.special));
    }
    entries.extend(missing);
    Ok(added)
}

/// Writes a tokenizer.json that Hugging Face loads.
pub(crate) fn write(tokenizer: &Tokenizer) -> String {
    let inner = &tokenizer.inner;
    let name = |id: u32| inner.vocab.token(id).unwrap_or_default();
    let added: Vec<Value> = inner
        .added
        .iter()
        .map(|(id, special)| {
            json!({
                "id": id, "content": name(*id), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": special,
            })
        })
        .collect();
    let vocab: Map<String, Value> = inner
        .vocab
        .iter()
        .map(|(token, id)| (token.to_owned(), id.into()))
        .collect();
    let special = inner.special;
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": inner.options.clean_text,
            "handle_chinese_chars": inner.options.handle_chinese_chars,
            "strip_accents": inner.options.strip_accents,
            "lowercase": inner.options.lowercase,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "BertProcessing",
            "sep": [name(special.sep), special.sep],
            "cls": [name(special.cls), special.cls],
        },
        "decoder": { "type": "WordPiece", "prefix": inner.prefix, "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": name(special.unk),
            "continuing_subword_prefix": inner.prefix,
            "max_input_chars_per_word": inner.max_word_chars,
            "vocab": vocab,
        },
    });
    format!("{file:#}\n")
}
