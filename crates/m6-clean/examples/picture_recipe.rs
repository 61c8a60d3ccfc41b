//! The recipe's numbers (white ground, text, objects) of folders and tars: `picture_recipe [--each] PATH...` prints a line of JSON for each
//! set, with the shares that the rules of `m6-t2i` keep and what a picture costs, decoding aside; with `--each` one line a picture.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use m6_clean::pictures::{
    PictureFacts, Recipe, RecipeFacts, Rules, WEB_LIMITS, facts_of, inspect_recipe,
};
use serde_json::{Value, json};

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Anyhow<()> {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let is_each = paths.first().is_some_and(|word| word == "--each");
    if is_each {
        paths.remove(0);
    }
    for path in &paths {
        let pictures = pictures(Path::new(path))?;
        match is_each {
            true => each(&pictures),
            false => println!("{}", summary(path, &pictures)?),
        }
    }
    Ok(())
}

/// Pictures of a tar or a folder, with their names.
fn pictures(path: &Path) -> Anyhow<Vec<(String, Vec<u8>)>> {
    let is_picture = |name: &str| {
        [".jpg", ".jpeg", ".png"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let mut found = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if is_picture(&name) {
                found.push((name, std::fs::read(&path)?));
            }
        }
        found.sort();
        return Ok(found);
    }
    for entry in tar::Archive::new(std::fs::File::open(path)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if is_picture(&name) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            found.push((name, bytes));
        }
    }
    Ok(found)
}

fn each(pictures: &[(String, Vec<u8>)]) {
    for (name, bytes) in pictures {
        match inspect_recipe(bytes, &WEB_LIMITS) {
            Ok(facts) => println!("{}", json!({"name": name, "recipe": facts.recipe})),
            Err(refusal) => println!("{}", json!({"name": name, "refused": refusal.kind()})),
        }
    }
}

fn summary(path: &str, pictures: &[(String, Vec<u8>)]) -> Anyhow<Value> {
    let rules = Rules {
        recipe: Recipe::M6T2i,
        ..Rules::m6()
    };
    // Small pictures are looked at as well.
    let rules = Rules {
        min_pixels: 0,
        ..rules
    };
    let mut all: Vec<RecipeFacts> = Vec::new();
    let mut first_failure = BTreeMap::new();
    let (mut n_refused, mut n_kept) = (0, 0);
    for (_, bytes) in pictures {
        let Ok(facts) = inspect_recipe(bytes, &WEB_LIMITS) else {
            n_refused += 1;
            continue;
        };
        match rules.decide(&facts) {
            Some(failure) => *first_failure.entry(failure.rule).or_insert(0u32) += 1,
            None => n_kept += 1,
        }
        all.extend(facts.recipe);
    }
    let n = all.len().max(1) as f64;
    let share = |is: fn(&RecipeFacts) -> bool| all.iter().filter(|f| is(f)).count() as f64 / n;
    Ok(json!({
        "set": path, "pictures": all.len(), "refused": n_refused,
        "white": share(|f| f.white_border >= 0.6 && f.white_share >= 0.2),
        "written": share(|f| f.text_share > 0.005),
        "even_ground": share(|f| f.plain_border >= 0.6),
        "few_objects": share(|f| f.plain_border >= 0.6 && f.n_objects <= 3),
        "kept": f64::from(n_kept) / n, "first_failure": first_failure,
        "ms": cost(pictures)?,
    }))
}

/// Milliseconds a picture that the recipe's numbers add to the others.
fn cost(pictures: &[(String, Vec<u8>)]) -> Anyhow<f64> {
    let taken: Vec<&Vec<u8>> = pictures.iter().map(|(_, bytes)| bytes).take(200).collect();
    let seconds = |look: &dyn Fn(&[u8]) -> Option<PictureFacts>| {
        let start = Instant::now();
        let n = taken.iter().filter(|bytes| look(bytes).is_some()).count();
        start.elapsed().as_secs_f64() / n.max(1) as f64
    };
    let plain = |bytes: &[u8]| {
        let header = m6_image::header(bytes, &WEB_LIMITS).ok()?;
        let picture = m6_image::decode(bytes, &WEB_LIMITS).ok()?;
        facts_of(&picture, header.format, bytes.len() as u64).ok()
    };
    let with = |bytes: &[u8]| inspect_recipe(bytes, &WEB_LIMITS).ok();
    // The least of several rounds: the machine may be busy.
    let least = |look: &dyn Fn(&[u8]) -> Option<PictureFacts>| {
        (0..5).map(|_| seconds(look)).fold(f64::INFINITY, f64::min)
    };
    Ok(1e3 * (least(&with) - least(&plain)).max(0.0))
}
