//! The image codes' part of the configuration.

use serde::{Deserialize, Serialize};

/// Image codes that a model reads and writes beside words (paper section 4.1); without a codebook there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodesConfig {
    /// Entries of the VQGAN's codebook; 0 (default) is a model without codes.
    pub codebook_size: usize,
    /// Codes per side of a picture. Default 0.
    pub grid: usize,
    /// One vocabulary of words and codes: one table, one softmax over both (as in DALL-E and CogView). Default false: codes have a table
    /// and a head of their own (ours). A model without it is written as before there was the choice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub joint: bool,
}

impl CodesConfig {
    /// Whether the model has no codes.
    pub fn is_none(&self) -> bool {
        self.codebook_size == 0
    }

    /// Codes of a picture.
    pub fn n_codes(&self) -> usize {
        self.grid * self.grid
    }

    /// Entry of the code table that begins a picture to be written.
    pub fn begin(&self) -> u32 {
        self.codebook_size as u32
    }

    /// Entry of the code table that stands for a code to be told.
    pub fn mask(&self) -> u32 {
        self.codebook_size as u32 + 1
    }

    /// Rows of the word table that are codes: the codes and both marks of a joint vocabulary, none otherwise.
    pub fn n_joint(&self) -> usize {
        match self.joint {
            true => self.codebook_size + 2,
            false => 0,
        }
    }

    /// Adds every problem of this part of the configuration.
    pub(super) fn problems(&self, out: &mut Vec<String>) {
        if self.is_none() {
            if self.joint {
                out.push(
                    "codes.joint = true needs codes: set codes.codebook_size and codes.grid".into(),
                );
            }
            return;
        }
        if !(2..=1 << 16).contains(&self.codebook_size) || !(1..=128).contains(&self.grid) {
            out.push(format!(
                "codes.codebook_size = {} must be 0 or between 2 and 65536, and codes.grid = {} then between 1 and 128",
                self.codebook_size, self.grid
            ));
        }
    }
}
