//! Text made uniform: cleaning rules and conversion between simplified and traditional Chinese (paper section 1.2 for
//! the whitelist and repeated punctuation; the rest is ours).

pub mod opencc;
pub mod rules;

pub use opencc::{Converter, Script, Tables};
pub use rules::Rules;

use std::borrow::Cow;

/// Cleaning, then script conversion; either may be left out.
#[derive(Default)]
pub struct Normalizer {
    /// Cleaning rules.
    pub rules: Option<Rules>,
    /// Script conversion.
    pub converter: Option<Converter>,
}

impl Normalizer {
    /// Normalises a text; borrowed when nothing is asked for or cleaning finds nothing.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = match &self.rules {
            Some(rules) => rules.apply(text),
            None => Cow::Borrowed(text),
        };
        match &self.converter {
            Some(converter) => Cow::Owned(converter.convert(&text)),
            None => text,
        }
    }

    /// Normalises a line with its ending, which is kept as it is whatever the rules say: `\n`, `\r\n` or none.
    pub fn apply_line(&self, line: &str) -> String {
        let body = line.strip_suffix('\n').unwrap_or(line);
        let body = body.strip_suffix('\r').unwrap_or(body);
        let ending = &line[body.len()..];
        // A rule may give a line feed (from an entity): a line stays a line.
        self.apply(body).replace('\n', " ") + ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_go_before_the_script() {
        let normalizer = Normalizer {
            rules: Some(Rules::default()),
            converter: Some(Converter::new(Script::T2s).expect("builds")),
        };
        assert_eq!(normalizer.apply("乾\0燥！！"), "干燥！");
        assert_eq!(Normalizer::default().apply("乾\0燥！！"), "乾\0燥！！");
    }

    #[test]
    fn lines_keep_their_endings() {
        let normalizer = Normalizer {
            rules: Some(Rules::default()),
            converter: None,
        };
        let check = |line: &str, expected: &str| assert_eq!(normalizer.apply_line(line), expected);
        check(" 好！！ \r\n", "好！\r\n");
        check("a&#10;b\n", "a b\n");
        check("好", "好");
        check("\n", "\n");
        check("", "");
    }
}
