//! Verse of equal lines, on request rhymed and in regular tones (paper section 4.5; rhyme, tones and the ban on repeated pairs are ours).

use super::{Next, Rule, Text};
use crate::error::{Error, Result};
use m6_text::Tokenizer;
use m6_text::rhyme::{Sound, sound};
use m6_text::verse::{Shape, is_ideograph};
use std::borrow::Cow;
use std::collections::HashMap;

/// A target that is a poem of a [`Shape`] from its first word to its last: lines of that many ideographs of the vocabulary, `，` and `。`
/// after them in turn, then the end. The words of the prompt are the beginning of the poem.
///
/// With rhyme, the even lines end in different characters of one group of [`m6_text::rhyme`]. With tones, the second, fourth and sixth
/// characters of a line alternate between level and oblique and the second ones of a couplet differ; any reading counts. No pair of
/// neighbouring characters comes twice in the lines, and no rhyme twice, as long as something else is left. Some word is always left, so that
/// every poem that is not cut short keeps its form.
#[derive(Clone, Debug)]
pub struct VerseRule {
    shape: Shape,
    /// Ids of ideographs, in rising order, each with its sound.
    chars: Vec<u32>,
    sounds: HashMap<u32, Sound>,
    marks: [u32; 2],
    eos: u32,
    rhyme: bool,
    tones: bool,
}

impl VerseRule {
    /// The rule of a form for a vocabulary.
    ///
    /// # Errors
    /// [`Error::Options`] when the vocabulary lacks what the form needs: ideographs, the marks `，` and `。`, characters of known rhyme,
    /// level and oblique ones.
    pub fn new(shape: Shape, tokenizer: &Tokenizer, rhyme: bool, tones: bool) -> Result<Self> {
        let (mut chars, mut sounds) = (Vec::new(), HashMap::new());
        for id in 0..tokenizer.vocab_size() as u32 {
            let mut letters = tokenizer.token(id).unwrap_or_default().chars();
            if let (Some(c), None) = (letters.next(), letters.next())
                && is_ideograph(c)
            {
                chars.push(id);
                sounds.insert(id, sound(c).unwrap_or_default());
            }
        }
        let mark = |line| tokenizer.id(Shape::mark(line).encode_utf8(&mut [0; 4]));
        let some = |has: &dyn Fn(&Sound) -> bool| sounds.values().any(has);
        let (Some(comma), Some(stop), false) = (mark(0), mark(1), chars.is_empty()) else {
            let what = "the vocabulary has no ideographs or lacks the marks `，` and `。`, so that no verse can be written with it";
            return Err(Error::Options(what.into()));
        };
        if rhyme && !some(&|s| s.groups != 0) {
            let what = "the vocabulary has no character of known rhyme";
            return Err(Error::Options(what.into()));
        }
        if tones && !(some(&|s| s.level) && some(&|s| s.oblique)) {
            let what = "the vocabulary has no level or no oblique characters";
            return Err(Error::Options(what.into()));
        }
        Ok(Self {
            shape,
            chars,
            sounds,
            marks: [comma, stop],
            eos: tokenizer.special().sep,
            rhyme,
            tones,
        })
    }

    /// Words of the whole poem, the end token not counted.
    pub fn n_words(&self) -> usize {
        self.shape.n_lines() * (self.shape.n_chars() + 1)
    }

    /// Refuses a model of so few positions that the poem would be cut.
    ///
    /// # Errors
    /// [`Error::Options`].
    pub fn check_room(&self, max_len: usize) -> Result<()> {
        match self.n_words() < max_len {
            true => Ok(()),
            false => Err(Error::Options(format!(
                "a poem of {} lines takes {} positions; the model has {max_len}",
                self.shape.n_lines(),
                self.n_words() + 1
            ))),
        }
    }

    fn sound(&self, id: u32) -> Sound {
        self.sounds.get(&id).copied().unwrap_or_default()
    }

    /// The characters of line `line` as far as they are written.
    fn line<'a>(&self, text: &'a [u32], line: usize) -> &'a [u32] {
        let start = line * (self.shape.n_chars() + 1);
        let end = (start + self.shape.n_chars()).min(text.len());
        &text[start.min(end)..end]
    }

    /// Groups that the rhymes so far have in common, and the rhymes; all groups before the first.
    fn rhymes(&self, text: &[u32], line: usize) -> (u16, Vec<u32>) {
        let ends = (1..line)
            .step_by(2)
            .filter_map(|l| self.line(text, l).last().copied());
        let ends: Vec<u32> = ends.collect();
        let groups = ends.iter().map(|&id| self.sound(id).groups);
        (groups.fold(u16::MAX, |common, g| common & g), ends)
    }

    /// What the next character's tone must differ from: one before it or, in the first line, anything known. `None` where tone is free.
    fn opposite(&self, text: &[u32], line: usize, column: usize) -> Option<Sound> {
        if !self.tones || column.is_multiple_of(2) {
            return None;
        }
        let before = match (column, line % 2) {
            (1, 0) => {
                return Some(Sound {
                    groups: 0,
                    level: true,
                    oblique: true,
                });
            }
            (1, _) => self.line(text, line - 1).get(1),
            _ => self.line(text, line).get(column - 2),
        };
        before
            .map(|&id| self.sound(id))
            .filter(|s| s.level || s.oblique)
    }
}

impl Rule for VerseRule {
    fn next(&self, text: Text<'_>) -> Next<'_> {
        let ids = text.ids;
        let only = |id: u32| Next::Only(Cow::Owned(vec![id]));
        let n_chars = self.shape.n_chars();
        let (line, column) = (ids.len() / (n_chars + 1), ids.len() % (n_chars + 1));
        if line >= self.shape.n_lines() {
            return only(self.eos);
        }
        if column == n_chars {
            return only(self.marks[line % 2]);
        }
        let mut left = Cow::Borrowed(self.chars.as_slice());
        if let Some(other) = self.opposite(ids, line, column) {
            left.to_mut().retain(|&id| differ(self.sound(id), other));
        }
        if self.rhyme && line % 2 == 1 && column + 1 == n_chars {
            let (groups, used) = self.rhymes(ids, line);
            left.to_mut()
                .retain(|&id| self.sound(id).groups & groups != 0);
            spare(&mut left, &used);
        }
        if let (Some(&last), 1..) = (ids.last(), column) {
            spare(&mut left, &self.followers(ids, last));
        }
        Next::Only(left)
    }
}

impl VerseRule {
    /// Characters that stand right behind `last` in some line.
    fn followers(&self, ids: &[u32], last: u32) -> Vec<u32> {
        let behind = ids.windows(2).filter(|pair| pair[0] == last);
        behind
            .map(|pair| pair[1])
            .filter(|id| self.sounds.contains_key(id))
            .collect()
    }
}

/// Whether two characters have different tones in some reading.
fn differ(a: Sound, b: Sound) -> bool {
    a.level && b.oblique || a.oblique && b.level
}

/// Takes `words` out unless nothing would be left.
fn spare(left: &mut Cow<'_, [u32]>, words: &[u32]) {
    if !words.is_empty() && left.iter().any(|id| !words.contains(id)) {
        left.to_mut().retain(|id| !words.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(chars: &str) -> Tokenizer {
        let names = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "##月", "，", "。",
        ];
        let names = names.into_iter().map(String::from);
        Tokenizer::from_tokens(names.chain(chars.chars().map(String::from)).collect()).unwrap()
    }

    fn rule(tokenizer: &Tokenizer, rhyme: bool, tones: bool) -> VerseRule {
        VerseRule::new(Shape::new(5, 4).unwrap(), tokenizer, rhyme, tones).unwrap()
    }

    fn check(rule: &VerseRule, tokenizer: &Tokenizer, written: &str, expected: &str) {
        let ids = tokenizer.encode(written);
        let next = rule.next(Text {
            ids: &ids,
            n_given: 0,
        });
        let Next::Only(words) = next else {
            panic!("{next:?} after {written}")
        };
        let words: Vec<&str> = words.iter().filter_map(|&id| tokenizer.token(id)).collect();
        assert_eq!(words.concat(), expected, "after {written}");
    }

    #[test]
    fn lines_marks_and_the_end_are_where_they_belong() {
        let tokenizer = tokenizer("天地人");
        let rule = rule(&tokenizer, false, false);
        check(&rule, &tokenizer, "", "天地人");
        check(&rule, &tokenizer, "天", "天地人");
        check(&rule, &tokenizer, "天地人天人", "，");
        check(&rule, &tokenizer, "天地人天人，人人地地天", "。");
        let whole = "天地人天人，人人地地天。天天人地天，人人地地天。";
        check(&rule, &tokenizer, whole, "[SEP]");
        assert_eq!(rule.n_words(), 24);
    }

    #[test]
    fn pairs_do_not_come_twice_while_others_are_left() {
        let tokenizer = tokenizer("天地人");
        let rule = rule(&tokenizer, false, false);
        check(&rule, &tokenizer, "天地人天", "天人");
        check(&rule, &tokenizer, "天地天人天", "，");
        check(&rule, &tokenizer, "天地天人人，天天", "天地人");
        // Across the end of a line there is no pair.
        check(&rule, &tokenizer, "天地人人天，", "天地人");
    }

    #[test]
    fn rhymes_share_a_group_and_are_not_the_same() {
        let tokenizer = tokenizer("光霜乡月");
        let rule = rule(&tokenizer, true, false);
        check(&rule, &tokenizer, "月月乡光", "光霜乡月");
        let couplet = "乡光霜乡月，光光霜霜霜。";
        check(
            &rule,
            &tokenizer,
            &format!("{couplet}月月月月月，月月月月"),
            "光乡",
        );
    }

    #[test]
    fn tones_alternate_inside_lines_and_couplets() {
        // Level, level, oblique, oblique.
        let tokenizer = tokenizer("天人地月");
        let rule = rule(&tokenizer, false, true);
        check(&rule, &tokenizer, "天", "天人地月");
        check(&rule, &tokenizer, "天地天", "天人");
        check(&rule, &tokenizer, "天地天天天，人", "天人");
        check(&rule, &tokenizer, "天人天地天，人", "地月");
    }

    #[test]
    fn a_vocabulary_without_verse_is_refused() {
        let shape = Shape::new(7, 8).unwrap();
        let message = |tokenizer: &Tokenizer, rhyme, tones| {
            VerseRule::new(shape, tokenizer, rhyme, tones)
                .unwrap_err()
                .to_string()
        };
        assert!(message(&tokenizer(""), false, false).contains("ideographs"));
        assert!(message(&tokenizer("天人"), false, true).contains("oblique"));
    }
}
