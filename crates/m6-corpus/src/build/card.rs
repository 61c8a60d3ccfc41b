//! The data card, and the configuration with which `m6 prepare` reads the corpus.

use std::fmt::Write;

use m6_store::manifest::FileEntry;

use super::config::{Config, Modality, SourceConfig, TextForm};
use super::stats::Stats;

/// `prepare.toml`: one source a kind of sample, with the weights and licences of the corpus.
pub fn prepare_toml(config: &Config, files: &[FileEntry]) -> String {
    let mut out = String::from(
        "# Made by `m6 corpus build`. Paths are relative to data.root:\n#\n\
         #   m6 prepare THIS/prepare.toml --set data.root=THIS --out DATA\n\nextends = \"m6-tiny\"\n\n[data]\nroot = \".\"\n",
    );
    for source in &config.sources {
        for modality in &source.modality {
            let folder = format!("{}/{}/train-", modality.folder(), source.name);
            if files.iter().any(|file| file.name.starts_with(&folder)) {
                block(&mut out, config, source, *modality);
            }
        }
    }
    out
}

fn block(out: &mut String, config: &Config, source: &SourceConfig, modality: Modality) {
    let folder = modality.folder();
    let (kind, extension) = match (modality, config.mix.text) {
        (Modality::Text, TextForm::Jsonl) => ("jsonl", "jsonl"),
        (Modality::Text, TextForm::Parquet) => ("parquet", "parquet"),
        (Modality::Pairs | Modality::Documents, _) => ("webdataset", "tar"),
    };
    let fields = match modality {
        Modality::Text => "text = [\"title\", \"text\"]",
        Modality::Pairs => "captions = \"captions\"",
        Modality::Documents => "text = \"text\"",
    };
    let _ = write!(
        out,
        "\n[[data.sources]]\nname = {}\nkind = \"{kind}\"\npath = {}\nid = \"id\"\n{fields}\nlicence = {}\nweight = {:?}\n",
        quoted(&format!("{}-{folder}", source.name)),
        quoted(&format!("{folder}/{}/train-*.{extension}", source.name)),
        quoted(&source.licence),
        source.weight,
    );
}

/// A TOML string; JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// `README.md`.
pub fn readme(config: &Config, stats: &Stats) -> String {
    let mut out = String::from(
        "# Corpus\n\nMade by `m6 corpus build`; `manifest.json` names every file with its hash.\n\n",
    );
    out.push_str("| source | modality | images | tokens | passages | avg length |\n|---|---|--:|--:|--:|--:|\n");
    for row in &stats.table {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:.1} |",
            cell(&row.source),
            row.modality,
            row.images,
            row.tokens,
            row.passages,
            row.avg_length
        );
    }
    out.push_str(
        "\n## Sources\n\n| name | form | licence | read | kept |\n|---|---|---|--:|--:|\n",
    );
    for source in &config.sources {
        let counts = stats.sources.get(&source.name);
        let count = |word: &str| {
            counts
                .and_then(|counts| counts.get(word))
                .copied()
                .unwrap_or(0)
        };
        let _ = writeln!(
            out,
            "| {} | {:?} | {} | {} | {} |",
            cell(&source.name),
            source.kind,
            cell(&source.licence),
            count("read"),
            count("kept")
        );
    }
    let _ = write!(
        out,
        "\n## What was done\n\n- cleaning: {}, script conversion {}\n- rule pack: {} (pairs: {})\n- duplicates: by address {}, by text {} \
         (Jaccard of character 5-grams from {}), lines of a host repeated in {} records or more\n- held out: {} of hosts\n",
        if config.normalize.rules == Default::default() {
            "usual rules"
        } else {
            "rules as configured"
        },
        if config.normalize.opencc.is_empty() {
            "none"
        } else {
            &config.normalize.opencc
        },
        config.rules.pack,
        config.rules.pairs,
        yes_no(config.dedup.url),
        yes_no(config.dedup.text),
        config.dedup.threshold,
        config.dedup.line_repeats,
        config.mix.held_out,
    );
    out.push_str(
        "\n## Files\n\n- `text/`, `pairs/`, `documents/`: samples by source; `train-*` to train on, `held_out-*` kept apart by host\n\
         - `ledger/`: every step of every record (`record_id, stage, verdict, rule, value, threshold`)\n\
         - `records/`: one row a record with its numbers and its fate\n\
         - `stats.json`, `report.html`: counts\n- `prepare.toml`: reads all of it with `m6 prepare`\n\
         - `work/`: results of stages, needed only to build again; may be removed\n",
    );
    out
}

/// Text inside a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_prepared() {
        let config = Config {
            sources: vec![SourceConfig {
                name: "web".to_string(),
                licence: "CC \"BY\"".to_string(),
                modality: vec![Modality::Text, Modality::Pairs],
                ..SourceConfig::default()
            }],
            ..Config::default()
        };
        let file = |name: &str| FileEntry {
            name: name.to_string(),
            size: 1,
            blake3: String::new(),
        };
        let text = prepare_toml(
            &config,
            &[
                file("pairs/web/train-00000.tar"),
                file("text/web/held_out-00000.jsonl"),
            ],
        );
        let table: toml::Table = text.parse().expect("TOML");
        let sources = table["data"]["sources"].as_array().expect("sources");
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0]["name"].as_str(), Some("web-pairs"));
        assert_eq!(sources[0]["licence"].as_str(), Some("CC \"BY\""));
    }

    #[test]
    fn the_card_names_licences() {
        let config = Config {
            sources: vec![SourceConfig {
                name: "a".to_string(),
                licence: "MIT | x".to_string(),
                ..SourceConfig::default()
            }],
            ..Config::default()
        };
        let card = readme(&config, &Stats::default());
        assert!(card.contains("MIT \\| x"), "{card}");
    }
}
