//! Verse of equal lines as text: its form, and the plain words with which one is asked for (paper section 4.5; the words are ours).

/// Fewest and most lines of a poem (paper section 4.5).
pub const N_LINES: std::ops::RangeInclusive<usize> = 4..=16;

/// Marks that end a line in collections of poems.
const ENDS: &str = "，。？！；、：,.?!;:";

/// How many lines of how many characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    n_chars: usize,
    n_lines: usize,
}

/// A form that no poem has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Lines of another length.
    #[error("a line of {got} characters; expected form 5 or 7")]
    Chars {
        /// Characters of a line.
        got: usize,
    },
    /// A number of lines that no poem has.
    #[error("{got} lines; expected an even number from 4 to 16")]
    Lines {
        /// Lines.
        got: usize,
    },
}

/// What a poem is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Its title.
    Title(&'a str),
    /// Its first line, without the mark at its end.
    FirstLine(&'a str),
}

impl Shape {
    /// `n_lines` lines of `n_chars` characters each.
    ///
    /// # Errors
    /// [`ShapeError`] unless `n_chars` is 5 or 7 and `n_lines` even and from 4 to 16.
    pub fn new(n_chars: usize, n_lines: usize) -> Result<Self, ShapeError> {
        if !matches!(n_chars, 5 | 7) {
            return Err(ShapeError::Chars { got: n_chars });
        }
        if !N_LINES.contains(&n_lines) || !n_lines.is_multiple_of(2) {
            return Err(ShapeError::Lines { got: n_lines });
        }
        Ok(Self { n_chars, n_lines })
    }

    /// Characters of a line: 5 or 7.
    pub fn n_chars(self) -> usize {
        self.n_chars
    }

    /// Lines: even, 4 to 16.
    pub fn n_lines(self) -> usize {
        self.n_lines
    }

    /// The mark at the end of line `line`, counted from 0.
    pub fn mark(line: usize) -> char {
        ['，', '。'][line % 2]
    }

    /// The words that ask for such a poem: `五言八句诗，题春望。` or `五言八句诗，首句国破山河在。`
    pub fn ask(self, what: Ask<'_>) -> String {
        let chars = if self.n_chars == 5 { "五" } else { "七" };
        let lines = ["四", "六", "八", "十", "十二", "十四", "十六"][(self.n_lines - 4) / 2];
        let (name, words) = match what {
            Ask::Title(title) => ("题", title),
            Ask::FirstLine(line) => ("首句", line),
        };
        format!("{chars}言{lines}句诗，{name}{words}。")
    }
}

/// A poem of equal lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verse {
    /// Its form.
    pub shape: Shape,
    /// Its lines without marks.
    pub lines: Vec<String>,
}

impl Verse {
    /// The poem in a text, if it has a [`Shape`] and nothing but ideographs in its lines.
    pub fn parse(text: &str) -> Option<Self> {
        let is_end = |c: char| ENDS.contains(c) || c.is_whitespace();
        let lines: Vec<&str> = text.split(is_end).filter(|line| !line.is_empty()).collect();
        let n_chars = lines.first()?.chars().count();
        let shape = Shape::new(n_chars, lines.len()).ok()?;
        let fits = |line: &&str| line.chars().count() == n_chars && line.chars().all(is_ideograph);
        lines.iter().all(fits).then(|| Self {
            shape,
            lines: lines.into_iter().map(str::to_owned).collect(),
        })
    }

    /// The poem with `，` and `。` after its lines in turn.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (i, line) in self.lines.iter().enumerate() {
            text.push_str(line);
            text.push(Shape::mark(i));
        }
        text
    }
}

/// Whether a character may stand in a line: the unified ideographs, which every BERT vocabulary isolates.
pub fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2a6df}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_even_numbers_of_lines_of_five_or_seven_are_forms() {
        for (chars, lines, good) in [
            (5, 4, true),
            (7, 16, true),
            (6, 8, false),
            (5, 7, false),
            (5, 2, false),
            (7, 18, false),
        ] {
            assert_eq!(Shape::new(chars, lines).is_ok(), good, "{chars} {lines}");
        }
        let message = Shape::new(6, 8).unwrap_err().to_string();
        assert!(message.contains("form 5 or 7"), "{message}");
    }

    #[test]
    fn a_poem_is_read_whatever_marks_its_lines() {
        let poem = Verse::parse("床前明月光，疑是地上霜？\n举头望明月；低头思故乡。").unwrap();
        assert_eq!((poem.shape.n_chars(), poem.shape.n_lines()), (5, 4));
        assert_eq!(
            poem.text(),
            "床前明月光，疑是地上霜。举头望明月，低头思故乡。"
        );
        assert_eq!(Verse::parse(&poem.text()), Some(poem));
        for bad in [
            "",
            "床前明月光，疑是地上霜。",
            "床前明月光，疑是地上霜。举头望明，低头思故乡。",
            "床前明月光，疑是地上霜。举头望明a，低头思故乡。",
        ] {
            assert_eq!(Verse::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_form_is_asked_for_in_plain_words() {
        let ask = |chars, lines, what| Shape::new(chars, lines).unwrap().ask(what);
        assert_eq!(ask(5, 8, Ask::Title("春望")), "五言八句诗，题春望。");
        assert_eq!(
            ask(7, 14, Ask::FirstLine("两个黄鹂鸣翠柳")),
            "七言十四句诗，首句两个黄鹂鸣翠柳。"
        );
    }
}
