//! The BERT normaliser: which characters are dropped, mapped, split off, and where they came from.
//!
//! Categories and decompositions come from the very tables Hugging Face uses (Unicode 8 and 9), so
//! that characters younger than those tables are treated alike.

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;
use unicode_normalization_alignments::char::canonical_combining_class;

/// Settings of the BERT normaliser, as in the `normalizer` field of tokenizer.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BertOptions {
    /// Drop control characters, turn every white space into a plain space.
    pub clean_text: bool,
    /// Make every CJK ideograph a word of its own.
    pub handle_chinese_chars: bool,
    /// Drop accents (nonspacing marks after canonical decomposition); `None` follows `lowercase`.
    pub strip_accents: Option<bool>,
    /// Map to lower case.
    pub lowercase: bool,
}

impl Default for BertOptions {
    /// The settings of bert-base-chinese and of `BertWordPieceTokenizer(lowercase=True)`.
    fn default() -> Self {
        Self {
            clean_text: true,
            handle_chinese_chars: true,
            strip_accents: None,
            lowercase: true,
        }
    }
}

impl BertOptions {
    /// Whether accents are dropped, with the default resolved.
    pub fn strips_accents(&self) -> bool {
        self.strip_accents.unwrap_or(self.lowercase)
    }
}

/// A normalised character and the range of original characters it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aligned {
    pub c: char,
    pub span: [u32; 2],
}

/// What the BERT pre-tokeniser does with a normalised character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ends a word and vanishes.
    Space,
    /// A word of its own.
    Isolated,
    /// Part of a longer word.
    Inner,
}

/// The role of a normalised character. Ideographs are `Inner` here: their spaces isolate them.
pub(crate) fn role(c: char) -> Role {
    if c.is_whitespace() {
        Role::Space
    } else if is_punctuation(c) {
        Role::Isolated
    } else {
        Role::Inner
    }
}

/// Whether BERT splits on this character.
pub(crate) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.is_punctuation()
}

/// Whether BERT takes this character for an ideograph (its published blocks, gap included).
pub(crate) fn is_ideograph(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

/// Whether canonical reordering may move this character.
pub(crate) fn is_reordered(c: char) -> bool {
    canonical_combining_class(c) != 0
}

fn is_dropped(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{fffd}' => true,
        _ => c.is_other(),
    }
}

/// Normalises a stretch of text that begins at character `first`, keeping track of the origin of
/// every character exactly as Hugging Face does (ours: one pass a step, in characters).
pub(crate) fn normalize_aligned(text: &str, first: u32, options: &BertOptions) -> Vec<Aligned> {
    let mut chars: Vec<Aligned> = (first..)
        .zip(text.chars())
        .map(|(at, c)| Aligned {
            c,
            span: [at, at + 1],
        })
        .collect();
    if options.clean_text {
        chars.retain(|x| !is_dropped(x.c));
        for x in &mut chars {
            if x.c.is_whitespace() {
                x.c = ' ';
            }
        }
    }
    if options.handle_chinese_chars {
        chars = chars.into_iter().flat_map(spaced_ideograph).collect();
    }
    if options.strips_accents() {
        chars = decompose(&chars, first);
        chars.retain(|x| !x.c.is_mark_nonspacing());
    }
    if options.lowercase {
        chars = chars
            .into_iter()
            .flat_map(|x| x.c.to_lowercase().map(move |c| Aligned { c, ..x }))
            .collect();
    }
    chars
}

fn spaced_ideograph(x: Aligned) -> impl Iterator<Item = Aligned> {
    let space = is_ideograph(x.c).then_some(Aligned { c: ' ', ..x });
    space.into_iter().chain([x]).chain(space)
}

/// Canonical decomposition. Where marks change places, origins stay in place: the n-th character
/// that is not an insertion takes the origin of the n-th input character.
fn decompose(chars: &[Aligned], first: u32) -> Vec<Aligned> {
    let mut sources = chars.iter();
    let mut span = [first, first];
    let text: String = chars.iter().map(|x| x.c).collect();
    text.nfd()
        .map(|(c, change)| {
            if change <= 0
                && let Some(source) = sources.next()
            {
                span = source.span;
            }
            Aligned { c, span }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got: String = normalize_aligned(text, 0, &BertOptions::default())
            .iter()
            .map(|x| x.c)
            .collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn text_is_cleaned_lowered_and_spaced() {
        check("Ünïcode\u{200b}\tA", "unicode a");
        check("中国A", " 中  国 a");
        check("e\u{301}\u{fffd}\0", "e");
        check("\u{f900}", " \u{8c48} ");
    }

    #[test]
    fn accents_are_kept_when_asked() {
        let options = BertOptions {
            strip_accents: Some(false),
            ..BertOptions::default()
        };
        let got: String = normalize_aligned("É", 0, &options)
            .iter()
            .map(|x| x.c)
            .collect();
        assert_eq!(got, "é");
    }

    #[test]
    fn origins_point_at_the_characters_written() {
        let got = normalize_aligned("\u{200b}é한", 3, &BertOptions::default());
        let spans: Vec<[u32; 2]> = got.iter().map(|x| x.span).collect();
        assert_eq!(spans, [[4, 5], [5, 6], [5, 6], [5, 6]]);
    }
}
