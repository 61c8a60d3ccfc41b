//! The demo's drawing: a VQGAN on the world's pictures, a short finetuning, and pictures of prompts never seen, measured.

use crate::cli::{Common, DemoArgs, DrawHow};
use crate::config;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use crate::verbs::draw::Studio;
use crate::verbs::{eval, prepare, pretrain, ranks, vqgan};
use m6_image::Rgb8;
use m6_model::DrawMethod;
use m6_world::World;
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Configurations of the two trainings.
const PRESETS: [&str; 2] = ["vqgan-demo", "m6-demo-draw"];
/// Folders in the demo's own: the VQGAN, the data with its codes, the run that draws.
pub const FOLDERS: [&str; 3] = ["vqgan", "draw-data", "draw"];
/// Pictures that the report shows.
const N_SHOWN: usize = 32;

/// What was drawn, and how much of it is right.
pub struct Drawing {
    /// Shares by attribute, with `chance` and the control of shuffled prompts beside them.
    pub image: Value,
    /// The first prompts, their pictures, and whether everything asked for is there.
    pub shown: Vec<(String, Rgb8, bool)>,
    /// Reconstruction of held-out pictures by the VQGAN.
    pub rebuilt: Vec<(String, f64)>,
}

/// Trains both in the demo's folder, draws prompts of unseen combinations, and measures the pixels.
pub fn make(
    args: &DemoArgs,
    common: &Common,
    stop: &AtomicBool,
    terminal: &Terminal,
) -> Result<Drawing> {
    let [coder, data, run] = FOLDERS.map(|name| args.out.join(name));
    let seed = common.seed.map(|seed| format!("train.seed={seed}"));
    let short = |sets: &[&str]| match args.short {
        true => sets.iter().map(|set| set.to_string()).collect(),
        false => Vec::new(),
    };
    let mut sets: Vec<String> = short(&[
        "train.steps=12",
        "train.eval_every=12",
        "train.warmup_steps=4",
    ]);
    sets.extend(seed.clone());
    let loaded = config::load(PRESETS[0], &sets)?;
    let pictures = args.out.join("data");
    let trained = vqgan::train_in(&loaded, &job(&pictures, &coder), stop, terminal)?;
    interrupted(trained.interrupted)?;
    let mut sets = vec![
        set("data.root", &args.out),
        set("data.codes.vqgan", &coder),
        set("tokenizer.file", &pictures.join("tokenizer.json")),
        set("init.model", &args.out.join("run")),
    ];
    sets.extend(short(&[
        "train.steps=12",
        "train.eval_every=12",
        "train.warmup_steps=4",
        "data.sources.world.n=300",
    ]));
    sets.extend(seed);
    // The sizes must be those of the model that is finetuned.
    let sizes = common.set.iter().filter(|set| set.starts_with("model."));
    sets.extend(sizes.cloned());
    let mut loaded = config::load(PRESETS[1], &sets)?;
    prepare::prepare(&loaded.config, &data, false, terminal)?;
    pretrain::fit_to_data(&mut loaded.config, &data, terminal)?;
    loaded.resolved = toml::to_string(&loaded.config).or_usage()?;
    let outcome = pretrain::pretrain(&loaded, &job(&data, &run), stop, &ranks::alone(), terminal)?;
    interrupted(outcome.interrupted)?;
    let studio = Studio::open(&run, None, terminal)?;
    let side = loaded.config.data.image_side;
    let world = World::new(common.seed.unwrap_or(1), side);
    let n = if args.short { 8 } else { 96 };
    let cases = eval::unseen(&world, n);
    let drawn = eval::drawn(&studio, &cases, &how(), 1, 1, &mut |_| {})?;
    let mut image = eval::scores(&cases, &drawn);
    image["chance"] = eval::chance(&world, n.max(64));
    let shown = cases.iter().zip(&drawn).take(N_SHOWN);
    let shown = shown.map(|(case, picture)| {
        let right = eval::is_right(case, picture);
        (case.prompt.clone(), picture.clone(), right)
    });
    Ok(Drawing {
        image,
        shown: shown.collect(),
        rebuilt: trained.eval.into_iter().collect(),
    })
}

/// Guided, and from the likelier codes only: a model this young has much noise in the unlikely ones.
fn how() -> DrawHow {
    DrawHow {
        guidance: 3.0,
        guidance_until: 1.0,
        temperature: 1.0,
        top_k: 32,
        top_p: 1.0,
        decode: DrawMethod::Ar,
        steps: 12,
        rerank: "none".into(),
        clip: None,
        batch: 32,
    }
}

fn job<'a>(data: &'a Path, out: &'a Path) -> pretrain::Job<'a> {
    pretrain::Job {
        name: "drawing",
        data,
        out,
        resume: false,
        overwrite: false,
        tasks: Default::default(),
        exam: None,
    }
}

fn set(key: &str, path: &Path) -> String {
    format!("{key}={}", toml::Value::String(path.display().to_string()))
}

fn interrupted(interrupted: bool) -> Result<()> {
    match interrupted {
        true => Err(Failure::new(Code::Interrupted, "interrupted")
            .hint("run `m6 demo` again; it starts afresh")),
        false => Ok(()),
    }
}
