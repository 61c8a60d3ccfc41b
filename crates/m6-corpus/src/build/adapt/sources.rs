//! Sources that are no archives.

use std::path::{Path, PathBuf};

use super::Raw;
use crate::build::config::{Config, SourceConfig};
use crate::build::inputs;
use crate::sources::{self, Item, SourceSpec};
use crate::{Error, Result};

/// Checks what can be checked of a source without looking at files.
///
/// # Errors
/// One line with every problem.
pub fn check(source: &SourceConfig) -> std::result::Result<(), String> {
    let Some(kind) = source.kind.adapter() else {
        return Ok(());
    };
    let spec = SourceSpec {
        kind,
        // The files are looked for later; without any the check would stop at that.
        files: vec![PathBuf::from("unknown")],
        ..plain(source)
    };
    spec.check().map_err(|error| error.to_string())
}

/// Hands every item of the files to `take`, until it answers false.
///
/// # Errors
/// [`Error::Config`] or [`Error::Io`] when the source cannot be opened at all.
pub fn each(
    config: &Config,
    source: &SourceConfig,
    files: &[PathBuf],
    take: &mut dyn FnMut(Raw) -> bool,
) -> Result<()> {
    let Some(kind) = source.kind.adapter() else {
        let problem = format!("source `{}` is an archive", source.name);
        return Err(Error::Config(problem));
    };
    let spec = SourceSpec {
        kind,
        files: files.to_vec(),
        pictures_from: inputs::expand(&config.root, &source.pictures_from)?,
        index: source.index.as_ref().map(|index| config.root.join(index)),
        ..plain(source)
    };
    for item in sources::open(&spec)? {
        let raw = match item {
            Item::Doc(doc) => Raw::Record(doc),
            Item::Damage(damage) => Raw::Damage {
                place: shown(&config.root, &damage.place),
                reason: damage.reason,
            },
            Item::Skipped(skipped) => Raw::Skipped {
                id: format!("{}/{}", source.name, skipped.id),
                url: String::new(),
                reason: skipped.reason,
            },
        };
        if !take(raw) {
            break;
        }
    }
    Ok(())
}

fn plain(source: &SourceConfig) -> SourceSpec {
    SourceSpec {
        name: source.name.clone(),
        fields: source.fields.clone(),
        format: source.format,
        lang: source.lang.clone(),
        records: source.records.clone(),
        delimiter: source.delimiter,
        limits: source.limits,
        ..SourceSpec::default()
    }
}

/// A place relative to the root, so that the ledger does not depend on where the data lies.
fn shown(root: &Path, place: &sources::Place) -> String {
    let path = place.path.strip_prefix(root).unwrap_or(&place.path);
    sources::Place {
        path: path.to_owned(),
        ..place.clone()
    }
    .to_string()
}
