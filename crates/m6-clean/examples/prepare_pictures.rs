//! Speed of the picture path on one thread: `prepare_pictures FOLDER SECONDS [look|write DIR]` prints one line of JSON.
//!
//! `bench/pictures.py` runs it beside img2dataset's resizer. With `look` the numbers and the decision are taken as well;
//! with `write` each copy is written once, for comparing them.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use m6_clean::pictures::{Prepare, Rules, WEB_LIMITS, look, prepare};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seconds, rest @ ..] = arguments.as_slice() else {
        return Err("usage: prepare_pictures FOLDER SECONDS [look|write DIR]".into());
    };
    let (seconds, with_look) = (
        seconds.parse::<f64>()?,
        rest.first().is_some_and(|word| word == "look"),
    );
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let pictures: Vec<Vec<u8>> = paths.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    if pictures.is_empty() {
        return Err(format!("{folder} holds no files").into());
    }
    let (how, rules) = (Prepare::default(), Rules::default());
    if let [word, folder] = rest
        && word == "write"
    {
        for (path, bytes) in paths.iter().zip(&pictures) {
            let copy = Path::new(folder).join(path.file_name().unwrap_or_default());
            m6_store::atomic::write_file(&copy, &prepare(bytes, &WEB_LIMITS, &how)?.jpeg)?;
        }
    }
    let (mut n_pictures, mut n_refused, mut n_bytes) = (0u64, 0u64, 0u64);
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        for bytes in &pictures {
            let copy = match with_look {
                true => look(bytes, &WEB_LIMITS, &rules, &how).map(|look| look.copy),
                false => prepare(bytes, &WEB_LIMITS, &how).map(Some),
            };
            n_pictures += 1;
            match copy {
                Ok(Some(copy)) => n_bytes += copy.jpeg.len() as u64,
                Ok(None) | Err(_) => n_refused += 1,
            }
        }
    }
    let line = serde_json::json!({
        "pictures": n_pictures,
        "refused": n_refused,
        "seconds": start.elapsed().as_secs_f64(),
        "mean_bytes": n_bytes as f64 / (n_pictures - n_refused).max(1) as f64,
    });
    println!("{line}");
    Ok(())
}
