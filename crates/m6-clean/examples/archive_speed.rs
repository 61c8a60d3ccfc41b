//! Prints how fast an archive is read, every payload held whole, as JSON.
//!
//! `cargo run --release -p m6-clean --example archive_speed -- FILE [ROUNDS]`
#![allow(clippy::print_stdout)]

use m6_clean::archive::{Item, Limits, Reader};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, file, rest @ ..] = &args[..] else {
        return Err("expected: archive_speed FILE [ROUNDS]".into());
    };
    let n_rounds: u32 = rest.first().map_or(Ok(1), |n| n.parse())?;
    for _ in 0..n_rounds {
        let start = Instant::now();
        let (mut n_records, mut n_errors, mut n_bytes) = (0u64, 0u64, 0u64);
        for item in Reader::open(Path::new(file), Limits::default())? {
            match item? {
                Item::Record(record) => {
                    n_records += 1;
                    n_bytes += record.payload.len() as u64;
                }
                Item::Damage(_) => n_errors += 1,
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{{\"records\": {n_records}, \"errors\": {n_errors}, \"payload_bytes\": {n_bytes}, \"seconds\": {seconds:.4}}}"
        );
    }
    Ok(())
}
