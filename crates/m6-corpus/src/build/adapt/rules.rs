//! Signals, rule packs and masks of personal data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::build::config::{Config, RulesConfig, SourceConfig};
use crate::build::docs::Doc;
use crate::table::Batch;
use crate::{Error, Result};
use m6_clean::rules::assets::AssetSources;
use m6_clean::rules::decide::{Calibration, Failure, JudgedText, Rule, Stage};
use m6_clean::rules::lists::ListSource;
use m6_clean::rules::signals::{ImageSignals, PairSignals, PartSignals};
use m6_clean::rules::{self, Judge, Pack, Row, Signals, packs, split};

/// Name of the pack without rules.
const NO_PACK: &str = "none";

/// Lists and models, with what they are.
pub struct Assets {
    inner: rules::Assets,
    identity: String,
}

impl Assets {
    /// Loads what a configuration names.
    ///
    /// # Errors
    /// As [`rules::Assets::load`].
    pub fn load(config: &Config) -> Result<Self> {
        let below = |path: &Path| config.root.join(path);
        let assets = &config.assets;
        let lists = assets.lists.iter().map(|list| ListSource {
            path: below(&list.path),
            ..list.clone()
        });
        let inner = rules::Assets::load(&AssetSources {
            lists: lists.collect(),
            lm: assets.lm.as_deref().map(below),
            classifier: assets.classifier.as_deref().map(below),
        })?;
        let manifest = inner.manifest();
        let mut identity = serde_json::to_string(&manifest).unwrap_or_default();
        // How a list is read is part of what it says.
        identity.push_str(&serde_json::to_string(&assets.lists).unwrap_or_default());
        Ok(Self { inner, identity })
    }

    /// Names and hashes of everything loaded.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The same for the manifest of the corpus.
    pub fn manifest(&self) -> serde_json::Value {
        serde_json::to_value(self.inner.manifest()).unwrap_or_default()
    }
}

/// Names of the signals of a text, in order.
pub fn signal_names() -> &'static [&'static str] {
    Signals::COLUMNS
}

/// The numbers of a row of signals, in order.
pub fn values_of(signals: &Signals) -> Vec<Option<f64>> {
    (0..Signals::COLUMNS.len())
        .map(|column| signals.value(column))
        .collect()
}

/// The signals of a row of a table whose columns are [`signal_names`].
pub fn signals_of(batch: &Batch, row: usize) -> Signals {
    /// Whole numbers up to this are exact as a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let fields = Signals::COLUMNS
        .iter()
        .enumerate()
        .filter_map(|(column, name)| {
            let value = batch.float(column, row)?;
            // Counts are read as integers, shares as floats; both take an integer.
            let number = match value.fract() == 0.0 && (0.0..EXACT).contains(&value) {
                true => serde_json::Value::from(value as u64),
                false => serde_json::Value::from(value),
            };
            Some((name.to_string(), number))
        });
    serde_json::from_value(serde_json::Value::Object(fields.collect())).unwrap_or_default()
}

/// The packs of every source and of pairs, with the changes of the configuration.
#[derive(Clone, Debug)]
pub struct Packs {
    sources: Vec<Pack>,
    pairs: Pack,
}

impl Packs {
    /// Loads the packs a configuration names.
    ///
    /// # Errors
    /// [`Error::Config`] for a pack or a rule that is not there, [`Error::Io`] for a file that cannot be read.
    pub fn load(config: &Config) -> Result<Self> {
        let one = |name: &str| Ok::<Pack, Error>(changed(load(&config.root, name)?, &config.rules));
        let of_source = |source: &SourceConfig| {
            let mut pack = one(source.pack.as_deref().unwrap_or(&config.rules.pack))?;
            pack.rules.retain(|rule| !source.off.contains(&rule.name));
            Ok::<Pack, Error>(pack)
        };
        let packs = Self {
            sources: config
                .sources
                .iter()
                .map(of_source)
                .collect::<Result<_>>()?,
            pairs: one(&config.rules.pairs)?,
        };
        let all = packs.sources.iter().chain([&packs.pairs]);
        let known: BTreeSet<&str> = all
            .flat_map(|pack| pack.rules.iter().map(|rule| rule.name.as_str()))
            .collect();
        let unknown = config
            .rules
            .thresholds
            .keys()
            .find(|name| !known.contains(name.as_str()));
        match unknown {
            None => Ok(packs),
            Some(name) => Err(Error::Config(format!(
                "corpus.rules.thresholds: no pack in use has a rule `{name}`; there are: {}",
                known.into_iter().collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// Whether some rule of some source is a quantile that needs a sample; one over a model that is not there rests anyway.
    pub fn want_sample(&self, assets: &Assets) -> bool {
        let is_measured = |column: &str| match column {
            "perplexity" => assets.inner.lm.is_some(),
            "quality" => assets.inner.classifier.is_some(),
            _ => true,
        };
        let mut rules = self.sources.iter().flat_map(|pack| &pack.rules);
        rules.any(|rule| rule.quantile.is_some() && is_measured(&rule.column))
    }

    /// What all packs say, for keys.
    pub fn identity(&self) -> String {
        let mut out = self.pairs.to_toml().unwrap_or_default();
        for pack in &self.sources {
            out.push_str(&pack.to_toml().unwrap_or_default());
        }
        out
    }

    /// Thresholds of a source's quantiles over sample texts; rules whose sample is empty are left out.
    pub fn calibrate(&self, source: usize, assets: &Assets, docs: &[Doc]) -> BTreeMap<String, f64> {
        let mut out = BTreeMap::new();
        let Some(pack) = self.sources.get(source) else {
            return out;
        };
        let mut sample = Calibration::for_pack(pack);
        for doc in docs {
            sample_one(&mut sample, assets, doc);
        }
        for rule in &pack.rules {
            if let Some(threshold) = sample.threshold(rule) {
                out.insert(place_of(rule), threshold);
            }
        }
        out
    }
}

fn sample_one(sample: &mut Calibration, assets: &Assets, doc: &Doc) {
    if !sample.is_idle(Stage::Document) {
        let signals = Signals::with(&assets.inner, &doc.text, some(&doc.title), some(&doc.url));
        sample.add(Stage::Document, &signals);
    }
    for line in doc.text.lines() {
        if !sample.is_idle(Stage::Paragraph) {
            sample.add(
                Stage::Paragraph,
                &PartSignals::with(&assets.inner, line, true),
            );
        }
        if sample.is_idle(Stage::Sentence) {
            continue;
        }
        for sentence in split::sentences(line).filter_map(|range| line.get(range)) {
            sample.add(
                Stage::Sentence,
                &PartSignals::with(&assets.inner, sentence, true),
            );
        }
    }
}

fn place_of(rule: &Rule) -> String {
    format!("{} {}", rule.stage.name(), rule.name)
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A pack by name, or from a file relative to the root.
fn load(root: &Path, name: &str) -> Result<Pack> {
    if name == NO_PACK {
        return Ok(Pack {
            name: NO_PACK.to_string(),
            description: String::new(),
            text: Default::default(),
            rules: Vec::new(),
        });
    }
    match name.ends_with(".toml") {
        true => Pack::load(&root.join(name)),
        false => packs::get(name),
    }
}

/// A pack with the thresholds and without the rules that the configuration says.
fn changed(mut pack: Pack, config: &RulesConfig) -> Pack {
    pack.rules.retain(|rule| !config.off.contains(&rule.name));
    for rule in &mut pack.rules {
        if let Some(threshold) = config.thresholds.get(&rule.name) {
            (rule.threshold, rule.quantile) = (Some(*threshold), None);
        }
    }
    pack
}

/// Every problem of the packs a configuration names; those in files are looked at when the build starts.
pub fn problems(names: &BTreeSet<&String>) -> Vec<String> {
    let by_name = names
        .iter()
        .filter(|name| !name.ends_with(".toml") && **name != NO_PACK);
    by_name
        .filter_map(|name| packs::get(name).err())
        .map(|error| error.to_string())
        .collect()
}

/// The packs made ready to decide.
pub struct Judges {
    /// Whole packs, by source.
    whole: Vec<(Judge, String)>,
    /// Only what takes parts out of texts, by source.
    parts: Vec<(Judge, String)>,
    pairs: (Judge, String),
}

impl Judges {
    /// Makes packs ready; `thresholds` has those of quantiles, by source.
    ///
    /// # Errors
    /// [`Error::Config`] for rules that cannot be followed.
    pub fn new(packs: &Packs, thresholds: &[BTreeMap<String, f64>]) -> Result<Self> {
        let empty = BTreeMap::new();
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for (source, pack) in packs.sources.iter().enumerate() {
            let pack = settled(pack, thresholds.get(source).unwrap_or(&empty));
            let mut of_parts = pack.clone();
            of_parts
                .rules
                .retain(|rule| matches!(rule.stage, Stage::Paragraph | Stage::Sentence));
            whole.push(ready(&pack)?);
            parts.push(ready(&of_parts)?);
        }
        Ok(Self {
            whole,
            parts,
            pairs: ready(&settled(&packs.pairs, &empty))?,
        })
    }

    /// What the document rules of a source say, for keys.
    pub fn identity(&self, source: usize) -> &str {
        self.whole.get(source).map_or("", |(_, identity)| identity)
    }

    /// What the rules over parts of a source say, for keys.
    pub fn parts_identity(&self, source: usize) -> &str {
        self.parts.get(source).map_or("", |(_, identity)| identity)
    }

    /// What the rules over pairs say, for keys.
    pub fn pairs_identity(&self) -> &str {
        &self.pairs.1
    }

    /// A text without the parts that fail, and its numbers; the document's rules are not asked.
    pub fn trim(&self, source: usize, assets: &Assets, doc: &Doc) -> JudgedText {
        match self.parts.get(source) {
            Some((judge, _)) => {
                judge.text(&assets.inner, &doc.text, some(&doc.title), some(&doc.url))
            }
            None => JudgedText {
                text: doc.text.clone(),
                edits: Vec::new(),
                n_cut_chars: 0,
                n_masked: 0,
                signals: Signals::with(&assets.inner, &doc.text, some(&doc.title), some(&doc.url)),
                failure: None,
            },
        }
    }

    /// The first rule that a document fails.
    pub fn document(&self, source: usize, signals: &Signals) -> Option<Failure> {
        self.whole.get(source)?.0.document(signals)
    }

    /// The first rule that a picture with its caption fails.
    pub fn pair(
        &self,
        assets: &Assets,
        (width, height): (u32, u32),
        n_bytes: u64,
        caption: &str,
        repeats: u64,
    ) -> Option<Failure> {
        let judge = &self.pairs.0;
        let image = judge.image(&ImageSignals::of(width, height, n_bytes));
        image.or_else(|| judge.pair(&PairSignals::with(&assets.inner, caption, repeats)))
    }
}

/// A pack whose quantiles are thresholds; a rule that has none is left out.
fn settled(pack: &Pack, thresholds: &BTreeMap<String, f64>) -> Pack {
    let mut pack = pack.clone();
    for rule in &mut pack.rules {
        if rule.quantile.is_some() {
            (rule.threshold, rule.quantile) = (thresholds.get(&place_of(rule)).copied(), None);
        }
    }
    pack.rules.retain(|rule| rule.threshold.is_some());
    pack
}

fn ready(pack: &Pack) -> Result<(Judge, String)> {
    let identity = serde_json::to_string(pack).unwrap_or_default();
    Ok((Judge::new(pack, &Calibration::default())?, identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_come_back_from_their_table() {
        use crate::table::{Cell, Column, Kind, Reader, Writer};
        let signals = Signals::of(
            "今天天气很好。我们去公园！\n第二行 abc 123",
            Some("题"),
            None,
        );
        let columns: Vec<Column> = signal_names()
            .iter()
            .map(|name| Column::new(*name, Kind::Float))
            .collect();
        let mut writer = Writer::new(Vec::new(), Path::new("s"), &columns).expect("starts");
        let row: Vec<Cell<'_>> = values_of(&signals)
            .into_iter()
            .map(|value| value.map_or(Cell::Null, Cell::Float))
            .collect();
        writer.push(&row).expect("fits");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("s.parquet");
        m6_store::atomic::write_file(&path, &writer.finish().expect("ends")).expect("written");
        let batch = Reader::open_all(&path)
            .expect("opens")
            .next_batch()
            .expect("reads")
            .expect("a batch");
        assert_eq!(signals_of(&batch, 0), signals);
    }

    #[test]
    fn packs_follow_the_configuration() {
        let config = Config {
            sources: vec![SourceConfig::default()],
            ..Config::default()
        };
        let packs = Packs::load(&config).expect("the default pack is there");
        let some_rule = packs.sources[0].rules[0].name.clone();
        let mut changed = config.clone();
        changed.rules.off = vec![some_rule.clone()];
        let fewer = Packs::load(&changed).expect("loads");
        assert!(
            fewer.sources[0]
                .rules
                .iter()
                .all(|rule| rule.name != some_rule)
        );
        assert_ne!(fewer.identity(), packs.identity());
        let mut at_source = config.clone();
        at_source.sources[0].off = vec![some_rule.clone()];
        let fewer = Packs::load(&at_source).expect("loads");
        assert!(
            fewer.sources[0]
                .rules
                .iter()
                .all(|rule| rule.name != some_rule)
        );
        let mut wrong = config.clone();
        wrong
            .rules
            .thresholds
            .insert("no_such_rule".to_string(), 1.0);
        let error = Packs::load(&wrong).expect_err("no such rule").to_string();
        assert!(error.contains("no_such_rule"), "{error}");
        let mut none = config;
        none.rules.pack = NO_PACK.to_string();
        assert!(
            Packs::load(&none).expect("loads").sources[0]
                .rules
                .is_empty()
        );
    }
}
