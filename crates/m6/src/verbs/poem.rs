//! `m6 generate poem`: verse by constrained search (paper section 4.5).

use super::common;
use crate::cli::Common;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use clap::builder::TypedValueParser;
use m6_eval::{ExamTask, Settings};
use m6_model::rules::{Rule, VerseRule};
use m6_model::{GenerateOptions, Prompt};
use m6_text::Tokenizer;
use m6_text::verse::{Ask, Shape, is_ideograph};
use serde_json::{Value, json};
use std::path::PathBuf;

/// `m6 generate poem`.
#[derive(Args, Debug, Clone)]
pub struct PoemArgs {
    /// Run folder, checkpoint folder or exported model.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// What the poem is about.
    #[arg(long, value_name = "T", required_unless_present_any = ["first_line", "titles"])]
    pub title: Option<String>,
    /// File of titles, one a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["title", "first_line"])]
    pub titles: Option<PathBuf>,
    /// Its first line, to go on from.
    #[arg(long, value_name = "L", conflicts_with = "title")]
    pub first_line: Option<String>,
    /// Characters of a line: 5 or 7.
    #[arg(long, value_name = "N")]
    pub form: usize,
    /// Lines: an even number from 4 to 16.
    #[arg(long, value_name = "N")]
    pub lines: usize,
    /// The even lines rhyme, by the 14 groups of Zhonghua Xinyun.
    #[arg(long)]
    pub rhyme: bool,
    /// Level and oblique tones alternate in a line and face each other in a couplet.
    #[arg(long)]
    pub tones: bool,
    /// Poems to write, a line of output each.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000).map(|n| n as usize))]
    pub n: usize,
    /// 0 takes the likeliest character.
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Draws among the K likeliest; 0 among all.
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Draws among the likeliest that together have this probability.
    #[arg(long, value_name = "P")]
    pub top_p: Option<f64>,
    /// Beam search with so many beams instead of sampling.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub beams: usize,
}

/// Poems that are written side by side.
const N_TOGETHER: usize = 64;

/// What one poem is asked for by.
enum Asked {
    Title(String),
    FirstLine(String),
}

/// Runs the verb.
pub fn run(args: &PoemArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let shape = Shape::new(args.form, args.lines).map_err(|error| {
        Failure::usage(format!(
            "--form {} --lines {}: {error}",
            args.form, args.lines
        ))
    })?;
    if args.n > 1 && args.beams > 1 {
        return Err(
            Failure::usage("--n with --beams: a search finds one poem, not several")
                .hint("leave out --beams to draw several"),
        );
    }
    let asks = asks(args)?;
    let bundle = common::load_model(&args.model, terminal)?;
    let tokenizer = &bundle.tokenizer;
    let max_len = bundle.model.config().max_len;
    let rule = VerseRule::new(shape, tokenizer, args.rhyme, args.tones).or_usage()?;
    rule.check_room(max_len).or_usage()?;
    let prompts = asks
        .iter()
        .map(|ask| prompt(ask, shape, tokenizer, max_len));
    let prompts: Vec<Prompt> = prompts.collect::<Result<_>>()?;
    if common.dry_run {
        terminal.say(&format!(
            "would write {} poem(s) of {} lines",
            args.n * prompts.len(),
            args.lines
        ));
        return Ok(());
    }
    let seed = common.seed.unwrap_or(1);
    let mut options = options(args, &rule, tokenizer, seed);
    let n_poems = prompts.len() * args.n;
    for first in (0..n_poems).step_by(N_TOGETHER) {
        let places = first..n_poems.min(first + N_TOGETHER);
        let asked: Vec<Prompt> = places
            .clone()
            .map(|i| prompts[i / args.n].clone())
            .collect();
        let rules: Vec<&dyn Rule> = vec![&rule; asked.len()];
        // Each poem draws from its own stream, wherever the batches are cut.
        options.streams = places.clone().map(|i| i as u64).collect();
        let made =
            m6_model::generate_with(&bundle.model, &asked, &rules, &options, &mut |_, _| true)
                .or_usage()?;
        for ((i, prompt), generated) in places.zip(&asked).zip(&made) {
            let title = match &asks[i / args.n] {
                Asked::Title(title) => title.as_str(),
                Asked::FirstLine(_) => "",
            };
            let ids = [prompt.target.as_slice(), &generated.ids].concat();
            let text = tokenizer.decode(&ids);
            let lines: Vec<&str> = text
                .split(['，', '。'])
                .filter(|line| !line.is_empty())
                .collect();
            write(title, &lines, generated.logprob, terminal)?;
        }
    }
    Ok(())
}

fn write(title: &str, lines: &[&str], logprob: f64, terminal: &Terminal) -> Result<()> {
    if !terminal.json() {
        let couplets = lines
            .chunks(2)
            .map(|pair| format!("{}。\n", pair.join("，")));
        terminal.data(&couplets.chain(["\n".to_owned()]).collect::<String>());
        return Ok(());
    }
    let [rhyme, tones] = measured(lines)?;
    let poem = json!({"title": title, "lines": lines, "logprob": logprob, "rhyme": rhyme == 1.0, "tones": tones});
    terminal.object(&poem);
    Ok(())
}

/// Whether the poem rhymes (0 or 1) and the share of the rules of tone it keeps, by the scorer of poems.
fn measured(lines: &[&str]) -> Result<[f64; 2]> {
    let line = json!({"id": 0, "lines": lines}).to_string();
    let measured = m6_eval::measure_poem(line.as_bytes(), None).or_fail(Code::Check)?;
    let item = &measured.per_item[0];
    let figure = |name: &str| item[name].as_f64();
    match (figure("constraint"), figure("rhyme"), figure("tones")) {
        (Some(1.0), Some(rhyme), Some(tones)) => Ok([rhyme, tones]),
        _ => Err(Failure::new(
            Code::Check,
            format!(
                "what was written is no poem of this form: {}",
                Value::from(lines.join("，"))
            ),
        )),
    }
}

fn options(args: &PoemArgs, rule: &VerseRule, tokenizer: &Tokenizer, seed: u64) -> GenerateOptions {
    let (marks, usual) = (tokenizer.special(), Settings::of(ExamTask::Poem));
    GenerateOptions {
        max_tokens: rule.n_words() + 1,
        temperature: match args.beams {
            1 => args.temperature.unwrap_or(usual.temperature),
            _ => args.temperature.unwrap_or(0.0),
        },
        top_k: args.top_k.unwrap_or(usual.top_k),
        top_p: args.top_p.unwrap_or(usual.top_p),
        beams: args.beams,
        seed,
        bos: marks.cls,
        eos: marks.sep,
        banned: marks.never_written(),
        ..GenerateOptions::default()
    }
}

/// What is asked for: a first line, or titles.
fn asks(args: &PoemArgs) -> Result<Vec<Asked>> {
    if let Some(line) = &args.first_line {
        return Ok(vec![Asked::FirstLine(line.clone())]);
    }
    let given: Vec<String> = args.title.iter().cloned().collect();
    let titles = common::with_lines(&given, args.titles.as_deref())?;
    if titles.iter().any(|title| title.trim().is_empty()) {
        return Err(Failure::usage("a title is empty"));
    }
    let trimmed = titles
        .iter()
        .map(|title| Asked::Title(title.trim().to_owned()));
    Ok(trimmed.collect())
}

/// The words that ask, and the first line where it is given.
fn prompt(ask: &Asked, shape: Shape, tokenizer: &Tokenizer, max_len: usize) -> Result<Prompt> {
    let (ask, target) = match ask {
        Asked::FirstLine(line) => {
            check_line(line, shape, tokenizer)?;
            let target = tokenizer.encode(&format!("{line}{}", Shape::mark(0)));
            (Ask::FirstLine(line), target)
        }
        Asked::Title(title) => (Ask::Title(title), Vec::new()),
    };
    let source = tokenizer.encode(&shape.ask(ask));
    if source.len() > max_len {
        return Err(Failure::usage(format!(
            "the title is too long: {} tokens with the words that name the form, and the model reads {max_len}",
            source.len()
        )));
    }
    Ok(Prompt {
        source,
        target,
        ..Prompt::default()
    })
}

/// A first line must be of the form, and the vocabulary must have its characters.
fn check_line(line: &str, shape: Shape, tokenizer: &Tokenizer) -> Result<()> {
    let n = line.chars().count();
    if n != shape.n_chars() || !line.chars().all(is_ideograph) {
        return Err(Failure::usage(format!(
            "--first-line {line}: expected {} Chinese characters without punctuation, got {n} characters",
            shape.n_chars()
        )));
    }
    let unknown = |c: &char| tokenizer.id(c.encode_utf8(&mut [0; 4])).is_none();
    match line.chars().find(unknown) {
        Some(c) => Err(Failure::usage(format!(
            "--first-line {line}: the model's vocabulary has no {c}"
        ))),
        None => Ok(()),
    }
}
