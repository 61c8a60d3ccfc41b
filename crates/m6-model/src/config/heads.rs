//! Heads beside that of the words: does a text belong to a picture, and how near are they (paper section 4.6; the form is ours).

use serde::{Deserialize, Serialize};

/// Which heads a model has; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadsConfig {
    /// Whether there is a head that tells from picture and text together if they belong together.
    #[serde(rename = "match")]
    pub matching: bool,
    /// Length of the vector that picture and text each get on their own, to be compared by its angle; 0 for none.
    pub contrastive: usize,
}

impl HeadsConfig {
    /// Whether there is no such head.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds every problem of this part of the configuration.
    pub(super) fn problems(&self, out: &mut Vec<String>) {
        if self.contrastive > 1 << 16 {
            out.push(format!(
                "heads.contrastive = {} must be 0 (none) or the length of a vector, up to 65536; a usual one is 256",
                self.contrastive
            ));
        }
    }
}
