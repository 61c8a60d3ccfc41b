//! Going on with a source at the place of a record that an earlier run met.

use super::doc::{Item, Items, Place};
use super::spec::{Kind, SourceSpec};
use super::{json, open, rows, wiki};
use crate::{Error, Result};

/// The items of a source from the one at `place` on, as [`open`] gives them.
///
/// JSON lines and MediaWiki dumps begin at the byte itself; what is compressed is unpacked up to it. Other forms are
/// read from the start of the file, and what stands before the place is let go.
///
/// # Errors
/// As of [`open`]; [`Error::Config`] when the source does not hold the file.
pub fn open_at(spec: &SourceSpec, place: &Place) -> Result<Items> {
    if spec.kind == Kind::Pages {
        // Folders are walked: the files are known only on the way.
        return skipped(spec, place);
    }
    let Some(at) = spec.files.iter().position(|file| *file == place.path) else {
        return Err(Error::Config(format!(
            "source \"{}\" has no file {}",
            spec.name,
            place.path.display()
        )));
    };
    let rest = |from: usize| SourceSpec {
        files: spec.files.get(from..).unwrap_or_default().to_vec(),
        ..spec.clone()
    };
    let first = match spec.kind {
        Kind::Jsonl => json::lines(rows::Rows::new(spec)?, place.clone()),
        Kind::Mediawiki => wiki::open(spec, place.clone()),
        _ => return skipped(&rest(at), place),
    };
    let rest = rest(at + 1);
    if rest.files.is_empty() {
        return Ok(first);
    }
    Ok(Box::new(first.chain(open(&rest)?)))
}

/// All items without those before the place.
fn skipped(spec: &SourceSpec, place: &Place) -> Result<Items> {
    let place = place.clone();
    Ok(Box::new(open(spec)?.skip_while(move |item| {
        let it = item.place();
        it.path != place.path || (it.offset, it.line) < (place.offset, place.line)
    })))
}

impl Item {
    /// Where the record or the damage stands.
    pub fn place(&self) -> &Place {
        match self {
            Item::Doc(doc) => &doc.place,
            Item::Damage(damage) => &damage.place,
            Item::Skipped(skipped) => &skipped.place,
        }
    }
}
