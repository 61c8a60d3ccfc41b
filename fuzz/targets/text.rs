//! Any text through wikitext, cleaning and script conversion.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use m6_clean::normalize::{Converter, Normalizer, Rules, Script, Tables};
use m6_corpus::sources::wiki;

static CONVERTER: OnceLock<Converter> = OnceLock::new();
static NORMALIZER: OnceLock<Normalizer> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let plain = wiki::plain(&text);
    let n_lines = plain.text.lines().count();
    for picture in &plain.pictures {
        assert!(picture.line <= n_lines);
    }
    for name in ["default", "m6"] {
        let rules = Rules::named(name).expect("a known name");
        let clean = rules.apply(&text);
        assert_eq!(
            rules.apply(&clean),
            clean,
            "{name}: cleaning twice is cleaning once"
        );
    }
    let converter = CONVERTER.get_or_init(|| Converter::new(Script::T2s).expect("carried"));
    let converted = converter.convert(&text);
    let n_nuls = |text: &str| text.bytes().filter(|&byte| byte == 0).count();
    assert_eq!(n_nuls(&converted), n_nuls(&text));
    assert_eq!(converted.is_empty(), text.is_empty());
    let normalizer = NORMALIZER.get_or_init(|| Normalizer {
        rules: Some(Rules::default()),
        converter: Some(Converter::steady(Script::T2s, &Tables::built_in()).expect("carried")),
    });
    let once = normalizer.apply(&text);
    assert_eq!(
        normalizer.apply(&once),
        once,
        "normalising twice is normalising once"
    );
});
