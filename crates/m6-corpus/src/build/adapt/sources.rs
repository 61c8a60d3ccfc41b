//! Sources that are no archives.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Raw;
use crate::build::config::SourceConfig;
use crate::build::files::Files;
use crate::build::inputs::Shard;
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

/// Hands every item of a shard to `take`, until it answers false.
///
/// # Errors
/// [`Error::Config`] or [`Error::Io`] when the source cannot be opened at all, [`Error::Remote`] when it cannot be downloaded.
pub fn each(
    files: &Files<'_>,
    source: &SourceConfig,
    shard: &Shard,
    take: &mut dyn FnMut(Raw) -> bool,
) -> Result<()> {
    let Some(kind) = source.kind.adapter() else {
        let problem = format!("source `{}` is an archive", source.name);
        return Err(Error::Config(problem));
    };
    let index = source.index.as_ref().map(|index| files.one(index));
    let spec = SourceSpec {
        kind,
        files: files.all_local(&shard.files)?,
        pictures_from: files.all_local(&files.expand(&source.pictures_from)?)?,
        index: index
            .transpose()?
            .map(|index| files.local(&index))
            .transpose()?,
        ..plain(source)
    };
    let items = match (shard.range, spec.files.first()) {
        (Some((from, _)), Some(file)) => sources::open_at(
            &spec,
            &sources::Place {
                path: file.clone(),
                offset: from,
                line: Some(shard.lines_before + 1),
            },
        )?,
        _ => sources::open(&spec)?,
    };
    for item in items {
        if shard.range.is_some_and(|(_, to)| item.place().offset >= to) {
            break;
        }
        let raw = match item {
            Item::Doc(doc) => Raw::Record(doc),
            Item::Damage(damage) => Raw::Damage {
                place: shown(files, &damage.place),
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
fn shown(files: &Files<'_>, place: &sources::Place) -> String {
    sources::Place {
        path: files.shown(&place.path),
        ..place.clone()
    }
    .to_string()
}

/// Whether a file is not compressed, so that offsets in it are offsets of its content; one that cannot be read is none.
pub fn is_plain(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut head));
    read.is_ok() && begins_plain(&head)
}

/// The same by its first four bytes.
pub fn begins_plain(head: &[u8]) -> bool {
    /// Beginnings of gzip, bzip2 and zstd.
    const PACKED: [&[u8]; 3] = [&[0x1f, 0x8b], b"BZh", &[0x28, 0xb5, 0x2f, 0xfd]];
    !PACKED.iter().any(|mark| head.starts_with(mark))
}
