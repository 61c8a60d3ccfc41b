//! Which encoding a page is in, and its text.
//!
//! Order: byte-order mark, HTTP header, `meta` or XML declaration, a detector on the first bytes that are not ASCII; and then
//! the text has its say, because pages lie: bytes that are sound UTF-8 are UTF-8, and a label under which the bytes do not
//! decode, or decode to characters nobody writes, loses to the best of the detector's guess, GB 18030, Big5 and UTF-8.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{BIG5, Encoding, GB18030, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// Bytes of a page in which a `meta` or XML declaration is looked for.
const META_WINDOW: usize = 4096;
/// Bytes the detector sees, from the first one that is not ASCII.
const DETECT_WINDOW: usize = 4096;
/// Bytes on which readings are compared.
const COMPARE_WINDOW: usize = 1 << 16;
/// Sound UTF-8 sequences after which no other encoding is believable: a GBK or Big5 text hits one by chance about one time in five.
const SURE_SEQUENCES: usize = 8;
/// A reading with one bad byte in so many characters that are not ASCII is still taken as labelled: real pages have a few.
const BAD_IN: usize = 50;

/// How an encoding was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By a byte-order mark.
    Bom,
    /// By the HTTP header.
    Http,
    /// By the page's own `meta` or XML declaration.
    Meta,
    /// By the bytes; the page says nothing.
    Detected,
    /// By the bytes; what the page or the header says does not fit them.
    Corrected,
}

/// A page's text (ours, the order is the issue's).
#[derive(Debug)]
pub struct Decoded<'a> {
    /// The text; bytes that fit no character are U+FFFD.
    pub text: Cow<'a, str>,
    /// Name of the encoding in lower case, as the WHATWG Encoding standard has it: `utf-8`, `gbk`, `big5`.
    pub charset: String,
    /// How it was found.
    pub how: How,
    /// Whether some bytes fit no character.
    pub damaged: bool,
}

/// Decodes a page; `http_charset` is the label of its HTTP header, if it has one.
pub fn decode<'a>(bytes: &'a [u8], http_charset: Option<&str>) -> Decoded<'a> {
    if let Some((encoding, n)) = Encoding::for_bom(bytes) {
        return finish(bytes.get(n..).unwrap_or_default(), encoding, How::Bom);
    }
    let label = |name: &[u8]| Encoding::for_label(name).filter(|e| *e != REPLACEMENT);
    let declared = http_charset
        .and_then(|name| label(name.trim().as_bytes()))
        .map(|encoding| (encoding, How::Http))
        .or_else(|| meta_label(bytes).map(|encoding| (encoding, How::Meta)));
    let Some(first) = bytes.iter().position(|b| !b.is_ascii()) else {
        // ASCII alone reads the same in all of them, but for UTF-16 and ISO-2022-JP.
        let (encoding, how) = declared.unwrap_or((UTF_8, How::Detected));
        return finish(bytes, encoding, how);
    };
    let utf8 = Utf8Look::at(bytes);
    if utf8.n_bad == 0 && (declared.is_none() || utf8.n_good >= SURE_SEQUENCES) {
        let how = match declared {
            Some((encoding, how)) if encoding == UTF_8 => how,
            Some(_) => How::Corrected,
            None => How::Detected,
        };
        return finish(bytes, UTF_8, how);
    }
    let (encoding, how) = settle(bytes, first, declared, &utf8);
    finish(bytes, encoding, how)
}

fn finish<'a>(bytes: &'a [u8], encoding: &'static Encoding, how: How) -> Decoded<'a> {
    let (text, damaged) = encoding.decode_without_bom_handling(bytes);
    Decoded {
        text,
        charset: encoding.name().to_ascii_lowercase(),
        how,
        damaged,
    }
}

/// Sound sequences of several bytes and bad places, had the page been UTF-8.
struct Utf8Look {
    n_good: usize,
    n_bad: usize,
}

impl Utf8Look {
    fn at(bytes: &[u8]) -> Self {
        let mut look = Self {
            n_good: 0,
            n_bad: 0,
        };
        // Most pages are sound, and this says so ten times faster than the chunks do.
        if let Ok(text) = std::str::from_utf8(bytes) {
            let starts = text.as_bytes().iter().filter(|b| **b >= 0xC0);
            look.n_good = starts.take(SURE_SEQUENCES).count();
            return look;
        }
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid().as_bytes();
            look.n_good += valid.iter().filter(|b| **b >= 0xC0).count();
            // A character cut off by the end of the page is no evidence.
            let cut = chunk.invalid().len() < 4
                && bytes.ends_with(chunk.invalid())
                && chunk.invalid().first().is_some_and(|b| *b >= 0xC2);
            look.n_bad += usize::from(!chunk.invalid().is_empty() && !cut);
        }
        look
    }
}

/// The encoding of bytes that are not plainly UTF-8.
fn settle(
    bytes: &[u8],
    first: usize,
    declared: Option<(&'static Encoding, How)>,
    utf8: &Utf8Look,
) -> (&'static Encoding, How) {
    if let Some((encoding, how)) = declared
        && encoding == UTF_8
        && utf8.n_good > 0
        && utf8.n_bad * BAD_IN <= utf8.n_good
    {
        return (encoding, how);
    }
    let guess = detect(bytes, first);
    let how = match declared {
        None => How::Detected,
        Some((encoding, how)) if same_family(encoding, guess) => {
            return (wider(encoding), how);
        }
        Some(_) => How::Corrected,
    };
    let window = &bytes[first..(first + COMPARE_WINDOW).min(bytes.len())];
    let mut best = (Reading::of(guess, window), guess, how);
    for other in [GB18030, BIG5, UTF_8] {
        let reading = Reading::of(other, window);
        if reading.beats(&best.0) {
            best = (reading, other, how);
        }
    }
    // The label stands unless another reading is better.
    if let Some((encoding, how)) = declared {
        let reading = Reading::of(encoding, window);
        if !best.0.beats(&reading) {
            return (wider(encoding), how);
        }
    }
    (best.1, best.2)
}

/// `gb2312` on a page means GB 18030 to its readers; the standard's GBK decoder reads all of it.
fn wider(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16BE || encoding == UTF_16LE {
        // A page whose ASCII could be read to find the label is not UTF-16.
        UTF_8
    } else {
        encoding
    }
}

fn same_family(a: &'static Encoding, b: &'static Encoding) -> bool {
    let name = |e: &'static Encoding| if e == GB18030 { "GBK" } else { e.name() };
    name(a) == name(b)
}

fn detect(bytes: &[u8], first: usize) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let window = &bytes[first..(first + DETECT_WINDOW).min(bytes.len())];
    // `last` stays false: a character cut by the window's end would count against the right answer.
    detector.feed(window, false);
    detector.guess(None, Utf8Detection::Allow)
}

/// How well bytes read in an encoding.
struct Reading {
    n_wide: usize,
    n_bad: usize,
    n_common: usize,
}

impl Reading {
    fn of(encoding: &'static Encoding, window: &[u8]) -> Self {
        let (text, _) = encoding.decode_without_bom_handling(window);
        let mut reading = Self {
            n_wide: 0,
            n_bad: 0,
            n_common: 0,
        };
        for c in text.chars().filter(|c| !c.is_ascii()) {
            reading.n_wide += 1;
            reading.n_bad += usize::from(c == '\u{FFFD}');
            reading.n_common += usize::from(COMMON.contains(c));
        }
        // The window may end inside a character.
        reading.n_bad = reading.n_bad.saturating_sub(1);
        reading
    }

    /// Clearly better: fewer bad places by far, or as few and far more characters that people write.
    fn beats(&self, other: &Self) -> bool {
        let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
        let bad = (
            share(self.n_bad, self.n_wide),
            share(other.n_bad, other.n_wide),
        );
        let common = (
            share(self.n_common, self.n_wide),
            share(other.n_common, other.n_wide),
        );
        if bad.0 > 1.0 / BAD_IN as f64 {
            return bad.0 * 4.0 < bad.1 && common.0 >= common.1;
        }
        if bad.1 > 1.0 / BAD_IN as f64 {
            return bad.0 * 4.0 < bad.1 && common.0 * 1.5 >= common.1;
        }
        self.n_common > 4 && common.0 > 2.0 * common.1 + 0.02
    }
}

/// Characters that make up a third and more of any Chinese text, in both scripts, with its punctuation: the most frequent of
/// modern Chinese as every frequency list has them.
const COMMON: &str = "的一是不了在人有我他這这個个們们中來来上大為为和國国地到以說说時时要就出會会可也你對对生能而子那得於于著着下自之年過过發发後后作裡里用道行所然家種种事成方多經经麼么去法學学如都同現现當当沒没動动面起看定天分還还進进好小部其些主樣样理心她本前開开但因只從从想實实日，。、：；？！“”《》（）「」";

/// The label in a `meta` or XML declaration near the start of the page.
fn meta_label(bytes: &[u8]) -> Option<&'static Encoding> {
    let window = &bytes[..META_WINDOW.min(bytes.len())];
    let lower = window.to_ascii_lowercase();
    let xml = lower
        .strip_prefix(b"<?xml")
        .and_then(|rest| rest.split(|b| *b == b'>').next())
        .and_then(|head| label_after(head, b"encoding"));
    xml.or_else(|| {
        memchr::memmem::find_iter(&lower, b"<meta").find_map(|at| {
            let tag = lower.get(at..)?.split(|b| *b == b'>').next()?;
            label_after(tag, b"charset")
        })
    })
}

/// The label after `key =` in a tag in lower case; one that no encoding has is none.
fn label_after(tag: &[u8], key: &[u8]) -> Option<&'static Encoding> {
    memchr::memmem::find_iter(tag, key).find_map(|at| {
        let rest = tag.get(at + key.len()..)?.trim_ascii_start();
        let rest = rest.strip_prefix(b"=")?.trim_ascii_start();
        let rest = rest.trim_ascii_start();
        let rest = rest
            .strip_prefix(b"\"")
            .or_else(|| rest.strip_prefix(b"'"))
            .unwrap_or(rest);
        let name = rest
            .split(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b';' | b'/' | b'?'))
            .next()?;
        let encoding = Encoding::for_label(name).filter(|e| *e != REPLACEMENT)?;
        Some(wider(encoding))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMPLIFIED: &str = "我们在这里说的是中国人的事情，他们都知道这个地方有什么。";
    const TRADITIONAL: &str = "我們在這裡說的是中國人的事情，他們都知道這個地方有什麼。";

    fn page(encoding: &'static Encoding, label: Option<&str>, text: &str) -> Vec<u8> {
        let meta = label
            .map(|l| format!("<meta charset=\"{l}\">"))
            .unwrap_or_default();
        let html = format!(
            "<html><head>{meta}<title>x</title></head><p>{}</p>",
            text.repeat(3)
        );
        encoding.encode(&html).0.into_owned()
    }

    #[track_caller]
    fn check(
        encoding: &'static Encoding,
        label: Option<&str>,
        text: &str,
        charset: &str,
        how: How,
    ) {
        let bytes = page(encoding, label, text);
        let decoded = decode(&bytes, None);
        assert!(
            decoded.text.contains(text),
            "{label:?} {}: {}",
            decoded.charset,
            decoded.text
        );
        assert_eq!((decoded.charset.as_str(), decoded.how), (charset, how));
    }

    #[test]
    fn pages_that_say_the_truth() {
        check(UTF_8, Some("utf-8"), SIMPLIFIED, "utf-8", How::Meta);
        check(GB18030, Some("gb2312"), SIMPLIFIED, "gbk", How::Meta);
        check(GB18030, Some("gb18030"), SIMPLIFIED, "gb18030", How::Meta);
        check(BIG5, Some("big5"), TRADITIONAL, "big5", How::Meta);
    }

    #[test]
    fn pages_that_say_nothing() {
        check(UTF_8, None, SIMPLIFIED, "utf-8", How::Detected);
        check(GB18030, None, SIMPLIFIED, "gbk", How::Detected);
        check(BIG5, None, TRADITIONAL, "big5", How::Detected);
    }

    #[test]
    fn pages_that_lie() {
        check(UTF_8, Some("gb2312"), SIMPLIFIED, "utf-8", How::Corrected);
        check(
            UTF_8,
            Some("iso-8859-1"),
            SIMPLIFIED,
            "utf-8",
            How::Corrected,
        );
        check(GB18030, Some("utf-8"), SIMPLIFIED, "gbk", How::Corrected);
        check(BIG5, Some("gb2312"), TRADITIONAL, "big5", How::Corrected);
        check(GB18030, Some("big5"), SIMPLIFIED, "gbk", How::Corrected);
        check(
            GB18030,
            Some("iso-8859-1"),
            SIMPLIFIED,
            "gbk",
            How::Corrected,
        );
    }

    #[test]
    fn the_header_goes_before_the_page_and_a_mark_before_both() {
        let bytes = page(GB18030, Some("big5"), SIMPLIFIED);
        let decoded = decode(&bytes, Some("GBK"));
        assert_eq!((decoded.charset.as_str(), decoded.how), ("gbk", How::Http));
        let bytes = b"\xef\xbb\xbf<meta charset=gbk>\xe4\xb8\xad";
        let decoded = decode(bytes, Some("big5"));
        assert_eq!((decoded.charset.as_str(), decoded.how), ("utf-8", How::Bom));
        assert!(decoded.text.ends_with('中') && decoded.text.starts_with('<'));
        let decoded = decode(b"\xff\xfe-N\x87e", None);
        assert_eq!((&*decoded.text, decoded.how), ("中文", How::Bom));
    }

    #[test]
    fn a_few_bad_bytes_do_not_change_the_reading() {
        let mut bytes = page(UTF_8, Some("utf-8"), &SIMPLIFIED.repeat(4));
        let at = bytes.len() - 30;
        bytes[at] = 0xFF;
        let decoded = decode(&bytes, None);
        assert_eq!((decoded.charset.as_str(), decoded.damaged), ("utf-8", true));
    }

    #[test]
    fn labels_are_read_in_their_forms() {
        for (html, expected) in [
            (
                "<META http-equiv='Content-Type' content='text/html; charset=GB2312'>",
                "GBK",
            ),
            ("<?xml version='1.0' encoding='Big5'?>", "Big5"),
            ("<meta charset = utf8 />", "UTF-8"),
            ("<meta charset=utf-16>", "UTF-8"),
            (
                "<meta name=x content=charset><meta charset='nope'><meta charset=gbk>",
                "GBK",
            ),
        ] {
            assert_eq!(
                meta_label(html.as_bytes()).map(|e| e.name()),
                Some(expected),
                "{html}"
            );
        }
        assert_eq!(meta_label(b"<meta name=keywords>").map(|e| e.name()), None);
    }
}
