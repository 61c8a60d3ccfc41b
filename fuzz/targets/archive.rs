//! Any bytes as a web archive: the items depend on the bytes alone, and limits hold.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use m6_clean::archive::{Item, Limits, Reader};

mod hook;

const LIMITS: Limits = Limits {
    payload: 4096,
    header: 2048,
    dictionary: 4096,
};

/// Most bytes of a body without its encodings.
const MAX_BODY: usize = 10_000;

/// Gives a few bytes at a time, as a slow disk or a pipe may.
struct Drip {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Drip {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.bytes[self.at..];
        let n = rest.len().min(out.len()).min(1 + self.at % 37);
        out[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

fn items(input: impl Read + Send + 'static) -> Vec<Item> {
    let reader = Reader::from_read(input, LIMITS);
    reader.map(|item| item.expect("memory reads")).collect()
}

fuzz_target!(init: hook::allow_caught_panics(), |data: &[u8]| {
    let whole = items(std::io::Cursor::new(data.to_vec()));
    assert!(whole.len() <= data.len() + 1, "more items than bytes");
    for item in &whole {
        match item {
            Item::Record(record) => {
                assert!(record.place.offset <= data.len() as u64);
                assert!(record.payload.len() <= LIMITS.payload);
                if let Ok(body) = record.body(MAX_BODY) {
                    assert!(body.bytes.len() <= MAX_BODY);
                }
            }
            Item::Damage(damage) => {
                assert!(damage.offset <= data.len() as u64);
                assert!(!damage.reason.is_empty());
            }
        }
    }
    let drip = Drip {
        bytes: data.to_vec(),
        at: 0,
    };
    let dripped = items(drip);
    for (item, other) in whole.iter().zip(&dripped) {
        assert_eq!(item, other, "the items depend on how the file is read");
    }
    assert_eq!(whole.len(), dripped.len());
});
