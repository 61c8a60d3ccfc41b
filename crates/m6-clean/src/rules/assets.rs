//! What measuring needs from outside: lists and models, each with its hash (ours).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lists::{ListFile, ListSource, Lists};
use super::{classify, lm};
use crate::Result;

/// The assets as a configuration names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssetSources {
    /// Word and host lists.
    pub lists: Vec<ListSource>,
    /// A language model made by [`lm::train`].
    pub lm: Option<PathBuf>,
    /// A classifier made by [`classify::train`].
    pub classifier: Option<PathBuf>,
}

/// Lists and models in memory; the default has none, and what they would measure is then left empty.
#[derive(Clone, Debug, Default)]
pub struct Assets {
    /// Word and host lists.
    pub lists: Lists,
    /// The language model behind `perplexity`.
    pub lm: Option<lm::Model>,
    /// The classifier behind `quality`.
    pub classifier: Option<classify::Model>,
}

/// The assets as the manifest keeps them: a changed list or model changes every stage that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetManifest {
    /// The lists, in the order of the configuration.
    pub lists: Vec<ListFile>,
    /// The language model's hash.
    pub lm: Option<String>,
    /// The classifier's hash.
    pub classifier: Option<String>,
}

impl Assets {
    /// Loads what the sources name.
    ///
    /// # Errors
    /// Those of [`Lists::load`], [`lm::Model::load`] and [`classify::Model::load`].
    pub fn load(sources: &AssetSources) -> Result<Self> {
        Ok(Self {
            lists: Lists::load(&sources.lists)?,
            lm: sources.lm.as_deref().map(lm::Model::load).transpose()?,
            classifier: sources
                .classifier
                .as_deref()
                .map(classify::Model::load)
                .transpose()?,
        })
    }

    /// Names and hashes of everything loaded.
    pub fn manifest(&self) -> AssetManifest {
        AssetManifest {
            lists: self.lists.files().to_vec(),
            lm: self.lm.as_ref().map(|model| model.blake3().to_owned()),
            classifier: self
                .classifier
                .as_ref()
                .map(|model| model.blake3().to_owned()),
        }
    }
}
