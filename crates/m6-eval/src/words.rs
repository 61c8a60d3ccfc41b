//! Words of a run without ideographs, as CMRC 2018's script has them cut: the rules of NLTK's `word_tokenize`, written anew.

/// Characters that are words of their own wherever they stand. What the script takes for punctuation is gone before.
const ALONE: &str = "«‘„»;@#$%&?!()[]{}<>‒–—―";
/// What may stand between the last full stop and the end.
const CLOSERS: &str = "])}>\"'»";
/// What may begin a sentence right after a full stop.
const BEGINNERS: &str = "])};@'\"({[";
/// Words that keep their full stop inside a sentence (ours; NLTK has a model of them, learned from newspapers).
const ABBREVIATIONS: [&str; 28] = [
    "a.d", "a.m", "b.c", "co", "col", "corp", "dec", "dr", "feb", "gen", "inc", "jan", "jr", "ltd",
    "mr", "mrs", "ms", "nov", "oct", "p.m", "ph.d", "prof", "sept", "sr", "st", "u.n", "u.s", "vs",
];
/// What is left of a contraction after its apostrophe, and is not opened by it as by a quotation mark.
const CLITICS: [&str; 8] = ["re", "ve", "ll", "m", "t", "s", "d", "n"];

/// Adds the words of a lower-case run to `out`.
pub(crate) fn words(run: &str, out: &mut Vec<String>) {
    let mut parts = run.split_whitespace().peekable();
    let mut is_first = true;
    while let Some(part) = parts.next() {
        let part: Vec<char> = part.chars().collect();
        let ends = parts.peek().is_none_or(|next| ends_sentence(&part, next));
        let cut = Cut {
            part: &part,
            is_first,
            last_stop: last_stop(&part).filter(|_| ends),
            opened: None,
            word: String::new(),
            out: &mut *out,
        };
        cut.run();
        is_first = false;
    }
}

/// Where the full stop stands that only closing marks follow, if it is one alone.
fn last_stop(part: &[char]) -> Option<usize> {
    let at = part.iter().rposition(|c| !CLOSERS.contains(*c))?;
    let is_alone = at == 0 || part[at - 1] != '.';
    (part[at] == '.' && is_alone).then_some(at)
}

/// Whether the sentence is over before `next`: not after an abbreviation, nor after an initial or a number before a letter.
fn ends_sentence(part: &[char], next: &str) -> bool {
    let Some(stop) = last_stop(part) else {
        return false;
    };
    let word = word_before(part, stop);
    let is_counted = word.chars().all(char::is_numeric) || is_initial(&word);
    !(is_abbreviation(&word) || is_counted && next.starts_with(char::is_alphabetic))
}

fn word_before(part: &[char], stop: usize) -> String {
    let is_mark = |c: &char| ALONE.contains(*c) || matches!(c, '"' | '\'');
    let from = part[..stop]
        .iter()
        .rposition(is_mark)
        .map_or(0, |at| at + 1);
    part[from..stop].iter().collect()
}

fn is_initial(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
}

fn is_abbreviation(word: &str) -> bool {
    ABBREVIATIONS.contains(&word)
}

/// One part between blanks.
struct Cut<'a> {
    part: &'a [char],
    /// Whether the run begins with it.
    is_first: bool,
    /// The full stop that is a word of its own.
    last_stop: Option<usize>,
    /// The place after the last opening quotation mark.
    opened: Option<usize>,
    word: String,
    out: &'a mut Vec<String>,
}

impl Cut<'_> {
    fn run(mut self) {
        let mut at = 0;
        while let Some(&c) = self.part.get(at) {
            let rest = &self.part[at..];
            let same = rest.iter().take_while(|other| **other == c).count();
            at += match c {
                '"' => self.quote(at, 1),
                '\'' if same >= 2 => self.quote(at, 2),
                '\'' => self.apostrophe(at),
                '.' if same >= 2 => self.alone(&".".repeat(same), same),
                _ if self.is_apart(at) => self.alone(c.encode_utf8(&mut [0; 4]), 1),
                _ => {
                    self.word.push(c);
                    1
                }
            };
        }
        self.flush();
    }

    /// Whether what stands at a place belongs to no word before it; the end does not.
    fn is_apart(&self, at: usize) -> bool {
        match self.part.get(at) {
            None | Some('"') => true,
            Some(',') => !self.part.get(at + 1).is_some_and(|c| is_digit(*c)),
            Some('.') => self.is_stop(at),
            Some(c) => ALONE.contains(*c),
        }
    }

    fn is_stop(&self, at: usize) -> bool {
        let rest = &self.part[at + 1..];
        let begins = rest.first().is_some_and(|c| BEGINNERS.contains(*c));
        let goes_on = begins && rest.iter().any(|c| !CLOSERS.contains(*c));
        let word = word_before(self.part, at);
        self.last_stop == Some(at) || goes_on && !is_abbreviation(&word) && !is_initial(&word)
    }

    fn alone(&mut self, word: &str, n: usize) -> usize {
        self.flush();
        self.out.push(word.to_owned());
        n
    }

    /// A double quotation mark opens at the beginning, after a bracket or another that opens, and before a sentence; else it closes.
    fn quote(&mut self, at: usize, n: usize) -> usize {
        let next = self.part.get(at + n);
        let opens = match at.checked_sub(1).map(|before| self.part[before]) {
            None => n == 1 || !self.is_first,
            Some('.' | '!' | '?') => next.is_some_and(|c| !CLOSERS.contains(*c)),
            Some(before) => "([{<".contains(before) || self.opened == Some(at),
        };
        if opens {
            self.opened = Some(at + n);
        }
        self.alone(if opens { "``" } else { "''" }, n)
    }

    /// A single one opens a quotation, closes one, or begins the second half of a contraction.
    fn apostrophe(&mut self, at: usize) -> usize {
        let rest = self.part[at + 1..].iter();
        let after: String = rest.take_while(|c| is_word(**c)).collect();
        let ends = self.is_apart(at + 1 + after.chars().count());
        let follows_word = at > 0 && is_word(self.part[at - 1]);
        let is_clitic = CLITICS.contains(&after.as_str());
        let opens = !follows_word && !after.is_empty() && !is_clitic;
        if opens || after.is_empty() && ends {
            return self.alone("'", 1);
        }
        if is_clitic && ends && !self.word.is_empty() {
            match after.as_str() {
                "n" => {}
                "t" => self.take_n(),
                _ => self.flush(),
            }
        }
        self.word.push('\'');
        1
    }

    /// `don't` is `do` and `n't`.
    fn take_n(&mut self) {
        if self.word.ends_with('n') && self.word.len() > 1 {
            self.word.pop();
            self.flush();
            self.word.push('n');
        }
    }

    /// Ends a word; some that are written as one are two.
    fn flush(&mut self) {
        let word = std::mem::take(&mut self.word);
        let two = match word.as_str() {
            "" => return,
            "cannot" => ("can", "not"),
            "d'ye" => ("d", "'ye"),
            "gimme" => ("gim", "me"),
            "gonna" => ("gon", "na"),
            "gotta" => ("got", "ta"),
            "lemme" => ("lem", "me"),
            "more'n" => ("more", "'n"),
            "wanna" => ("wan", "na"),
            _ => return self.out.push(word),
        };
        self.out.extend([two.0.to_owned(), two.1.to_owned()]);
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '０'..='９')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: &str, expected: &[&str]) {
        let mut found = Vec::new();
        words(run, &mut found);
        assert_eq!(found, expected, "{run:?}");
    }

    #[test]
    fn words_are_those_of_the_script() {
        check(
            "in the u.s. army. he left at 5 p.m. today",
            &[
                "in", "the", "u.s.", "army", ".", "he", "left", "at", "5", "p.m.", "today",
            ],
        );
        check("2.5% of dr. who", &["2.5", "%", "of", "dr.", "who"]);
        check("a&b, c", &["a", "&", "b", ",", "c"]);
        check("$1,000.5", &["$", "1,000.5"]);
        check("x@y.com", &["x", "@", "y.com"]);
        check("foo.bar...", &["foo.bar", "..."]);
        check("<a>;b!", &["<", "a", ">", ";", "b", "!"]);
        check("a..b", &["a", "..", "b"]);
        check("3.", &["3", "."]);
        check("a.b.c.", &["a.b.c", "."]);
        check("\"x\"", &["``", "x", "''"]);
        check("a—b c|d", &["a", "—", "b", "c|d"]);
        check(
            "\"r. d. duvauceli\"",
            &["``", "r.", "d.", "duvauceli", "''"],
        );
        check("r.s.;a", &["r.s", ".", ";", "a"]);
        check("\"\"oxford\"\"", &["``", "``", "oxford", "''", "''"]);
        check("col. john at a.d. 5", &["col.", "john", "at", "a.d.", "5"]);
        check("a,b 1,2 1,", &["a", ",", "b", "1,2", "1", ","]);
        check("naïve\u{3000}é…", &["naïve", "é…"]);
    }

    #[test]
    fn contractions_and_quotations_are_told_apart() {
        check("can't", &["ca", "n't"]);
        check(
            "tom's, it'll we're",
            &["tom", "'s", ",", "it", "'ll", "we", "'re"],
        );
        check("'x' 'tis", &["'", "x", "'", "'", "tis"]);
        check("rock'n'roll", &["rock'n'roll"]);
        check(
            "cannot gonna d'ye more'n",
            &["can", "not", "gon", "na", "d", "'ye", "more", "'n"],
        );
    }
}
