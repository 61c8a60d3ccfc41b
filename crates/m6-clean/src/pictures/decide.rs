//! Which pictures stay: rules over their numbers.

use serde::{Deserialize, Serialize};

use super::facts::PictureFacts;
use super::recipe::{Recipe, RecipeFacts};

/// Least share of the border in one colour from which objects can be told apart.
const PLAIN: f64 = 0.6;

/// The first rule a picture fails, as it goes into the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Name of the rule.
    pub rule: &'static str,
    /// The picture's number.
    pub value: f64,
    /// The number it was held against.
    pub threshold: f64,
}

/// Thresholds of the picture rules; a picture exactly at a threshold passes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Fewest pixels, width times height (paper section 1: 5,000).
    pub min_pixels: u64,
    /// Shortest side in pixels.
    pub min_side: u32,
    /// Most of longer by shorter side.
    pub max_aspect: f64,
    /// Fewest encoded bytes.
    pub min_bytes: u64,
    /// Most encoded bytes.
    pub max_bytes: u64,
    /// Fewest encoded bytes a pixel: far below, the picture is a blank or an overcompressed thumbnail.
    pub min_bytes_per_pixel: f64,
    /// Least variance of the Laplacian (levels squared).
    pub min_blur: f64,
    /// Most of the share (0..=1) of the most frequent colour.
    pub max_flatness: f64,
    /// Fewest colours of 4 bits a channel.
    pub min_colors: u32,
    /// Whether pictures with a QR code stay.
    pub allow_qr: bool,
    /// A set of the rules below by name: `none`, or `m6-t2i` (paper section 4.1), whose numbers the rules below replace one by one.
    pub recipe: Recipe,
    /// Least share (0..=1) of the border that is white and joined to the edge (`m6-t2i`: 0.6).
    pub min_white_border: Option<f64>,
    /// Least share (0..=1) of the picture that is white and joined to the edge (`m6-t2i`: 0.2); a white frame has little.
    pub min_white_share: Option<f64>,
    /// Most of the picture (0..=1) that lines of text cover (`m6-t2i`: 0.005).
    pub max_text_share: Option<f64>,
    /// Most objects on an even ground (`m6-t2i`: 3); a picture without such a ground is dropped.
    pub max_objects: Option<u32>,
}

impl Default for Rules {
    /// Ours: the paper's 5,000 pixels, and what keeps icons, banners, blanks, blurs and codes out while nearly all photographs stay.
    fn default() -> Self {
        Self {
            min_side: 50,
            max_aspect: 4.0,
            min_bytes: 1024,
            max_bytes: 32 << 20,
            min_bytes_per_pixel: 0.01,
            min_blur: 20.0,
            max_flatness: 0.97,
            min_colors: 8,
            allow_qr: false,
            ..Self::m6()
        }
    }
}

impl Rules {
    /// The paper's one written picture rule: at least 5,000 pixels (section 1); everything else passes.
    pub fn m6() -> Self {
        Self {
            min_pixels: 5_000,
            min_side: 0,
            max_aspect: f64::INFINITY,
            min_bytes: 0,
            max_bytes: u64::MAX,
            min_bytes_per_pixel: 0.0,
            min_blur: 0.0,
            max_flatness: 1.0,
            min_colors: 0,
            allow_qr: true,
            recipe: Recipe::None,
            min_white_border: None,
            min_white_share: None,
            max_text_share: None,
            max_objects: None,
        }
    }

    /// Wukong's published picture rules: both sides at least 200 pixels, aspect at most 3.
    pub fn wukong() -> Self {
        Self {
            min_pixels: 0,
            min_side: 200,
            max_aspect: 3.0,
            ..Self::m6()
        }
    }

    /// The first rule the picture fails, cheapest numbers first; `None` when it stays.
    pub fn decide(&self, facts: &PictureFacts) -> Option<Failure> {
        let n_pixels = facts.n_pixels() as f64;
        let short = f64::from(facts.width.min(facts.height));
        let bytes = facts.bytes as f64;
        let at_least =
            |rule, value: f64, threshold: f64| (rule, value, threshold, value >= threshold);
        let at_most =
            |rule, value: f64, threshold: f64| (rule, value, threshold, value <= threshold);
        let rules = [
            at_least("picture_pixels", n_pixels, self.min_pixels as f64),
            at_least("picture_side", short, f64::from(self.min_side)),
            at_most("picture_aspect", facts.aspect, self.max_aspect),
            at_least("picture_min_bytes", bytes, self.min_bytes as f64),
            at_most("picture_max_bytes", bytes, self.max_bytes as f64),
            at_least(
                "picture_bytes_per_pixel",
                bytes / n_pixels.max(1.0),
                self.min_bytes_per_pixel,
            ),
            at_most("picture_flat", facts.flatness, self.max_flatness),
            at_least(
                "picture_colors",
                f64::from(facts.n_colors),
                f64::from(self.min_colors),
            ),
            at_least("picture_blur", facts.blur, self.min_blur),
            at_most(
                "picture_qr",
                f64::from(u8::from(facts.qr)),
                f64::from(u8::from(self.allow_qr)),
            ),
        ];
        rules
            .into_iter()
            .find(|(.., passes)| !passes)
            .map(|(rule, value, threshold, _)| Failure {
                rule,
                value,
                threshold,
            })
            .or_else(|| self.decide_recipe(facts.recipe.as_ref()))
    }

    /// Whether one of the recipe's rules is on, so that its numbers must be taken.
    pub fn want_recipe(&self) -> bool {
        let own = [
            self.min_white_border,
            self.min_white_share,
            self.max_text_share,
        ];
        self.recipe != Recipe::None || own.iter().any(Option::is_some) || self.max_objects.is_some()
    }

    /// The first of the recipe's rules that is on and fails; numbers that were not taken pass none.
    fn decide_recipe(&self, facts: Option<&RecipeFacts>) -> Option<Failure> {
        let number = |value: fn(&RecipeFacts) -> f64| facts.map_or(f64::NAN, value);
        let by_recipe = |own: Option<f64>, of_m6: f64| match self.recipe {
            Recipe::None => own,
            Recipe::M6T2i => Some(own.unwrap_or(of_m6)),
        };
        let max_objects = by_recipe(self.max_objects.map(f64::from), 3.0);
        let at_least = |rule, value: f64, threshold: Option<f64>| {
            let threshold = threshold?;
            Some((rule, value, threshold, value >= threshold))
        };
        let at_most = |rule, value: f64, threshold: Option<f64>| {
            let threshold = threshold?;
            Some((rule, value, threshold, value <= threshold))
        };
        let rules = [
            at_least(
                "picture_white_border",
                number(|f| f.white_border),
                by_recipe(self.min_white_border, 0.6),
            ),
            at_least(
                "picture_white_share",
                number(|f| f.white_share),
                by_recipe(self.min_white_share, 0.2),
            ),
            at_most(
                "picture_text",
                number(|f| f.text_share),
                by_recipe(self.max_text_share, 0.005),
            ),
            // Where the border has no one colour, objects cannot be told from it.
            at_least(
                "picture_uneven_ground",
                number(|f| f.plain_border),
                max_objects.map(|_| PLAIN),
            ),
            at_most(
                "picture_objects",
                number(|f| f64::from(f.n_objects)),
                max_objects,
            ),
        ];
        rules
            .into_iter()
            .flatten()
            .find(|(.., passes)| !passes)
            .map(|(rule, value, threshold, _)| Failure {
                rule,
                value,
                threshold,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> PictureFacts {
        PictureFacts {
            format: "JPEG".to_owned(),
            width: 400,
            height: 300,
            bytes: 40_000,
            aspect: 4.0 / 3.0,
            blur: 900.0,
            flatness: 0.1,
            n_colors: 300,
            qr: false,
            phash: 1,
            dhash: 2,
            recipe: None,
        }
    }

    /// A cup on white.
    fn cup() -> RecipeFacts {
        RecipeFacts {
            white_border: 0.6,
            white_share: 0.2,
            plain_border: 0.6,
            n_objects: 3,
            text_share: 0.005,
        }
    }

    fn check(rules: &Rules, change: impl Fn(&mut PictureFacts), expected: Option<&str>) {
        let mut facts = good();
        change(&mut facts);
        let failure = rules.decide(&facts);
        assert_eq!(failure.map(|f| f.rule), expected, "{facts:?}");
    }

    #[test]
    fn every_threshold_holds_just_under_and_just_over() {
        let rules = Rules::default();
        check(&rules, |_| {}, None);
        let size = |width, height| {
            move |f: &mut PictureFacts| {
                (f.width, f.height) = (width, height);
                f.bytes = 2000;
            }
        };
        check(&rules, size(50, 100), None);
        check(&rules, size(51, 98), Some("picture_pixels"));
        check(&rules, size(49, 200), Some("picture_side"));
        check(&rules, |f| f.aspect = 4.0, None);
        check(&rules, |f| f.aspect = 4.01, Some("picture_aspect"));
        check(
            &rules,
            |f| (f.width, f.height, f.bytes) = (100, 100, 1024),
            None,
        );
        check(&rules, |f| f.bytes = 1023, Some("picture_min_bytes"));
        check(&rules, |f| f.bytes = 32 << 20, None);
        check(
            &rules,
            |f| f.bytes = (32 << 20) + 1,
            Some("picture_max_bytes"),
        );
        check(&rules, |f| f.bytes = 1200, None);
        check(&rules, |f| f.bytes = 1199, Some("picture_bytes_per_pixel"));
        check(&rules, |f| f.flatness = 0.97, None);
        check(&rules, |f| f.flatness = 0.971, Some("picture_flat"));
        check(&rules, |f| f.n_colors = 8, None);
        check(&rules, |f| f.n_colors = 7, Some("picture_colors"));
        check(&rules, |f| f.blur = 20.0, None);
        check(&rules, |f| f.blur = 19.99, Some("picture_blur"));
        check(&rules, |f| f.qr = true, Some("picture_qr"));
    }

    #[test]
    fn the_published_packs_say_what_was_published() {
        let size =
            |width, height| move |f: &mut PictureFacts| (f.width, f.height) = (width, height);
        check(&Rules::m6(), size(50, 100), None);
        check(&Rules::m6(), size(71, 71), None);
        check(&Rules::m6(), size(70, 71), Some("picture_pixels"));
        check(
            &Rules::m6(),
            |f| (f.qr, f.blur, f.aspect) = (true, 0.0, 50.0),
            None,
        );
        check(&Rules::wukong(), size(200, 200), None);
        check(&Rules::wukong(), size(199, 900), Some("picture_side"));
        check(&Rules::wukong(), |f| f.aspect = 3.0, None);
        check(
            &Rules::wukong(),
            |f| f.aspect = 3.01,
            Some("picture_aspect"),
        );
    }

    #[test]
    fn the_recipe_holds_just_under_and_just_over_and_yields_to_numbers_of_the_user() {
        let check_cup = |rules: &Rules, change: fn(&mut RecipeFacts), expected: Option<&str>| {
            let change = |facts: &mut PictureFacts| {
                let mut found = cup();
                change(&mut found);
                facts.recipe = Some(found);
            };
            check(rules, change, expected);
        };
        let m6 = Rules {
            recipe: Recipe::M6T2i,
            ..Rules::default()
        };
        check_cup(&m6, |_| {}, None);
        check_cup(
            &m6,
            |f| f.white_border = 0.599,
            Some("picture_white_border"),
        );
        check_cup(&m6, |f| f.white_share = 0.199, Some("picture_white_share"));
        check_cup(&m6, |f| f.text_share = 0.0051, Some("picture_text"));
        check_cup(
            &m6,
            |f| f.plain_border = 0.59,
            Some("picture_uneven_ground"),
        );
        check_cup(&m6, |f| f.n_objects = 4, Some("picture_objects"));
        let five = Rules {
            max_objects: Some(5),
            max_text_share: Some(0.1),
            ..m6
        };
        check_cup(&five, |f| (f.n_objects, f.text_share) = (5, 0.1), None);
        check_cup(
            &five,
            |f| f.white_border = 0.0,
            Some("picture_white_border"),
        );
        // One rule alone, without a recipe.
        let text = Rules {
            max_text_share: Some(0.0),
            ..Rules::default()
        };
        check_cup(&text, |f| (f.text_share, f.white_border) = (0.0, 0.0), None);
        check_cup(&text, |f| f.text_share = 0.001, Some("picture_text"));
        // Off by default, and numbers that were not taken pass no rule that is on.
        check_cup(&Rules::default(), |f| f.white_border = 0.0, None);
        check(&m6, |_| {}, Some("picture_white_border"));
        assert!(m6.want_recipe() && text.want_recipe());
        assert!(
            ![Rules::default(), Rules::m6(), Rules::wukong()]
                .iter()
                .any(Rules::want_recipe)
        );
    }

    #[test]
    fn a_failure_names_value_and_threshold() {
        let mut facts = good();
        facts.aspect = 9.0;
        let failure = Rules::default().decide(&facts).unwrap();
        assert_eq!((failure.value, failure.threshold), (9.0, 4.0));
        facts.aspect = f64::NAN;
        assert!(
            Rules::default().decide(&facts).is_some(),
            "no number passes no rule"
        );
    }

    #[test]
    fn rules_are_read_by_name_and_unknown_names_refused() {
        let rules: Rules = serde_json::from_str(r#"{"min_pixels": 9, "allow_qr": true}"#).unwrap();
        assert_eq!(
            (rules.min_pixels, rules.allow_qr, rules.min_colors),
            (9, true, 8)
        );
        assert!(serde_json::from_str::<Rules>(r#"{"min_pixel": 9}"#).is_err());
        let rules: Rules = toml::from_str("recipe = \"m6-t2i\"\nmax_objects = 5").unwrap();
        assert_eq!((rules.recipe, rules.max_objects), (Recipe::M6T2i, Some(5)));
        let back: Rules = toml::from_str(&toml::to_string(&rules).unwrap()).unwrap();
        assert_eq!(back, rules);
        let wrong = toml::from_str::<Rules>("recipe = \"m6\"").unwrap_err();
        assert!(wrong.to_string().contains("m6-t2i"), "{wrong}");
    }
}
