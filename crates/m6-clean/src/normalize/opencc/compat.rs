//! CJK compatibility ideographs become the characters they stand for before anything is looked up, as in OpenCC.

use super::convert::Written;
use super::matcher::{Builder, Matcher};
use std::borrow::Cow;
use std::sync::OnceLock;
use unicode_normalization::char::decompose_canonical;

/// The two blocks.
const BLOCKS: [std::ops::RangeInclusive<u32>; 2] = [0xf900..=0xfaff, 0x2_f800..=0x2_fa1f];

/// Replaces compatibility ideographs.
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    static MATCHER: OnceLock<Matcher> = OnceLock::new();
    if !may_occur(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut out = Written::with_capacity(text.len());
    MATCHER.get_or_init(matcher).scan(text, &mut out);
    Cow::Owned(out.into_text())
}

/// Whether the leading bytes of the blocks occur; written so that it becomes vector code.
fn may_occur(bytes: &[u8]) -> bool {
    let next = bytes.get(1..).unwrap_or(&[]);
    let found = bytes.iter().zip(next).fold(0u8, |found, (a, b)| {
        let basic = (*a == 0xef) & (b.wrapping_sub(0xa4) < 8);
        let supplement = (*a == 0xf0) & (*b == 0xaf);
        found | u8::from(basic | supplement)
    });
    found != 0
}

fn matcher() -> Matcher {
    let mut builder = Builder::default();
    for c in BLOCKS.into_iter().flatten().filter_map(char::from_u32) {
        let mut target = String::new();
        decompose_canonical(c, |part| target.push(part));
        if !target.chars().eq([c]) {
            // About a thousand entries: far below any limit of the builder.
            let _ = builder.add(c.encode_utf8(&mut [0; 4]), &target, 1);
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(fold(text), expected);
    }

    #[test]
    fn compatibility_ideographs_become_plain() {
        check("\u{f900}a\u{fa1d}", "豈a精");
        check("\u{2f800}乾", "丽乾");
        check("\u{fa0e}，", "\u{fa0e}，");
        check("⿰\u{f900}木\u{f900}", "⿰\u{f900}木豈");
        assert!(matches!(fold("乾，ａ"), Cow::Borrowed(_)));
        assert!(matches!(fold(""), Cow::Borrowed(_)));
    }
}
