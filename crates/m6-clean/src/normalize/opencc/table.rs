//! OpenCC's text dictionaries: where they come from and what a file holds.

use crate::{Error, Result};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Longest dictionary file that is read, in bytes.
const MAX_TABLE_BYTES: u64 = 64 << 20;

/// Comment that marks the next line as one whose further values few fonts can show.
const TOFU_MARK: &str = "# @tofu-risk:";

/// Comment that names the answer where several keys share a value: `# @reverse-prefer: VALUE [KEY]`.
const PREFER_MARK: &str = "# @reverse-prefer:";

/// A dictionary that the program carries: its name and text.
macro_rules! carried {
    ($($name:literal)+) => {
        &[$(($name, include_str!(concat!("../../../data/opencc/", $name, ".txt")))),+]
    };
}

/// OpenCC's dictionaries (Apache-2.0, see `data/opencc/NOTICE`).
const BUILT_IN: &[(&str, &str)] = carried![
    "HKPhrases"
    "HKPhrasesRev"
    "HKVariants"
    "HKVariantsPhrases"
    "HKVariantsRevPhrases"
    "JPShinjitaiCharacters"
    "JPShinjitaiPhrases"
    "STCharacters"
    "STPhrases"
    "TSCharacters"
    "TSPhrases"
    "TWPhrases"
    "TWPhrasesRev"
    "TWVariants"
    "TWVariantsPhrases"
    "TWVariantsRevPhrases"
];

/// Where dictionaries are taken from: a folder first, then those the program carries (ours).
#[derive(Clone, Debug, Default)]
pub struct Tables {
    folder: Option<PathBuf>,
}

impl Tables {
    /// Only the dictionaries that the program carries.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// The text dictionaries of a folder (`TWPhrases.txt`, ... as in OpenCC's `data/dictionary`) go before those carried.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no such folder.
    pub fn with_folder(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::Config(format!(
                "{}: expected a folder of OpenCC text dictionaries",
                folder.display()
            )));
        }
        Ok(Self {
            folder: Some(folder.to_path_buf()),
        })
    }

    /// Path (for messages) and text of a dictionary, if there is one of that name.
    pub(super) fn text(&self, name: &str) -> Result<Option<(PathBuf, Cow<'static, str>)>> {
        if let Some(folder) = &self.folder {
            let path = folder.join(format!("{name}.txt"));
            if path.is_file() {
                let text = read(&path)?;
                return Ok(Some((path, Cow::Owned(text))));
            }
        }
        let carried = BUILT_IN.iter().find(|(known, _)| *known == name);
        Ok(carried.map(|(_, text)| {
            let path = PathBuf::from(format!("(built in) {name}.txt"));
            (path, Cow::Borrowed(*text))
        }))
    }
}

fn read(path: &Path) -> Result<String> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let n_bytes = std::fs::metadata(path).map_err(io)?.len();
    if n_bytes > MAX_TABLE_BYTES {
        return Err(damaged(
            path,
            format!("{n_bytes} bytes, at most {MAX_TABLE_BYTES} are read"),
        ));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    String::from_utf8(bytes).map_err(|e| {
        damaged(
            path,
            format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to()),
        )
    })
}

fn damaged(path: &Path, problem: String) -> Error {
    Error::Damaged {
        path: path.to_path_buf(),
        problem,
    }
}

/// One line of a dictionary.
struct Row<'a> {
    key: &'a str,
    /// One or more, with blanks between; the first is the default.
    values: &'a str,
    /// Whether the line before says that the further values are rarely shown.
    tofu: bool,
}

impl<'a> Row<'a> {
    fn values(&self) -> impl Iterator<Item = &'a str> {
        self.values.split(' ').filter(|value| !value.is_empty())
    }
}

/// A dictionary in order of its lines.
pub(super) struct Table<'a> {
    rows: Vec<Row<'a>>,
    /// Value and the key it goes back to.
    prefer: Vec<(&'a str, &'a str)>,
}

impl<'a> Table<'a> {
    /// Reads `key TAB value value ...` lines; `#` begins a comment.
    pub(super) fn parse(path: &Path, text: &'a str) -> Result<Self> {
        let mut table = Self {
            rows: Vec::new(),
            prefer: Vec::new(),
        };
        let mut tofu = false;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (i, line) in text.lines().enumerate() {
            if let Some(names) = line.strip_prefix(PREFER_MARK) {
                let mut names = names.split_whitespace();
                if let Some(value) = names.next() {
                    table.prefer.push((value, names.next().unwrap_or(value)));
                }
            }
            if line.is_empty() || line.starts_with('#') {
                tofu = line.starts_with(TOFU_MARK);
                continue;
            }
            let row = line
                .split_once('\t')
                .map(|(key, values)| Row { key, values, tofu })
                .filter(|row| !row.key.is_empty() && row.values().next().is_some())
                .ok_or_else(|| {
                    damaged(path, format!("line {}: expected key, tab, values", i + 1))
                })?;
            table.rows.push(row);
            tofu = false;
        }
        Ok(table)
    }

    /// Every key with its default value.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.rows
            .iter()
            .filter_map(|row| Some((row.key, row.values().next()?)))
    }

    /// The replacements that are left out because few fonts show them.
    pub(super) fn rare_pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.rows
            .iter()
            .filter(|row| row.tofu)
            .filter_map(|row| Some((row.key, row.values().find(|value| *value != row.key)?)))
    }

    /// The table read backwards, with the preferred answers.
    pub(super) fn back_pairs(&self) -> Vec<(&'a str, &'a str)> {
        let back = self.reversed().into_iter();
        back.filter_map(|(value, keys)| Some((value, *keys.first()?)))
            .collect()
    }

    /// The table read backwards: every value with the keys that give it, the preferred one first.
    pub(super) fn reversed(&self) -> Vec<(&'a str, Vec<&'a str>)> {
        let mut places: FxHashMap<&str, usize> = FxHashMap::default();
        let mut back: Vec<(&'a str, Vec<&'a str>)> = Vec::new();
        for row in &self.rows {
            for value in row.values() {
                let place = *places.entry(value).or_insert_with(|| {
                    back.push((value, Vec::new()));
                    back.len() - 1
                });
                back[place].1.push(row.key);
            }
        }
        for (value, preferred) in &self.prefer {
            if let Some(&place) = places.get(value) {
                let keys = &mut back[place].1;
                if let Some(at) = keys.iter().position(|key| key == preferred) {
                    keys[..=at].rotate_right(1);
                }
            }
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Table<'_>> {
        Table::parse(Path::new("t.txt"), text)
    }

    #[test]
    fn lines_comments_and_defaults() {
        let table = parse("\u{feff}# note\n\n着\t着 著\n后天\t後天\n").expect("parses");
        let pairs: Vec<_> = table.pairs().collect();
        assert_eq!(pairs, [("着", "着"), ("后天", "後天")]);
    }

    #[test]
    fn damage_names_its_line() {
        for text in ["着\t着\n后\n", "着\t着\n\t後\n", "着\t着\n后\t \n"] {
            let error = parse(text).err().expect("refused").to_string();
            assert!(error.contains("t.txt: line 2"), "{error}");
        }
    }

    #[test]
    fn backwards_with_preferences() {
        let table = parse("# @reverse-prefer: 么 幺\n麼\t麼 么\n幺\t么\n煙\t煙\n菸\t煙 菸\n")
            .expect("parses");
        let back = table.reversed();
        let keys = |value: &str| {
            back.iter()
                .find(|(v, _)| *v == value)
                .map(|(_, k)| k.clone())
        };
        assert_eq!(keys("么"), Some(vec!["幺", "麼"]));
        assert_eq!(keys("煙"), Some(vec!["煙", "菸"]));
        assert_eq!(keys("無"), None);
    }

    #[test]
    fn rare_values_are_set_apart() {
        let table = parse("# @tofu-risk: x\n㑮\t㑮 𫝈\n㑯\t㑔\n").expect("parses");
        assert_eq!(table.rare_pairs().collect::<Vec<_>>(), [("㑮", "𫝈")]);
        assert_eq!(table.pairs().next(), Some(("㑮", "㑮")));
    }

    #[test]
    fn a_folder_goes_first_and_must_exist() {
        let dir = tempfile::tempdir().expect("a folder");
        m6_store::atomic::write_file(&dir.path().join("TWVariants.txt"), "甲\t乙\n".as_bytes())
            .expect("writes");
        let tables = Tables::with_folder(dir.path()).expect("opens");
        let (_, text) = tables.text("TWVariants").expect("reads").expect("is there");
        assert_eq!(text, "甲\t乙\n");
        assert!(tables.text("HKVariants").expect("reads").is_some());
        assert!(tables.text("NoSuchTable").expect("reads").is_none());
        assert!(Tables::with_folder(&dir.path().join("none")).is_err());
        m6_store::atomic::write_file(&dir.path().join("TWVariants.txt"), b"\xff").expect("writes");
        assert!(tables.text("TWVariants").is_err());
    }

    #[test]
    fn carried_tables_are_sound() {
        for (name, text) in BUILT_IN {
            let table = Table::parse(Path::new(name), text).expect("parses");
            // The smallest has 13.
            assert!(table.pairs().count() > 10, "{name}");
            assert!(text.contains("License: Apache-2.0"), "{name}");
        }
    }
}
