//! `m6 generate text|caption|answer`; drawing is in [`super::draw`], verse in [`super::poem`].

use super::common::{self, Pictures};
use super::constrain::Constraint;
use crate::cli::{Common, GenerateArgs, GenerateVerb, PictureArgs};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use m6_model::rules::Rule;
use m6_model::{GenerateOptions, Generated, Model, Prompt};
use m6_text::Tokenizer;
use m6_train::LoadedModel;
use serde_json::json;
use std::io::IsTerminal;

/// Runs the verb.
pub fn run(verb: &GenerateVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    match verb {
        GenerateVerb::Text {
            prompt,
            prompts,
            how,
        } => {
            let prompts = common::with_lines(prompt, prompts.as_deref())?;
            text(&prompts, how, common, terminal)
        }
        GenerateVerb::Caption { pictures, how } => caption(pictures, how, common, terminal),
        GenerateVerb::Answer {
            question,
            questions,
            pictures,
            how,
        } => {
            let questions = common::with_lines(question, questions.as_deref())?;
            answer(&questions, pictures, how, common, terminal)
        }
        GenerateVerb::Poem(args) => super::poem::run(args, common, terminal),
        GenerateVerb::Image(args) => super::draw::run(args, common, terminal),
        GenerateVerb::Match(args) => super::eval_match::generate(args, common, terminal),
    }
}

fn text(
    prompts: &[String],
    how: &GenerateArgs,
    common: &Common,
    terminal: &Terminal,
) -> Result<()> {
    let bundle = load(how, terminal)?;
    let prompt = |i: usize| Prompt {
        target: bundle.tokenizer.encode(&prompts[i]),
        ..Prompt::default()
    };
    let plain = |prompt: &str, text: &str| format!("{prompt}{text}");
    finish(&bundle, (prompts, &prompt), how, common, terminal, &plain)
}

fn caption(
    pictures: &PictureArgs,
    how: &GenerateArgs,
    common: &Common,
    terminal: &Terminal,
) -> Result<()> {
    let bundle = load(how, terminal)?;
    let pictures = load_pictures(&bundle, pictures)?;
    if pictures.found.is_empty() {
        return Err(Failure::usage("no picture to caption")
            .hint("--image FILE, --images DIR or --tar FILE.tar"));
    }
    let ids: Vec<String> = pictures.found.iter().map(|p| p.id.clone()).collect();
    let prompt = |i: usize| Prompt {
        pictures: pictures.found[i].chw.clone(),
        ..Prompt::default()
    };
    finish(&bundle, (&ids, &prompt), how, common, terminal, &only_text)?;
    pictures.verdict()
}

fn answer(
    questions: &[String],
    pictures: &PictureArgs,
    how: &GenerateArgs,
    common: &Common,
    terminal: &Terminal,
) -> Result<()> {
    let bundle = load(how, terminal)?;
    let pictures = load_pictures(&bundle, pictures)?;
    if pictures.found.is_empty() {
        pictures.verdict()?;
    }
    let sources = questions.iter().map(|text| bundle.tokenizer.encode(text));
    let sources: Vec<Vec<u32>> = sources.collect();
    // Every question about every picture, or about none.
    let n = pictures.found.len().max(1);
    let id = |i: usize| {
        let picture = pictures.found.get(i % n).map_or("", |p| p.id.as_str());
        match questions.len() {
            1 => picture.to_owned(),
            _ => format!("{picture}#{}", i / n + 1),
        }
    };
    let ids: Vec<String> = (0..n * questions.len()).map(id).collect();
    let prompt = |i: usize| Prompt {
        pictures: pictures
            .found
            .get(i % n)
            .map_or(Vec::new(), |p| p.chw.clone()),
        source: sources[i / n].clone(),
        ..Prompt::default()
    };
    finish(&bundle, (&ids, &prompt), how, common, terminal, &only_text)?;
    pictures.verdict()
}

fn only_text(_: &str, text: &str) -> String {
    text.to_owned()
}

fn load(how: &GenerateArgs, terminal: &Terminal) -> Result<LoadedModel> {
    common::load_model(&how.model, terminal)
}

fn load_pictures(bundle: &LoadedModel, args: &PictureArgs) -> Result<Pictures> {
    let side = bundle.model.config().patches.image_side;
    common::pictures(args, side, common::fit_of(bundle))
}

/// Options of the model's generator from the command line.
pub fn options(how: &GenerateArgs, tokenizer: &Tokenizer, seed: u64) -> GenerateOptions {
    let marks = tokenizer.special();
    GenerateOptions {
        max_tokens: how.max_tokens,
        min_tokens: how.min_tokens,
        temperature: how.temperature,
        top_k: how.top_k,
        top_p: how.top_p,
        beams: how.beams,
        length_penalty: how.length_penalty,
        no_repeat_ngram: how.no_repeat_ngram,
        seed,
        streams: Vec::new(),
        bos: marks.cls,
        eos: marks.sep,
        banned: marks.never_written(),
    }
}

/// Captions of pictures, as the verb gives them; the demo and pretraining samples use it too.
pub fn captions(
    model: &Model,
    tokenizer: &Tokenizer,
    pictures: &[&[u8]],
    options: &GenerateOptions,
) -> Result<Vec<String>> {
    let prompts: Vec<Prompt> = pictures
        .iter()
        .map(|chw| Prompt {
            pictures: chw.to_vec(),
            ..Prompt::default()
        })
        .collect();
    let made =
        m6_model::generate(model, &prompts, options, &mut |_, _| true).or_fail(Code::Numerics)?;
    Ok(made.iter().map(|g| tokenizer.decode(&g.ids)).collect())
}

/// Generates in batches and writes a line for each prompt; one prompt at a terminal streams as it is made.
fn finish(
    bundle: &LoadedModel,
    (ids, prompt): (&[String], &dyn Fn(usize) -> Prompt),
    how: &GenerateArgs,
    common: &Common,
    terminal: &Terminal,
    plain: &dyn Fn(&str, &str) -> String,
) -> Result<()> {
    if common.dry_run {
        terminal.say(&format!(
            "would generate for {} prompt(s), at most {} tokens each",
            ids.len(),
            how.max_tokens
        ));
        return Ok(());
    }
    let mut options = options(how, &bundle.tokenizer, common.seed.unwrap_or(1));
    let constraint = Constraint::of(how, &bundle.tokenizer)?;
    if let Some(n_words) = constraint.max_words() {
        options.max_tokens = n_words;
    }
    let streams =
        ids.len() == 1 && how.beams == 1 && !terminal.json() && std::io::stdout().is_terminal();
    for (i, batch) in ids.chunks(how.batch.max(1)).enumerate() {
        let first = i * how.batch.max(1);
        let places = first..first + batch.len();
        let prompts: Vec<Prompt> = places.clone().map(prompt).collect();
        // Each prompt draws from its own stream, wherever the batches are cut.
        options.streams = places.map(|place| place as u64).collect();
        let mut shown = Stream::new(&bundle.tokenizer, terminal);
        if streams {
            terminal.data(&plain(&batch[0], ""));
        }
        let mut on_token = |_: usize, id: u32| {
            if streams {
                shown.push(id);
            }
            true
        };
        let rules: Vec<&dyn Rule> = prompts.iter().filter_map(|_| constraint.rule()).collect();
        let (model, on_token) = (&bundle.model, &mut on_token);
        let made =
            m6_model::generate_with(model, &prompts, &rules, &options, on_token).or_usage()?;
        for (id, generated) in batch.iter().zip(&made) {
            let text = constraint.text(generated, &bundle.tokenizer)?;
            write_one(id, &text, generated, terminal, streams, plain);
        }
    }
    Ok(())
}

fn write_one(
    id: &str,
    text: &str,
    generated: &Generated,
    terminal: &Terminal,
    streamed: bool,
    plain: &dyn Fn(&str, &str) -> String,
) {
    if terminal.json() {
        terminal.object(&json!({"id": id, "text": text, "logprob": generated.logprob}));
    } else if streamed {
        terminal.data("\n");
    } else {
        terminal.data(&format!("{}\n", plain(id, text)));
    }
}

/// Shows text while it is made: what the tokens so far decode to, less what was shown.
struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    terminal: &'a Terminal,
    ids: Vec<u32>,
    shown: String,
}

impl<'a> Stream<'a> {
    fn new(tokenizer: &'a Tokenizer, terminal: &'a Terminal) -> Self {
        Self {
            tokenizer,
            terminal,
            ids: Vec::new(),
            shown: String::new(),
        }
    }

    fn push(&mut self, id: u32) {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids);
        match text.strip_prefix(&self.shown) {
            Some(new) => self.terminal.data(new),
            // A continuation piece joined what stood apart: show the line again.
            None => self.terminal.data(&format!("\n{text}")),
        }
        self.shown = text;
    }
}
