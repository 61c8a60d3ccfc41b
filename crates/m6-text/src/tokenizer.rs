//! The public tokenizer.

use crate::error::{Error, Result};
use crate::json;
use crate::options::BertOptions;
use crate::scan::Scanner;
use crate::sinks::{Ids, IdsWithOffsets, WordRule};
use crate::trie::PieceTrie;
use crate::vocab::{Vocab, parse_lines};
use rayon::prelude::*;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// Files above this size are refused unread.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Longer words become one `[UNK]`, as in BERT.
const MAX_WORD_CHARS: usize = 100;

/// Ids of the special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// Fills rows.
    pub pad: u32,
    /// Stands for what the vocabulary lacks.
    pub unk: u32,
    /// Begins a text.
    pub cls: u32,
    /// Ends a text.
    pub sep: u32,
    /// Stands for a masked span.
    pub mask: u32,
}

impl Special {
    /// The ids that no text holds: all but the one that ends it.
    pub fn never_written(&self) -> Vec<u32> {
        vec![self.pad, self.unk, self.cls, self.mask]
    }
}

/// Ids with their tokens and places; its JSON has the fields in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The tokens of the ids.
    pub tokens: Vec<String>,
    /// Range of Unicode characters of the input each token stands for; `[0, 0]` for added ones.
    pub offsets: Vec<[usize; 2]>,
}

/// What a tokenizer is made of, before it is checked.
pub(crate) struct Parts {
    pub entries: Vec<(String, u64)>,
    pub options: BertOptions,
    pub prefix: String,
    pub max_word_chars: usize,
    pub unk: Option<String>,
    /// Tokens recognised in the text as written, and whether they are special.
    pub added: Vec<(String, bool)>,
}

impl Parts {
    /// BERT's settings around a list of tokens; special tokens are recognised by name.
    pub fn bert(tokens: Vec<String>) -> Self {
        Self {
            entries: tokens.into_iter().zip(0..).collect(),
            options: BertOptions::default(),
            prefix: "##".to_owned(),
            max_word_chars: MAX_WORD_CHARS,
            unk: None,
            added: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub vocab: Vocab,
    pub options: BertOptions,
    pub prefix: String,
    pub max_word_chars: usize,
    pub special: Special,
    /// Id and whether special, by id.
    pub added: Vec<(u32, bool)>,
    pub scanner: Scanner,
}

/// A BERT WordPiece tokenizer; cheap to clone, shared between threads.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(crate) inner: Arc<Inner>,
}

impl Tokenizer {
    /// Reads a vocab.txt or a Hugging Face tokenizer.json, told apart by content.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::InFile`] around what is wrong with the content.
    pub fn from_file(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let in_file = |source| Error::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let n_bytes = std::fs::metadata(path).map_err(io)?.len();
        if n_bytes > MAX_FILE_BYTES {
            return Err(in_file(Error::TooLarge {
                what: "bytes in the file",
                got: n_bytes,
                limit: MAX_FILE_BYTES,
            }));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        Self::from_bytes(&bytes).map_err(in_file)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let first = body.iter().find(|b| !b.is_ascii_whitespace());
        if first == Some(&b'{') {
            Self::from_json_bytes(body)
        } else {
            Self::from_vocab_lines(body)
        }
    }

    /// Reads the bytes of a vocab.txt: one token a line, the line number (from 0) is the id.
    ///
    /// # Errors
    /// Bytes that are not UTF-8, a token written twice, a missing special token.
    pub fn from_vocab_lines(bytes: &[u8]) -> Result<Self> {
        Self::from_tokens(parse_lines(bytes)?)
    }

    /// Reads the bytes of a Hugging Face tokenizer.json that holds a BERT WordPiece model.
    ///
    /// # Errors
    /// Anything that is not such a file, or that would make the ids differ from Hugging Face's.
    pub fn from_json_bytes(bytes: &[u8]) -> Result<Self> {
        Self::build(json::parse(bytes)?)
    }

    /// Makes a tokenizer with BERT's settings from tokens in the order of their ids.
    ///
    /// # Errors
    /// A token that occurs twice, a missing special token, more than 2^20 tokens.
    pub fn from_tokens(tokens: Vec<String>) -> Result<Self> {
        Self::build(Parts::bert(tokens))
    }

    pub(crate) fn build(parts: Parts) -> Result<Self> {
        let vocab = Vocab::new(parts.entries)?;
        let special = find_special(&vocab, parts.unk.as_deref())?;
        let mut added: Vec<(u32, bool)> = parts
            .added
            .iter()
            .filter_map(|(token, is_special)| Some((vocab.id(token)?, *is_special)))
            .collect();
        for id in special.ids() {
            if !added.iter().any(|(other, _)| *other == id) {
                added.push((id, true));
            }
        }
        added.sort_unstable();
        added.dedup_by_key(|(id, _)| *id);
        let written = added
            .iter()
            .filter_map(|(id, _)| Some((vocab.token(*id)?.to_owned(), *id)))
            .collect();
        let trie = PieceTrie::new(vocab.iter(), &parts.prefix);
        Ok(Self {
            inner: Arc::new(Inner {
                scanner: Scanner::new(parts.options, trie, special.unk, written),
                vocab,
                options: parts.options,
                prefix: parts.prefix,
                max_word_chars: parts.max_word_chars,
                special,
                added,
            }),
        })
    }

    /// Number of tokens; ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab.len()
    }

    /// The token of an id, `None` if the id is out of range.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.inner.vocab.token(id)
    }

    /// The id of a token as it is spelt in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.vocab.id(token)
    }

    /// Ids of the special tokens.
    pub fn special(&self) -> Special {
        self.inner.special
    }

    /// Settings of the normaliser.
    pub fn options(&self) -> BertOptions {
        self.inner.options
    }

    /// The ids of a text, without `[CLS]` and `[SEP]`.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut sink = Ids {
            rule: self.word_rule(),
            ids: Vec::with_capacity(text.len() / 3 + 1),
        };
        self.inner.scanner.scan(text, &mut sink);
        sink.ids
    }

    /// Ids, tokens and offsets of a text; `special` puts `[CLS]` before and `[SEP]` after.
    pub fn encode_full(&self, text: &str, special: bool) -> Encoding {
        let mut sink = IdsWithOffsets {
            rule: self.word_rule(),
            ids: Vec::new(),
            offsets: Vec::new(),
        };
        self.inner.scanner.scan(text, &mut sink);
        let (mut ids, mut offsets) = (sink.ids, sink.offsets);
        if special {
            ids.insert(0, self.inner.special.cls);
            ids.push(self.inner.special.sep);
            offsets.insert(0, [0, 0]);
            offsets.push([0, 0]);
        }
        let tokens = ids
            .iter()
            .map(|id| self.token(*id).unwrap_or_default().to_owned())
            .collect();
        Encoding {
            ids,
            tokens,
            offsets,
        }
    }

    /// The ids of many texts, on all threads; the same as [`Tokenizer::encode`] on each.
    pub fn encode_batch(&self, texts: &[&str]) -> Vec<Vec<u32>> {
        texts
            .par_iter()
            .with_min_len(64)
            .map(|text| self.encode(text))
            .collect()
    }

    fn word_rule(&self) -> WordRule<'_> {
        WordRule {
            trie: self.inner.scanner.trie(),
            unk: self.inner.special.unk,
            max_chars: self.inner.max_word_chars,
        }
    }

    /// The whole tokenizer as a Hugging Face tokenizer.json.
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// The tokens, one a line, in the order of their ids.
    pub fn to_vocab_txt(&self) -> String {
        let mut out = String::new();
        for (token, _) in self.inner.vocab.iter() {
            out.push_str(token);
            out.push('\n');
        }
        out
    }
}

impl Special {
    /// All five ids, in the order of the fields.
    pub fn ids(&self) -> [u32; 5] {
        [self.pad, self.unk, self.cls, self.sep, self.mask]
    }
}

fn find_special(vocab: &Vocab, unk: Option<&str>) -> Result<Special> {
    let find = |name: &str| {
        vocab
            .id(name)
            .or_else(|| vocab.id(&name.to_lowercase()))
            .ok_or_else(|| Error::MissingSpecial {
                name: name.to_owned(),
            })
    };
    Ok(Special {
        pad: find("[PAD]")?,
        unk: find(unk.unwrap_or("[UNK]"))?,
        cls: find("[CLS]")?,
        sep: find("[SEP]")?,
        mask: find("[MASK]")?,
    })
}
