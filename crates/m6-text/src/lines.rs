//! Texts to lines of ids, as a stream wants them. Here and not in the binary, whose code is not compiled for speed.

use crate::Tokenizer;
use rayon::prelude::*;

/// What a line of ids looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineForm {
    /// Ids with blanks between.
    Ids,
    /// `{"ids":[...],"tokens":[...],"offsets":[[from,to],...]}`, offsets in Unicode characters.
    Json,
}

impl Tokenizer {
    /// One line a text, each ended by a newline, on all threads and in the order of the texts; `special` puts `[CLS]` before and `[SEP]` after.
    ///
    /// # Errors
    /// None in practice: numbers and strings have a JSON form.
    pub fn encode_lines(
        &self,
        texts: &[String],
        special: bool,
        form: LineForm,
    ) -> serde_json::Result<String> {
        let lines: Vec<String> = texts
            .par_iter()
            .map(|text| match form {
                LineForm::Ids => Ok(self.id_line(text, special)),
                LineForm::Json => {
                    let mut line = serde_json::to_string(&self.encode_full(text, special))?;
                    line.push('\n');
                    Ok(line)
                }
            })
            .collect::<serde_json::Result<_>>()?;
        Ok(lines.concat())
    }

    fn id_line(&self, text: &str, special: bool) -> String {
        let mut ids = self.encode(text);
        if special {
            let marks = self.special();
            ids.insert(0, marks.cls);
            ids.push(marks.sep);
        }
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        ids.join(" ") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_is_what_the_text_encodes_to() {
        let entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "色"];
        let tokenizer = Tokenizer::from_tokens(entries.map(String::from).to_vec()).unwrap();
        let texts = ["红 色".to_owned(), String::new()];
        let lines = |special, form| tokenizer.encode_lines(&texts, special, form).unwrap();
        assert_eq!(lines(false, LineForm::Ids), "5 6\n\n");
        assert_eq!(lines(true, LineForm::Ids), "2 5 6 3\n2 3\n");
        let first = json!({"ids": [5, 6], "tokens": ["红", "色"], "offsets": [[0, 1], [2, 3]]});
        let second = json!({"ids": [], "tokens": [], "offsets": []});
        assert_eq!(lines(false, LineForm::Json), format!("{first}\n{second}\n"));
    }
}
