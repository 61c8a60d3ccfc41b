//! UTF-8 that was once read as another encoding: found by reading it back (ours).
//!
//! A stretch is repaired only when its characters give bytes that are strict UTF-8, when everything read from them is
//! Chinese or its punctuation, and when that is strictly better by the share of common characters. What was lost when
//! it was misread cannot come back, so a damaged stretch stays as it is.

use super::chars::{is_ideograph, is_punctuation};
use encoding_rs::{GBK, WINDOWS_1252};
use std::borrow::Cow;
use std::sync::OnceLock;

/// Longest stretch that is repaired at once, in characters; a longer one is repaired in parts.
const MAX_STRETCH: usize = 4096;

/// Least share of common characters among the ideographs read from a stretch of GBK.
const MIN_COMMON: f64 = 0.7;

/// Repairs stretches of UTF-8 read as Latin-1 or Windows-1252, and as GBK.
pub(super) fn repair(text: Cow<'_, str>) -> Cow<'_, str> {
    let text = replace(text, may_begin_latin, latin_stretch);
    replace(text, may_begin_gbk, gbk_stretch)
}

/// A stretch that reads as UTF-8.
struct Stretch {
    /// Its bytes in the text.
    n_bytes: usize,
    /// What it becomes; `None` when the reading is not strictly better, and the stretch is passed over.
    repaired: Option<String>,
}

/// Replaces what `find` finds at the places where a stretch may begin.
fn replace<'a>(
    text: Cow<'a, str>,
    may_begin: impl Fn(char) -> bool,
    find: impl Fn(&str) -> Option<Stretch>,
) -> Cow<'a, str> {
    let mut out: Option<String> = None;
    let mut kept = 0;
    let mut past = 0;
    for (at, c) in text.char_indices() {
        if at < past || !may_begin(c) {
            continue;
        }
        let Some(stretch) = text.get(at..).and_then(&find) else {
            continue;
        };
        past = at + stretch.n_bytes;
        if let Some(repaired) = stretch.repaired {
            let out = out.get_or_insert_default();
            out.push_str(&text[kept..at]);
            out.push_str(&repaired);
            kept = past;
        }
    }
    match out {
        None => text,
        Some(mut out) => {
            out.push_str(&text[kept..]);
            Cow::Owned(out)
        }
    }
}

/// The byte that Windows-1252 (or Latin-1, for what the former leaves out) shows as this character, above ASCII.
fn latin_byte(c: char) -> Option<u8> {
    static SPECIAL: OnceLock<Vec<(char, u8)>> = OnceLock::new();
    if let '\u{80}'..='\u{ff}' = c {
        return u8::try_from(u32::from(c)).ok();
    }
    if !('\u{152}'..='\u{2122}').contains(&c) {
        return None;
    }
    let special = SPECIAL.get_or_init(|| {
        let of = |byte: u8| {
            WINDOWS_1252
                .decode_without_bom_handling(&[byte])
                .0
                .chars()
                .next()
        };
        (0x80..=0x9f)
            .filter_map(|byte| Some((of(byte)?, byte)))
            .collect()
    });
    special
        .iter()
        .find(|(known, _)| *known == c)
        .map(|(_, byte)| *byte)
}

/// Lead bytes of UTF-8's three-byte characters from U+2000 on.
fn may_begin_latin(c: char) -> bool {
    ('\u{e2}'..='\u{ef}').contains(&c)
}

/// A stretch of Latin-1 at the beginning of `rest`.
fn latin_stretch(rest: &str) -> Option<Stretch> {
    let mut reading = Reading::default();
    for (at, c) in rest.char_indices().take(MAX_STRETCH) {
        let Some(byte) = latin_byte(c) else { break };
        if !reading.push(&[byte], at + c.len_utf8()) {
            break;
        }
    }
    let (n_bytes, text) = reading.longest()?;
    let n_wide = text.chars().filter(|c| is_ideograph(*c)).count();
    // Three accented characters that happen to be one ideograph are hardly ever text, two ideographs never.
    let better = n_wide >= 2 || (n_wide == 1 && common_share(&text) == Some(1.0));
    Some(Stretch {
        n_bytes,
        repaired: better.then_some(text),
    })
}

/// Whether GBK shows this character for the first two bytes of a Chinese character or mark in UTF-8.
pub(super) fn may_begin_gbk(c: char) -> bool {
    static HEADS: OnceLock<Vec<u64>> = OnceLock::new();
    if !('\u{4e00}'..='\u{9fff}').contains(&c) {
        return false;
    }
    let heads = HEADS.get_or_init(|| {
        let mut heads = vec![0; 0x1_0000 / 64];
        let leads = (0xe3..=0xe9).chain([0xef]);
        for pair in leads.flat_map(|lead| (0x80..=0xbf).map(move |next| [lead, next])) {
            for c in GBK.decode_without_bom_handling(&pair).0.chars() {
                let code = c as usize & 0xffff;
                heads[code / 64] |= 1 << (code % 64);
            }
        }
        heads
    });
    let code = c as usize;
    heads
        .get(code / 64)
        .is_some_and(|bits| bits >> (code % 64) & 1 == 1)
}

/// A stretch of GBK at the beginning of `rest`, better when its characters are commoner than what it shows.
fn gbk_stretch(rest: &str) -> Option<Stretch> {
    let mut reading = Reading::default();
    for (at, c) in rest.char_indices().take(MAX_STRETCH) {
        let end = at + c.len_utf8();
        let (coded, _, unknown) = GBK.encode(&rest[at..end]);
        if c.is_ascii() || unknown || !reading.push(&coded, end) {
            break;
        }
    }
    let (n_bytes, text) = reading.longest()?;
    let before = common_share(&rest[..n_bytes]).unwrap_or(0.0);
    let after = common_share(&text).unwrap_or(0.0);
    let better = text.chars().count() >= 2 && after >= MIN_COMMON && after > before;
    Some(Stretch {
        n_bytes,
        repaired: better.then_some(text),
    })
}

/// Characters of a text turned back to bytes, and how far these are UTF-8.
#[derive(Default)]
struct Reading {
    bytes: Vec<u8>,
    /// For each character its end in `bytes` and in the text.
    ends: Vec<(usize, usize)>,
    /// Bytes that are whole characters of UTF-8.
    n_valid: usize,
}

impl Reading {
    /// Takes a character's bytes; `false` when it can go no further.
    fn push(&mut self, coded: &[u8], end: usize) -> bool {
        self.bytes.extend_from_slice(coded);
        self.ends.push((self.bytes.len(), end));
        let fresh = &self.bytes[self.n_valid..];
        self.n_valid += match std::str::from_utf8(fresh) {
            Ok(text) => text.len(),
            Err(e) => e.valid_up_to(),
        };
        // At most three bytes may wait for the end of their character.
        self.bytes.len() - self.n_valid <= 3
    }

    /// The longest beginning that is plausible and ends where a character of the text ends: its bytes in the text, and
    /// what it reads as.
    fn longest(&self) -> Option<(usize, String)> {
        let text = std::str::from_utf8(self.bytes.get(..self.n_valid)?).ok()?;
        let plausible = |c: char| is_ideograph(c) || is_punctuation(c) || is_wide_form(c);
        let n_plausible = text.find(|c| !plausible(c)).unwrap_or(text.len());
        let mut ends = self.ends.iter().rev();
        let (n, end) = ends.find(|(n, _)| *n <= n_plausible && text.is_char_boundary(*n))?;
        Some((*end, text[..*n].to_string()))
    }
}

/// Full-width letters and digits, which are no punctuation but as Chinese as it.
fn is_wide_form(c: char) -> bool {
    ('\u{ff01}'..='\u{ff5e}').contains(&c) || c == '\u{3000}'
}

/// Whether a character is one of the 3,755 common ones of GB 2312's first level.
fn is_common(c: char) -> bool {
    let mut buffer = [0; 4];
    let (coded, _, unknown) = GBK.encode(c.encode_utf8(&mut buffer));
    !unknown && matches!(*coded, [0xb0..=0xd7, 0xa1..=0xfe])
}

/// Share of common characters among the ideographs; `None` without ideographs.
fn common_share(text: &str) -> Option<f64> {
    let ideographs = || text.chars().filter(|c| is_ideograph(*c));
    let n = ideographs().count();
    let n_common = ideographs().filter(|c| is_common(*c)).count();
    (n > 0).then(|| n_common as f64 / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(repair(Cow::Borrowed(text)), expected);
    }

    /// UTF-8 bytes as a program sees them that takes them for another encoding.
    fn misread(text: &str, encoding: &'static encoding_rs::Encoding) -> String {
        encoding
            .decode_without_bom_handling(text.as_bytes())
            .0
            .into_owned()
    }

    fn latin1(text: &str) -> String {
        text.bytes().map(char::from).collect()
    }

    #[test]
    fn latin_readings_come_back() {
        for text in ["中文", "我们的文章，很好。", "“引号”里的字"] {
            check(&misread(text, WINDOWS_1252), text);
            check(&latin1(text), text);
        }
        check(
            &format!("标题：{} abc", latin1("人工智能")),
            "标题：人工智能 abc",
        );
    }

    #[test]
    fn gbk_readings_come_back() {
        // An even number of characters: of an odd one the last byte is lost.
        for text in ["中文", "我们的好文章", "人工智能的发展快"] {
            check(&misread(text, GBK), text);
        }
        check(
            &format!("标题：{} abc", misread("中文网页", GBK)),
            "标题：中文网页 abc",
        );
    }

    #[test]
    fn sound_text_stays() {
        let sound = [
            "",
            "plain",
            "Müller été «señor» naïve ¿qué? Ñandú ÀÉÎÕÜ",
            "这是一段正常的中文，含有“引号”和——破折号……",
            "潘婷洗髮乳、鏡頭、鐵路、瀛洲澶淵之盟",
            "联通",
            "涓涓细流，浠水县，鍋碗瓢盆",
        ];
        for text in sound {
            assert!(
                matches!(repair(Cow::Borrowed(text)), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_lost_byte_is_not_guessed() {
        let broken = misread("中文", GBK).replace('枃', "?");
        check(&broken, &broken);
    }
}
