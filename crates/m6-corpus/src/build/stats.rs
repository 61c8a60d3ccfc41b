//! Counts of a finished build: the paper's table, the funnel, what texts are like, speed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::{Config, Modality};
use super::context::{Context, Made};
use super::ledger;
use super::stages::{duplicates, rows, write};
use super::truth::Comparison;
use super::work::{Stage, note};
use crate::Result;
use crate::table::{Kind, Reader};

/// Version of `stats.json`.
pub const FORMAT_VERSION: u32 = 1;
/// Hosts that the report names.
const TOP_HOSTS: usize = 30;
/// Hosts that are counted one by one; beyond that many, those seen once are forgotten now and then.
const MAX_HOSTS: usize = 1 << 20;
/// Bars of a histogram.
const BARS: usize = 24;

/// One row of the paper's table (section 1.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableRow {
    /// Kind of source.
    pub source: String,
    /// `text`, `pairs` or `documents`.
    pub modality: String,
    /// Pictures.
    pub images: u64,
    /// Tokens as [`super::count_tokens`] counts them.
    pub tokens: u64,
    /// Texts, pairs or documents.
    pub passages: u64,
    /// Tokens a passage.
    pub avg_length: f64,
}

impl TableRow {
    fn add(&mut self, images: u64, tokens: u64, passages: u64) {
        self.images += images;
        self.tokens += tokens;
        self.passages += passages;
        self.avg_length = self.tokens as f64 / self.passages.max(1) as f64;
    }
}

/// Steps of one stage and rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunnelRow {
    /// The stage.
    pub stage: String,
    /// What became of the records.
    pub verdict: String,
    /// The rule; empty where they simply passed.
    pub rule: String,
    /// How many.
    pub count: u64,
}

/// Numbers of one signal, of kept and of dropped records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The signal.
    pub name: String,
    /// Whether bars are equal steps of the logarithm.
    pub log: bool,
    /// Where the first bar begins.
    pub low: f64,
    /// Where the last bar ends; what is beyond counts in it.
    pub high: f64,
    /// Records kept, by bar.
    pub kept: Vec<u64>,
    /// Records dropped, by bar.
    pub dropped: Vec<u64>,
}

/// Signals with a histogram: name, logarithmic, range.
const HISTOGRAMS: [(&str, bool, f64, f64); 8] = [
    ("n_chars", true, 1.0, 100_000.0),
    ("cjk_ratio", false, 0.0, 1.0),
    ("punct_ratio", false, 0.0, 0.5),
    ("mean_line_chars", true, 1.0, 1_000.0),
    ("dup_line_char_share", false, 0.0, 1.0),
    ("rep_10gram_share", false, 0.0, 1.0),
    ("perplexity", true, 1.0, 100_000.0),
    ("quality", false, 0.0, 1.0),
];

/// What a stage cost, over all runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage.
    pub stage: String,
    /// Its results.
    pub results: u64,
    /// Seconds, summed over results; those made side by side count each.
    pub seconds: f64,
    /// Records it read.
    pub records: u64,
    /// Bytes of input it read, where it reads input.
    pub bytes: u64,
}

/// Hosts of kept records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// How many; a lower bound beyond a million.
    pub count: u64,
    /// The largest, with their records.
    pub top: Vec<(String, u64)>,
}

/// `stats.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Version of this layout.
    pub format_version: u32,
    /// The paper's table; the last row is the total.
    pub table: Vec<TableRow>,
    /// Records by what became of them.
    pub records: BTreeMap<String, u64>,
    /// Records of each source by what became of them.
    pub sources: BTreeMap<String, BTreeMap<String, u64>>,
    /// Every stage and rule, in the order of the stages.
    pub funnel: Vec<FunnelRow>,
    /// Charsets of pages.
    pub charsets: BTreeMap<String, u64>,
    /// Languages of records.
    pub languages: BTreeMap<String, u64>,
    /// Hosts of kept records.
    pub hosts: Hosts,
    /// Kept records by split.
    pub splits: BTreeMap<String, u64>,
    /// Duplicate clusters by size.
    pub clusters: BTreeMap<u64, u64>,
    /// The result beside the planted truth, where `corpus.assets.truth` names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Comparison>,
    /// What texts are like.
    pub histograms: Vec<Histogram>,
    /// Cost by stage; the only part that is not the same for every run.
    pub times: Vec<StageTime>,
}

/// Stages in the order of the data, as the ledger names them.
const ORDER: [&str; 15] = [
    "read",
    "extract",
    "paragraph",
    "sentence",
    "document",
    "rules",
    "duplicates",
    "lines",
    "decontaminate",
    "mix",
    "split",
    "pictures",
    "picture_duplicates",
    "pairs",
    "",
];

/// Counts everything of a finished build.
///
/// # Errors
/// Tables that cannot be read.
pub fn collect(
    context: &Context<'_>,
    written: &[Made],
    duplicates: &Made,
    stages: &[(Stage, &[Made])],
) -> Result<Stats> {
    let mut counts = Counts::new(context.config);
    for (shard, made) in context.shards.iter().zip(written) {
        counts.records(shard.source, &made.folder)?;
        ledger::read(&made.folder.join(write::LEDGER_NAME), |row| {
            let rule = row.general_rule();
            *counts
                .funnel
                .entry((row.stage, row.verdict, rule))
                .or_default() += 1;
            Ok(())
        })?;
    }
    let mut stats = counts.finish();
    stats.clusters = std::fs::read(duplicates.folder.join(duplicates::SIZES_NAME))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    stats.times = stages
        .iter()
        .map(|(stage, made)| time(*stage, made))
        .collect();
    Ok(stats)
}

fn time(stage: Stage, made: &[Made]) -> StageTime {
    let mut out = StageTime {
        stage: stage.name.to_string(),
        ..StageTime::default()
    };
    for made in made {
        let note = note(&made.folder);
        out.results += 1;
        out.seconds += note.seconds;
        out.records += note.records;
        out.bytes += note.bytes;
    }
    out
}

struct Counts<'a> {
    config: &'a Config,
    stats: Stats,
    table: BTreeMap<(usize, Modality), TableRow>,
    funnel: BTreeMap<(String, String, String), u64>,
    hosts: HashMap<String, u64>,
}

impl<'a> Counts<'a> {
    fn new(config: &'a Config) -> Self {
        let histograms = HISTOGRAMS.map(|(name, log, low, high)| Histogram {
            name: name.to_string(),
            log,
            low,
            high,
            kept: vec![0; BARS],
            dropped: vec![0; BARS],
        });
        Self {
            config,
            stats: Stats {
                format_version: FORMAT_VERSION,
                histograms: histograms.into(),
                ..Stats::default()
            },
            table: BTreeMap::new(),
            funnel: BTreeMap::new(),
            hosts: HashMap::new(),
        }
    }

    fn records(&mut self, source: usize, folder: &Path) -> Result<()> {
        let path = folder.join(write::RECORDS_NAME);
        let fixed: Vec<(&str, Kind)> = [
            ("fate", Kind::Text),
            ("host", Kind::Text),
            ("charset", Kind::Text),
            ("lang", Kind::Text),
            ("split", Kind::Text),
            ("text_tokens", Kind::Int),
            ("pairs", Kind::Int),
            ("pair_tokens", Kind::Int),
            ("document_pictures", Kind::Int),
            ("document_tokens", Kind::Int),
        ]
        .into();
        let there = Reader::open_all(&path)?.columns();
        let signals = HISTOGRAMS.iter().map(|(name, ..)| (*name, Kind::Float));
        let signals: Vec<(&str, Kind)> = signals
            .filter(|(name, _)| there.iter().any(|column| column.name == *name))
            .collect();
        let n_fixed = fixed.len();
        let columns: Vec<(&str, Kind)> = fixed.into_iter().chain(signals.iter().copied()).collect();
        rows(&path, &columns, |batch, row| {
            let fate = batch.text(0, row);
            self.fate(source, fate);
            let is_kept = fate == "kept";
            if is_kept {
                self.host(batch.text(1, row));
                *self
                    .stats
                    .splits
                    .entry(batch.text(4, row).to_string())
                    .or_default() += 1;
                let count = |column| u64::try_from(batch.int(column, row)).unwrap_or(0);
                self.passages(source, [count(5), count(6), count(7), count(8), count(9)]);
            }
            for (map, column) in [
                (&mut self.stats.charsets, 2),
                (&mut self.stats.languages, 3),
            ] {
                let value = batch.text(column, row);
                if !value.is_empty() {
                    *map.entry(value.to_string()).or_default() += 1;
                }
            }
            for (at, (name, _)) in signals.iter().enumerate() {
                if let Some(value) = batch.float(n_fixed + at, row) {
                    self.bar(name, value, is_kept);
                }
            }
            Ok(())
        })
    }

    fn fate(&mut self, source: usize, fate: &str) {
        let name = &self.config.sources[source].name;
        let of_source = self.stats.sources.entry(name.clone()).or_default();
        for map in [&mut self.stats.records, of_source] {
            *map.entry(fate.to_string()).or_default() += 1;
            *map.entry("read".to_string()).or_default() += 1;
        }
    }

    fn passages(&mut self, source: usize, counts: [u64; 5]) {
        let [text_tokens, pairs, pair_tokens, pictures, document_tokens] = counts;
        let mut add = |modality: Modality, images, tokens, passages| {
            let row = self.table.entry((source, modality)).or_default();
            row.add(images, tokens, passages);
        };
        if text_tokens > 0 {
            add(Modality::Text, 0, text_tokens, 1);
        }
        if pairs > 0 {
            add(Modality::Pairs, pairs, pair_tokens, pairs);
        }
        if pictures > 0 {
            add(Modality::Documents, pictures, document_tokens, 1);
        }
    }

    fn host(&mut self, host: &str) {
        if host.is_empty() {
            return;
        }
        *self.hosts.entry(host.to_string()).or_default() += 1;
        if self.hosts.len() > MAX_HOSTS {
            self.hosts.retain(|_, n| *n > 1);
        }
    }

    fn bar(&mut self, name: &str, value: f64, is_kept: bool) {
        let histograms = &mut self.stats.histograms;
        let Some(histogram) = histograms
            .iter_mut()
            .find(|histogram| histogram.name == name)
        else {
            return;
        };
        let at = place(histogram, value);
        let bars = match is_kept {
            true => &mut histogram.kept,
            false => &mut histogram.dropped,
        };
        if let Some(bar) = bars.get_mut(at) {
            *bar += 1;
        }
    }

    fn finish(self) -> Stats {
        let mut stats = self.stats;
        stats.table = table(self.config, self.table);
        let rank = |stage: &str| {
            ORDER
                .iter()
                .position(|name| *name == stage)
                .unwrap_or(ORDER.len())
        };
        let mut funnel: Vec<FunnelRow> = self
            .funnel
            .into_iter()
            .map(|((stage, verdict, rule), count)| FunnelRow {
                stage,
                verdict,
                rule,
                count,
            })
            .collect();
        funnel.sort_by_key(|row| (rank(&row.stage), std::cmp::Reverse(row.count)));
        stats.funnel = funnel;
        let count = self.hosts.len() as u64;
        let mut top: Vec<(String, u64)> = self.hosts.into_iter().collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top.truncate(TOP_HOSTS);
        stats.hosts = Hosts { count, top };
        stats.histograms.retain(|histogram| {
            histogram
                .kept
                .iter()
                .chain(&histogram.dropped)
                .any(|n| *n > 0)
        });
        stats
    }
}

/// Which bar a value falls in.
fn place(histogram: &Histogram, value: f64) -> usize {
    let scale = |value: f64| {
        if histogram.log {
            value.max(histogram.low).ln()
        } else {
            value
        }
    };
    let (low, high) = (scale(histogram.low), scale(histogram.high));
    let share = (scale(value) - low) / (high - low);
    // A cast of a float is held within the range of the integer; not a number becomes 0.
    ((share * BARS as f64) as usize).min(BARS - 1)
}

/// The paper's table: sources of one category and modality in one row, then the total.
fn table(config: &Config, counts: BTreeMap<(usize, Modality), TableRow>) -> Vec<TableRow> {
    let mut out: Vec<TableRow> = Vec::new();
    for ((source, modality), counted) in counts {
        let (category, modality) = (config.sources[source].category(), modality.folder());
        let same = |row: &&mut TableRow| row.source == category && row.modality == modality;
        if let Some(row) = out.iter_mut().find(same) {
            row.add(counted.images, counted.tokens, counted.passages);
            continue;
        }
        out.push(TableRow {
            source: category.to_string(),
            modality: modality.to_string(),
            ..counted
        });
    }
    let rank = |row: &TableRow| {
        ["text", "pairs", "documents"]
            .iter()
            .position(|name| *name == row.modality)
    };
    out.sort_by_key(rank);
    let mut total = TableRow {
        source: "Total".to_string(),
        ..TableRow::default()
    };
    for row in &out {
        total.add(row.images, row.tokens, row.passages);
    }
    out.push(total);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::config::SourceConfig;

    #[test]
    fn sources_of_one_category_share_a_row() {
        let source = |name: &str, category: &str| SourceConfig {
            name: name.to_string(),
            category: Some(category.to_string()),
            ..SourceConfig::default()
        };
        let config = Config {
            sources: vec![
                source("a", "Forum"),
                source("b", "Forum"),
                source("c", "Shop"),
            ],
            ..Config::default()
        };
        let mut counts = Counts::new(&config);
        counts.passages(0, [100, 0, 0, 0, 0]);
        counts.passages(1, [50, 2, 20, 0, 0]);
        counts.passages(2, [0, 0, 0, 3, 70]);
        let stats = counts.finish();
        let shown: Vec<(&str, &str, u64, u64, u64)> = stats
            .table
            .iter()
            .map(|row| {
                (
                    row.source.as_str(),
                    row.modality.as_str(),
                    row.images,
                    row.tokens,
                    row.passages,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("Forum", "text", 0, 150, 2),
                ("Forum", "pairs", 2, 20, 2),
                ("Shop", "documents", 3, 70, 1),
                ("Total", "", 5, 240, 5),
            ]
        );
        assert_eq!(stats.table[0].avg_length, 75.0);
    }

    #[test]
    fn every_value_has_a_bar() {
        let histogram = Histogram {
            low: 1.0,
            high: 100.0,
            log: true,
            ..Histogram::default()
        };
        for (value, bar) in [
            (0.0, 0),
            (1.0, 0),
            (10.0, BARS / 2),
            (1e9, BARS - 1),
            (f64::NAN, 0),
            (f64::INFINITY, BARS - 1),
        ] {
            assert_eq!(place(&histogram, value), bar, "{value}");
        }
    }
}
