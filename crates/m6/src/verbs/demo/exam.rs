//! The exam of the demo: captions, answers and texts beside their controls.

use crate::config::Loaded;
use crate::error::{Code, Failure, OrFail, Result};
use crate::verbs::{common, generate};
use m6_eval::{AnswerItem, AnswerScores, Segment};
use m6_image::Rgb8;
use m6_model::{GenerateOptions, Prompt};
use m6_train::LoadedModel;
use m6_world::{PictureItem, Split, World};
use serde_json::{Value, json};

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
        let chw = pixels(&items, bundle, side);
        let options = exam_options(bundle);
        let views: Vec<&[u8]> = chw.iter().map(Vec::as_slice).collect();
        let captions = generate::captions(&bundle.model, &bundle.tokenizer, &views, &options)?;
        let caption = caption_scores(&items, &captions)?;
        let (mut vqa, answers) = answer_all(bundle, &items, &chw, &options)?;
        // New pictures of combinations that were seen: what is left of the gap is generalisation.
        let known: Vec<PictureItem> = (source.n..source.n + n)
            .map(|i| world.picture(Split::Train, i))
            .collect();
        let known_chw = pixels(&known, bundle, side);
        let (seen, _) = answer_all(bundle, &known, &known_chw, &options)?;
        for kind in KINDS.into_iter().chain(["overall", "blind"]) {
            vqa["seen_combinations"][kind] = seen[kind].clone();
        }
        let shown = items
            .iter()
            .zip(&captions)
            .zip(answers)
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
            caption,
            texts: continue_texts(bundle, &world)?,
        })
    }
}

/// The pictures as the model takes them.
fn pixels(items: &[PictureItem], bundle: &LoadedModel, side: usize) -> Vec<Vec<u8>> {
    let fit = common::fit_of(bundle);
    items
        .iter()
        .map(|item| m6_image::to_chw(&m6_image::resize_square(&item.image, side, fit)))
        .collect()
}

fn exam_options(bundle: &LoadedModel) -> GenerateOptions {
    let marks = bundle.tokenizer.special();
    GenerateOptions {
        max_tokens: 40,
        bos: marks.cls,
        eos: marks.sep,
        banned: vec![marks.pad, marks.unk, marks.cls, marks.mask],
        ..GenerateOptions::default()
    }
}

fn caption_scores(items: &[PictureItem], captions: &[String]) -> Result<Value> {
    let references: Vec<(String, Vec<String>)> = items
        .iter()
        .map(|i| (i.id.clone(), i.captions.clone()))
        .collect();
    let mut candidates: Vec<(String, String)> = items
        .iter()
        .zip(captions)
        .map(|(i, c)| (i.id.clone(), c.clone()))
        .collect();
    let own = m6_eval::score_captions(&references, &candidates, Segment::Char, None).or_data()?;
    common::shift_texts(&mut candidates);
    let shuffled =
        m6_eval::score_captions(&references, &candidates, Segment::Char, None).or_data()?;
    Ok(json!({
        "cider": own.cider, "cider_shuffled": shuffled.cider, "bleu4": own.bleu[3], "bleu4_shuffled": shuffled.bleu[3],
    }))
}

type Answers = Vec<Vec<(String, String, String)>>;

/// Answers every question of every picture, and the same questions blind; accuracy by the paper's types (section 4.2).
fn answer_all(
    bundle: &LoadedModel,
    items: &[PictureItem],
    chw: &[Vec<u8>],
    options: &GenerateOptions,
) -> Result<(Value, Answers)> {
    let mut asked: Vec<(usize, usize)> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        asked.extend((0..item.qa.len()).map(|j| (i, j)));
    }
    let prompts = |with_picture: bool| -> Vec<Prompt> {
        asked
            .iter()
            .map(|&(i, j)| Prompt {
                pictures: if with_picture {
                    chw[i].clone()
                } else {
                    Vec::new()
                },
                source: bundle.tokenizer.encode(&items[i].qa[j].question),
                ..Prompt::default()
            })
            .collect()
    };
    let answer = |prompts: &[Prompt]| -> Result<Vec<String>> {
        let made = m6_model::generate(&bundle.model, prompts, options, &mut |_, _| true)
            .or_fail(Code::Numerics)?;
        Ok(made
            .iter()
            .map(|g| bundle.tokenizer.decode(&g.ids))
            .collect())
    };
    let seen = answer(&prompts(true))?;
    let blind = answer(&prompts(false))?;
    let rows = |said: &[String]| -> Vec<AnswerItem> {
        asked
            .iter()
            .zip(said)
            .map(|(&(i, j), said)| AnswerItem {
                id: format!("{}/{j}", items[i].id),
                kind: Some(items[i].qa[j].kind.name().to_string()),
                expected: vec![items[i].qa[j].answer.clone()],
                given: said.clone(),
            })
            .collect()
    };
    let scored = m6_eval::score_answers(&rows(&seen)).or_data()?;
    let control = m6_eval::score_answers(&rows(&blind)).or_data()?;
    let by_type =
        |scores: &AnswerScores, kind: &str| scores.by_kind.get(kind).map(|score| score.accuracy);
    let mut vqa = serde_json::Map::new();
    let mut blind_by_type = serde_json::Map::new();
    for kind in KINDS {
        vqa.insert(kind.into(), json!(by_type(&scored, kind)));
        blind_by_type.insert(kind.into(), json!(by_type(&control, kind)));
    }
    vqa.insert("overall".into(), json!(scored.accuracy));
    vqa.insert("blind".into(), json!(control.accuracy));
    vqa.insert("blind_by_type".into(), Value::Object(blind_by_type));
    vqa.insert("n".into(), json!(asked.len()));
    let mut answers: Answers = vec![Vec::new(); items.len()];
    for (&(i, j), said) in asked.iter().zip(&seen) {
        answers[i].push((
            items[i].qa[j].question.clone(),
            items[i].qa[j].answer.clone(),
            said.clone(),
        ));
    }
    Ok((Value::Object(vqa), answers))
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
