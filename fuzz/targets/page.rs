//! Any bytes as a page: what is given hangs together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use m6_clean::page::{self, Options};

fuzz_target!(|data: &[u8]| {
    let options = Options::default();
    let Ok(page) = page::extract_bytes(data, None, Some("http://host.example/a/b"), &options)
    else {
        return;
    };
    let mut lines = Vec::new();
    for block in &page.blocks {
        match block.image {
            Some(image) => assert!(image < page.images.len()),
            None => lines.push(block.text.as_str()),
        }
    }
    assert_eq!(lines.join("\n"), page.text);
    for image in &page.images {
        assert!(!image.src.is_empty());
    }
    assert!(!page.text.is_empty() || !page.images.is_empty());
});
