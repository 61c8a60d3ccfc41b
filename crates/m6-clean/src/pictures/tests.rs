//! Pictures as a whole: real files, damage, and what a re-encoded copy still looks like.

use std::path::{Path, PathBuf};

use m6_image::{Limits, Rgb8, encode_png};
use proptest::prelude::*;

use super::*;

/// A folder of the shared data, where there is one.
#[allow(clippy::print_stderr)]
fn shared(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("M6_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let folder = root.join("data").join(name);
    if !folder.is_dir() {
        eprintln!("skipped: no shared data (set M6_SHARED)");
        return None;
    }
    Some(folder)
}

/// Soft shapes of many colours under a board of hard edges.
fn scene(width: usize, height: usize, shift: f64) -> Rgb8 {
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f64 / width as f64, y as f64 / height as f64);
            let board = f64::from(((13.0 * u) as u32 + (9.0 * v) as u32) % 2);
            let wave = |f: f64, g: f64| {
                let soft = libm::sin(f * u + g * v + shift) + 0.3 * libm::sin(61.0 * u * v + f);
                (100.0 + 75.0 * soft + 35.0 * board) as u8
            };
            data.extend([wave(9.0, 2.0), wave(3.0, 11.0), wave(5.0, -7.0)]);
        }
    }
    Rgb8::from_hwc(width, height, data).unwrap()
}

fn png(picture: &Rgb8) -> Vec<u8> {
    encode_png(picture, &[]).unwrap()
}

#[test]
fn the_numbers_of_a_drawn_picture() {
    let picture = scene(400, 300, 0.0);
    let bytes = png(&picture);
    let facts = inspect(&bytes, &WEB_LIMITS).unwrap();
    assert_eq!(
        (facts.width, facts.height, facts.n_pixels()),
        (400, 300, 120_000)
    );
    assert_eq!(
        (facts.format.as_str(), facts.bytes),
        ("PNG", bytes.len() as u64)
    );
    assert!((facts.aspect - 4.0 / 3.0).abs() < 1e-12);
    assert!(
        facts.n_colors > 100 && facts.flatness < 0.2 && !facts.qr,
        "{facts:?}"
    );
    let flat = inspect(&png(&Rgb8::filled(300, 10, [200, 10, 10])), &WEB_LIMITS).unwrap();
    assert_eq!(
        (flat.n_colors, flat.flatness, flat.blur, flat.aspect),
        (1, 1.0, 0.0, 30.0)
    );
    // The same numbers come back from JSON, whose reader may miss the last bit of a fraction.
    let text = serde_json::to_string(&facts).unwrap();
    let mut back: PictureFacts = serde_json::from_str(&text).unwrap();
    for (back, fact) in [
        (&mut back.blur, facts.blur),
        (&mut back.aspect, facts.aspect),
        (&mut back.flatness, facts.flatness),
    ] {
        assert!((*back - fact).abs() <= 1e-12 * fact, "{back}, not {fact}");
        *back = fact;
    }
    assert_eq!(back, facts);
}

#[test]
fn a_blurred_picture_is_less_sharp_whatever_its_size() {
    for (width, height) in [(300, 200), (900, 600)] {
        let sharp = scene(width, height, 0.3);
        let small = m6_image::resize(&sharp, width / 20, height / 20);
        let blurred = m6_image::resize(&small, width, height);
        let blur = |picture: &Rgb8| inspect(&png(picture), &WEB_LIMITS).unwrap().blur;
        assert!(
            blur(&blurred) * 2.0 < blur(&sharp),
            "{} and {}",
            blur(&blurred),
            blur(&sharp)
        );
    }
}

#[test]
fn a_copy_is_near_its_picture_and_another_picture_is_not() {
    let picture = scene(640, 480, 0.0);
    let print = |bytes: &[u8]| inspect(bytes, &WEB_LIMITS).unwrap().fingerprint();
    let copy = |side, quality| {
        let how = Prepare {
            side,
            quality,
            ..Prepare::default()
        };
        prepare_picture(&picture, &how).unwrap().jpeg
    };
    let prints = [
        print(&png(&picture)),
        print(&copy(256, 95)),
        print(&copy(128, 40)),
        print(&png(&scene(640, 480, 1.9))),
        print(&copy(480, 10)),
    ];
    assert_eq!(cluster(&prints, &Near::default()).unwrap(), [0, 0, 0, 3, 0]);
}

#[test]
fn one_look_decides_and_makes_the_copy() {
    let check = |picture: &Rgb8, expected: Option<&str>| {
        let rules = Rules {
            min_bytes: 0,
            ..Rules::default()
        };
        let look = look(&png(picture), &WEB_LIMITS, &rules, &Prepare::default()).unwrap();
        assert_eq!(look.failure.map(|failure| failure.rule), expected);
        assert_eq!(look.copy.is_some(), expected.is_none());
    };
    check(&scene(400, 300, 0.0), None);
    check(&scene(70, 70, 0.0), Some("picture_pixels"));
    check(&scene(900, 100, 0.0), Some("picture_aspect"));
    let mut flat = Rgb8::filled(200, 200, [255; 3]);
    flat.paste(&scene(20, 20, 0.0), 5, 5);
    check(&flat, Some("picture_flat"));
}

#[test]
fn what_cannot_be_read_has_a_kind() {
    let good = png(&scene(60, 40, 0.0));
    let jpeg = prepare_picture(&scene(60, 40, 0.0), &Prepare::default())
        .unwrap()
        .jpeg;
    let check = |bytes: &[u8], limits: &Limits, expected: &str| {
        assert_eq!(inspect(bytes, limits).unwrap_err().kind(), expected);
    };
    check(b"<html>", &WEB_LIMITS, "format");
    check(b"", &WEB_LIMITS, "format");
    check(b"\0\0\0\x20ftypavif", &WEB_LIMITS, "format");
    check(&good[..good.len() / 2], &WEB_LIMITS, "damaged");
    check(&jpeg[..jpeg.len() / 2], &WEB_LIMITS, "truncated");
    check(
        &good,
        &Limits {
            max_pixels: 2399,
            ..WEB_LIMITS
        },
        "pixels",
    );
    check(
        &good,
        &Limits {
            max_bytes: 20,
            ..WEB_LIMITS
        },
        "bytes",
    );
    let how = Prepare {
        side: 0,
        ..Prepare::default()
    };
    assert_eq!(
        prepare(&good, &WEB_LIMITS, &how).unwrap_err().kind(),
        "prepare"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_never_panic(at: usize, value: u8, cut: usize, noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = png(&scene(40, 30, 0.0));
        let n = bytes.len();
        bytes[at % n] = value;
        bytes.truncate(8 + cut % n);
        bytes.extend(noise);
        let limits = Limits { max_pixels: 1 << 16, max_bytes: 1 << 20 };
        if let Ok(facts) = inspect(&bytes, &limits) {
            prop_assert!(facts.n_pixels() <= 1 << 16 && facts.aspect >= 1.0);
        }
    }

    #[test]
    fn every_shape_of_picture_has_numbers(width in 1usize..90, height in 1usize..90, stretch in 1usize..40) {
        let picture = scene(width * stretch, height, 0.0);
        let facts = facts_of(&picture, m6_image::Format::Png, 1).unwrap();
        prop_assert!((0.0..=1.0).contains(&facts.flatness) && facts.blur >= 0.0 && facts.n_colors >= 1);
        let copy = prepare_picture(&picture, &Prepare { side: 32, ..Prepare::default() }).unwrap();
        prop_assert!(copy.width.min(copy.height) <= 32);
    }
}

#[test]
fn pictures_from_the_wild_have_numbers_and_copies() {
    let Some(folder) = shared("image-formats") else {
        return;
    };
    let list = std::fs::read_to_string(folder.join("files.jsonl")).unwrap();
    let mut n_files = 0;
    for line in list.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = entry["file"].as_str().unwrap();
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let look = look(&bytes, &WEB_LIMITS, &Rules::default(), &Prepare::default())
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let n_pixels = entry["width"].as_u64().unwrap() * entry["height"].as_u64().unwrap();
        assert_eq!(look.facts.n_pixels(), n_pixels, "{name}");
        assert_eq!(look.failure, None, "{name}: {:?}", look.facts);
        assert_eq!(inspect(&bytes, &WEB_LIMITS).unwrap(), look.facts, "{name}");
        n_files += 1;
    }
    assert_eq!(n_files, 19);
}

/// The first pictures of a shared tar.
pub(super) fn members(folder: &str, name: &str, n_most: usize) -> Option<Vec<Vec<u8>>> {
    let file = std::fs::File::open(shared(folder)?.join(name)).unwrap();
    let mut archive = tar::Archive::new(file);
    let mut pictures = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let kind = entry.path().unwrap().extension().map(ToOwned::to_owned);
        if kind.is_some_and(|kind| kind == "jpg" || kind == "png") && pictures.len() < n_most {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            pictures.push(bytes);
        }
    }
    Some(pictures)
}

#[test]
fn nearly_all_photographs_pass_and_copies_fall_together() {
    let Some(photos) = members("flickr8k-cn", "train-original-size.tar", 1000) else {
        return;
    };
    assert!(photos.len() > 20);
    let (mut failed, mut prints, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for photo in &photos {
        let facts = inspect(photo, &WEB_LIMITS).unwrap();
        failed.extend(Rules::default().decide(&facts));
        let first = prints.len() as u32;
        prints.push(facts.fingerprint());
        for (side, quality) in [(256, 95), (96, 40)] {
            let how = Prepare {
                side,
                quality,
                ..Prepare::default()
            };
            let copy = prepare(photo, &WEB_LIMITS, &how).unwrap();
            prints.push(inspect(&copy.jpeg, &WEB_LIMITS).unwrap().fingerprint());
        }
        expected.extend([first; 3]);
    }
    assert!(
        failed.len() * 50 <= photos.len(),
        "{} of {} dropped: {failed:?}",
        failed.len(),
        photos.len()
    );
    assert!(
        failed.iter().all(|failure| failure.rule != "picture_qr"),
        "{failed:?}"
    );
    // They are all different photographs, and each is found in its copies.
    assert_eq!(cluster(&prints, &Near::default()).unwrap(), expected);
}

#[test]
fn flowers_emoji_and_icons_have_sane_numbers() {
    for (folder, name) in [
        ("flowers-zh", "flowers-128.tar"),
        ("emoji-zh", "noto-72.tar"),
        ("icons-zh", "iconpark-72.tar"),
    ] {
        let Some(pictures) = members(folder, name, 300) else {
            continue;
        };
        assert!(pictures.len() > 100, "{folder}");
        let facts: Vec<PictureFacts> = pictures
            .iter()
            .map(|bytes| inspect(bytes, &WEB_LIMITS).unwrap())
            .collect();
        let median = |value: fn(&PictureFacts) -> f64| {
            let mut values: Vec<f64> = facts.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (colors, flatness) = (median(|f| f64::from(f.n_colors)), median(|f| f.flatness));
        // Photographs have many colours and no ground; drawings have few and much of it.
        let is_photo = folder == "flowers-zh";
        assert_eq!(colors > 200.0, is_photo, "{folder}: {colors}");
        assert_eq!(flatness < 0.2, is_photo, "{folder}: {flatness}");
        assert!(facts.iter().all(|f| !f.qr && f.aspect < 1.1), "{folder}");
    }
}
