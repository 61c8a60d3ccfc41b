//! Any bytes as a text in an unknown encoding, under every kind of header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use m6_clean::page::charset;

/// What headers say.
const LABELS: [Option<&str>; 6] = [
    None,
    Some("utf-8"),
    Some("gb2312"),
    Some("big5"),
    Some("utf-16le"),
    Some("no such"),
];

fuzz_target!(|data: &[u8]| {
    for label in LABELS {
        let decoded = charset::decode(data, label);
        assert!(!decoded.charset.is_empty());
        // A byte gives at most one character of the table, of at most three bytes of UTF-8 (two characters for two bytes in Big5).
        assert!(decoded.text.len() <= 3 * data.len() + 3);
        if decoded.damaged {
            assert!(decoded.text.contains('\u{fffd}'));
        }
    }
    // Plain UTF-8 that says so is never touched.
    if let Ok(text) = std::str::from_utf8(data)
        && !text.is_empty()
        && !text.contains('\u{feff}')
    {
        let decoded = charset::decode(data, Some("utf-8"));
        if decoded.charset == "utf-8" {
            assert_eq!(decoded.text, text);
        }
    }
});
