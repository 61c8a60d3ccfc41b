//! Cleaning of text (paper section 1.2: "collapse repeated punctuation; keep only Chinese and English characters and
//! punctuation"; the other rules are ours).
//!
//! A round applies the rules in this order, and rounds follow until nothing changes, so that cleaning twice is cleaning
//! once: mojibake repair, then character by character control strip, width and entities, then NFC, whitelist, and last
//! repeats and blanks. A line feed is kept as the only mark of layout: at most [`MAX_LINE_FEEDS`] follow one another.

mod chars;
mod clean;
mod entities;
mod mojibake;
mod repeats;

#[cfg(test)]
mod tests;

pub use chars::is_whitelisted;

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Most line feeds in a row: one empty line.
pub const MAX_LINE_FEEDS: usize = 2;

/// Most rounds for one text. Ordinary text needs one that changes and one that finds nothing; only text crafted of
/// entities within entities across rules needs more, and it is returned as the last round left it.
const MAX_ROUNDS: usize = 8;

/// Which cleaning rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// UTF-8 that was read as Latin-1 or GBK is read again, only where strictly better (ours).
    pub mojibake: bool,
    /// Controls, NUL, zero-width and direction marks and noncharacters go (ours).
    pub control: bool,
    /// Full-width letters and digits become ASCII; half-width katakana and Chinese marks become full (ours).
    pub width: bool,
    /// HTML entities left in the text become their characters, also doubly escaped ones (ours).
    pub entities: bool,
    /// Canonical composition (ours).
    pub nfc: bool,
    /// Only Chinese and English characters, digits and punctuation stay (paper section 1.2; digits are ours).
    pub whitelist: bool,
    /// Repeated punctuation is collapsed (paper section 1.2).
    pub repeats: bool,
    /// Every kind of blank becomes a space, runs become one, none stays at the ends of a line (ours).
    pub blanks: bool,
}

impl Default for Rules {
    /// All but the whitelist.
    fn default() -> Self {
        Self {
            mojibake: true,
            control: true,
            width: true,
            entities: true,
            nfc: true,
            whitelist: false,
            repeats: true,
            blanks: true,
        }
    }
}

impl Rules {
    /// No rule at all.
    pub const NONE: Rules = Rules {
        mojibake: false,
        control: false,
        width: false,
        entities: false,
        nfc: false,
        whitelist: false,
        repeats: false,
        blanks: false,
    };

    /// A set by name: `default` (all but the whitelist), `m6` (with the whitelist, paper section 1.2), `none`.
    ///
    /// # Errors
    /// [`Error::Config`] with the names there are.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "default" => Ok(Self::default()),
            "m6" => Ok(Self {
                whitelist: true,
                ..Self::default()
            }),
            "none" => Ok(Self::NONE),
            _ => Err(Error::Config(format!(
                "`{name}` is no set of cleaning rules; there are: default m6 none"
            ))),
        }
    }

    /// Cleans a text of any length; borrowed when nothing changes.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if *self == Self::NONE {
            return Cow::Borrowed(text);
        }
        let mut text = Cow::Borrowed(text);
        for _ in 0..MAX_ROUNDS {
            if clean::is_clean(&text) {
                break;
            }
            let next = self.round(&text);
            if next == text {
                break;
            }
            text = Cow::Owned(next);
        }
        text
    }

    fn round(&self, text: &str) -> String {
        let mut text = Cow::Borrowed(text);
        if self.mojibake {
            text = mojibake::repair(text);
        }
        let mut pass = Pass {
            rules: self,
            out: String::with_capacity(text.len()),
        };
        text.chars().for_each(|c| pass.push(c));
        let mut text = pass.out;
        if self.nfc && !is_nfc(&text) {
            text = text.nfc().collect();
        }
        if self.whitelist {
            text.retain(|c| is_whitelisted(c) || chars::is_blank(c));
        }
        if self.repeats || self.blanks {
            text = repeats::collapse(&text, self.repeats, self.blanks);
        }
        text
    }
}

/// Whether a text is certainly composed; the common blocks are answered without the tables.
fn is_nfc(text: &str) -> bool {
    let plain = |c| matches!(c, '\0'..='\u{2ff}' | '\u{3001}'..='\u{3029}' | '\u{4e00}'..='\u{9fff}' | '\u{ff01}'..='\u{ff5e}');
    text.chars().all(plain) || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// The rules that look at one character at a time, and entities, which end with one.
struct Pass<'a> {
    rules: &'a Rules,
    out: String,
}

impl Pass<'_> {
    /// Takes a character; a semicolon may complete an entity, whose character is then taken instead.
    fn push(&mut self, mut c: char) {
        while self.put(c) && c == ';' && self.rules.entities {
            let Some((start, meant)) = entities::at_end(&self.out) else {
                return;
            };
            self.out.truncate(start);
            c = meant;
        }
    }

    /// Writes a character as the rules want it; `false` when it is dropped.
    fn put(&mut self, c: char) -> bool {
        if self.rules.control && chars::is_control(c) {
            return false;
        }
        let odd = self.rules.width && c >= chars::FIRST_OF_ODD_WIDTH;
        self.out.push(match odd {
            true => chars::usual_width(c, self.out.chars().next_back()),
            false => c,
        });
        true
    }
}
