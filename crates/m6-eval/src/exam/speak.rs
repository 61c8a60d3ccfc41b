//! What a model says of items: prompts as in training, generated in batches or chosen by likelihood.

use super::{ExamError, ExamTask, Item, Settings};
use m6_data::DataConfig;
use m6_model::rules::{Every, Rule, Span, VerseRule};
use m6_model::{GenerateOptions, Model, Prompt, generate_with, score_target, score_targets};
use m6_text::Tokenizer;
use m6_text::verse::{Ask, Shape, Verse};
use std::collections::HashMap;
use std::sync::Arc;

/// What of an item is shown.
#[derive(Clone, Copy)]
pub(super) enum Sight<'a> {
    /// Everything.
    Whole,
    /// The pictures of this item instead of its own.
    Other(&'a Item),
    /// The question alone: neither picture nor passage.
    Blind,
}

/// A model under examination.
pub(super) struct Speaker<'a> {
    pub task: ExamTask,
    pub model: &'a Model,
    pub tokenizer: &'a Tokenizer,
    pub layout: &'a DataConfig,
    pub settings: &'a Settings,
    /// Labels to choose among (classification).
    pub labels: &'a [String],
}

impl Speaker<'_> {
    /// What the model says of each item; `tell` hears how many are done.
    pub fn say(
        &self,
        shown: &[(&Item, Sight<'_>)],
        tell: &mut dyn FnMut(usize),
    ) -> Result<Vec<String>, ExamError> {
        let mut said = vec![String::new(); shown.len()];
        let mut open = Vec::new();
        for (i, &(item, sight)) in shown.iter().enumerate() {
            let choices = match self.task {
                ExamTask::Classify => self.labels,
                _ => item.choices.as_slice(),
            };
            if choices.is_empty() {
                open.push(i);
                continue;
            }
            said[i] = self.choose(item, sight, choices)?;
            tell(i + 1 - open.len());
        }
        let n_chosen = shown.len() - open.len();
        let batch = self.settings.batch.max(1);
        for (n, part) in open.chunks(batch).enumerate() {
            for (i, text) in part.iter().zip(self.write(shown, part)?) {
                said[*i] = text;
            }
            tell(n_chosen + n * batch + part.len());
        }
        Ok(said)
    }

    /// Writes the items numbered `part` together.
    fn write(
        &self,
        shown: &[(&Item, Sight<'_>)],
        part: &[usize],
    ) -> Result<Vec<String>, ExamError> {
        let (mut prompts, mut shapes) = (Vec::new(), Vec::new());
        for &i in part {
            let (item, sight) = shown[i];
            prompts.push(self.prompt(item, sight));
            shapes.push(shape_of(item));
        }
        let mut options = self.options();
        // Each item draws from its own stream, wherever the batches are cut.
        options.streams = part.iter().map(|&i| i as u64).collect();
        let rules = self.verse_rules(&shapes)?;
        let verse = shapes.iter().flatten();
        let verse = verse.filter_map(|shape| rules.get(shape).map(|rule| rule as &dyn Rule));
        let spans = self.spans(&prompts);
        let each: Vec<&dyn Rule> = verse
            .chain(spans.iter().map(|rule| rule.as_ref()))
            .collect();
        if let Some(n_words) = rules.values().map(VerseRule::n_words).max() {
            options.max_tokens = options.max_tokens.max(n_words + 1);
        }
        let made = generate_with(self.model, &prompts, &each, &options, &mut |_, _| true)?;
        Ok(made.iter().map(|g| self.tokenizer.decode(&g.ids)).collect())
    }

    /// A rule for each prompt where answers are spans: of the passage behind the question, and none where there is no passage.
    fn spans(&self, prompts: &[Prompt]) -> Vec<Box<dyn Rule>> {
        if self.task != ExamTask::Qa || !self.settings.extractive {
            return Vec::new();
        }
        let marks = self.tokenizer.special();
        let rule = |prompt: &Prompt| -> Box<dyn Rule> {
            match prompt.source.iter().position(|&id| id == marks.sep) {
                Some(at) => Box::new(Span::new(&prompt.source[at + 1..], marks.sep)),
                None => Box::new(Every::default()),
            }
        };
        prompts.iter().map(rule).collect()
    }

    fn verse_rules(
        &self,
        shapes: &[Option<Shape>],
    ) -> Result<HashMap<Shape, VerseRule>, ExamError> {
        let mut rules = HashMap::new();
        if self.task != ExamTask::Poem {
            return Ok(rules);
        }
        for shape in shapes.iter().flatten() {
            if !rules.contains_key(shape) {
                let (rhyme, tones) = (self.settings.rhyme, self.settings.tones);
                let rule = VerseRule::new(*shape, self.tokenizer, rhyme, tones)?;
                rule.check_room(self.model.config().max_len)?;
                rules.insert(*shape, rule);
            }
        }
        Ok(rules)
    }

    /// The likeliest of some texts, by the log probability of the whole text with its end; the first among equals.
    fn choose(
        &self,
        item: &Item,
        sight: Sight<'_>,
        choices: &[String],
    ) -> Result<String, ExamError> {
        let marks = self.tokenizer.special();
        let mut targets = Vec::with_capacity(choices.len());
        for choice in choices {
            let mut ids = self.words(item, "choice", choice)?;
            ids.push(marks.sep);
            targets.push(ids);
        }
        let prompt = self.prompt(item, sight);
        let scores = score_targets(self.model, &prompt, marks.cls, &targets)?;
        let better = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
        Ok(choices[(0..choices.len()).fold(0, better)].clone())
    }

    /// Log probability in nats of an item's first answer with its end, and its words with the end.
    pub fn certainty(&self, item: &Item) -> Result<(f64, usize), ExamError> {
        let marks = self.tokenizer.special();
        let answer = item.answers.first().map_or("", String::as_str);
        let mut ids = self.words(item, "answer", answer)?;
        ids.truncate(self.layout.max_text.min(self.model.config().max_len - 1));
        ids.push(marks.sep);
        let prompt = self.prompt(item, Sight::Whole);
        let logprob = score_target(self.model, &prompt, marks.cls, &ids)?;
        Ok((logprob, ids.len()))
    }

    fn words(&self, item: &Item, what: &'static str, text: &str) -> Result<Vec<u32>, ExamError> {
        let ids = self.tokenizer.encode(text);
        match ids.is_empty() {
            true => Err(ExamError::NoWords {
                id: item.id.clone(),
                what,
                text: text.to_owned(),
            }),
            false => Ok(ids),
        }
    }

    fn options(&self) -> GenerateOptions {
        let (marks, how) = (self.tokenizer.special(), self.settings);
        GenerateOptions {
            max_tokens: how.max_tokens,
            min_tokens: how.min_tokens,
            temperature: how.temperature,
            top_k: how.top_k,
            top_p: how.top_p,
            beams: how.beams,
            length_penalty: how.length_penalty,
            no_repeat_ngram: match self.task {
                // Marks come again after the same characters; verse has a rule of its own.
                ExamTask::Poem => 0,
                _ => how.no_repeat_ngram,
            },
            seed: how.seed,
            bos: marks.cls,
            eos: marks.sep,
            banned: marks.never_written(),
            ..GenerateOptions::default()
        }
    }

    /// What the tasks of training put before the answer.
    fn prompt(&self, item: &Item, sight: Sight<'_>) -> Prompt {
        let pictures = match sight {
            Sight::Whole => item.pictures.clone(),
            Sight::Other(other) => other.pictures.clone(),
            Sight::Blind => Arc::default(),
        };
        let passage = match sight {
            Sight::Blind => None,
            _ => item.passage.as_deref(),
        };
        Prompt {
            pictures: pictures.to_vec(),
            source: self.source(item, passage),
            ..Prompt::default()
        }
    }

    fn source(&self, item: &Item, passage: Option<&str>) -> Vec<u32> {
        let room = self.layout.max_text.min(self.model.config().max_len);
        let question = match (self.task, shape_of(item)) {
            (ExamTask::Caption, _) => return Vec::new(),
            (ExamTask::Poem, Some(shape)) => shape.ask(Ask::Title(&item.question)),
            _ => item.question.clone(),
        };
        let mut source = self.tokenizer.encode(&question);
        source.truncate(room);
        let Some(passage) = passage else {
            return source;
        };
        let passage = self.tokenizer.encode(passage);
        let left = room.saturating_sub(source.len() + 1).min(passage.len());
        if left == 0 {
            return source;
        }
        let first = match self.task {
            ExamTask::Classify => 0,
            _ => nearest_part(&passage, &source, left),
        };
        source.push(self.tokenizer.special().sep);
        source.extend(&passage[first..first + left]);
        source
    }
}

/// The form of a poem; `None` for what is none.
fn shape_of(item: &Item) -> Option<Shape> {
    Verse::parse(item.answers.first()?).map(|verse| verse.shape)
}

/// Where the `n` words of a passage begin that hold most of a question's pairs of words, the earliest of equals: training reads the part
/// around the answer, which nobody knows here (ours).
fn nearest_part(passage: &[u32], question: &[u32], n: usize) -> usize {
    if n < 2 {
        return 0;
    }
    let asked: std::collections::HashSet<&[u32]> = question.windows(2).collect();
    let hit = |at: usize| usize::from(passage.get(at..at + 2).is_some_and(|p| asked.contains(p)));
    let mut hits: usize = (0..n - 1).map(hit).sum();
    let (mut best, mut first) = (hits, 0);
    let mut places = vec![(hits, 0)];
    for at in 1..=passage.len() - n {
        hits = hits + hit(at + n - 2) - hit(at - 1);
        places.push((hits, at));
        if hits > best {
            (best, first) = (hits, at);
        }
    }
    if best == 0 {
        return 0;
    }
    // The middle of the first run of equally good places has the hits farthest from its ends.
    let run = places[first..]
        .iter()
        .take_while(|(hits, _)| *hits == best)
        .count();
    first + (run - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_a_passage_that_holds_the_question_is_read() {
        let passage: Vec<u32> = (0..100).collect();
        let first = nearest_part(&passage, &[60, 61, 62], 20);
        assert!((43..=60).contains(&first), "{first}");
        assert!(
            passage[first..first + 20].contains(&60) && passage[first..first + 20].contains(&62)
        );
        assert_eq!(
            nearest_part(&passage, &[200, 201], 20),
            0,
            "nothing to go by"
        );
        assert_eq!(nearest_part(&passage, &[5, 6], 100), 0);
        assert_eq!(nearest_part(&[7], &[7], 1), 0);
    }
}
