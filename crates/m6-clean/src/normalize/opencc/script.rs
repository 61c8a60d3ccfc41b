//! The conversions and what each is made of: OpenCC's configurations as data.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A conversion between ways of writing Chinese, named as OpenCC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// Simplified to traditional.
    S2t,
    /// Traditional to simplified.
    T2s,
    /// Simplified to the characters of Taiwan.
    S2tw,
    /// The characters of Taiwan to simplified.
    Tw2s,
    /// Simplified to the characters of Hong Kong.
    S2hk,
    /// The characters of Hong Kong to simplified.
    Hk2s,
    /// Simplified to the characters and words of Taiwan.
    S2twp,
    /// The characters and words of Taiwan to simplified and words of the mainland.
    Tw2sp,
    /// Simplified to the characters and words of Hong Kong.
    S2hkp,
    /// The characters and words of Hong Kong to simplified and words of the mainland.
    Hk2sp,
    /// Traditional to the characters of Taiwan.
    T2tw,
    /// The characters of Taiwan to traditional.
    Tw2t,
    /// Traditional to the characters of Hong Kong.
    T2hk,
    /// The characters of Hong Kong to traditional.
    Hk2t,
    /// Traditional to the new forms of Japan.
    T2jp,
    /// The new forms of Japan to traditional.
    Jp2t,
}

impl Script {
    /// All of them with their names.
    pub const ALL: [(&'static str, Script); 16] = [
        ("s2t", Script::S2t),
        ("t2s", Script::T2s),
        ("s2tw", Script::S2tw),
        ("tw2s", Script::Tw2s),
        ("s2hk", Script::S2hk),
        ("hk2s", Script::Hk2s),
        ("s2twp", Script::S2twp),
        ("tw2sp", Script::Tw2sp),
        ("s2hkp", Script::S2hkp),
        ("hk2sp", Script::Hk2sp),
        ("t2tw", Script::T2tw),
        ("tw2t", Script::Tw2t),
        ("t2hk", Script::T2hk),
        ("hk2t", Script::Hk2t),
        ("t2jp", Script::T2jp),
        ("jp2t", Script::Jp2t),
    ];

    /// OpenCC's name: `t2s`, `s2twp`, ...
    pub fn name(self) -> &'static str {
        let own = Self::ALL.iter().find(|(_, script)| *script == self);
        own.map_or("", |(name, _)| name)
    }

    /// Whether what comes out is simplified.
    pub fn is_to_simplified(self) -> bool {
        use Script::{Hk2s, Hk2sp, T2s, Tw2s, Tw2sp};
        matches!(self, T2s | Tw2s | Hk2s | Tw2sp | Hk2sp)
    }

    /// What it is made of.
    pub(super) fn recipe(self) -> Recipe {
        let (cut, stages): (Cut, &'static [Stage]) = match self {
            Script::S2t => (Cut::None, &[ST]),
            Script::T2s => (Cut::None, &[TS]),
            Script::S2tw => (Cut::ByFirstStage, &[ST, TW]),
            Script::S2hk => (Cut::ByFirstStage, &[ST, HK]),
            Script::S2twp => (Cut::ByFirstStage, &[ST, TW_WORDS]),
            Script::S2hkp => (Cut::ByFirstStage, &[ST, HK_WORDS]),
            Script::Tw2s => (Cut::By(TS_PHRASES), &[TW_BACK, TS]),
            Script::Hk2s => (Cut::By(TS_PHRASES), &[HK_BACK, TS]),
            Script::Tw2sp => (Cut::By(TS_PHRASES), &[TW_WORDS_BACK, TS]),
            Script::Hk2sp => (Cut::By(TS_PHRASES), &[HK_WORDS_BACK, TS]),
            Script::T2tw => (Cut::None, &[TW]),
            Script::T2hk => (Cut::None, &[HK]),
            Script::Tw2t => (Cut::None, &[TW_BACK]),
            Script::Hk2t => (Cut::None, &[HK_BACK]),
            Script::T2jp => (Cut::None, &[JP]),
            Script::Jp2t => (Cut::None, &[JP_BACK]),
        };
        Recipe { cut, stages }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Script {
    type Err = Error;

    /// # Errors
    /// [`Error::Config`] with the names there are.
    fn from_str(name: &str) -> Result<Self> {
        let own = Self::ALL.iter().find(|(known, _)| *known == name);
        own.map(|(_, script)| *script).ok_or_else(|| {
            let names = Self::ALL.map(|(known, _)| known).join(" ");
            Error::Config(format!(
                "`{name}` is no script conversion; there are: {names}"
            ))
        })
    }
}

/// A group of dictionaries applied in one pass. A layer of lower rank goes first, whatever the lengths of the keys; in
/// one rank the longest key goes first, and of equal keys the earlier layer's.
pub(super) type Stage = &'static [Layer];

/// One dictionary of a [`Stage`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub part: Part,
    pub rank: u8,
}

/// How a layer's pairs are made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// A dictionary.
    Table(&'static str),
    /// The further values of a dictionary that few fonts show.
    Rare(&'static str),
    /// A dictionary read backwards.
    Back(&'static str),
    /// The simplified forms of the regional words, so that later stages find them whole.
    Regional,
}

/// Where a text is cut before the stages; no key is found across a cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// Nowhere.
    None,
    /// Around the keys of the first stage's rank 0.
    ByFirstStage,
    /// Around the keys of a stage of its own.
    By(Stage),
}

/// What a conversion is made of.
pub(super) struct Recipe {
    pub cut: Cut,
    pub stages: &'static [Stage],
}

const fn layer(rank: u8, part: Part) -> Layer {
    Layer { part, rank }
}

const TS_PHRASES: Stage = &[layer(0, Part::Table("TSPhrases"))];
/// Traditional to simplified; also what [`Part::Regional`] is made with.
pub(super) const TS: Stage = &[
    layer(0, Part::Table("TSPhrases")),
    layer(1, Part::Rare("TSCharacters")),
    layer(1, Part::Table("TSCharacters")),
];
const ST: Stage = &[
    layer(0, Part::Table("STPhrases")),
    layer(0, Part::Regional),
    layer(1, Part::Table("STCharacters")),
];
const TW: Stage = &[
    layer(0, Part::Table("TWVariantsPhrases")),
    layer(1, Part::Table("TWVariants")),
];
const HK: Stage = &[
    layer(0, Part::Table("HKVariantsPhrases")),
    layer(1, Part::Table("HKVariants")),
];
const TW_WORDS: Stage = &[
    layer(0, Part::Table("TWPhrases")),
    layer(1, Part::Table("TWVariantsPhrases")),
    layer(2, Part::Table("TWVariants")),
];
const HK_WORDS: Stage = &[
    layer(0, Part::Table("HKPhrases")),
    layer(1, Part::Table("HKVariantsPhrases")),
    layer(2, Part::Table("HKVariants")),
];
const TW_BACK: Stage = &[
    layer(0, Part::Table("TWVariantsRevPhrases")),
    layer(1, Part::Back("TWVariants")),
];
const HK_BACK: Stage = &[
    layer(0, Part::Table("HKVariantsRevPhrases")),
    layer(1, Part::Back("HKVariants")),
];
const TW_WORDS_BACK: Stage = &[
    layer(0, Part::Table("TWPhrasesRev")),
    layer(1, Part::Table("TWVariantsRevPhrases")),
    layer(2, Part::Back("TWVariants")),
];
const HK_WORDS_BACK: Stage = &[
    layer(0, Part::Table("HKPhrasesRev")),
    layer(1, Part::Table("HKVariantsRevPhrases")),
    layer(2, Part::Back("HKVariants")),
];
const JP: Stage = &[layer(1, Part::Back("JPShinjitaiCharacters"))];
const JP_BACK: Stage = &[
    layer(0, Part::Table("JPShinjitaiPhrases")),
    layer(1, Part::Table("JPShinjitaiCharacters")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (name, script) in Script::ALL {
            assert_eq!(name.parse::<Script>().ok(), Some(script));
            assert_eq!(script.to_string(), name);
        }
        let error = "t2x".parse::<Script>().expect_err("unknown").to_string();
        assert!(
            error.contains("`t2x`") && error.contains("tw2sp"),
            "{error}"
        );
    }

    #[test]
    fn ranks_rise_within_a_stage() {
        for (name, script) in Script::ALL {
            for stage in script.recipe().stages {
                assert!(stage.is_sorted_by_key(|layer| layer.rank), "{name}");
            }
        }
    }
}
