//! Numbers to verdicts.

use m6_store::atomic::DirCommit;

use super::super::adapt::rules::{Judges, signals_of};
use super::super::config::SourceConfig;
use super::super::context::{Context, Made, Side};
use super::super::docs;
use super::super::work::{KeyHash, Note, Stage};
use super::signals;
use crate::Result;
use crate::table::{Cell, Column, Kind, Reader, Writer};
use m6_clean::rules::Signals;
use m6_clean::rules::decide::Failure;

/// Deciding over the numbers.
pub const STAGE: Stage = Stage {
    name: "rules",
    version: 1,
};
/// The table: one row a record, in their order.
pub const NAME: &str = "verdicts.parquet";
/// Its columns.
pub const COLUMNS: [(&str, Kind); 4] = [
    ("keep", Kind::Bool),
    ("rule", Kind::Text),
    ("value", Kind::Float),
    ("threshold", Kind::Float),
];

/// Runs the stage over every shard.
///
/// # Errors
/// As [`Context::map`], and packs that are not there.
pub fn run(
    context: &Context<'_>,
    extracted: &[Made],
    measured: &[Made],
    judges: &Judges,
) -> Result<Vec<Made>> {
    context.map(
        STAGE,
        Side::BySide,
        |shard| {
            Ok(KeyHash::new(STAGE)
                .with(measured[shard].key.as_bytes())
                .with(judges.identity(context.shards[shard].source).as_bytes())
                .with_json(&context.source(shard).langs)
                .finish())
        },
        |shard, commit| {
            let judge = |signals: &Signals| judges.document(context.shards[shard].source, signals);
            let source = context.source(shard);
            table(source, judge, &extracted[shard], &measured[shard], commit)
        },
    )
}

fn table(
    source: &SourceConfig,
    judge: impl Fn(&Signals) -> Option<Failure>,
    extracted: &Made,
    measured: &Made,
    commit: &DirCommit,
) -> Result<Note> {
    let columns = COLUMNS.map(|(name, kind)| Column::new(name, kind));
    let mut writer = Writer::new(commit.file(NAME)?, &commit.path().join(NAME), &columns)?;
    let mut langs = Vec::new();
    if !source.langs.is_empty() {
        docs::visit(&extracted.folder, ["lang"], |[lang]| {
            langs.push(is_wanted(source, lang));
            Ok(())
        })?;
    }
    let mut reader = Reader::open_all(&measured.folder.join(signals::NAME))?;
    let mut number = 0;
    while let Some(batch) = reader.next_batch()? {
        for row in 0..batch.n_rows() {
            let wanted = langs.get(number).copied().unwrap_or(true);
            number += 1;
            if !wanted {
                writer.push(&[
                    Cell::Bool(false),
                    Cell::Text("lang"),
                    Cell::Null,
                    Cell::Null,
                ])?;
                continue;
            }
            match judge(&signals_of(&batch, row)) {
                None => writer.push(&[Cell::Bool(true), Cell::Null, Cell::Null, Cell::Null])?,
                Some(failure) => writer.push(&[
                    Cell::Bool(false),
                    Cell::Text(&failure.rule),
                    Cell::Float(failure.value),
                    Cell::Float(failure.threshold),
                ])?,
            }
        }
    }
    let records = writer.n_rows();
    writer.finish()?.finish()?;
    Ok(Note {
        records,
        ..Note::default()
    })
}

/// Whether a record's language is one the source is read for; one that is not known passes, the rules look at its characters.
fn is_wanted(source: &SourceConfig, lang: &str) -> bool {
    let main = lang.split(['-', '_']).next().unwrap_or_default();
    let same =
        |wanted: &String| wanted.eq_ignore_ascii_case(lang) || wanted.eq_ignore_ascii_case(main);
    lang.is_empty() || source.langs.is_empty() || source.langs.iter().any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_compared_by_their_main_part() {
        let source = SourceConfig {
            langs: vec!["zh".to_string()],
            ..SourceConfig::default()
        };
        for (lang, expected) in [
            ("zh", true),
            ("zh-CN", true),
            ("ZH_tw", true),
            ("", true),
            ("en", false),
        ] {
            assert_eq!(is_wanted(&source, lang), expected, "{lang}");
        }
    }
}
