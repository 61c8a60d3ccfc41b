//! The `[corpus]` table: what goes in, what is done with it, what comes out.

mod source;
mod validate;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use m6_clean::pictures;
use m6_clean::rules::lists::ListSource;

pub use source::{Form, Modality, Paths, SourceConfig};

/// Everything a build needs; threads come from the command line, since the result does not depend on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder that paths are relative to (`.`), or the `s3://` address of one.
    pub root: PathBuf,
    /// Folder for objects of `s3://` paths (`work/objects` of the output); several builds may share one.
    pub cache: Option<PathBuf>,
    /// Memory the build may hold, in MiB (2048). Batches, sorts and tables are sized by it.
    pub memory_mb: u64,
    /// Bytes of input a shard holds, in MiB (32): small files are put together, archives cut.
    pub shard_mb: u64,
    /// Key of everything drawn: which records a cap keeps, which hosts are held out (1).
    pub seed: u64,
    /// Share of damaged records of one source above which the build stops (0.5).
    pub bad_limit: f64,
    /// Where records come from, in order. Of duplicates the best is kept, then the longest, then the first.
    pub sources: Vec<SourceConfig>,
    /// How texts are cleaned.
    pub normalize: NormalizeConfig,
    /// Which texts are kept.
    pub rules: RulesConfig,
    /// What is a duplicate.
    pub dedup: DedupConfig,
    /// Which pictures are kept, and how they are stored.
    pub pictures: PicturesConfig,
    /// What of the kept goes where.
    pub mix: MixConfig,
    /// User data that rules look at; its hashes are part of the manifest.
    pub assets: AssetsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            cache: None,
            memory_mb: 2048,
            shard_mb: 32,
            seed: 1,
            bad_limit: 0.5,
            sources: Vec::new(),
            normalize: NormalizeConfig::default(),
            rules: RulesConfig::default(),
            dedup: DedupConfig::default(),
            pictures: PicturesConfig::default(),
            mix: MixConfig::default(),
            assets: AssetsConfig::default(),
        }
    }
}

impl Config {
    /// Every problem of this configuration, empty when there is none. Files are not looked at.
    pub fn validate(&self) -> Vec<String> {
        validate::problems(self)
    }

    /// Bytes of memory the build may hold.
    pub fn memory(&self) -> usize {
        usize::try_from(self.memory_mb << 20).unwrap_or(usize::MAX)
    }

    /// Bytes of input a shard holds.
    pub fn shard_bytes(&self) -> u64 {
        self.shard_mb << 20
    }

    /// Bytes of records worked on at once, unless one alone has more: a page takes about twelve times its bytes while it is worked on,
    /// and two more batches wait.
    pub fn batch_bytes(&self) -> usize {
        (self.memory() / 32).clamp(1 << 20, 64 << 20)
    }

    /// Bytes that a sort may hold: a third, since what is freed before is not always given back at once.
    pub fn sort_bytes(&self) -> usize {
        self.memory() / 3
    }

    /// Bytes of the largest page and of the largest text that are taken in: what the memory allows, whatever the source allows.
    pub fn most_bytes(&self) -> usize {
        self.memory() / 24
    }
}

/// How texts are cleaned: first the rules, then the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormalizeConfig {
    /// Controls, widths, entities, mojibake, repeats, blanks (all on), and M6's whitelist (off; paper section 1.2).
    pub rules: m6_clean::normalize::rules::Rules,
    /// OpenCC configuration, such as `t2s` (the default); empty leaves the script as it is.
    pub opencc: String,
}

impl Default for NormalizeConfig {
    fn default() -> Self {
        Self {
            rules: m6_clean::normalize::rules::Rules::default(),
            opencc: String::from("t2s"),
        }
    }
}

/// Which texts are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Rule pack of every source that names none: `default`, `m6`, `wudao`, `wukong`, or `none`.
    pub pack: String,
    /// Rule pack of pictures and captions of image-text pairs (`default`; `wukong` asks for sides of 200 pixels).
    pub pairs: String,
    /// Thresholds changed by rule name.
    pub thresholds: std::collections::BTreeMap<String, f64>,
    /// Rules left out, by name.
    pub off: Vec<String>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            pack: String::from("default"),
            pairs: String::from("default"),
            thresholds: std::collections::BTreeMap::new(),
            off: Vec::new(),
        }
    }
}

/// What is a duplicate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupConfig {
    /// Records of an address already seen are dropped (true).
    pub url: bool,
    /// Equal texts and near-duplicates are looked for (true).
    pub text: bool,
    /// Jaccard similarity of character 5-grams from which two texts are one (0.8).
    pub threshold: f64,
    /// A line found in this many records of one host is taken out of all of them; 0 keeps every line (6).
    pub line_repeats: u32,
    /// Records that lose lines and have fewer characters left than this are dropped (15, paper section 1.2).
    pub min_chars: u64,
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self {
            url: true,
            text: true,
            threshold: 0.8,
            line_repeats: 6,
            min_chars: 15,
        }
    }
}

/// Which pictures are kept, and how they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PicturesConfig {
    /// Thresholds (at least 5,000 pixels: paper section 1.2).
    pub rules: pictures::Rules,
    /// The stored copy.
    pub copy: pictures::Prepare,
    /// How near two pictures must be to count as one.
    pub near: pictures::Near,
    /// Whether look-alikes are dropped (true).
    pub dedup: bool,
    /// Pictures looked at of one record (32).
    pub per_record: usize,
}

impl Default for PicturesConfig {
    fn default() -> Self {
        Self {
            rules: pictures::Rules::default(),
            copy: pictures::Prepare::default(),
            near: pictures::Near::default(),
            dedup: true,
            per_record: 32,
        }
    }
}

/// What of the kept goes where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixConfig {
    /// Records kept of one host, drawn by hash; 0 keeps all (0).
    pub per_host: u64,
    /// Share of hosts (of records, where there is no host) held out for tests (0.01).
    pub held_out: f64,
    /// Form of text files.
    pub text: TextForm,
    /// 13-grams shared with evaluation sets above which a record is dropped (8, ours).
    pub max_overlap: u64,
}

impl Default for MixConfig {
    fn default() -> Self {
        Self {
            per_host: 0,
            held_out: 0.01,
            text: TextForm::Jsonl,
            max_overlap: 8,
        }
    }
}

/// Form of text files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextForm {
    /// One JSON object a line.
    Jsonl,
    /// Parquet with zstd.
    Parquet,
}

impl TextForm {
    /// The ending of its files.
    pub fn extension(self) -> &'static str {
        match self {
            TextForm::Jsonl => "jsonl",
            TextForm::Parquet => "parquet",
        }
    }
}

/// User data that rules look at; paths are relative to `corpus.root`. All but evaluation sets are local files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssetsConfig {
    /// Word and host lists.
    pub lists: Vec<ListSource>,
    /// A language model made by `m6 corpus train-lm`.
    pub lm: Option<PathBuf>,
    /// A quality model made by `m6 corpus train-classifier`.
    pub classifier: Option<PathBuf>,
    /// Evaluation sets that the corpus must not hold: files of text or JSON lines, every string of which counts.
    pub evaluation: Paths,
    /// What was planted in the input, as `m6 corpus world` writes it; the report compares the result with it.
    pub truth: Option<PathBuf>,
}
