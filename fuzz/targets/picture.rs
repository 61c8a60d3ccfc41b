//! Any bytes as a picture: the header is checked before pixels are made, and pixels are what the header says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use m6_clean::pictures::{self, Prepare, Recipe, Rules};
use m6_image::Limits;

mod hook;

const LIMITS: Limits = Limits {
    max_pixels: 1 << 18,
    max_bytes: 1 << 20,
};

fuzz_target!(init: hook::allow_caught_panics(), |data: &[u8]| {
    let header = m6_image::header(data, &LIMITS);
    if let Ok(header) = &header {
        assert!(u64::from(header.width) * u64::from(header.height) <= LIMITS.max_pixels);
    }
    let Ok(picture) = m6_image::decode(data, &LIMITS) else {
        return;
    };
    let header = header.expect("what is decoded has a header");
    let stored = (header.width as usize, header.height as usize);
    // EXIF may turn a picture on its side.
    let seen = (picture.width, picture.height);
    assert!(seen == stored || seen == (stored.1, stored.0), "{stored:?} became {seen:?}");
    let rules = Rules {
        recipe: Recipe::M6T2i,
        ..Rules::m6()
    };
    let look = pictures::look(data, &LIMITS, &rules, &Prepare::default());
    if let Ok(look) = look {
        let facts = look.facts;
        let recipe = facts.recipe.expect("the rules ask for it");
        for share in [recipe.white_border, recipe.white_share, recipe.plain_border, recipe.text_share] {
            assert!((0.0..=1.0).contains(&share), "{recipe:?}");
        }
        assert!(facts.aspect >= 1.0 && facts.blur.is_finite());
        assert!((0.0..=1.0).contains(&facts.flatness));
    }
});
