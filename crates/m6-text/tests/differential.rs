//! The same ids, tokens and offsets as the `tokenizers` crate on random mixed text.

use m6_text::{BertOptions, Tokenizer};
use proptest::prelude::*;
use std::sync::LazyLock;

const TOKENS: &str = "[PAD] [UNK] [CLS] [SEP] [MASK] 中 国 红 色 的 花 豈 ， 。 ！ , . ! - [ ] # $ a b c \
    ab abc ##a ##b ##c ##ab ##bc ca cafe ##fe e ##e 1 2 12 ##1 ##2 ##12 ï ##ï é ##é É ß ##ß ᄒ ##ᅡ \
    ##ᆫ あ ##い い ##あ İ ##i i s ss ##s 😀 ##😀 𠮷 ㍿ ＡＢ ａ ##ｂ";

struct Pair {
    ours: Tokenizer,
    theirs: tokenizers::Tokenizer,
    options: BertOptions,
}

/// Both tokenizers under every setting of the normaliser.
static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let base = Tokenizer::from_tokens(TOKENS.split_whitespace().map(String::from).collect());
    let json = base.unwrap().to_json();
    let mut pairs = Vec::new();
    for bits in 0..24u32 {
        let flag = |bit: u32| bits >> bit & 1 == 1;
        let options = BertOptions {
            clean_text: flag(0),
            handle_chinese_chars: flag(1),
            lowercase: flag(2),
            strip_accents: [None, Some(false), Some(true)][bits as usize / 8],
        };
        let mut file: serde_json::Value = serde_json::from_str(&json).unwrap();
        let normalizer = &mut file["normalizer"];
        normalizer["clean_text"] = options.clean_text.into();
        normalizer["handle_chinese_chars"] = options.handle_chinese_chars.into();
        normalizer["lowercase"] = options.lowercase.into();
        normalizer["strip_accents"] = options.strip_accents.into();
        let json = file.to_string();
        pairs.push(Pair {
            ours: Tokenizer::from_json_bytes(json.as_bytes()).unwrap(),
            theirs: tokenizers::Tokenizer::from_bytes(&json).unwrap(),
            options,
        });
    }
    pairs
});

fn check(text: &str, pair: &Pair) {
    let got = pair.ours.encode_full(text, true);
    let expected = pair.theirs.encode_char_offsets(text, true).unwrap();
    let offsets: Vec<[usize; 2]> = expected.get_offsets().iter().map(|o| [o.0, o.1]).collect();
    let context = format!("{text:?} under {:?}", pair.options);
    assert_eq!(got.ids, expected.get_ids(), "{context}");
    assert_eq!(got.tokens, expected.get_tokens(), "{context}");
    assert_eq!(got.offsets, offsets, "{context}");
    let inner = &got.ids[1..got.ids.len() - 1];
    assert_eq!(pair.ours.encode(text), inner, "{context}");
    let normal = pair.ours.normalize(text);
    if !got.ids.contains(&pair.ours.special().unk) {
        assert_eq!(pair.ours.decode(&got.ids), normal, "{context}");
        assert_eq!(
            pair.ours.encode(&normal),
            without_special(inner),
            "{context}"
        );
    }
    assert_eq!(pair.ours.normalize(&normal), normal, "{context}");
}

fn without_special(ids: &[u32]) -> Vec<u32> {
    ids.iter().copied().filter(|id| *id >= 5).collect()
}

/// Pieces of text of every kind that the normaliser or the scanner treats apart.
fn piece() -> impl Strategy<Value = String> {
    let written = prop::sample::select(vec![
        "中",
        "国",
        "红色",
        "的",
        "豈",
        "\u{f900}",
        "\u{2f800}",
        "𠮷",
        "，",
        "。",
        "！",
        "ab",
        "abc",
        "ABC",
        "12",
        "1.2",
        "Café",
        "cafe\u{301}",
        "é",
        "İ",
        "ß",
        "ﬁ",
        "한",
        "각",
        "あい",
        "ア",
        "😀",
        "👨\u{200d}👩",
        " ",
        "  ",
        "\t",
        "\n",
        "\u{3000}",
        "\u{a0}",
        "\0",
        "\u{fffd}",
        "\u{200b}",
        "\u{feff}",
        "\u{ad}",
        "[MASK]",
        "[CLS]",
        "[mask]",
        "[",
        "]",
        "[MAS",
        "[[SEP]]",
        "##",
        "#a",
        "\u{301}",
        "\u{323}",
        "\u{345}",
        "\u{344}",
        "\u{1d165}",
        "\u{1d15e}",
        "\u{302e}",
        "\u{16ff0}",
        "\u{8d4}",
        "≠",
        "\u{37e}",
        "\u{1fc1}",
        "\u{2028}",
        "\u{85}",
        "\u{b}",
        "$",
        "ＡＢ",
        "ａｂ",
        "\u{e000}",
        "\u{f0000}",
        "\u{e0001}",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ]);
    prop_oneof![
        6 => written.prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
        1 => (0x80u32..0x3100).prop_map(|c| char::from_u32(c).unwrap_or('a').to_string()),
        1 => (0x1d000u32..0x1d200).prop_map(|c| char::from_u32(c).unwrap_or('a').to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_text_is_encoded_alike(
        pieces in prop::collection::vec(piece(), 0..14),
        which in 0usize..24,
    ) {
        let text = pieces.concat();
        check(&text, &PAIRS[which]);
        check(&text, &PAIRS[7]);
    }

    #[test]
    fn a_batch_is_its_texts(texts in prop::collection::vec(".{0,20}", 0..200)) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let ours = &PAIRS[7].ours;
        let alone: Vec<Vec<u32>> = texts.iter().map(|t| ours.encode(t)).collect();
        prop_assert_eq!(ours.encode_batch(&texts), alone);
    }
}

#[test]
fn every_character_alone_and_between_letters_is_encoded_alike() {
    // Every plane that holds letters; the rest of planes 3 to 16 by sample.
    let all = (0..0x3_0000u32).chain((0x3_0000..0x11_0000).step_by(251));
    let mut line = String::new();
    for c in all.filter_map(char::from_u32) {
        line.push('a');
        line.push(c);
        line.push_str("b ");
        if line.len() > 400 {
            check(&line, &PAIRS[7]);
            line.clear();
        }
    }
    check(&line, &PAIRS[7]);
}
