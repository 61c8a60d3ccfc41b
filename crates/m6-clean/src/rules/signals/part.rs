//! The numbers of a paragraph or a sentence: only what decides over parts, so that they cost little.

use crate::rules::Assets;
use crate::rules::chars::{Class, N_CLASSES, class};
use crate::rules::columns::{columns, share};
use crate::rules::split;

use super::phrases;

columns! {
    /// The numbers of one paragraph (a line with content) or one sentence; shares lie in 0..=1.
    PartSignals {
        /// Characters without white space and control characters.
        n_chars: u64,
        /// Chinese characters.
        n_cjk: u64,
        /// Share of Chinese characters.
        cjk_ratio: f64,
        /// Share of digits.
        digit_ratio: f64,
        /// Share of signs, boxes and emoji.
        symbol_ratio: f64,
        /// Share of replacement characters, private use and unassigned code points.
        broken_ratio: f64,
        /// 1 when the part ends as a sentence does.
        has_end_mark: u64,
        /// Web addresses.
        n_links: u64,
        /// Boilerplate phrases.
        boilerplate_hits: u64,
        /// Boilerplate phrases per 100 characters.
        boilerplate_per_100: f64,
        /// Entries of lists of tier 1.
        list_hits_1: u64,
        /// Entries of lists of tier 2.
        list_hits_2: u64,
        /// Entries of lists of tier 3.
        list_hits_3: u64,
        /// Perplexity a character under the language model; empty without a model, or when no rule asks for it.
        perplexity: Option<f64>,
    }
}

impl PartSignals {
    /// Measures a part; the perplexity only when it is wanted, since it costs more than the rest together.
    pub fn with(assets: &Assets, text: &str, wants_perplexity: bool) -> Self {
        let mut classes = [0u64; N_CLASSES];
        for c in text.chars() {
            classes[class(c) as usize] += 1;
        }
        let n = |class: Class| classes[class as usize];
        let n_chars = classes.iter().sum::<u64>() - n(Class::Space) - n(Class::Control);
        let [list_hits_1, list_hits_2, list_hits_3] = assets.lists.count(text);
        let boilerplate_hits = phrases::count(text);
        let model = assets.lm.as_ref().filter(|_| wants_perplexity);
        Self {
            n_chars,
            n_cjk: n(Class::Han),
            cjk_ratio: share(n(Class::Han), n_chars),
            digit_ratio: share(n(Class::Digit), n_chars),
            symbol_ratio: share(n(Class::Symbol), n_chars),
            broken_ratio: share(n(Class::Broken), n_chars),
            has_end_mark: u64::from(split::has_end_mark(text)),
            n_links: split::links(text).len() as u64,
            boilerplate_hits,
            boilerplate_per_100: 100.0 * share(boilerplate_hits, n_chars),
            list_hits_1,
            list_hits_2,
            list_hits_3,
            perplexity: model.and_then(|model| model.perplexity(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_measured_as_its_document_would_be() {
        let part = PartSignals::with(&Assets::default(), "上一篇：见www.a.cn，第3章★", true);
        assert_eq!((part.n_chars, part.n_cjk), (18, 6));
        assert_eq!(
            (part.n_links, part.boilerplate_hits, part.has_end_mark),
            (1, 1, 0)
        );
        assert_eq!(part.digit_ratio, 1.0 / 18.0);
        assert_eq!(part.symbol_ratio, 1.0 / 18.0);
        assert_eq!(part.boilerplate_per_100, 100.0 / 18.0);
        assert_eq!(part.perplexity, None);
        assert_eq!(
            PartSignals::with(&Assets::default(), "", false),
            PartSignals::default()
        );
    }
}
