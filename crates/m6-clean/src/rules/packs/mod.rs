//! The packs built in: `m6` (paper section 1.2), `wudao` and `wukong` (after their published descriptions), and `default` (ours).
//!
//! Each is a TOML file beside this one; a user's own pack is such a file elsewhere. What a pack cannot know, the word lists and the
//! models, is named by tier or column and comes from [`crate::rules::Assets`].

use std::path::Path;

use super::decide::{Pack, nearest};
use crate::{Error, Result};

/// Names and texts of the packs built in.
const BUILT_IN: [(&str, &str); 4] = [
    ("default", include_str!("default.toml")),
    ("m6", include_str!("m6.toml")),
    ("wudao", include_str!("wudao.toml")),
    ("wukong", include_str!("wukong.toml")),
];

/// The names of the packs built in.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The TOML text of a pack built in, to copy and change.
pub fn text(name: &str) -> Option<&'static str> {
    BUILT_IN
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, text)| *text)
}

/// A pack by its name, or from a file when the name ends in `.toml`.
///
/// # Errors
/// [`Error::Config`] for an unknown name, with the nearest one, and those of [`Pack::load`].
pub fn get(name: &str) -> Result<Pack> {
    if name.ends_with(".toml") {
        return Pack::load(Path::new(name));
    }
    let Some(text) = text(name) else {
        let hint = nearest(name, names())
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        let all: Vec<&str> = names().collect();
        let all = all.join(", ");
        return Err(Error::Config(format!(
            "there is no rule pack `{name}`{hint} (built in: {all}; or give a .toml file)"
        )));
    };
    Pack::from_toml(text)
}

#[cfg(test)]
mod tests;
