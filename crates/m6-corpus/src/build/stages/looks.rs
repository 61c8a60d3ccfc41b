//! Pictures that look alike, and how often each caption is used.

use std::collections::HashMap;

use m6_store::atomic::{DirCommit, FileWriter};
use m6_store::hash::hash64;

use super::super::context::{Context, Made};
use super::super::work::{KeyHash, Note, Stage};
use super::{part_name, pictures, rows};
use crate::Result;
use crate::table::{Cell, Column, Kind, Writer};
use m6_clean::pictures::{Fingerprint, cluster, keep_best};

/// Comparing pictures.
pub const STAGE: Stage = Stage {
    name: "looks",
    version: 1,
};
/// Columns of a part: the kept pictures of a shard, in order of record and place.
pub const COLUMNS: [(&str, Kind); 4] = [
    ("row", Kind::Int),
    ("place", Kind::Int),
    ("alike", Kind::Bool),
    ("caption_repeats", Kind::Int),
];

/// What is known of a kept picture after this stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether a better look-alike is kept instead.
    pub is_alike: bool,
    /// Pictures of the corpus with this caption, this one included.
    pub caption_repeats: u64,
}

/// Looks of a shard by row and place.
pub type Looks = HashMap<(usize, usize), Look>;

/// Runs the stage.
///
/// # Errors
/// Tables that cannot be read, [`crate::Error::Config`] for 2^32 - 1 pictures or more.
pub fn run(context: &Context<'_>, seen: &[Made]) -> Result<Made> {
    let config = &context.config.pictures;
    let mut key = KeyHash::new(STAGE)
        .with_json(&config.near)
        .with_json(&config.dedup);
    for made in seen {
        key = key.with(made.key.as_bytes());
    }
    context.reduce(STAGE, key.finish(), |commit| {
        let (mut prints, mut pixels) = (Vec::<Fingerprint>::new(), Vec::new());
        let mut captions: HashMap<u64, u64> = HashMap::new();
        each(seen, |_, picture| {
            prints.push(picture.print());
            pixels.push(u64::from(picture.width) * u64::from(picture.height));
            *captions
                .entry(hash64(picture.caption.as_bytes()))
                .or_default() += 1;
            Ok(())
        })?;
        let is_best = match config.dedup {
            true => keep_best(&cluster(&prints, &config.near)?, &pixels),
            false => vec![true; prints.len()],
        };
        write(commit, seen, &is_best, &captions)?;
        Ok(Note {
            records: prints.len() as u64,
            ..Note::default()
        })
    })
}

/// Hands every kept picture with its shard to `take`.
fn each(seen: &[Made], mut take: impl FnMut(usize, pictures::Picture) -> Result<()>) -> Result<()> {
    for (shard, made) in seen.iter().enumerate() {
        pictures::read(&made.folder, |picture| match picture.verdict == "keep" {
            true => take(shard, picture),
            false => Ok(()),
        })?;
    }
    Ok(())
}

fn write(
    commit: &DirCommit,
    seen: &[Made],
    is_best: &[bool],
    captions: &HashMap<u64, u64>,
) -> Result<()> {
    let columns = COLUMNS.map(|(name, kind)| Column::new(name, kind));
    let mut open: Option<(usize, Writer<FileWriter>)> = None;
    let mut number = 0;
    each(seen, |shard, picture| {
        if open.as_ref().is_none_or(|(at, _)| *at != shard) {
            if let Some((_, writer)) = open.take() {
                writer.finish()?.finish()?;
            }
            let name = part_name(shard);
            let file = commit.file(&name)?;
            open = Some((
                shard,
                Writer::new(file, &commit.path().join(&name), &columns)?,
            ));
        }
        let is_alike = is_best.get(number) == Some(&false);
        let repeats = captions.get(&hash64(picture.caption.as_bytes())).copied();
        number += 1;
        match &mut open {
            Some((_, writer)) => writer.push(&[
                Cell::Int(picture.row as i64),
                Cell::Int(picture.place as i64),
                Cell::Bool(is_alike),
                Cell::Int(i64::try_from(repeats.unwrap_or(1)).unwrap_or(i64::MAX)),
            ]),
            None => Ok(()),
        }
    })?;
    if let Some((_, writer)) = open {
        writer.finish()?.finish()?;
    }
    Ok(())
}

/// The looks of a shard's kept pictures.
///
/// # Errors
/// A table that cannot be read.
pub fn read(made: &Made, shard: usize) -> Result<Looks> {
    let mut out = HashMap::new();
    rows(
        &made.folder.join(part_name(shard)),
        &COLUMNS,
        |batch, row| {
            let index = |column| usize::try_from(batch.int(column, row)).unwrap_or(usize::MAX);
            let look = Look {
                is_alike: batch.flag(2, row),
                caption_repeats: u64::try_from(batch.int(3, row)).unwrap_or(1),
            };
            out.insert((index(0), index(1)), look);
            Ok(())
        },
    )?;
    Ok(out)
}
