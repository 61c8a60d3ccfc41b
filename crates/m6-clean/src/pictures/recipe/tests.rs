//! The recipe's numbers on drawn pictures of which the truth is known, and on real ones.

use m6_image::{Limits, Rgb8, encode_png};

use super::*;
use crate::pictures::tests::members;
use crate::pictures::{Prepare, Rules, WEB_LIMITS, inspect, inspect_recipe, look};

fn recipe_of(bytes: &[u8]) -> RecipeFacts {
    let facts = inspect_recipe(bytes, &WEB_LIMITS).unwrap();
    facts.recipe.expect("asked for")
}

fn m6() -> Rules {
    Rules {
        recipe: Recipe::M6T2i,
        min_bytes: 0,
        min_bytes_per_pixel: 0.0,
        min_colors: 0,
        ..Rules::default()
    }
}

/// A shop's picture: `n` things on white.
fn shop(n: usize) -> Rgb8 {
    let mut image = Rgb8::filled(400, 400, [252, 253, 251]);
    for at in 0..n {
        let mut thing = Rgb8::filled(70, 110, [180, 40, 60]);
        thing.paste(&Rgb8::filled(30, 60, [40, 90, 160]), 20, 20);
        image.paste(&thing, 20 + 95 * (at % 4), 40 + 150 * (at / 4));
    }
    image
}

#[test]
fn one_look_at_a_shops_picture_names_the_rule() {
    let check = |image: &Rgb8, expected: Option<&str>| {
        let bytes = encode_png(image, &[]).unwrap();
        let look = look(&bytes, &WEB_LIMITS, &m6(), &Prepare::default()).unwrap();
        assert_eq!(
            look.failure.map(|failure| failure.rule),
            expected,
            "{:?}",
            look.facts
        );
        // By default none of this is measured, and nothing is dropped for it.
        let facts = inspect(&bytes, &WEB_LIMITS).unwrap();
        assert_eq!(facts.recipe, None);
        let plain = Rules {
            recipe: Recipe::None,
            ..m6()
        };
        assert_eq!(plain.decide(&facts), None);
    };
    check(&shop(1), None);
    check(&shop(3), None);
    check(&shop(4), Some("picture_objects"));
    let mut written = shop(2);
    for at in 0..24 {
        // A row of characters of four bars and three posts each.
        for bar in 0..4 {
            written.paste(&Rgb8::filled(11, 2, [0; 3]), 20 + 14 * at, 370 + 4 * bar);
        }
        for post in [0, 4, 10] {
            written.paste(&Rgb8::filled(1, 14, [0; 3]), 20 + post + 14 * at, 370);
        }
    }
    check(&written, Some("picture_text"));
    let mut grey = shop(1);
    for value in &mut grey.data {
        *value = value.saturating_sub(60);
    }
    check(&grey, Some("picture_white_border"));
    let mut framed = Rgb8::filled(400, 400, [255; 3]);
    framed.paste(&shop(1), 0, 0);
    framed.paste(&Rgb8::filled(370, 370, [90, 120, 60]), 15, 15);
    framed.paste(&Rgb8::filled(100, 100, [200, 30, 60]), 150, 150);
    check(&framed, Some("picture_white_share"));
}

#[test]
fn numbers_are_shares_for_every_shape_of_picture() {
    for (width, height) in [(1, 1), (1, 300), (300, 1), (2, 2), (17, 900), (700, 40)] {
        let data = (0..3 * width * height).map(|at| (at * at / 7 + at) as u8);
        let image = Rgb8::from_hwc(width, height, data.collect()).unwrap();
        let limits = Limits::default();
        let facts = inspect_recipe(&encode_png(&image, &[]).unwrap(), &limits).unwrap();
        let found = facts.recipe.expect("asked for");
        for share in [
            found.white_border,
            found.white_share,
            found.plain_border,
            found.text_share,
        ] {
            assert!((0.0..=1.0).contains(&share), "{width}x{height}: {found:?}");
        }
    }
}

/// Share of the first pictures of a set for which `is` holds.
fn share_of(folder: &str, name: &str, is: fn(&RecipeFacts) -> bool) -> Option<f64> {
    let pictures = members(folder, name, 200)?;
    let n = pictures
        .iter()
        .filter(|bytes| is(&recipe_of(bytes)))
        .count();
    Some(n as f64 / pictures.len() as f64)
}

#[test]
fn the_numbers_tell_sets_of_real_pictures_apart() {
    let is_white: fn(&RecipeFacts) -> bool = |f| f.white_border >= 0.6 && f.white_share >= 0.2;
    let is_plain: fn(&RecipeFacts) -> bool = |f| f.plain_border >= 0.6;
    let is_written: fn(&RecipeFacts) -> bool = |f| f.text_share > 0.005;
    let check = |folder: &str, name: &str, is, least: f64, most: f64| {
        if let Some(share) = share_of(folder, name, is) {
            assert!((least..=most).contains(&share), "{folder}: {share}");
        }
    };
    check("icons-zh", "iconpark-72.tar", is_white, 0.9, 1.0);
    check("emoji-zh", "noto-72.tar", is_white, 0.7, 1.0);
    check("flickr8k-cn", "val-00000.tar", is_white, 0.0, 0.02);
    check("flowers-zh", "flowers-128.tar", is_white, 0.0, 0.02);
    check("icons-zh", "iconpark-72.tar", is_plain, 0.9, 1.0);
    check("flickr8k-cn", "val-00000.tar", is_plain, 0.0, 0.4);
    check("flickr8k-cn", "val-00000.tar", is_written, 0.0, 0.04);
    check("emoji-zh", "noto-72.tar", is_written, 0.0, 0.02);
    // Pictures of exam questions: about every third has a line of three characters or more.
    check("vqa-gaokao", "images.tar", is_written, 0.2, 0.6);
}
