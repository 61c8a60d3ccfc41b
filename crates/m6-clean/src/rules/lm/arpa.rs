//! Models that other tools trained: the ARPA text format, as SRILM, KenLM and others write it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustc_hash::FxHashMap;

use super::table::{Table, extend, pack, start};
use super::vocab::{BOS, EOS, MAX_CHARS, UNK, Vocab};
use super::{Model, ORDERS};
use crate::{Error, Result};

/// The longest line, in bytes.
const MAX_LINE_BYTES: u64 = 4096;
/// The shortest line of an n-gram: a probability, a tab, a character, a line end. Bounds what a header may claim.
const MIN_LINE_BYTES: u64 = 4;

/// What has been read so far.
#[derive(Default)]
struct Draft {
    /// N-grams by order, as the header gives them.
    sizes: Vec<u64>,
    /// The section being read; 0 in the header.
    section: usize,
    chars: Vec<char>,
    specials: [u32; 3],
    packed: Vec<u32>,
    ids: FxHashMap<String, u16>,
    tables: Vec<Table>,
    /// N-grams that the section may still hold.
    n_left: u64,
}

/// Reads a model of characters; the names of the special words are `<s>`, `</s>` and `<unk>`.
pub(super) fn load(path: &Path) -> Result<Model> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let n_bytes = file.metadata().map_err(io)?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut draft = Draft::default();
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let n_read = reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(io)?;
        if n_read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let go_on = draft
            .line(text.trim(), n_bytes)
            .map_err(|problem| Error::Damaged {
                path: path.to_owned(),
                problem: format!("line {number}: {problem}"),
            })?;
        if !go_on {
            let blake3 = m6_store::hash::hash_file(path)?;
            return draft.finish(blake3).map_err(|problem| Error::Damaged {
                path: path.to_owned(),
                problem,
            });
        }
    }
    Err(Error::Damaged {
        path: path.to_owned(),
        problem: "no \\end\\ line: not an ARPA model, or cut short".to_owned(),
    })
}

impl Draft {
    /// Takes one line; false at the end of the model.
    fn line(&mut self, line: &str, n_bytes: u64) -> std::result::Result<bool, String> {
        match line {
            "" | "\\data\\" => {}
            "\\end\\" => return Ok(false),
            _ if line.starts_with("ngram ") && self.section == 0 => {
                let size = line
                    .split_once('=')
                    .and_then(|(_, size)| size.trim().parse::<u64>().ok());
                let size = size.filter(|size| *size <= n_bytes / MIN_LINE_BYTES);
                self.sizes
                    .push(size.ok_or("a count that fits the file was expected")?);
            }
            _ if line.starts_with('\\') && line.ends_with("-grams:") => self.begin()?,
            _ if self.section == 1 => self.unigram(line)?,
            _ if self.section > 1 => self.n_gram(line)?,
            _ => {} // Text before the header belongs to nobody.
        }
        Ok(true)
    }

    fn begin(&mut self) -> std::result::Result<(), String> {
        if !ORDERS.contains(&self.sizes.len()) {
            return Err(format!(
                "an order in {ORDERS:?} was expected, this model has {}",
                self.sizes.len()
            ));
        }
        self.section += 1;
        if self.section > 1 {
            let size = self
                .sizes
                .get(self.section - 1)
                .copied()
                .ok_or("more sections than the header names")?;
            self.tables.push(Table::with_room(size as usize));
            self.n_left = size;
        }
        Ok(())
    }

    fn unigram(&mut self, line: &str) -> std::result::Result<(), String> {
        let (packed, words) = fields(line, 1)?;
        let word = words.first().copied().unwrap_or_default();
        let mut letters = word.chars();
        let id = match (word.to_lowercase().as_str(), letters.next(), letters.next()) {
            ("<unk>", ..) => UNK,
            ("<s>", ..) => BOS,
            ("</s>", ..) => EOS,
            (_, Some(c), None) if self.chars.len() < MAX_CHARS => {
                self.chars.push(c);
                self.packed.push(packed);
                (self.chars.len() + self.specials.len() - 1) as u16
            }
            (_, Some(_), None) => return Err(format!("more than {MAX_CHARS} characters")),
            _ => {
                return Err(format!(
                    "`{word}` is no single character: only models of characters can be read"
                ));
            }
        };
        if let Some(special) = self.specials.get_mut(usize::from(id)) {
            *special = packed;
        }
        self.ids.insert(word.to_owned(), id);
        Ok(())
    }

    fn n_gram(&mut self, line: &str) -> std::result::Result<(), String> {
        let (packed, words) = fields(line, self.section)?;
        self.n_left = self
            .n_left
            .checked_sub(1)
            .ok_or("more n-grams than the header names")?;
        let mut hash = None;
        for word in words.iter().rev() {
            let id = self
                .ids
                .get(*word)
                .copied()
                .ok_or_else(|| format!("`{word}` is not among the unigrams"))?;
            hash = Some(hash.map_or_else(|| start(id), |hash| extend(hash, id)));
        }
        if let (Some(table), Some(hash)) = (self.tables.last_mut(), hash) {
            table.set(hash, packed);
        }
        Ok(())
    }

    fn finish(mut self, blake3: String) -> std::result::Result<Model, String> {
        if self.section != self.sizes.len() || self.section == 0 {
            return Err(format!(
                "{} sections were announced, {} found",
                self.sizes.len(),
                self.section
            ));
        }
        let mut unigrams = self.specials.to_vec();
        if !self.ids.values().any(|id| *id == UNK) {
            // Without a word for the unknown, an unknown character is as unlikely as the format can say.
            unigrams[usize::from(UNK)] = pack(0.0, 1.0);
        }
        unigrams.append(&mut self.packed);
        Ok(Model {
            vocab: Vocab::new(self.chars),
            unigrams,
            tables: self.tables,
            blake3,
        })
    }
}

/// Probability and back-off of a line, packed, and its `n` words.
fn fields(line: &str, n: usize) -> std::result::Result<(u32, Vec<&str>), String> {
    let mut fields = line.split_ascii_whitespace();
    let prob = weight(fields.next())?.ok_or("a probability was expected")?;
    let words: Vec<&str> = fields.by_ref().take(n).collect();
    if words.len() != n {
        return Err(format!("{n} words were expected, {} found", words.len()));
    }
    let backoff = weight(fields.next())?.unwrap_or(0.0);
    // A back-off above 1 does not occur in a normalised model; it is held to 1.
    let linear = |log10: f64| libm::exp10(log10.clamp(-99.0, 0.0));
    Ok((pack(linear(prob), linear(backoff)), words))
}

/// A logarithm, when there is one.
fn weight(text: Option<&str>) -> std::result::Result<Option<f64>, String> {
    let parsed = text.map(|text| {
        text.parse::<f64>()
            .map_err(|_| format!("`{text}` is no logarithm"))
    });
    parsed.transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: &str = "\\data\\\nngram 1=5\nngram 2=3\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\t-0.3\n-1\t</s>\n-0.5\t山\t-0.2\n-0.7\t水\n\n\
        \\2-grams:\n-0.1\t<s> 山\n-0.4\t山 水\n-0.6\t水 </s>\n\n\\end\\\n";

    fn read(text: &[u8]) -> Result<Model> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.arpa");
        m6_store::atomic::write_file(&path, text).unwrap();
        load(&path)
    }

    fn check(text: &str, expected: f64) {
        let score = read(SMALL.as_bytes()).unwrap().score(text);
        let found = score.log2_prob * libm::log10(2.0);
        assert!(
            (found - expected).abs() < 1e-3,
            "{text}: {found}, expected {expected}"
        );
    }

    #[test]
    fn probabilities_back_off_as_the_format_says() {
        check("山水", -0.1 - 0.4 - 0.6);
        // No "山 </s>": back-off of 山 and the unigram.
        check("山", -0.1 + (-0.2 - 1.0));
        // No "<s> 水".
        check("水", (-0.3 - 0.7) - 0.6);
        check("石", (-0.3 - 2.0) - 1.0);
    }

    #[test]
    fn what_is_no_model_of_characters_is_refused_with_its_line() {
        let refused = |text: &str, expected: &str| {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("model.arpa") && error.contains(expected),
                "{error}"
            );
        };
        refused("", "\\end\\");
        refused(&SMALL.replace("山", "山高"), "line 9");
        refused(&SMALL.replace("ngram 2=3", "ngram 2=99999999999"), "line 3");
        refused(&SMALL.replace("ngram 2=3\n", ""), "order");
        refused(&SMALL.replace("-0.4\t山 水", "-0.4\t山"), "2 words");
        refused(&SMALL.replace("-0.4\t", "x\t"), "no logarithm");
        refused(&SMALL.replace("-0.4\t山 水", "-0.4\t山 石"), "`石`");
        refused(&SMALL.replace("\\2-grams:\n", ""), "no logarithm");
        refused(&SMALL.replace("ngram 2=3", "ngram 2=2"), "more n-grams");
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0usize..200, byte in any::<u8>(), end in 0usize..220) {
            let mut bytes = SMALL.as_bytes().to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(end);
            if let Ok(model) = read(&bytes) {
                model.score("山水石");
            }
        }
    }
}
