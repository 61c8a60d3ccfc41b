//! What `--data` names: prepared data, a configuration, a file of records, a folder of pictures, or the sample world.

use crate::config;
use crate::error::{Failure, OrFail, Result};
use m6_data::{DataConfig, Fields, Kind, MANIFEST_FILE, Manifest, SourceConfig, WorldSplit};
use m6_eval::{ExamError, ExamTask, Items, Which};
use serde_json::Value;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Records of the sample world that are made where the command line says no number.
const N_DRAWN: usize = 500;

/// `--set` values by what they are about.
#[derive(Default)]
pub struct Sets {
    /// Generation, without the leading `generate.`
    pub generate: Vec<String>,
    /// Fields of a file, without the leading `source.`
    pub source: Vec<String>,
    /// The configuration.
    pub config: Vec<String>,
}

impl Sets {
    /// Sorts what the command line gives.
    pub fn of(sets: &[String]) -> Self {
        let mut out = Self::default();
        for set in sets {
            if let Some(rest) = set.strip_prefix("generate.") {
                out.generate.push(rest.to_owned());
            } else if let Some(rest) = set.strip_prefix("source.") {
                out.source.push(rest.to_owned());
            } else {
                out.config.push(set.clone());
            }
        }
        out
    }
}

/// Sources to ask about.
pub struct Asked {
    sources: Vec<SourceConfig>,
    root: PathBuf,
    which: Which,
}

impl Asked {
    /// What `data` names, of which at most `most` records will be asked about.
    pub fn find(
        task: ExamTask,
        data: &str,
        names: &[String],
        sets: &Sets,
        most: Option<usize>,
    ) -> Result<Self> {
        let path = Path::new(data);
        let of_pictures = task == ExamTask::Caption && path.is_dir() && !is_prepared(path);
        if data == "world" || of_pictures {
            if let Some(set) = sets.source.iter().chain(&sets.config).next() {
                return Err(Failure::usage(format!(
                    "--set {set}: {data} has no fields and no configuration"
                )));
            }
            let source = match of_pictures {
                true => folder(path),
                false => drawn(most.unwrap_or(N_DRAWN)),
            };
            return Ok(Self {
                sources: vec![source],
                root: PathBuf::from("."),
                which: Which::All,
            });
        }
        let is_preset = config::PRESETS.iter().any(|(name, _)| *name == data);
        let is_config = is_preset || path.extension().is_some_and(|e| e == "toml");
        if path.is_dir() || is_config {
            if let Some(set) = sets.source.first() {
                return Err(Failure::usage(format!(
                    "--set source.{set}: fields are set for a file; {data} names its own"
                )));
            }
            let data = match is_config {
                true => config::load(data, &sets.config)?.config.data,
                false => prepared(path, &sets.config)?,
            };
            let sources = match names.is_empty() {
                true => task.sources(data.sources),
                false => named(data.sources, names)?,
            };
            return Ok(Self {
                sources,
                root: data.root,
                which: Which::HeldOut,
            });
        }
        if let Some(set) = sets.config.first() {
            return Err(Failure::usage(format!(
                "--set {set}: a file of records has no configuration; there are source.KEY and generate.KEY"
            )));
        }
        if !path.is_file() {
            return Err(Failure::usage(format!("--data {data}: there is nothing of this name"))
                .hint("prepared data, a configuration (.toml), a file of records (.jsonl, .json, .parquet, .tar), or the word `world`"));
        }
        Ok(Self {
            sources: vec![of_file(task, path, &sets.source)?],
            root: PathBuf::from("."),
            which: Which::All,
        })
    }

    /// The questions.
    pub fn read(
        &self,
        task: ExamTask,
        layout: &DataConfig,
        n: usize,
    ) -> std::result::Result<Items, ExamError> {
        Items::read(task, &self.sources, &self.root, layout, self.which, n)
    }
}

fn is_prepared(dir: &Path) -> bool {
    dir.join(MANIFEST_FILE).is_file()
}

/// Unseen combinations of the sample world.
fn drawn(n: usize) -> SourceConfig {
    SourceConfig {
        name: "world".to_owned(),
        split: WorldSplit::HeldOut,
        n: n as u64,
        ..SourceConfig::default()
    }
}

/// Pictures with texts beside them.
fn folder(path: &Path) -> SourceConfig {
    SourceConfig {
        name: "data".to_owned(),
        kind: Kind::Folder,
        path: Fields(vec![path.display().to_string()]),
        ..SourceConfig::default()
    }
}

/// The configuration that data was prepared with.
fn prepared(dir: &Path, sets: &[String]) -> Result<DataConfig> {
    if !is_prepared(dir) {
        return Err(Failure::usage(format!(
            "--data {}: the folder is no prepared data, it has no {MANIFEST_FILE}",
            dir.display()
        )));
    }
    let config = Manifest::read(dir).or_data()?.config;
    let mut table = toml::Table::new();
    table.insert("data".into(), toml::Value::try_from(&config).or_usage()?);
    for set in sets {
        config::apply_set(&mut table, set)?;
    }
    if let Some(key) = table.keys().find(|key| *key != "data") {
        return Err(Failure::usage(format!(
            "--set {key}: of prepared data only data.KEY can be set"
        )));
    }
    let data = table.remove("data").unwrap_or(toml::Value::Boolean(false));
    data.try_into().map_err(|error: toml::de::Error| {
        Failure::usage(format!("--set data: {}", error.message()))
    })
}

/// The sources of these names.
fn named(sources: Vec<SourceConfig>, names: &[String]) -> Result<Vec<SourceConfig>> {
    if let Some(name) = names
        .iter()
        .find(|n| !sources.iter().any(|s| s.name == **n))
    {
        let known: Vec<String> = sources.iter().map(|s| s.name.clone()).collect();
        return Err(Failure::usage(format!(
            "--source {name}: there is none of this name{}; there are: {}",
            config::nearest(name, known.iter()),
            known.join(", ")
        )));
    }
    let wanted = |source: &SourceConfig| names.contains(&source.name);
    Ok(sources.into_iter().filter(wanted).collect())
}

/// A source over one file, its fields guessed from its first record where they are not set.
fn of_file(task: ExamTask, path: &Path, sets: &[String]) -> Result<SourceConfig> {
    let kind = match path.extension().and_then(|e| e.to_str()) {
        Some("jsonl") => Kind::Jsonl,
        Some("json") => Kind::Json,
        Some("parquet") => Kind::Parquet,
        Some("tar") => Kind::Webdataset,
        _ => {
            return Err(Failure::usage(format!(
                "--data {}: expected .jsonl, .json, .parquet or .tar",
                path.display()
            )));
        }
    };
    let first = match kind {
        Kind::Jsonl => first_record(path),
        _ => None,
    };
    // Of several usual names the one the first record has, the first name where nothing is known.
    let field = |names: &[&str]| {
        let has = |name: &&&str| {
            first
                .as_ref()
                .is_some_and(|value| value.get(name.trim_end_matches(":join")).is_some())
        };
        let found = names
            .iter()
            .find(has)
            .or(names.first().filter(|_| first.is_none()));
        found.map(|name| (*name).to_owned())
    };
    let fields = |names: &[&str]| Fields(field(names).into_iter().collect());
    let mut source = SourceConfig {
        name: "data".to_owned(),
        kind,
        path: Fields(vec![path.display().to_string()]),
        question_kind: field(&["type", "kind"]).filter(|_| first.is_some()),
        choices: match first.is_some() {
            true => fields(&["choices", "options"]),
            false => Fields::default(),
        },
        ..SourceConfig::default()
    };
    if kind != Kind::Webdataset {
        source.image = match first.is_some() {
            true => fields(&["image", "images", "file"]),
            false => Fields::default(),
        };
    }
    match task {
        ExamTask::Caption => source.captions = fields(&["captions", "caption", "text"]),
        ExamTask::Vqa | ExamTask::Qa => {
            source.question = field(&["question"]);
            source.answer = field(&["answer", "answers", "best_answer"]);
            if first.is_some() {
                source.text = fields(&["context", "passage"]);
            }
        }
        ExamTask::Poem => {
            source.question = field(&["title_s", "title"]);
            source.answer = field(&["text_s", "text", "lines:join"]);
        }
        ExamTask::Classify => {
            source.text = fields(&["text", "title", "sentence"]);
            source.question = Some("=这是哪一类？".to_owned());
            source.answer = field(&["label", "class"]);
        }
    }
    if source.question.is_none() || source.answer.is_none() {
        (source.question_kind, source.choices) = (None, Fields::default());
    }
    let mut table = toml::Table::try_from(&source).or_usage()?;
    for set in sets {
        config::apply_set(&mut table, set)?;
    }
    let source: SourceConfig = table.try_into().map_err(|error: toml::de::Error| {
        Failure::usage(format!("--set source: {}", error.message().trim()))
    })?;
    let problems = DataConfig {
        sources: vec![source.clone()],
        ..DataConfig::default()
    }
    .validate();
    match problems.is_empty() {
        true => Ok(source),
        false => Err(
            Failure::usage(format!("{}: {}", path.display(), problems.join("; ")))
                .hint("name the fields, as in --set source.question=q --set source.answer=a"),
        ),
    }
}

fn first_record(path: &Path) -> Option<Value> {
    let file = std::fs::File::open(path).ok()?;
    let line = std::io::BufReader::new(file).lines().next()?.ok()?;
    serde_json::from_str(line.trim_start_matches('\u{feff}')).ok()
}
