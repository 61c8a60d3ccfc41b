//! The dictionary that is made from others.

use super::convert::{Written, simplifier, with_table};
use super::table::Tables;
use crate::Result;

/// Simplified forms shorter than this would split longer words, in characters (OpenCC's rule).
const MIN_REGIONAL_CHARS: usize = 3;

/// The words of Taiwan and Hong Kong by their simplified forms: `s2t` keeps them whole for the stage that replaces them (OpenCC makes
/// the same table when it is built).
pub(super) fn regional(tables: &Tables) -> Result<Vec<(String, String)>> {
    let mut words = Vec::new();
    for name in ["HKPhrases", "TWPhrases"] {
        with_table(tables, name, |table| {
            words.extend(table.pairs().map(|(key, _)| key.to_string()));
            Ok(())
        })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regional_words_are_kept_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let words = "互聯網絡\t網際網路\n軟件\t軟體\n";
        m6_store::atomic::write_file(&dir.path().join("TWPhrases.txt"), words.as_bytes())
            .expect("writes");
        m6_store::atomic::write_file(&dir.path().join("HKPhrases.txt"), b"").expect("writes");
        let tables = Tables::with_folder(dir.path()).expect("opens");
        let expected = [("互联网络".to_string(), "互聯網絡".to_string())];
        assert_eq!(regional(&tables).expect("derives"), expected);
        let carried = regional(&Tables::built_in()).expect("derives");
        assert!(carried.len() > 100, "{}", carried.len());
    }
}
