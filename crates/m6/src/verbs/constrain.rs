//! Constraints of `m6 generate text|caption|answer`: a choice, a template, limits in characters.

use crate::cli::GenerateArgs;
use crate::error::{Code, Failure, OrFail, Result};
use m6_model::Generated;
use m6_model::rules::{Choices, Length, Part, Rule, Skeleton, char_widths};
use m6_text::Tokenizer;

/// Stands for a field of a template.
const FIELD: char = '*';

/// What the command line asks of an output besides its length in tokens.
pub enum Constraint {
    /// Nothing.
    Free,
    /// One of some texts, with the words of the longest.
    Choice(Choices, usize),
    /// A form with fields, and the text between them.
    Template(Skeleton, Vec<String>),
    /// Limits in characters.
    Length(Length),
}

impl Constraint {
    /// What the arguments say.
    pub fn of(how: &GenerateArgs, tokenizer: &Tokenizer) -> Result<Self> {
        let eos = tokenizer.special().sep;
        if !how.choice.is_empty() {
            let texts = how
                .choice
                .iter()
                .map(|text| words(tokenizer, "--choice", text));
            let texts = texts.collect::<Result<Vec<_>>>()?;
            let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
            return Ok(Self::Choice(Choices::new(&texts, eos).or_usage()?, longest));
        }
        if let Some(template) = &how.template {
            return Self::template(template, how.max_tokens, tokenizer);
        }
        let (min, max) = (
            how.min_chars.unwrap_or(0),
            how.max_chars.unwrap_or(usize::MAX),
        );
        if min > max || max == 0 {
            return Err(Failure::usage(format!(
                "--min-chars {min} and --max-chars {max} leave no length"
            )));
        }
        Ok(match how.min_chars.is_some() || how.max_chars.is_some() {
            true => Self::Length(Length::chars(min..=max, char_widths(tokenizer), eos)),
            false => Self::Free,
        })
    }

    fn template(template: &str, max_tokens: usize, tokenizer: &Tokenizer) -> Result<Self> {
        let texts: Vec<String> = template.split(FIELD).map(str::to_owned).collect();
        let n_fields = texts.len() - 1;
        if n_fields == 0 {
            return Err(
                Failure::usage(format!("--template {template} has no field"))
                    .hint("a * stands for what is to be filled in"),
            );
        }
        let mut fixed = Vec::with_capacity(texts.len());
        for text in &texts {
            fixed.push(match text.is_empty() {
                true => Vec::new(),
                false => words(tokenizer, "--template", text)?,
            });
        }
        let n_fixed: usize = fixed.iter().map(Vec::len).sum();
        let room = max_tokens.saturating_sub(n_fixed) / n_fields;
        if room == 0 {
            return Err(Failure::usage(format!(
                "--template has {n_fixed} fixed tokens and {n_fields} fields; --max-tokens {max_tokens} leaves no room"
            )));
        }
        let mut parts = Vec::new();
        for (i, words) in fixed.into_iter().enumerate() {
            if i > 0 {
                parts.push(Part::Field(room));
            }
            if !words.is_empty() {
                parts.push(Part::Words(words));
            }
        }
        let skeleton = Skeleton::new(parts, tokenizer.special().sep).or_usage()?;
        Ok(Self::Template(skeleton, texts))
    }

    /// The rule to write under.
    pub fn rule(&self) -> Option<&dyn Rule> {
        match self {
            Self::Free => None,
            Self::Choice(rule, _) => Some(rule),
            Self::Template(rule, _) => Some(rule),
            Self::Length(rule) => Some(rule),
        }
    }

    /// Tokens that the output may have, where the constraint says so; with room for the end.
    pub fn max_words(&self) -> Option<usize> {
        match self {
            Self::Choice(_, longest) => Some(longest + 1),
            Self::Template(skeleton, _) => Some(skeleton.max_words() + 1),
            Self::Free | Self::Length(_) => None,
        }
    }

    /// The text of an output; a template's own words are given as they were written.
    pub fn text(&self, generated: &Generated, tokenizer: &Tokenizer) -> Result<String> {
        let Self::Template(skeleton, texts) = self else {
            return Ok(tokenizer.decode(&generated.ids));
        };
        if !generated.finished {
            return Err(Failure::new(
                Code::Check,
                "the model has no room for the whole template; shorten it",
            ));
        }
        let mut out = texts[0].clone();
        for (field, behind) in skeleton.fields(&generated.ids).iter().zip(&texts[1..]) {
            out.push_str(&tokenizer.decode(field));
            out.push_str(behind);
        }
        Ok(out)
    }
}

/// A text as words; all of them must be in the vocabulary, since an unknown one cannot be written.
fn words(tokenizer: &Tokenizer, flag: &str, text: &str) -> Result<Vec<u32>> {
    let ids = tokenizer.encode(text);
    if ids.is_empty() || ids.contains(&tokenizer.special().unk) {
        return Err(Failure::usage(format!(
            "{flag} {text}: the model's vocabulary has not all of it, so that it can never be written"
        )));
    }
    Ok(ids)
}
