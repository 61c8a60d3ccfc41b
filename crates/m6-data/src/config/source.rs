//! One `[[data.sources]]` block.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Form of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The built-in sample world: pictures with captions and questions, and texts about it.
    #[default]
    World,
    /// One JSON object a line; pictures are files beside it.
    Jsonl,
    /// Whole JSON files: a list of objects, `{"data": [...]}`, or one object.
    Json,
    /// Lines of cells with tabs between; pictures as for `jsonl`.
    Tsv,
    /// Parquet tables; pictures are byte columns, `{bytes, path}` structs or base64 text.
    Parquet,
    /// Tar shards of `id.jpg` + `id.json` / `id.txt`, or tars of pictures named by the lines of `side`.
    Webdataset,
    /// Picture files with `name.txt` beside each, or one `side` file of captions.
    Folder,
}

/// Which half of the sample world a source draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorldSplit {
    /// Combinations seen in training.
    #[default]
    Train,
    /// Combinations never seen in training.
    HeldOut,
}

/// Where records come from and which of their fields mean what.
///
/// A field is a dotted path (`title`, `qas.question`); lists on the way are walked, and of a list `key[flag]` takes only what has a true
/// `flag`. `path:join` makes one string of a list (`甲、乙`), `path:base64` says that an image field holds the picture itself, and a
/// leading `=` gives a constant (`=这是什么花？`, questions only).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// Name: a folder of the prepared data, and the key of its randomness.
    pub name: String,
    /// A public data set whose files are known (`cmrc2018`, `muge-retrieval`, ...): fills in what is not given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Form.
    pub kind: Kind,
    /// Files or globs, relative to `data.root`.
    pub path: Fields,
    /// Side file: JSON lines that name pictures of the tar, or captions of a folder (`name<TAB>caption` too).
    pub side: Option<String>,
    /// Path to the records inside a file or line (`json` and `jsonl`; `data.paragraphs`), lists on the way are walked. A record also has
    /// the plain values of what it lies in; a plain value is a record that has it under the path's last name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// Names of the columns (`tsv`; without them, the first line of each file).
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub columns: Fields,
    /// Where the named pictures are (`jsonl`, `json` and `tsv`): folders, tars, and tables of `name<TAB>base64`. Without, below the
    /// folder of the file that names them.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub images: Fields,
    /// From the value of `image` to the picture's name: `{}` is the value, `{:012}` the value filled up with zeros to 12 places. An
    /// extension may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// File of identities, one a line: only their records are taken. Extensions of pictures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// Field of the record's identity (`id`; without one, file and line).
    pub id: Option<String>,
    /// Fields of the passage, joined by line ends.
    pub text: Fields,
    /// Fields of captions; each string is one caption.
    pub captions: Fields,
    /// Field naming picture files, or an extension inside a tar shard, or a column of bytes.
    pub image: Fields,
    /// Field of the question.
    pub question: Option<String>,
    /// Field of the answer; several distinct ones make several pairs.
    pub answer: Option<String>,
    /// Field of the question's kind (the paper's are `detection`, `relation`, `color`, `number`); evaluation gives a table by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question_kind: Option<String>,
    /// Fields of the answers to choose among, for questions that are no open ones.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub choices: Fields,
    /// Licence of the source, copied to the data card.
    pub licence: String,
    /// Share in the mixture, relative to the others (1).
    pub weight: f64,
    /// Weight of each task (empty: every task the mapped fields allow, each 1).
    pub tasks: BTreeMap<String, f64>,
    /// Share of records, by hash of their identity, kept out of training (0.02).
    pub held_out: f64,
    /// Pictures to draw (`world` only, 1000).
    pub n: u64,
    /// Seed of the drawing (`world` only, 1).
    pub seed: u64,
    /// Half of the sample world (`world` only, `train`).
    pub split: WorldSplit,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            format: None,
            kind: Kind::World,
            path: Fields::default(),
            side: None,
            each: None,
            columns: Fields::default(),
            images: Fields::default(),
            image_name: None,
            only: None,
            id: None,
            text: Fields::default(),
            captions: Fields::default(),
            image: Fields::default(),
            question: None,
            answer: None,
            question_kind: None,
            choices: Fields::default(),
            licence: String::from("not stated"),
            weight: 1.0,
            tasks: BTreeMap::new(),
            held_out: 0.02,
            n: 1000,
            seed: 1,
            split: WorldSplit::Train,
        }
    }
}

impl SourceConfig {
    /// Weight of each task: as configured, or 1 for every task that the mapped fields allow.
    pub fn task_weights(&self) -> BTreeMap<String, f64> {
        if !self.tasks.is_empty() {
            return self.tasks.clone();
        }
        let pictured = matches!(self.kind, Kind::World | Kind::Webdataset | Kind::Folder)
            || !self.image.is_empty();
        let described = !self.captions.is_empty()
            || matches!(self.kind, Kind::World | Kind::Folder)
            || (self.kind == Kind::Webdataset && self.text.is_empty());
        let written = !self.text.is_empty() || self.kind == Kind::World;
        let asked = self.question.is_some() || self.kind == Kind::World;
        let mut weights = BTreeMap::new();
        let mut add = |allowed: bool, names: &[&str]| {
            if allowed {
                weights.extend(names.iter().map(|name| (name.to_string(), 1.0)));
            }
        };
        add(written, &["lm", "denoise"]);
        add(
            pictured && (described || written),
            &["image_to_text", "multimodal"],
        );
        add(asked, &["answer"]);
        weights
    }
}

/// One string or a list of strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<String>);

impl Fields {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<const N: usize> From<[&str; N]> for Fields {
    fn from(names: [&str; N]) -> Self {
        Fields(names.iter().map(|name| name.to_string()).collect())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string or a list of strings")]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => Fields(vec![one]),
            OneOrMany::Many(many) => Fields(many),
        })
    }
}
