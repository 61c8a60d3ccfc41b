//! `m6 corpus normalize`: stdin to stdout, line by line.

use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use m6_clean::normalize::{Converter, Normalizer, Rules, Script, Tables};
use rayon::prelude::*;
use serde_json::json;
use std::borrow::Cow;
use std::io::Read;
use std::path::PathBuf;

/// Bytes asked of stdin at a time; what has come is answered at once, so that a stream flows.
const READ: usize = 8 << 20;

/// Bytes one thread takes at a time, up to the next line's end. A fixed number: the result does not depend on threads.
const CHUNK: usize = 128 << 10;

/// Longest line, in bytes.
const MAX_LINE: usize = 1 << 30;

/// `m6 corpus normalize`.
#[derive(Args, Debug, Clone)]
pub struct NormalizeArgs {
    /// Script conversion, named as in OpenCC: t2s s2t s2tw tw2s s2hk hk2s s2twp tw2sp s2hkp hk2sp t2tw tw2t t2hk hk2t t2jp jp2t.
    #[arg(long, value_name = "CONFIG", conflicts_with = "t2s")]
    pub opencc: Option<String>,
    /// Traditional to simplified: short for --opencc t2s.
    #[arg(long)]
    pub t2s: bool,
    /// Folder of OpenCC text dictionaries, which go before those the program carries.
    #[arg(long, value_name = "DIR")]
    pub tables: Option<PathBuf>,
    /// Cleaning rules: default, m6 (default with the whitelist), none.
    #[arg(long, value_name = "NAME")]
    pub rules: Option<String>,
    /// Keeps only Chinese and English characters, digits and punctuation.
    #[arg(long)]
    pub whitelist: bool,
}

impl NormalizeArgs {
    /// What the arguments ask for.
    fn normalizer(&self) -> Result<Normalizer> {
        let named = self
            .rules
            .as_deref()
            .map(Rules::named)
            .transpose()
            .or_usage()?;
        let rules = match (named, self.whitelist) {
            (named, false) => named,
            (named, true) => Some(Rules {
                whitelist: true,
                ..named.unwrap_or(Rules::NONE)
            }),
        };
        let tables = match &self.tables {
            Some(folder) => Tables::with_folder(folder).or_usage()?,
            None => Tables::built_in(),
        };
        let name = self.opencc.as_deref().or(self.t2s.then_some("t2s"));
        let script = name.map(str::parse::<Script>).transpose().or_usage()?;
        // Alone it is OpenCC's conversion to the letter; with cleaning it is a step of a corpus, which is run again over its own output.
        let converter = script.map(|script| match &rules {
            Some(_) => Converter::steady(script, &tables),
            None => Converter::with_tables(script, &tables),
        });
        let converter = converter.transpose().or_usage()?;
        if rules.is_none() && converter.is_none() {
            return Err(Failure::usage("there is nothing to do")
                .hint("give --opencc CONFIG, --rules default or --whitelist"));
        }
        Ok(Normalizer { rules, converter })
    }
}

/// Runs the verb.
pub fn run(args: &NormalizeArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let normalizer = args.normalizer()?;
    if common.dry_run {
        terminal.say("would normalise stdin, line by line");
        return Ok(());
    }
    let mut lines = Lines::new(std::io::stdin().lock());
    let mut n_bad = 0;
    while let Some(block) = lines.next_block()? {
        for (text, n) in normalize(&normalizer, block, terminal.json()) {
            n_bad += n;
            terminal.data(&text);
        }
    }
    if n_bad > 0 {
        terminal.say(&format!(
            "{n_bad} lines were not UTF-8: their bad bytes became U+FFFD"
        ));
    }
    Ok(())
}

/// Whole lines normalised, in parts, each with how many of its lines were not UTF-8.
fn normalize(normalizer: &Normalizer, block: &[u8], json: bool) -> Vec<(String, usize)> {
    chunks(block)
        .into_par_iter()
        .map(|chunk| normalize_chunk(normalizer, chunk, json))
        .collect()
}

fn normalize_chunk(normalizer: &Normalizer, chunk: &[u8], json: bool) -> (String, usize) {
    let mut out = String::with_capacity(chunk.len());
    let Ok(text) = std::str::from_utf8(chunk) else {
        let mut n_bad = 0;
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            n_bad += usize::from(matches!(text, Cow::Owned(_)));
            push_line(normalizer, &text, json, &mut out);
        }
        return (out, n_bad);
    };
    match (&normalizer.rules, &normalizer.converter) {
        // Script conversion never looks across a line's end, so sound text is converted in one go.
        (None, Some(converter)) if !json => out = converter.convert(text),
        _ => {
            for line in text.split_inclusive('\n') {
                push_line(normalizer, line, json, &mut out);
            }
        }
    }
    (out, 0)
}

fn push_line(normalizer: &Normalizer, line: &str, json: bool, out: &mut String) {
    if !json {
        return normalizer.push_line(line, out);
    }
    let mut text = String::with_capacity(line.len());
    normalizer.push_line(line, &mut text);
    let row = json!({ "text": text.trim_end_matches(['\r', '\n']) });
    out.push_str(&format!("{row}\n"));
}

/// A block cut after line ends, each part at least [`CHUNK`] bytes but the last.
fn chunks(block: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let mut rest = block;
    while !rest.is_empty() {
        let from = CHUNK.min(rest.len());
        let line_end = rest[from..].iter().position(|byte| *byte == b'\n');
        let (chunk, next) = rest.split_at(line_end.map_or(rest.len(), |n| from + n + 1));
        chunks.push(chunk);
        rest = next;
    }
    chunks
}

/// Blocks of whole lines, as they come.
struct Lines<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were given out.
    given: usize,
    /// Bytes of the buffer that were read.
    filled: usize,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; READ],
            given: 0,
            filled: 0,
            ended: false,
        }
    }

    /// The lines that have come whole; the last line of all may lack its ending.
    fn next_block(&mut self) -> Result<Option<&[u8]>> {
        self.buffer.copy_within(self.given..self.filled, 0);
        self.filled -= self.given;
        self.given = 0;
        while !self.ended {
            if self.filled == self.buffer.len() {
                if self.filled >= MAX_LINE {
                    return Err(Failure::data(format!(
                        "stdin has a line of more than {MAX_LINE} bytes"
                    )));
                }
                self.buffer.resize(self.filled * 2, 0);
            }
            let n = match self.inner.read(&mut self.buffer[self.filled..]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.or_data()?,
            };
            let fresh = &self.buffer[self.filled..self.filled + n];
            let line_end = fresh.iter().rposition(|byte| *byte == b'\n');
            self.ended = n == 0;
            if let Some(at) = line_end {
                self.given = self.filled + at + 1;
                self.filled += n;
                return Ok(Some(&self.buffer[..self.given]));
            }
            self.filled += n;
        }
        self.given = self.filled;
        Ok(Some(&self.buffer[..self.given]).filter(|block| !block.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn blocks_are_whole_lines_and_lose_nothing() {
        let text = "第一行\n\n第三行，比较长\r\n末行".as_bytes();
        for step in [1, 2, 5, 7, 100] {
            let mut lines = Lines::new(Slow(text, step));
            let mut all = Vec::new();
            while let Some(block) = lines.next_block().expect("reads") {
                assert!(block.ends_with(b"\n") || all.len() + block.len() == text.len());
                all.extend_from_slice(block);
            }
            assert_eq!(all, text, "{step}");
        }
    }

    #[test]
    fn chunks_end_with_lines() {
        let block = "行\n".repeat(CHUNK).into_bytes();
        let chunks = chunks(&block);
        assert!(chunks.len() > 3);
        assert!(chunks.iter().all(|chunk| chunk.ends_with(b"\n")));
        assert_eq!(chunks.concat(), block);
    }

    #[test]
    fn bad_lines_are_counted_and_stay() {
        let args = NormalizeArgs {
            opencc: None,
            t2s: true,
            tables: None,
            rules: None,
            whitelist: false,
        };
        let normalizer = args.normalizer().expect("builds");
        let parts = normalize(&normalizer, b"\xe6\xbc\xa2\xff\n\xe6\xbc\xa2\r\n", false);
        assert_eq!(parts, [("汉\u{fffd}\n汉\r\n".to_string(), 1)]);
        let parts = normalize(&normalizer, "漢\"\n".as_bytes(), true);
        assert_eq!(parts, [("{\"text\":\"汉\\\"\"}\n".to_string(), 0)]);
    }

    #[test]
    fn nothing_to_do_is_refused() {
        let args = NormalizeArgs {
            opencc: None,
            t2s: false,
            tables: None,
            rules: None,
            whitelist: false,
        };
        assert!(args.normalizer().is_err());
    }
}
