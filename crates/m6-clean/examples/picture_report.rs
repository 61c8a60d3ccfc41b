//! Numbers of real pictures: `picture_report TAR...` prints a line of JSON for each tar (what is refused and dropped, and
//! the quartiles of the numbers), then one on duplicates: copies of all pictures are made in many ways and clustered.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::Read;

use m6_clean::pictures::{
    Fit, Near, PictureFacts, Prepare, Rules, WEB_LIMITS, cluster, inspect, prepare_picture,
};
use m6_image::{Rgb8, crop};
use serde_json::{Value, json};

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Anyhow<()> {
    let mut pictures = Vec::new();
    for path in std::env::args().skip(1) {
        let mut archive = tar::Archive::new(std::fs::File::open(&path)?);
        let first = pictures.len();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let kind = entry.path()?.extension().map(|kind| kind.to_owned());
            if kind.is_some_and(|kind| kind == "jpg" || kind == "png") {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                pictures.push(bytes);
            }
        }
        println!("{}", numbers(&path, &pictures[first..]));
    }
    println!("{}", duplicates(&pictures)?);
    Ok(())
}

/// What one set of pictures is like.
fn numbers(name: &str, pictures: &[Vec<u8>]) -> Value {
    let rules = Rules::default();
    let mut facts: Vec<PictureFacts> = Vec::new();
    let (mut refused, mut dropped) = (BTreeMap::new(), BTreeMap::new());
    for bytes in pictures {
        match inspect(bytes, &WEB_LIMITS) {
            Ok(found) => {
                if let Some(failure) = rules.decide(&found) {
                    *dropped.entry(failure.rule).or_insert(0u32) += 1;
                }
                facts.push(found);
            }
            Err(refusal) => *refused.entry(refusal.kind()).or_insert(0u32) += 1,
        }
    }
    let quartiles = |value: fn(&PictureFacts) -> f64| {
        let mut values: Vec<f64> = facts.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values.get((values.len().max(1) - 1) * part / 4).copied();
        json!([at(0), at(1), at(2), at(3), at(4)])
    };
    json!({
        "set": name, "pictures": pictures.len(), "refused": refused, "dropped": dropped,
        "with_qr": facts.iter().filter(|facts| facts.qr).count(),
        "blur": quartiles(|facts| facts.blur),
        "flatness": quartiles(|facts| facts.flatness),
        "colors": quartiles(|facts| f64::from(facts.n_colors)),
        "aspect": quartiles(|facts| facts.aspect),
        "bytes_per_pixel": quartiles(|facts| facts.bytes as f64 / facts.n_pixels() as f64),
    })
}

/// The ways in which a picture is copied.
const WAYS: [(&str, u32, u8); 7] = [
    ("quality 95", 0, 95),
    ("quality 30", 0, 30),
    ("256 pixels", 256, 90),
    ("128 pixels, quality 60", 128, 60),
    ("80 pixels", 80, 85),
    ("2 % cut off", 0, 90),
    ("darker", 0, 90),
];

fn copy(picture: &Rgb8, way: usize) -> Anyhow<Vec<u8>> {
    let (_, side, quality) = WAYS[way];
    let changed = match way {
        5 => {
            let (x, y) = (picture.width / 50, picture.height / 50);
            crop(picture, x, y, picture.width - 2 * x, picture.height - 2 * y)
        }
        6 => {
            let data = picture
                .data
                .iter()
                .map(|&value| (u16::from(value) * 3 / 4) as u8);
            Rgb8::from_hwc(picture.width, picture.height, data.collect())?
        }
        _ => picture.clone(),
    };
    let short = changed.width.min(changed.height) as u32;
    let side = if side == 0 { short } else { side };
    let how = Prepare {
        side,
        quality,
        fit: Fit::Cover,
        enlarge: false,
    };
    Ok(prepare_picture(&changed, &how)?.jpeg)
}

/// Clusters of pictures and their copies against what is known: pairs that fall together rightly and wrongly.
fn duplicates(pictures: &[Vec<u8>]) -> Anyhow<Value> {
    let (mut prints, mut sources) = (Vec::new(), Vec::new());
    for (source, bytes) in pictures.iter().enumerate() {
        let Ok(facts) = inspect(bytes, &WEB_LIMITS) else {
            continue;
        };
        if Rules::default().decide(&facts).is_some() {
            continue;
        }
        let picture = m6_image::decode(bytes, &WEB_LIMITS)?;
        prints.push(facts.fingerprint());
        sources.push(source);
        for way in 0..WAYS.len() {
            prints.push(inspect(&copy(&picture, way)?, &WEB_LIMITS)?.fingerprint());
            sources.push(source);
        }
    }
    let leaders = cluster(&prints, &Near::default())?;
    let per_picture = WAYS.len() + 1;
    let (mut right, mut wrong, mut missed) = (0u64, 0u64, 0u64);
    for a in 0..prints.len() {
        for b in a + 1..prints.len() {
            match (sources[a] == sources[b], leaders[a] == leaders[b]) {
                (true, true) => right += 1,
                (false, true) => wrong += 1,
                (true, false) => missed += 1,
                (false, false) => {}
            }
        }
    }
    let found: BTreeMap<&str, f64> = (0..WAYS.len())
        .map(|way| {
            let firsts = (0..prints.len()).step_by(per_picture);
            let n = firsts
                .filter(|&at| leaders[at] == leaders[at + 1 + way])
                .count();
            (
                WAYS[way].0,
                n as f64 / (prints.len() / per_picture).max(1) as f64,
            )
        })
        .collect();
    let share = |part: u64, rest: u64| part as f64 / (part + rest).max(1) as f64;
    Ok(json!({
        "pictures": prints.len() / per_picture, "copies_each": WAYS.len(),
        "precision": share(right, wrong), "recall": share(right, missed), "found_by_way": found,
    }))
}
