//! Cleaning of texts, line by line.

use crate::build::config::NormalizeConfig;
use m6_clean::normalize::{Converter, Normalizer, Rules, Script, Tables};

/// The cleaning of a build, set up once.
pub struct Cleaner(Normalizer);

impl Cleaner {
    /// Sets up rules and script.
    ///
    /// # Errors
    /// A script that does not exist, with those that do.
    pub fn new(config: &NormalizeConfig) -> std::result::Result<Self, String> {
        let converter = match config.opencc.as_str() {
            "" => None,
            name => {
                let script: Script = name
                    .parse()
                    .map_err(|error: crate::Error| error.to_string())?;
                let converter = Converter::steady(script, &Tables::built_in());
                Some(converter.map_err(|error| error.to_string())?)
            }
        };
        Ok(Self(Normalizer {
            rules: Some(config.rules).filter(|rules| *rules != Rules::NONE),
            converter,
        }))
    }

    /// A text of any number of lines, cleaned; blanks at its ends are gone.
    pub fn text(&self, text: &str) -> String {
        self.0.apply(text).trim().to_string()
    }

    /// A text made one line, cleaned.
    pub fn line(&self, text: &str) -> String {
        let clean = self.text(text);
        match clean.contains(['\n', '\r']) {
            true => clean.split_whitespace().collect::<Vec<_>>().join(" "),
            false => clean,
        }
    }

    /// The lines of a text, cleaned, without blank ones; and for each line of the text how many lines of the result stand before it.
    pub fn lines<'t>(&self, lines: impl Iterator<Item = &'t str>) -> (String, Vec<usize>) {
        let (mut out, mut before, mut n) = (String::new(), vec![0], 0);
        for line in lines {
            let clean = self.text(line);
            for piece in clean
                .lines()
                .map(str::trim)
                .filter(|piece| !piece.is_empty())
            {
                if n > 0 {
                    out.push('\n');
                }
                out.push_str(piece);
                n += 1;
            }
            before.push(n);
        }
        (out, before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cleaned_and_places_kept() {
        let cleaner = Cleaner::new(&NormalizeConfig::default()).expect("a script that exists");
        let lines = ["漢字！！！！", "  ", "ＡＢＣ\n\n二", "三"];
        let (text, before) = cleaner.lines(lines.into_iter());
        assert!(
            text.starts_with("汉字！") && text.contains("\nABC\n二\n三"),
            "{text}"
        );
        assert_eq!(before, [0, 1, 1, 3, 4]);
        assert_eq!(cleaner.line("一\n 二"), "一 二");
    }

    #[test]
    fn an_unknown_script_is_named() {
        let config = NormalizeConfig {
            opencc: "t2x".to_string(),
            ..NormalizeConfig::default()
        };
        let Err(problem) = Cleaner::new(&config) else {
            panic!("there is no t2x");
        };
        assert!(problem.contains("t2x"), "{problem}");
    }
}
