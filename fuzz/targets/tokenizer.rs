//! Any bytes as a tokenizer.json or a vocab.txt, and a text through what was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use m6_text::Tokenizer;

fuzz_target!(|data: &[u8]| {
    for read in [Tokenizer::from_json_bytes, Tokenizer::from_vocab_lines] {
        let Ok(tokenizer) = read(data) else { continue };
        let text = String::from_utf8_lossy(data);
        let ids = tokenizer.encode(&text);
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        let full = tokenizer.encode_full(&text, false);
        assert_eq!(full.ids, ids);
        let again = Tokenizer::from_json_bytes(tokenizer.to_json().as_bytes());
        let again = again.expect("what was written is read");
        assert_eq!(again.encode(&text), ids);
    }
});
