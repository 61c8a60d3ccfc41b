//! Dictionaries made from other dictionaries.

use super::convert::{Written, simplifier, with_table};
use super::table::{OWN_WORDS, Tables};
use crate::Result;
use rustc_hash::FxHashMap;

/// Simplified forms shorter than this would split longer words, in characters (OpenCC's rule).
const MIN_REGIONAL_CHARS: usize = 3;

/// The regional words that are there, by their simplified forms: `s2t` keeps them whole for the stage that replaces
/// them (OpenCC makes the same table when it is built). `own`: our list stands in for Taiwan's words.
pub(super) fn regional(tables: &Tables, own: bool) -> Result<Vec<(String, String)>> {
    let mut words = Vec::new();
    let mut add = |name: &str| {
        with_table(tables, name, |table| {
            words.extend(table.pairs().map(|(key, _)| key.to_string()));
            Ok(())
        })
    };
    add("HKPhrases")?;
    if add("TWPhrases")?.is_none() && own {
        add(OWN_WORDS)?;
    }
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let simplifier = simplifier(tables)?;
    let simplified = words.into_iter().map(|word| {
        let mut out = Written::with_capacity(word.len());
        simplifier.scan(&word, &mut out);
        (out.into_text(), word)
    });
    Ok(simplified
        .filter(|(key, _)| key.chars().count() >= MIN_REGIONAL_CHARS)
        .collect())
}

/// Exceptions to a table of variants read backwards, where OpenCC's own are absent (ours).
///
/// A variant may stand for two characters: Taiwan's 著 for 着 and 著. The phrases of `s2t` are in standard traditional
/// characters, so they say which one a word has: every phrase that the backward table would not restore becomes an
/// exception, and a character alone goes back to what most phrases have.
pub(super) fn back_exceptions(tables: &Tables, variants: &str) -> Result<Vec<(String, String)>> {
    let mut phrases: Vec<String> = Vec::new();
    with_table(tables, "STPhrases", |table| {
        phrases.extend(table.pairs().map(|(_, value)| value.to_string()));
        Ok(())
    })?;
    let found = with_table(tables, variants, |table| {
        let forward = table
            .pairs()
            .filter_map(|(key, value)| Some((only(key)?, only(value)?)));
        let back = table.reversed();
        let back = back.iter().filter_map(|(value, keys)| {
            let keys = keys.iter().filter_map(|key| only(key)).collect::<Vec<_>>();
            Some((only(value)?, keys)).filter(|(_, keys)| !keys.is_empty())
        });
        let variants = Variants {
            forward: forward.collect(),
            back: back.collect(),
        };
        Ok(variants.exceptions(&phrases))
    })?;
    Ok(found.unwrap_or_default())
}

/// The only character of a text.
fn only(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// A table of variants both ways.
struct Variants {
    forward: FxHashMap<char, char>,
    back: FxHashMap<char, Vec<char>>,
}

impl Variants {
    fn exceptions(&self, phrases: &[String]) -> Vec<(String, String)> {
        let forward = |c: char| self.forward.get(&c).copied().unwrap_or(c);
        let mut counts: FxHashMap<(char, char), usize> = FxHashMap::default();
        for c in phrases.iter().flat_map(|phrase| phrase.chars()) {
            *counts.entry((forward(c), c)).or_default() += 1;
        }
        let rule: FxHashMap<char, char> = self
            .back
            .iter()
            .map(|(&c, keys)| (c, choose(c, keys, &counts)))
            .collect();
        let mut exceptions: Vec<(String, String)> = Vec::new();
        for (&c, &origin) in &rule {
            if self.back.get(&c).and_then(|keys| keys.first()) != Some(&origin) {
                exceptions.push((c.to_string(), origin.to_string()));
            }
        }
        exceptions.sort_unstable();
        for phrase in phrases {
            let variant: String = phrase.chars().map(forward).collect();
            let restored = variant.chars().map(|c| rule.get(&c).copied().unwrap_or(c));
            if !restored.eq(phrase.chars()) {
                exceptions.push((variant, phrase.clone()));
            }
        }
        exceptions
    }
}

/// What a variant alone goes back to: the table's answer where the table itself lists the character as its own
/// variant, otherwise the most frequent of the origins and the character itself, the table's answer first.
fn choose(c: char, keys: &[char], counts: &FxHashMap<(char, char), usize>) -> char {
    let first = keys.first().copied().unwrap_or(c);
    if keys.contains(&c) {
        return first;
    }
    let count = |origin: char| counts.get(&(c, origin)).copied().unwrap_or(0);
    let others = keys.iter().copied().chain([c]);
    others.fold(first, |best, other| {
        if count(other) > count(best) {
            other
        } else {
            best
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_which_origin_a_variant_has() {
        let variants = Variants {
            forward: [('着', '著'), ('纔', '才'), ('麪', '麵')]
                .into_iter()
                .collect(),
            back: [('著', vec!['着']), ('才', vec!['纔']), ('麵', vec!['麪'])]
                .into_iter()
                .collect(),
        };
        let phrases = ["着手", "着火", "著名", "天才", "才智", "剛纔", "麪包"].map(String::from);
        let exceptions = variants.exceptions(&phrases);
        let expected = [("才", "才"), ("著名", "著名"), ("剛才", "剛纔")];
        assert_eq!(
            exceptions,
            expected.map(|(a, b)| (a.to_string(), b.to_string()))
        );
    }

    #[test]
    fn nothing_regional_is_carried() {
        assert!(
            regional(&Tables::built_in(), false)
                .expect("reads")
                .is_empty()
        );
    }

    #[test]
    fn regional_words_are_kept_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let words = "互聯網絡\t網際網路\n軟件\t軟體\n";
        m6_store::atomic::write_file(&dir.path().join("TWPhrases.txt"), words.as_bytes())
            .expect("writes");
        let tables = Tables::with_folder(dir.path()).expect("opens");
        let expected = [("互联网络".to_string(), "互聯網絡".to_string())];
        assert_eq!(regional(&tables, true).expect("derives"), expected);
    }
}
