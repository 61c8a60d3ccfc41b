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

    /// Normalises a line and appends it to `out`; its ending is kept as it is whatever the rules say: `\n`, `\r\n` or none.
    pub fn push_line(&self, line: &str, out: &mut String) {
        let body = line.strip_suffix('\n').unwrap_or(line);
        let body = body.strip_suffix('\r').unwrap_or(body);
        match self.apply(body) {
            // A rule may give a line feed (from an entity): a line stays a line.
            Cow::Owned(text) if text.contains('\n') => {
                let parts = text.split('\n').filter(|part| !part.is_empty());
                out.push_str(&parts.collect::<Vec<_>>().join(" "));
            }
            text => out.push_str(&text),
        }
        out.push_str(&line[body.len()..]);
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
        let check = |line: &str, expected: &str| {
            let mut out = String::from("-");
            normalizer.push_line(line, &mut out);
            assert_eq!(out, format!("-{expected}"));
        };
        check(" 好！！ \r\n", "好！\r\n");
        check("a&#10;b\n", "a b\n");
        check("好", "好");
        check("\n", "\n");
        check("", "");
    }
}
