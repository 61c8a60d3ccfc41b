//! The configuration of a run: presets compiled in, `extends`, `--set`, and unknown keys refused with the nearest name.

use crate::error::{Failure, OrFail, Result};
use m6_data::DataConfig;
use m6_model::{ModelConfig, VqganConfig};
use m6_train::vqgan::AdversaryConfig;
use m6_train::{ParallelConfig, TrainConfig};
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::{Table, Value};

/// Presets by name; each is a whole configuration a file can extend.
pub const PRESETS: [(&str, &str); 15] = [
    ("m6-nano", include_str!("../presets/m6-nano.toml")),
    ("m6-demo", include_str!("../presets/m6-demo.toml")),
    ("m6-demo-draw", include_str!("../presets/m6-demo-draw.toml")),
    ("m6-tiny", include_str!("../presets/m6-tiny.toml")),
    ("m6-small", include_str!("../presets/m6-small.toml")),
    ("m6-base", include_str!("../presets/m6-base.toml")),
    ("m6-10b", include_str!("../presets/m6-10b.toml")),
    ("m6-100b", include_str!("../presets/m6-100b.toml")),
    (
        "m6-100b-every",
        include_str!("../presets/m6-100b-every.toml"),
    ),
    ("m6-t-1t", include_str!("../presets/m6-t-1t.toml")),
    ("m6-10t", include_str!("../presets/m6-10t.toml")),
    ("vqgan-demo", include_str!("../presets/vqgan-demo.toml")),
    ("vqgan-64", include_str!("../presets/vqgan-64.toml")),
    ("vqgan-256", include_str!("../presets/vqgan-256.toml")),
    ("vqgan-512", include_str!("../presets/vqgan-512.toml")),
];

/// Where the vocabulary comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// `vocab.txt` or `tokenizer.json`, or the folder of a run, checkpoint or exported model whose vocabulary is taken; empty trains one on
    /// the sources.
    pub file: String,
    /// Entries of a trained vocabulary. Ours; 21,128 is the size of the paper's vocabulary layout.
    pub vocab_size: usize,
    /// Characters and pieces seen less often are left out.
    pub min_frequency: u64,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            file: String::new(),
            vocab_size: 21_128,
            min_frequency: 2,
        }
    }
}

/// Weights a run starts from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InitConfig {
    /// Weights of the patch network in torchvision's names (safetensors of its ResNet-50, say); empty draws them.
    pub patch_weights: String,
    /// A run, checkpoint or exported model to go on from (finetuning): its weights, not its optimizer; the data must have been prepared
    /// with its vocabulary. Empty begins with random weights.
    pub model: String,
    /// Take over the moments of its optimizer as well, to go on where it stopped; the model must have the same parameters, but for blocks that
    /// shared theirs (`model.distinct_layers`) and have their own now.
    pub optimizer: bool,
}

/// What the run shows of itself while training.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplesConfig {
    /// Beginnings of texts to continue.
    pub prompts: Vec<String>,
    /// Held-out pictures to caption.
    pub n_pictures: usize,
    /// Longest continuation in tokens.
    pub max_tokens: usize,
}

/// What a model that writes texts is rewarded for while it trains; nothing by default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// How a text is rewarded.
    pub kind: RewardKind,
    /// Texts drawn of each sample (5, ours); each is compared with the others.
    pub n_texts: usize,
    /// Longest text in tokens; 0 (the default) means `data.max_text`.
    pub max_tokens: usize,
    /// Divides the logits before drawing (1).
    pub temperature: f64,
}

/// A reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardKind {
    /// None: the targets of the data are learned.
    #[default]
    None,
    /// CIDEr-D against the targets of the data.
    Cider,
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self {
            kind: RewardKind::None,
            n_texts: 5,
            max_tokens: 0,
            temperature: 1.0,
        }
    }
}

/// Everything `prepare` and `pretrain` read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// The vocabulary.
    pub tokenizer: TokenizerConfig,
    /// Sources, rows and tasks.
    pub data: DataConfig,
    /// Sizes of the network.
    pub model: ModelConfig,
    /// Weights to start from.
    pub init: InitConfig,
    /// The optimisation.
    pub train: TrainConfig,
    /// How many processes train together, and what each keeps.
    pub parallel: ParallelConfig,
    /// What the model's own texts are rewarded for.
    pub reward: RewardConfig,
    /// Fixed prompts.
    pub samples: SamplesConfig,
    /// Sizes of the VQGAN that `m6 vqgan train` trains.
    pub vqgan: VqganConfig,
    /// What it is trained against.
    pub adversary: AdversaryConfig,
}

/// A parsed configuration with the text it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: RunConfig,
    /// The user's own file, as written.
    pub text: String,
    /// Every value, defaults included.
    pub resolved: String,
}

/// Reads a preset name or a TOML file, follows `extends`, applies `--set`, checks every key and value.
pub fn load(name_or_path: &str, sets: &[String]) -> Result<Loaded> {
    load_over(Table::new(), name_or_path, sets)
}

/// As [`load`], with values for what the file and what it extends do not say.
pub fn load_over(base: Table, name_or_path: &str, sets: &[String]) -> Result<Loaded> {
    let (text, over) = read(name_or_path, 0)?;
    let mut table = base;
    merge(&mut table, over);
    for set in sets {
        apply_set(&mut table, set)?;
    }
    // One file may hold both; that table is for `m6 corpus build`, which checks it.
    table.remove("corpus");
    let config = parse(table, name_or_path)?;
    let resolved = toml::to_string(&config).or_usage()?;
    Ok(Loaded {
        config,
        text,
        resolved,
    })
}

/// The tables of a file with `extends` followed and `--set` applied, not checked: for sections that other crates know.
pub fn table(name_or_path: &str, sets: &[String]) -> Result<Table> {
    let (_, mut table) = read(name_or_path, 0)?;
    for set in sets {
        apply_set(&mut table, set)?;
    }
    Ok(table)
}

fn read(name_or_path: &str, depth: usize) -> Result<(String, Table)> {
    if depth > 8 {
        return Err(Failure::usage(format!(
            "`extends` goes more than 8 files deep at {name_or_path}; is there a cycle?"
        )));
    }
    let (text, dir) = match PRESETS.iter().find(|(name, _)| *name == name_or_path) {
        Some((_, text)) => ((*text).to_string(), None),
        None => {
            let path = Path::new(name_or_path);
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!(
                    "cannot read the configuration {name_or_path}: {error}"
                ))
                .hint(format!(
                    "a path of a TOML file, or one of the presets {}",
                    preset_names().join(", ")
                ))
            })?;
            (text, path.parent().map(Path::to_path_buf))
        }
    };
    let mut table: Table = text
        .parse()
        .map_err(|error| Failure::usage(format!("{name_or_path} is not TOML: {error}")))?;
    if let Some(parent) = table.remove("extends") {
        let Value::String(parent) = parent else {
            return Err(Failure::usage(format!(
                "{name_or_path}: `extends` must be a preset name or a path in quotes"
            )));
        };
        let is_preset = PRESETS.iter().any(|(name, _)| *name == parent);
        let parent = match (&dir, is_preset) {
            (Some(dir), false) => dir.join(&parent).display().to_string(),
            _ => parent,
        };
        let (_, mut base) = read(&parent, depth + 1)?;
        merge(&mut base, table);
        table = base;
    }
    Ok((text, table))
}

fn preset_names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}

/// Values of `over` in place of those of `base`, table by table.
pub fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `a.b.c=value`; in a list of tables a step is the `name` of an element. The value is TOML, or else a string.
pub fn apply_set(table: &mut Table, set: &str) -> Result<()> {
    let Some((path, raw)) = set.split_once('=') else {
        return Err(Failure::usage(format!("--set {set}: expected key=value")));
    };
    let value = format!("v = {raw}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(raw.to_string()));
    let steps: Vec<&str> = path.trim().split('.').collect();
    let mut at = table;
    for (i, step) in steps.iter().enumerate() {
        if i + 1 == steps.len() {
            at.insert((*step).to_string(), value);
            return Ok(());
        }
        let entry = at
            .entry((*step).to_string())
            .or_insert_with(|| Value::Table(Table::new()));
        at = match entry {
            Value::Table(inner) => inner,
            Value::Array(items) => {
                let name = steps[i + 1];
                return set_in_list(items, name, &steps[i + 2..], value, set);
            }
            _ => {
                return Err(Failure::usage(format!(
                    "--set {set}: {} is a value, not a table",
                    steps[..=i].join(".")
                )));
            }
        };
    }
    Ok(())
}

fn set_in_list(
    items: &mut [Value],
    name: &str,
    rest: &[&str],
    value: Value,
    set: &str,
) -> Result<()> {
    let known: Vec<String> = items
        .iter()
        .filter_map(|item| item.get("name")?.as_str().map(str::to_string))
        .collect();
    let found = items
        .iter_mut()
        .find(|item| item.get("name").and_then(Value::as_str) == Some(name));
    let (Some(Value::Table(inner)), false) = (found, rest.is_empty()) else {
        return Err(Failure::usage(format!(
            "--set {set}: no element named `{name}`; there are: {}",
            known.join(", ")
        )));
    };
    let (last, path) = rest.split_last().expect("not empty");
    let mut at = inner;
    for step in path {
        let entry = at
            .entry((*step).to_string())
            .or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(next) = entry else {
            return Err(Failure::usage(format!(
                "--set {set}: {step} is a value, not a table"
            )));
        };
        at = next;
    }
    at.insert((*last).to_string(), value);
    Ok(())
}

fn parse(table: Table, origin: &str) -> Result<RunConfig> {
    let mut problems = Vec::new();
    let known = every_key()?;
    unknown_keys(&Value::Table(table.clone()), &known, "", &mut problems);
    if problems.is_empty() {
        match RunConfig::deserialize(Value::Table(table)) {
            Err(error) => problems.push(error.to_string().trim().replace('\n', " ")),
            Ok(mut config) => {
                config.data = config.data.resolved();
                problems = problems_of(&config);
                if problems.is_empty() {
                    return Ok(config);
                }
            }
        }
    }
    let list = problems.join("\n  - ");
    Err(Failure::usage(format!(
        "{origin}: {} problem(s) in the configuration:\n  - {list}",
        problems.len()
    ))
    .hint("`m6 preset show m6-tiny` prints every key with its value"))
}

/// Every problem of a configuration by itself, with the section it is in.
fn problems_of(config: &RunConfig) -> Vec<String> {
    // A preset names no sources; the verbs that read them say so.
    let data = match config.data.sources.is_empty() {
        true => Vec::new(),
        false => config.data.validate(),
    };
    let sections = [
        ("data", data),
        ("model", config.model.validate()),
        ("train", config.train.validate()),
        ("parallel", config.parallel.validate()),
    ];
    let mut problems: Vec<String> = sections
        .into_iter()
        .flat_map(|(section, found)| found.into_iter().map(move |p| format!("[{section}] {p}")))
        .collect();
    if config.init.optimizer && config.init.model.is_empty() {
        problems
            .push("[init] optimizer = true: expected init.model, whose moments are meant".into());
    }
    problems.extend(config.vqgan.validate());
    problems.extend(config.adversary.validate());
    problems
}

/// A configuration with every key there is, also those that are left out where they are not set.
fn every_key() -> Result<serde_json::Value> {
    let mut known = serde_json::to_value(RunConfig::default()).or_usage()?;
    let every = |name: &str| Some(name.to_string());
    let some = m6_data::Fields::from(["some"]);
    let source = m6_data::SourceConfig {
        format: every("format"),
        each: every("each"),
        columns: some.clone(),
        images: some,
        image_name: every("image_name"),
        only: every("only"),
        side: every("side"),
        id: every("id"),
        question: every("question"),
        answer: every("answer"),
        question_kind: every("question_kind"),
        choices: m6_data::Fields::from(["choices"]),
        ..m6_data::SourceConfig::default()
    };
    // Left out of what is written when there are none.
    let codes = m6_model::CodesConfig {
        joint: true,
        fine: 2,
        ..m6_model::CodesConfig::default()
    };
    known["model"]["codes"] = serde_json::to_value(codes).or_usage()?;
    let codes = m6_data::CodesConfig {
        fine: 2,
        ..m6_data::CodesConfig::default()
    };
    known["data"]["codes"] = serde_json::to_value(codes).or_usage()?;
    let experts = m6_model::ExpertsConfig {
        min_capacity: 1,
        capacity_multiple: 4,
        dropless: true,
        jitter: 0.01,
        second_policy: m6_model::SecondPolicy::Random,
        second_threshold: 0.2,
        renormalize: m6_model::RenormalizeGates::None,
        ..m6_model::ExpertsConfig::default()
    };
    known["model"]["distinct_layers"] = 1.into();
    known["model"]["experts"] = serde_json::to_value(experts).or_usage()?;
    known["model"]["heads"] = serde_json::to_value(m6_model::HeadsConfig::default()).or_usage()?;
    known["model"]["lora"] = serde_json::to_value(m6_model::LoraConfig::default()).or_usage()?;
    known["data"]["tasks"]["hard_negatives"] = 0.5.into();
    known["data"]["sources"] = serde_json::json!([serde_json::to_value(source).or_usage()?]);
    Ok(known)
}

/// Keys of `given` that `known` does not have, with the nearest known name. An empty known table takes any key.
pub fn unknown_keys(
    given: &Value,
    known: &serde_json::Value,
    path: &str,
    problems: &mut Vec<String>,
) {
    match (given, known) {
        (Value::Table(given), serde_json::Value::Object(known)) if !known.is_empty() => {
            for (key, value) in given {
                let here = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match known.get(key) {
                    Some(inner) => unknown_keys(value, inner, &here, problems),
                    None => problems.push(format!(
                        "unknown key `{here}`{}",
                        nearest(key, known.keys())
                    )),
                }
            }
        }
        (Value::Array(items), serde_json::Value::Array(known)) if known.len() == 1 => {
            for (i, item) in items.iter().enumerate() {
                let name = item
                    .get("name")
                    .and_then(Value::as_str)
                    .map_or(i.to_string(), str::to_string);
                unknown_keys(item, &known[0], &format!("{path}.{name}"), problems);
            }
        }
        _ => {}
    }
}

/// `; did you mean `x`?` when a name is close enough.
pub fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    known
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, name)| {
            format!("; did you mean `{name}`?")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_parses_and_is_valid() {
        for name in preset_names() {
            if let Err(failure) = load(name, &[]) {
                panic!("{}", failure.render());
            }
        }
    }

    #[test]
    fn unknown_keys_are_all_named_with_the_nearest() {
        let failure = load(
            "m6-nano",
            &[
                "model.n_layer=3".into(),
                "train.leraning_rate=1".into(),
                "modle.x=1".into(),
            ],
        )
        .expect_err("three unknown keys");
        let text = failure.render();
        assert!(
            text.contains("`model.n_layer`; did you mean `n_layers`?"),
            "{text}"
        );
        assert!(
            text.contains("`train.leraning_rate`") && text.contains("3 problem(s)"),
            "{text}"
        );
        assert!(text.contains("`modle`; did you mean `model`?"), "{text}");
    }

    #[test]
    fn set_takes_toml_values_and_bare_strings() {
        let loaded = load(
            "m6-nano",
            &[
                "train.steps=7".into(),
                "train.warmup_steps=1".into(),
                "data.root=some/dir".into(),
            ],
        )
        .expect("valid");
        assert_eq!(loaded.config.train.steps, 7);
        assert_eq!(loaded.config.data.root, Path::new("some/dir"));
    }

    #[test]
    fn resolved_text_reads_back_to_the_same_text() {
        let loaded = load("m6-tiny", &[]).expect("valid");
        let again = parse(loaded.resolved.parse().expect("TOML"), "resolved").expect("valid");
        assert_eq!(toml::to_string(&again).expect("TOML"), loaded.resolved);
    }

    #[test]
    fn a_wrong_type_names_the_key() {
        let shared = load("m6-nano", &["model.distinct_layers=1".into()]).expect("a known key");
        assert_eq!(shared.config.model.distinct_layers, 1);
        let failure = load("m6-nano", &["train.steps=\"many\"".into()]).expect_err("wrong type");
        assert!(
            failure.render().contains("steps") || failure.render().contains("many"),
            "{}",
            failure.render()
        );
    }
}
