//! Packs and rules as data.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::rules::Assets;
use crate::rules::columns::Row;
use crate::rules::signals::{ImageSignals, PairSignals, PartSignals, Signals};
use crate::{Error, Result};

/// The longest pack file, in bytes.
const MAX_PACK_BYTES: u64 = 1 << 20;

/// What a rule decides over; also the stage in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A line with content; one that fails is taken out of its text.
    Paragraph,
    /// A sentence; one that fails is taken out of its text.
    Sentence,
    /// A whole text, after paragraphs and sentences have been taken out.
    Document,
    /// A picture.
    Image,
    /// A picture with its caption.
    Pair,
}

impl Stage {
    /// All stages, in the order in which they come.
    pub const ALL: [Stage; 5] = [
        Stage::Paragraph,
        Stage::Sentence,
        Stage::Document,
        Stage::Image,
        Stage::Pair,
    ];

    /// The name in packs and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Paragraph => "paragraph",
            Stage::Sentence => "sentence",
            Stage::Document => "document",
            Stage::Image => "image",
            Stage::Pair => "pair",
        }
    }

    /// The columns that a rule of this stage can name.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Stage::Paragraph | Stage::Sentence => PartSignals::COLUMNS,
            Stage::Document => Signals::COLUMNS,
            Stage::Image => ImageSignals::COLUMNS,
            Stage::Pair => PairSignals::COLUMNS,
        }
    }

    /// The index of a column.
    ///
    /// # Errors
    /// [`Error::Config`] with the nearest name there is.
    pub fn column(self, name: &str) -> Result<usize> {
        let columns = self.columns();
        if let Some(index) = columns.iter().position(|column| *column == name) {
            return Ok(index);
        }
        let hint = nearest(name, columns.iter().copied())
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        Err(Error::Config(format!(
            "there is no column `{name}` for a {}{hint}",
            self.name()
        )))
    }
}

/// How a value must stand to the threshold for a record to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// More than.
    #[serde(rename = ">")]
    Above,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Less than.
    #[serde(rename = "<")]
    Below,
}

impl Comparison {
    /// True when `value` stands so to `threshold`; a value that is no number never does.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Comparison::AtLeast => value >= threshold,
            Comparison::Above => value > threshold,
            Comparison::AtMost => value <= threshold,
            Comparison::Below => value < threshold,
        }
    }
}

/// The name most like `name`, if one is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.75);
    near.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, other)| other)
}

/// A condition for a rule to apply at all: shares mean little in a text of two lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The column looked at.
    pub column: String,
    /// How it must stand to the threshold.
    pub is: Comparison,
    /// The threshold.
    pub threshold: f64,
}

/// One rule: what must hold for a record to be kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name in the ledger.
    pub name: String,
    /// What it decides over.
    pub stage: Stage,
    /// The column it looks at; a record without a value there passes.
    pub column: String,
    /// How the value must stand to the threshold.
    pub keep: Comparison,
    /// The threshold; or else give `quantile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The threshold as a quantile of a sample of the source, 0 to 1; without a sample the rule rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// The rule applies only where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Guard>,
    /// Where the rule and its threshold come from.
    #[serde(default)]
    pub why: String,
}

/// What a pack does to a text besides taking parts out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextActions {
    /// Put the kind's name in the place of personal data.
    pub mask_pii: bool,
    /// Cut what follows the last sentence end of the last paragraph.
    pub cut_unfinished_end: bool,
}

/// A named set of rules, tried in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The name.
    pub name: String,
    /// One sentence about it.
    #[serde(default)]
    pub description: String,
    /// What it does to texts besides.
    #[serde(default)]
    pub text: TextActions,
    /// The rules.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

impl Pack {
    /// Reads a pack from TOML and checks it.
    ///
    /// # Errors
    /// [`Error::Config`] for text that is no pack, and for everything [`Pack::check`] refuses.
    pub fn from_toml(text: &str) -> Result<Self> {
        let pack: Self =
            toml::from_str(text).map_err(|error| Error::Config(format!("rule pack: {error}")))?;
        pack.check()?;
        Ok(pack)
    }

    /// Reads a pack from a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Pack::from_toml`].
    pub fn load(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        std::fs::File::open(path)
            .map_err(io)?
            .take(MAX_PACK_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() as u64 > MAX_PACK_BYTES {
            let problem =
                format!("a rule pack has at most {MAX_PACK_BYTES} bytes; this file is longer");
            return Err(Error::Damaged {
                path: path.to_owned(),
                problem,
            });
        }
        Self::from_toml(&text)
            .map_err(|error| Error::Config(format!("{}: {error}", path.display())))
    }

    /// The pack as TOML, which [`Pack::from_toml`] reads back: what the manifest keeps.
    ///
    /// # Errors
    /// [`Error::Config`] when a value cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::Config(format!("rule pack `{}`: {error}", self.name)))
    }

    /// Checks names, columns and thresholds; every problem at once.
    ///
    /// # Errors
    /// [`Error::Config`] with one problem a line.
    pub fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let mut say =
                |problem: String| problems.push(format!("rule `{}`: {problem}", rule.name));
            if self
                .rules
                .iter()
                .take(index)
                .any(|other| other.name == rule.name && other.stage == rule.stage)
            {
                say(format!("the name stands twice for a {}", rule.stage.name()));
            }
            let guard = rule.when.as_ref().map(|guard| guard.column.as_str());
            for column in std::iter::once(rule.column.as_str()).chain(guard) {
                if let Err(error) = rule.stage.column(column) {
                    say(error.to_string());
                }
            }
            match (rule.threshold, rule.quantile) {
                (Some(threshold), None) if threshold.is_finite() => {}
                (None, Some(quantile)) if (0.0..=1.0).contains(&quantile) => {}
                _ => say("give either a finite threshold or a quantile in 0..=1".to_owned()),
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Config(format!(
            "rule pack `{}`:\n  - {}",
            self.name,
            problems.join("\n  - ")
        )))
    }

    /// The rules that can never decide because a list or a model is missing, each with what it lacks.
    pub fn unmet(&self, assets: &Assets) -> Vec<String> {
        let lists = &assets.lists;
        let lacks = |column: &str| match column {
            "perplexity" if assets.lm.is_none() => Some("a language model"),
            "quality" if assets.classifier.is_none() => Some("a classifier"),
            "bad_host" if !lists.has_hosts() => Some("a list of hosts"),
            "list_hits_1" | "list_density_1" | "caption_hits_1" if !lists.has_tier(1) => {
                Some("a word list of tier 1")
            }
            "list_hits_2" | "list_density_2" | "caption_hits_2" if !lists.has_tier(2) => {
                Some("a word list of tier 2")
            }
            "list_hits_3" | "list_density_3" | "caption_hits_3" if !lists.has_tier(3) => {
                Some("a word list of tier 3")
            }
            _ => None,
        };
        let unmet = self
            .rules
            .iter()
            .filter_map(|rule| lacks(&rule.column).map(|what| (rule, what)));
        unmet
            .map(|(rule, what)| {
                format!(
                    "rule `{}` ({}) rests: it needs {what}",
                    rule.name,
                    rule.stage.name()
                )
            })
            .collect()
    }
}
