//! `m6 tokenizer train|encode|decode|inspect`.

use super::common;
use crate::cli::{Common, TokenizerCodeArgs, TokenizerTrainArgs, TokenizerVerb};
use crate::config;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_text::train::WordPieceTrainer;
use m6_text::{LineForm, Tokenizer};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Lines encoded together, so that threads have work and a stream still flows.
const BATCH: usize = 1024;

/// Runs the verb.
pub fn run(verb: &TokenizerVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    match verb {
        TokenizerVerb::Train(args) => train(args, common, terminal),
        TokenizerVerb::Encode(args) => encode(args, terminal),
        TokenizerVerb::Decode(args) => decode(args, terminal),
        TokenizerVerb::Inspect { vocab } => inspect(vocab, terminal),
    }
}

fn train(args: &TokenizerTrainArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let loaded = args
        .config
        .as_ref()
        .map(|name| config::load(name, &common.set))
        .transpose()?;
    let defaults = loaded
        .as_ref()
        .map(|l| l.config.tokenizer.clone())
        .unwrap_or_default();
    let size = args.size.unwrap_or(defaults.vocab_size);
    let mut trainer = WordPieceTrainer::new(size);
    trainer.min_frequency = defaults.min_frequency;
    let mut n_passages = 0u64;
    for path in &args.text {
        for line in common::lines(path)? {
            trainer.feed(&line?);
            n_passages += 1;
        }
    }
    if let Some(loaded) = &loaded {
        n_passages += common::feed_sources(&loaded.config.data, &mut trainer, terminal)?;
    }
    if n_passages == 0 {
        return Err(Failure::usage("there is no text to train on")
            .hint("give --text FILE or a --config with sources"));
    }
    if common.dry_run {
        terminal.say(&format!(
            "would train {size} entries on {n_passages} passages"
        ));
        return Ok(());
    }
    let tokenizer = trainer.train().or_usage()?;
    let as_list = args.out.extension().is_some_and(|e| e == "txt");
    let text = if as_list {
        tokenizer.to_vocab_txt()
    } else {
        tokenizer.to_json()
    };
    m6_store::atomic::write_file(&args.out, text.as_bytes()).or_usage()?;
    let n = tokenizer.vocab_size();
    terminal.say(&format!(
        "{n} entries from {n_passages} passages -> {}",
        args.out.display()
    ));
    if terminal.json() {
        terminal.object(&json!({"vocab_size": n, "passages": n_passages, "file": args.out}));
    }
    Ok(())
}

fn encode(args: &TokenizerCodeArgs, terminal: &Terminal) -> Result<()> {
    let tokenizer = Tokenizer::from_file(&args.vocab).or_data()?;
    let mut batch = Vec::with_capacity(BATCH);
    let mut reader = LineReader::new(std::io::stdin().lock(), args.json_lines);
    loop {
        let line = match reader.next() {
            Ok(line) => line,
            Err(failure) => {
                write_encoded(&tokenizer, &batch, args.special, terminal)?;
                return Err(failure);
            }
        };
        let ended = line.is_none();
        batch.extend(line);
        if batch.len() == BATCH || ended || !reader.more_is_waiting() {
            write_encoded(&tokenizer, &batch, args.special, terminal)?;
            batch.clear();
        }
        if ended {
            return Ok(());
        }
    }
}

fn write_encoded(
    tokenizer: &Tokenizer,
    texts: &[String],
    special: bool,
    terminal: &Terminal,
) -> Result<()> {
    let form = match terminal.json() {
        true => LineForm::Json,
        false => LineForm::Ids,
    };
    terminal.data(&tokenizer.encode_lines(texts, special, form).or_data()?);
    Ok(())
}

/// Lines of stdin; with `json` each is a JSON string.
struct LineReader<R> {
    inner: BufReader<R>,
    n: usize,
    json: bool,
}

impl<R: Read> LineReader<R> {
    fn new(inner: R, json: bool) -> Self {
        Self {
            inner: BufReader::with_capacity(1 << 20, inner),
            n: 0,
            json,
        }
    }

    fn next(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let n = self.inner.read_until(b'\n', &mut bytes).or_data()?;
        if n == 0 {
            return Ok(None);
        }
        self.n += 1;
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Failure::data(format!("stdin line {}: not UTF-8 at byte {at}", self.n))
        })?;
        if !self.json {
            return Ok(Some(text));
        }
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Failure::data(format!(
                "stdin line {}: --json-lines expects a JSON string: {e}",
                self.n
            ))
        })
    }

    /// Whether another line is here already; otherwise whoever wrote the last one may be waiting for the answer.
    fn more_is_waiting(&self) -> bool {
        self.inner.buffer().contains(&b'\n')
    }
}

fn decode(args: &TokenizerCodeArgs, terminal: &Terminal) -> Result<()> {
    let tokenizer = Tokenizer::from_file(&args.vocab).or_data()?;
    let mut reader = LineReader::new(std::io::stdin().lock(), false);
    while let Some(line) = reader.next()? {
        let ids =
            parse_ids(&line).map_err(|e| Failure::data(format!("stdin line {}: {e}", reader.n)))?;
        let size = tokenizer.vocab_size();
        if let Some(id) = ids.iter().find(|id| **id as usize >= size) {
            return Err(Failure::data(format!(
                "stdin line {}: id {id} is outside 0..{size}",
                reader.n
            )));
        }
        let text = tokenizer.decode(&ids);
        if terminal.json() {
            terminal.object(&json!({ "text": text }));
        } else {
            terminal.data(&format!("{text}\n"));
        }
    }
    Ok(())
}

/// Ids from `{"ids":[...]}`, `[...]`, or numbers with blanks between.
fn parse_ids(line: &str) -> std::result::Result<Vec<u32>, String> {
    let trimmed = line.trim();
    if trimmed.starts_with(['{', '[']) {
        let value: serde_json::Value = serde_json::from_str(trimmed).map_err(|e| e.to_string())?;
        let list = value.get("ids").unwrap_or(&value);
        return serde_json::from_value(list.clone())
            .map_err(|e| format!("expected a list of ids: {e}"));
    }
    trimmed
        .split_whitespace()
        .map(|word| word.parse().map_err(|_| format!("`{word}` is not an id")))
        .collect()
}

fn inspect(vocab: &Path, terminal: &Terminal) -> Result<()> {
    let tokenizer = Tokenizer::from_file(vocab).or_data()?;
    let size = tokenizer.vocab_size();
    let tokens: Vec<&str> = (0..size as u32)
        .filter_map(|id| tokenizer.token(id))
        .collect();
    let n_pieces = tokens.iter().filter(|t| t.starts_with("##")).count();
    let n_cjk = tokens
        .iter()
        .filter(|t| {
            t.chars().count() == 1 && t.chars().all(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
        })
        .count();
    let marks = tokenizer.special();
    let special = json!({"pad": marks.pad, "unk": marks.unk, "cls": marks.cls, "sep": marks.sep, "mask": marks.mask});
    let row = json!({"vocab_size": size, "cjk_characters": n_cjk, "continuation_pieces": n_pieces, "special": special});
    if terminal.json() {
        terminal.object(&row);
    } else {
        terminal.data(&format!("{size} entries: {n_cjk} CJK characters, {n_pieces} continuation pieces\nspecial {special}\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_three_forms() {
        for line in ["{\"ids\":[1,2]}", "[1,2]", "1 2"] {
            assert_eq!(parse_ids(line), Ok(vec![1, 2]));
        }
        assert!(parse_ids("1 x").unwrap_err().contains("`x`"));
        assert!(parse_ids("[-1]").is_err());
    }

    #[test]
    fn lines_name_their_number_when_they_are_not_text() {
        let mut reader = LineReader::new(&b"ok\n\xff\n"[..], false);
        assert_eq!(reader.next().ok().flatten().as_deref(), Some("ok"));
        assert!(
            reader
                .next()
                .expect_err("bad byte")
                .render()
                .contains("line 2")
        );
    }
}
