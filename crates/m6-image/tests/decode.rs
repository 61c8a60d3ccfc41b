//! Decoding: the kinds of pictures that exist, the limits, and damage.

use std::path::{Path, PathBuf};

use m6_image::{
    Error, Filter, Format, Limits, Rgb8, decode, decode_with_ground, encode_png, header,
    resize_with,
};
use proptest::prelude::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The picture of `reference/image_fixtures.py`.
fn pattern(width: usize, height: usize) -> Rgb8 {
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            data.extend([
                (x * 7 + y * 13) as u8,
                (x * x + y * 3) as u8,
                (x ^ (y * 5)) as u8,
            ]);
        }
    }
    Rgb8 {
        width,
        height,
        data,
    }
}

fn check_color(name: &str, ground: [u8; 3], expected: [u8; 3], tolerance: u8) {
    let image = decode_with_ground(&fixture(name), &Limits::default(), ground).unwrap();
    for (at, &value) in image.data.iter().enumerate() {
        let off = value.abs_diff(expected[at % 3]);
        assert!(
            off <= tolerance,
            "{name}: byte {at} is {value}, expected {expected:?}"
        );
    }
}

#[test]
fn every_colour_kind_becomes_rgb() {
    let white = [255; 3];
    check_color("cmyk.jpg", white, [200, 30, 40], 4);
    check_color("grey.jpg", white, [82, 82, 82], 2);
    check_color("grey16.png", white, [128; 3], 0);
    check_color("palette.gif", white, [10, 200, 30], 0);
    check_color("plain.bmp", white, [200, 30, 40], 0);
}

#[test]
fn transparency_lets_the_ground_through() {
    check_color("palette-transparent.png", [1, 2, 3], [1, 2, 3], 0);
    check_color("alpha.png", [255; 3], [255, 127, 127], 0);
    check_color("alpha.webp", [0, 0, 255], [128, 0, 127], 0);
    check_color("grey-alpha.png", [0; 3], [20; 3], 0);
}

#[test]
fn every_exif_orientation_is_applied() {
    // Stored: red above, blue below. Where red must be after the turn: (x, y) in eighths.
    let expected = [
        (4, 1, false),
        (4, 1, false),
        (4, 7, false),
        (4, 7, false),
        (1, 4, true),
        (7, 4, true),
        (7, 4, true),
        (1, 4, true),
    ];
    for (i, (x, y, is_turned)) in expected.into_iter().enumerate() {
        let image = decode(
            &fixture(&format!("orientation-{}.jpg", i + 1)),
            &Limits::default(),
        )
        .unwrap();
        let size = if is_turned { (16, 24) } else { (24, 16) };
        assert_eq!((image.width, image.height), size, "orientation {}", i + 1);
        let red = image.pixel(x * image.width / 8, y * image.height / 8);
        assert!(
            red[0] > 200 && red[2] < 60,
            "orientation {}: {red:?}",
            i + 1
        );
    }
}

#[test]
fn each_direction_of_resizing_is_pillows_bit_for_bit() {
    let source = pattern(41, 29);
    for (name, filter) in [("resize", Filter::Triangle), ("cubic", Filter::Cubic)] {
        for (width, height) in [(7, 5), (16, 16), (64, 9), (23, 40), (1, 1), (100, 80)] {
            let file = format!("{name}-{width}x{height}.png");
            let expected = decode(&fixture(&file), &Limits::default()).unwrap();
            // No assert_eq: a failure would print every pixel.
            assert!(
                resize_with(&source, width, height, filter) == expected,
                "{file} differs"
            );
        }
    }
}

/// A PNG whose header claims a size; the chunk sums are right.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encode_png(&Rgb8::filled(1, 1, [0; 3]), &[]).unwrap();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for &byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[test]
fn a_picture_bomb_is_refused_by_its_header() {
    let limits = Limits::default();
    let error = decode(&png_claiming(100_000, 100_000), &limits).unwrap_err();
    let expected = Error::TooManyPixels {
        format: "PNG",
        width: 100_000,
        height: 100_000,
        max_pixels: 64 << 20,
    };
    assert_eq!(error, expected);
    // One row of that width is already more memory than the limit grants.
    let error = decode(&png_claiming(1 << 30, 1), &limits).unwrap_err();
    assert!(matches!(error, Error::TooMuchMemory { .. }), "{error}");
    // Within the pixel limit, but more than so few bytes can hold: nothing is allocated for it.
    assert!(matches!(
        decode(&png_claiming(8000, 8000), &limits),
        Err(Error::ImpossibleSize { .. })
    ));
    assert!(decode(&png_claiming(0, 5), &limits).is_err());
    assert!(
        decode(&png_claiming(3, 3), &limits).is_err(),
        "too little pixel data"
    );
}

#[test]
fn limits_hold_just_under_and_just_over() {
    let bytes = encode_png(&pattern(20, 10), &[]).unwrap();
    let limits = |max_pixels, max_bytes| Limits {
        max_pixels,
        max_bytes,
    };
    let n_bytes = bytes.len() as u64;
    assert!(decode(&bytes, &limits(200, n_bytes)).is_ok());
    assert!(matches!(
        decode(&bytes, &limits(199, n_bytes)),
        Err(Error::TooManyPixels { .. })
    ));
    assert!(matches!(
        decode(&bytes, &limits(200, n_bytes - 1)),
        Err(Error::TooManyBytes { .. })
    ));
    let found = header(&bytes, &Limits::default()).unwrap();
    assert_eq!(
        (found.format, found.width, found.height),
        (Format::Png, 20, 10)
    );
}

#[test]
fn other_bytes_are_named() {
    for bytes in [
        &b""[..],
        b"<html>",
        b"%PDF-1.7",
        b"II*\0 a tiff",
        b"\0\0\0\0",
    ] {
        let error = decode(bytes, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { .. }), "{error}");
    }
}

const SAMPLES: [&str; 8] = [
    "orientation-6.jpg",
    "cmyk.jpg",
    "resize-64x9.png",
    "palette-transparent.png",
    "alpha.webp",
    "palette.gif",
    "plain.bmp",
    "grey16.png",
];

#[test]
fn a_picture_cut_anywhere_in_its_pixels_is_an_error() {
    for name in SAMPLES {
        let bytes = fixture(name);
        for keep in 0..bytes.len() * 3 / 4 {
            let cut = decode(&bytes[..keep], &Limits::default());
            assert!(
                cut.is_err(),
                "{name} cut to {keep} of {} bytes was decoded",
                bytes.len()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..6) {
        let starts: [&[u8]; 6] =
            [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\x90\0\0\0WEBPVP8 "];
        let bytes = [starts[kind], &bytes].concat();
        // A random GIF or BMP may be a valid picture; it must stay within the limit.
        let limits = Limits { max_pixels: 10_000, max_bytes: 1_000 };
        if let Ok(image) = decode(&bytes, &limits) {
            prop_assert!(image.width * image.height <= 10_000);
            prop_assert_eq!(image.data.len(), 3 * image.width * image.height);
        }
    }

    #[test]
    fn flipped_bytes_never_panic(which in 0usize..SAMPLES.len(), at: usize, value: u8, at2: usize, value2: u8) {
        let mut bytes = fixture(SAMPLES[which]);
        let n_bytes = bytes.len();
        bytes[at % n_bytes] = value;
        bytes[at2 % n_bytes] = value2;
        let limits = Limits { max_pixels: 1 << 16, max_bytes: 1 << 20 };
        match decode(&bytes, &limits) {
            Ok(image) => prop_assert!(image.width * image.height <= 1 << 16),
            Err(Error::Damaged { reason, .. }) => prop_assert!(!reason.contains("panicked"), "{}", reason),
            Err(_) => {}
        }
    }
}

/// The shared data folder, where there is one.
fn shared() -> Option<PathBuf> {
    let root = match std::env::var_os("M6_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let dir = root.join("data/image-formats");
    dir.is_dir().then_some(dir)
}

#[test]
#[allow(clippy::print_stderr)]
fn pictures_from_the_wild_decode_whatever_they_are_called() {
    let Some(dir) = shared() else {
        eprintln!("skipped: no shared data (set M6_SHARED)");
        return;
    };
    let list = std::fs::read_to_string(dir.join("files.jsonl")).unwrap();
    let mut n_files = 0;
    for line in list.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = entry["file"].as_str().unwrap();
        let size = [&entry["width"], &entry["height"]].map(|side| side.as_u64().unwrap() as usize);
        let bytes = std::fs::read(dir.join(name)).unwrap();
        let image =
            decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_turned = entry["kind"].as_str().unwrap().contains("exif-rotated");
        let expected = if is_turned { [size[1], size[0]] } else { size };
        assert_eq!([image.width, image.height], expected, "{name}");
        let half = decode(&bytes[..bytes.len() / 2], &Limits::default());
        assert!(
            half.is_err() || name.starts_with("mpo"),
            "{name}: half of it was decoded"
        );
        n_files += 1;
    }
    assert_eq!(n_files, 19);
}
