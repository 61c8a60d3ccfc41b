//! `m6 eval`; here `image`: what drawn pictures show, read from their pixels, and how far they lie from real ones.

use super::common as shared;
use super::draw::{self, Studio};
use super::enlarge;
use super::exams;
use super::feature_sets::{self, Measure};
use super::rerank::Rerank;
use super::retrieval;
use crate::cli::{Common, DrawHow, EvalImageArgs, EvalVerb};
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_eval::ExamTask;
use m6_image::{Limits, Rgb8};
use m6_store::atomic::DirCommit;
use m6_world::{Accuracy, Measured, Split, Wanted, World, judge_measured, measure, wanted};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Side of the world's own pictures when no model draws them, in pixels.
const TRUTH_SIDE: usize = 64;

/// A picture and what it should show.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Picture file inside its folder.
    pub file: String,
    /// The prompt, for people.
    #[serde(default)]
    pub prompt: String,
    /// The groups that it asks for; empty for a prompt of which they are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<Wanted>,
}

/// Runs the verb.
pub fn run(verb: &EvalVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    match verb {
        EvalVerb::Image(args) => image(args, common, terminal),
        EvalVerb::Match(args) => super::eval_match::run(args, common, terminal),
        EvalVerb::Retrieval(args) => super::eval_retrieval::run(args, common, terminal),
        EvalVerb::Caption(args) => exams::run(ExamTask::Caption, args, common, terminal),
        EvalVerb::Vqa(args) => exams::run(ExamTask::Vqa, args, common, terminal),
        EvalVerb::Qa(args) => exams::run(ExamTask::Qa, args, common, terminal),
        EvalVerb::Poem(args) => exams::run(ExamTask::Poem, args, common, terminal),
        EvalVerb::Classify(args) => exams::run(ExamTask::Classify, args, common, terminal),
    }
}

fn image(args: &EvalImageArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    if args.enlarge {
        return enlarge::evaluate(args, common, terminal);
    }
    if args.retrieval {
        return retrieval::run(args, common, terminal);
    }
    let features = Measure::open(args, terminal)?;
    let (cases, pictures) = match (&args.measure, &args.prompts, &features) {
        (Some(dir), Some(prompts), _) => read(dir, prompts)?,
        (Some(dir), None, Some(features)) => return against_real(dir, args, features, terminal),
        (None, _, _) if args.world => world(args, common, terminal)?,
        _ => {
            return Err(
                Failure::usage("nothing to measure, or nothing to measure by").hint(
                    "--model DIR --world, --model DIR --prompts FILE --retrieval, --model DIR --enlarge, or --measure DIR with --prompts FILE or --real DIR",
                ),
            );
        }
    };
    if let Some(out) = &args.out {
        write(out, &cases, &pictures)?;
    }
    let mut scores = scores(&cases, &pictures);
    let apart = match &features {
        Some(features) => features.of_pictures(&pictures, terminal)?,
        None => Map::new(),
    };
    if terminal.json() {
        if let Some(scores) = scores.as_object_mut() {
            scores.extend(apart);
        }
        terminal.object(&scores);
        return Ok(());
    }
    terminal.data(&format!("{:10} {:>8} {:>8}\n", "", "drawn", "shuffled"));
    for name in ["color", "shape", "count", "position", "all"] {
        let share = |v: &Value| 100.0 * v[name].as_f64().unwrap_or(f64::NAN);
        let (own, other) = (share(&scores), share(&scores["control"]["shuffled"]));
        terminal.data(&format!("{name:10} {own:7.1}% {other:7.1}%\n"));
    }
    terminal.data(&feature_sets::lines(&apart));
    Ok(())
}

/// A folder of pictures without prompts.
fn against_real(
    dir: &Path,
    args: &EvalImageArgs,
    features: &Measure,
    terminal: &Terminal,
) -> Result<()> {
    if args.out.is_some() {
        return Err(Failure::usage(
            "--out writes pictures with their prompts; give --prompts, or leave it out",
        ));
    }
    let figures = features.of_folder(dir, terminal)?;
    match terminal.json() {
        true => terminal.object(&Value::Object(figures)),
        false => terminal.data(&feature_sets::lines(&figures)),
    }
    Ok(())
}

/// Accuracies of pictures against their own prompts and, as a control, against the next picture's.
pub fn scores(cases: &[Case], pictures: &[Rgb8]) -> Value {
    let measured: Vec<_> = pictures.par_iter().map(measure).collect();
    let against = |shift: usize| {
        let mut accuracy = Accuracy::default();
        for (i, found) in measured.iter().enumerate() {
            let case = &cases[(i + shift) % cases.len()];
            accuracy.add(&judge_measured(found, &case.wanted));
        }
        shares(&accuracy)
    };
    let mut scores = against(0);
    scores["n"] = json!(cases.len());
    scores["control"] = json!({"shuffled": against(1)});
    scores
}

/// Whether a picture shows everything its prompt asks for and nothing else.
pub fn is_right(case: &Case, picture: &Rgb8) -> bool {
    let mut accuracy = Accuracy::default();
    accuracy.add(&judge_measured(&measure(picture), &case.wanted));
    accuracy.all() == 1.0
}

/// Shares by attribute, as `--json` and the report have them.
fn shares(accuracy: &Accuracy) -> Value {
    json!({
        "color": accuracy.color(), "shape": accuracy.shape(), "count": accuracy.count(),
        "position": accuracy.position(), "all": accuracy.all(),
    })
}

/// Prompts of unseen combinations, drawn by the model or, without one, by the world itself.
fn world(
    args: &EvalImageArgs,
    common: &Common,
    terminal: &Terminal,
) -> Result<(Vec<Case>, Vec<Rgb8>)> {
    let seed = common.seed.unwrap_or(1);
    let world = World::new(seed, TRUTH_SIDE);
    let cases = unseen(&world, args.n);
    let Some(model) = &args.model else {
        let draw = |i| world.picture(Split::HeldOut, i as u64).image;
        return Ok((cases, (0..args.n).into_par_iter().map(draw).collect()));
    };
    let studio = Studio::open(model, args.vqgan.as_deref(), terminal)?;
    let mut bar = terminal.progress((args.n * args.best_of) as u64, "draw");
    let pictures = drawn(&studio, &cases, &args.how, args.best_of, seed, &mut |n| {
        bar.at(n as u64, "");
    })?;
    bar.finish();
    Ok((cases, pictures))
}

/// The first `n` held-out scenes of a world: pairs and counts that no training picture has.
pub fn unseen(world: &World, n: usize) -> Vec<Case> {
    let case = |i: usize| Case {
        file: format!("{i:05}.png"),
        prompt: world.captions(Split::HeldOut, i as u64).swap_remove(0),
        wanted: wanted(&world.scene(Split::HeldOut, i as u64)),
    };
    (0..n).map(case).collect()
}

/// What right pictures of other prompts would get: the shares that knowing the world without the prompt gives.
pub fn chance(world: &World, n: usize) -> Value {
    let scenes: Vec<_> = (0..n as u64)
        .map(|i| world.scene(Split::HeldOut, i))
        .collect();
    let mut accuracy = Accuracy::default();
    for (i, scene) in scenes.iter().enumerate() {
        let shown = Measured::of_scene(scene);
        for other in scenes.iter().skip(i + 1) {
            accuracy.add(&judge_measured(&shown, &wanted(other)));
        }
    }
    shares(&accuracy)
}

/// The best of `best_of` pictures for every case; `progress` is told how many were drawn so far.
pub fn drawn(
    studio: &Studio,
    cases: &[Case],
    how: &DrawHow,
    best_of: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Rgb8>> {
    let texts: Vec<String> = cases.iter().map(|case| case.prompt.clone()).collect();
    let prompts = draw::prompts(&texts, &[], &studio.model.model, &studio.model.tokenizer)?;
    let rerank = match best_of {
        1 => Rerank::None,
        _ => Rerank::of(how, &studio.model)?,
    };
    let (mut pictures, mut n) = (Vec::new(), 0);
    for part in prompts.chunks(how.batch.max(1)) {
        let first = seed.wrapping_add((n * best_of) as u64);
        let options = draw::options(how);
        let drawn = studio.draw(
            part,
            best_of,
            first,
            how.batch,
            &options,
            &rerank,
            &mut |_, _| {},
        )?;
        for best in drawn.chunks(best_of) {
            let side = studio.side();
            pictures.push(Rgb8::from_chw(side, side, &best[0].pixels).or_usage()?);
        }
        n += part.len();
        progress(n * best_of);
    }
    Ok(pictures)
}

fn read(dir: &Path, prompts: &Path) -> Result<(Vec<Case>, Vec<Rgb8>)> {
    let mut cases: Vec<Case> = Vec::new();
    for (i, line) in shared::lines(prompts)?.enumerate() {
        let case = serde_json::from_str(&line?).map_err(|error| {
            Failure::data(format!("{}, line {}: {error}", prompts.display(), i + 1)).hint(
                "a line holds {\"file\",\"wanted\":[{\"shape\",\"color\",\"count\",\"position\"}]}",
            )
        })?;
        cases.push(case);
    }
    if cases.is_empty() {
        return Err(Failure::usage(format!("{} is empty", prompts.display())));
    }
    let picture = |case: &Case| {
        let path = dir.join(&case.file);
        let bytes = std::fs::read(&path)
            .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
        m6_image::decode(&bytes, &Limits::default())
            .map_err(|e| Failure::data(format!("{}: {e}", path.display())))
    };
    let pictures = cases.iter().map(picture).collect::<Result<_>>()?;
    Ok((cases, pictures))
}

/// Writes pictures, their prompts and a sheet of them to a new folder.
pub fn write(out: &Path, cases: &[Case], pictures: &[Rgb8]) -> Result<()> {
    let commit = DirCommit::begin(out).or_usage()?;
    let put = |name: &str, bytes: &[u8]| shared::put(&commit, name, bytes);
    let mut lines = String::new();
    for (case, picture) in cases.iter().zip(pictures) {
        let png = m6_image::encode_png(picture, &[("Prompt", &case.prompt)]).or_usage()?;
        put(&case.file, &png)?;
        lines.push_str(&serde_json::to_string(case).or_usage()?);
        lines.push('\n');
    }
    put("prompts.jsonl", lines.as_bytes())?;
    let shown = &pictures[..pictures.len().min(128)];
    let grid = m6_image::grid(shown, 16, 2);
    put("grid.png", &m6_image::encode_png(&grid, &[]).or_usage()?)?;
    commit.commit().or_usage()
}
