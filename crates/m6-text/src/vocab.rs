//! The list of tokens, checked: every id from 0 to n - 1 has exactly one token.

use crate::error::{Error, Result};
use rustc_hash::FxHashMap;

/// Most tokens a vocabulary may have.
pub(crate) const MAX_TOKENS: usize = 1 << 20;

/// Tokens by id and ids by token.
#[derive(Debug)]
pub(crate) struct Vocab {
    tokens: Vec<Box<str>>,
    ids: FxHashMap<Box<str>, u32>,
}

impl Vocab {
    /// Checks a list of tokens with their ids, in any order.
    pub fn new(entries: Vec<(String, u64)>) -> Result<Self> {
        let n_tokens = entries.len();
        if n_tokens > MAX_TOKENS {
            return Err(Error::TooLarge {
                what: "number of tokens",
                got: n_tokens as u64,
                limit: MAX_TOKENS as u64,
            });
        }
        let mut slots: Vec<Option<Box<str>>> = vec![None; n_tokens];
        let mut ids = FxHashMap::with_capacity_and_hasher(n_tokens, Default::default());
        for (token, id) in entries {
            if id >= n_tokens as u64 {
                return Err(Error::IdOutOfRange {
                    token,
                    id,
                    n_tokens,
                });
            }
            let slot = &mut slots[id as usize];
            if let Some(first) = slot {
                return Err(Error::DuplicateId {
                    id,
                    first: first.to_string(),
                    second: token,
                });
            }
            let token = token.into_boxed_str();
            *slot = Some(token.clone());
            if let Some(first) = ids.insert(token.clone(), id as u32) {
                return Err(Error::DuplicateToken {
                    token: token.into(),
                    first: u64::from(first),
                    second: id,
                });
            }
        }
        // n distinct ids below n leave no slot empty.
        let tokens = slots.into_iter().flatten().collect();
        Ok(Self { tokens, ids })
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(|t| &**t)
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// Tokens with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.tokens.iter().map(|t| &**t).zip(0..)
    }
}

/// The tokens of a vocab.txt: one a line, trailing white space cut as Hugging Face does.
///
/// # Errors
/// [`Error::NotUtf8`] with the line.
pub(crate) fn parse_lines(bytes: &[u8]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        Error::NotUtf8 {
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
        }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(text.split('\n').map(|l| l.trim_end().to_owned()).collect())
}
