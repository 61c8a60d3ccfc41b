//! The exam of the demo: captions, answers and texts beside their controls.

use crate::config::Loaded;
use crate::error::{Code, Failure, OrFail, Result};
use crate::verbs::common;
use m6_eval::{Exam as Questions, ExamTask, Item, Items, Outcome, Settings};
use m6_image::Rgb8;
use m6_model::{GenerateOptions, Prompt};
use m6_train::LoadedModel;
use m6_world::{PictureItem, Split, World};
use serde_json::{Value, json};
use std::sync::Arc;

/// The paper's types of questions (section 4.2).
const KINDS: [&str; 4] = ["detection", "relation", "color", "number"];
/// What the model said of pictures whose combinations it has never seen.
pub struct Exam {
    /// The first pictures.
    pub shown: Vec<Shown>,
    /// Accuracy by type, blind and on combinations that were seen.
    pub vqa: Value,
    /// Scores of captions beside those of shuffled ones.
    pub caption: Value,
    /// Beginnings and how the model goes on.
    pub texts: Vec<(String, String)>,
}

/// One picture of the report.
pub struct Shown {
    /// The picture.
    pub picture: Rgb8,
    /// One true caption.
    pub truth: String,
    /// The model's.
    pub said: String,
    /// Question, true answer, given answer.
    pub qa: Vec<(String, String, String)>,
}

impl Exam {
    /// Questions, captions and texts for `n` pictures of combinations never drawn in training.
    pub fn sit(loaded: &Loaded, bundle: &LoadedModel, n: u64) -> Result<Self> {
        let source = loaded
            .config
            .data
            .sources
            .iter()
            .find(|s| s.kind == m6_data::Kind::World);
        let source =
            source.ok_or_else(|| Failure::usage("the demo needs a source of kind world"))?;
        let side = loaded.config.data.image_side;
        let world = World::new(source.seed, side);
        let items: Vec<PictureItem> = (0..n).map(|i| world.picture(Split::HeldOut, i)).collect();
        let captions = examine(ExamTask::Caption, &items, loaded, bundle)?;
        let answers = examine(ExamTask::Vqa, &items, loaded, bundle)?;
        let mut vqa = vqa_scores(&answers);
        // New pictures of combinations that were seen: what is left of the gap is generalisation.
        let known: Vec<PictureItem> = (source.n..source.n + n)
            .map(|i| world.picture(Split::Train, i))
            .collect();
        let seen = vqa_scores(&examine(ExamTask::Vqa, &known, loaded, bundle)?);
        for kind in KINDS.into_iter().chain(["overall", "blind"]) {
            vqa["seen_combinations"][kind] = seen[kind].clone();
        }
        let shown = items
            .iter()
            .zip(&captions.said)
            .zip(pairs(&items, &answers.said))
            .take(24)
            .map(|((item, said), qa)| Shown {
                picture: item.image.clone(),
                truth: item.captions[0].clone(),
                said: said.clone(),
                qa,
            })
            .collect();
        Ok(Self {
            shown,
            vqa,
            caption: caption_scores(&captions),
            texts: continue_texts(bundle, &world)?,
        })
    }
}

/// Asks a model about pictures of the world, one word after the other at its likeliest.
fn examine(
    task: ExamTask,
    pictures: &[PictureItem],
    loaded: &Loaded,
    bundle: &LoadedModel,
) -> Result<Outcome> {
    let data = &loaded.config.data;
    let (side, fit) = (data.image_side, common::fit_of(bundle));
    let mut items = Items::default();
    for (record, picture) in pictures.iter().enumerate() {
        let square = m6_image::resize_square(&picture.image, side, fit);
        let item = Item {
            id: picture.id.clone(),
            record,
            pictures: Arc::new(m6_image::to_chw(&square)),
            answers: picture.captions.clone(),
            ..Item::default()
        };
        match task {
            ExamTask::Caption => items.items.push(item),
            _ => items
                .items
                .extend(picture.qa.iter().enumerate().map(|(j, qa)| Item {
                    id: format!("{}/{j}", item.id),
                    question: qa.question.clone(),
                    answers: vec![qa.answer.clone()],
                    kind: Some(qa.kind.name().to_owned()),
                    ..item.clone()
                })),
        }
    }
    let exam = Questions {
        task,
        items,
        labels: Vec::new(),
        layout: data.clone(),
        settings: Settings {
            max_tokens: 40,
            beams: 1,
            ..Settings::of(task)
        },
    };
    exam.sit(&bundle.model, &bundle.tokenizer, &mut |_| {})
        .or_fail(Code::Numerics)
}

fn exam_options(bundle: &LoadedModel) -> GenerateOptions {
    let marks = bundle.tokenizer.special();
    GenerateOptions {
        max_tokens: 40,
        bos: marks.cls,
        eos: marks.sep,
        banned: marks.never_written(),
        ..GenerateOptions::default()
    }
}

fn caption_scores(captions: &Outcome) -> Value {
    let (own, shuffled) = (&captions.scores, &captions.control["shuffled"]);
    json!({
        "cider": own["cider"], "cider_shuffled": shuffled["cider"], "bleu4": own["bleu_4"], "bleu4_shuffled": shuffled["bleu_4"],
    })
}

/// Accuracy by the paper's types (section 4.2), and of the same questions blind.
fn vqa_scores(answers: &Outcome) -> Value {
    let blind = &answers.control["blind"];
    let mut vqa =
        json!({"overall": answers.scores["exact"], "blind": blind["exact"], "n": answers.n});
    for kind in KINDS {
        let name = format!("exact/{kind}");
        vqa[kind] = answers.scores.get(&name).cloned().unwrap_or(Value::Null);
        vqa["blind_by_type"][kind] = blind[&name].clone();
    }
    vqa
}

/// Question, true answer and given answer of every picture.
fn pairs(items: &[PictureItem], said: &[String]) -> Vec<Vec<(String, String, String)>> {
    let mut said = said.iter();
    let of_picture = |item: &PictureItem| {
        let asked = item.qa.iter().zip(said.by_ref().take(item.qa.len()));
        let pair = |(qa, said): (&m6_world::Qa, &String)| {
            (qa.question.clone(), qa.answer.clone(), said.clone())
        };
        asked.map(pair).collect()
    };
    items.iter().map(of_picture).collect()
}

/// Beginnings of articles the model has not read to the end, continued greedily.
fn continue_texts(bundle: &LoadedModel, world: &World) -> Result<Vec<(String, String)>> {
    let beginnings: Vec<String> = (0..4)
        .map(|i| world.article(1_000_000 + i).chars().take(10).collect())
        .collect();
    let prompts: Vec<Prompt> = beginnings
        .iter()
        .map(|text| Prompt {
            target: bundle.tokenizer.encode(text),
            ..Prompt::default()
        })
        .collect();
    let made = m6_model::generate(
        &bundle.model,
        &prompts,
        &exam_options(bundle),
        &mut |_, _| true,
    )
    .or_fail(Code::Numerics)?;
    Ok(beginnings
        .into_iter()
        .zip(made.iter().map(|g| bundle.tokenizer.decode(&g.ids)))
        .collect())
}
