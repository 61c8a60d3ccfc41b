//! `m6 generate image --enlarge` and `m6 eval image --enlarge`: pictures that are there, in finer codes.

use super::common as shared;
use super::draw::{self, Studio};
use super::gallery::{Card, Gallery};
use super::refine::{FineJob, Refiner};
use crate::cli::{Common, DrawArgs, EvalImageArgs};
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_image::{Filter, Fit, Rgb8};
use m6_model::DrawPrompt;
use m6_store::atomic::DirCommit;
use m6_world::{Split, World};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Pictures of a grid that shows what an evaluation saw.
const N_SHOWN: usize = 24;

/// Draws the finer codes of the pictures of `--enlarge`.
pub fn run(args: &DrawArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let studio = Studio::open(&args.model, args.vqgan.as_deref(), terminal)?;
    let refiner = Refiner::of(&studio, &args.fine_how, &args.how)?;
    let texts = texts_of_each(draw::all_texts(args)?, args.enlarge.len())?;
    let mut prompts = Vec::with_capacity(texts.len());
    for (path, text) in args.enlarge.iter().zip(&texts) {
        let image = small(path, studio.side(), refiner.side())?;
        prompts.push(prompt(&studio, text, &m6_image::to_chw(&image))?);
    }
    if common.dry_run {
        let n = prompts.len() * args.n;
        terminal.say(&format!("would draw {n} picture(s)"));
        return Ok(());
    }
    let first = common.seed.unwrap_or(1);
    let jobs: Vec<FineJob> = (0..prompts.len() * args.n)
        .map(|i| FineJob {
            prompt: prompts[i / args.n].clone(),
            seed: first.wrapping_add(i as u64),
        })
        .collect();
    let gallery = Gallery::begin(&args.out)?;
    let mut cards = Vec::with_capacity(jobs.len());
    for (i, (drawn, image)) in refiner.draw(&jobs)?.into_iter().enumerate() {
        let (picture, candidate) = (i / args.n, i % args.n);
        let file = format!("{picture:04}-{candidate}.png");
        let (seed, text) = (jobs[i].seed, &texts[picture]);
        cards.push(Card {
            line: json!({
                "prompt": text, "enlarged": args.enlarge[picture], "file": file, "seed": seed,
                "fine_logprob": drawn.logprob, "codes": jobs[i].prompt.coarse, "fine_codes": drawn.codes,
            }),
            file,
            image,
            prompt: text.clone().unwrap_or_default(),
            seed,
        });
    }
    gallery.finish(
        cards,
        &json!({"fine": refiner.settings()}),
        args.n,
        terminal,
    )
}

/// One text for all pictures, one for each, or none.
fn texts_of_each(texts: Vec<String>, n: usize) -> Result<Vec<Option<String>>> {
    match texts.len() {
        0 => Ok(vec![None; n]),
        1 => Ok(vec![texts.into_iter().next(); n]),
        found if found == n => Ok(texts.into_iter().map(Some).collect()),
        found => Err(
            Failure::usage(format!("{found} prompts for {n} pictures to enlarge"))
                .hint("give one prompt for all, one for each, or none"),
        ),
    }
}

/// A picture of exactly the side that the VQGAN reads.
fn small(path: &Path, side: usize, fine_side: usize) -> Result<Rgb8> {
    let image = draw::picture(path)?;
    match (image.width, image.height) == (side, side) {
        true => Ok(image),
        false => Err(Failure::usage(format!(
            "{} has {} x {} pixels; --enlarge takes pictures of {side} x {side}, which become {fine_side} x {fine_side}",
            path.display(),
            image.width,
            image.height
        ))
        .hint("scale or cut it first")),
    }
}

/// The codes of a picture of the VQGAN's side, and its text.
fn prompt(studio: &Studio, text: &Option<String>, pixels: &[u8]) -> Result<DrawPrompt> {
    let loaded = &studio.model;
    let told = match text {
        None => DrawPrompt::default(),
        Some(text) => {
            let text = std::slice::from_ref(text);
            let mut asked = draw::prompts(text, &[], &loaded.model, &loaded.tokenizer)?;
            asked.swap_remove(0).prompt
        }
    };
    Ok(DrawPrompt {
        coarse: studio.vqgan.vqgan.encode(pixels).or_usage()?,
        ..told
    })
}

/// How near the drawn pictures come to the true ones, beside what needs no drawing.
pub fn evaluate(args: &EvalImageArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let Some(model) = &args.model else {
        return Err(Failure::usage("--enlarge needs --model"));
    };
    let studio = Studio::open(model, args.vqgan.as_deref(), terminal)?;
    let refiner = Refiner::of(&studio, &args.fine_how, &args.how)?;
    let seed = common.seed.unwrap_or(1);
    let (side, small_side) = (refiner.side(), studio.side());
    let (truth, texts) = match (&args.real, args.world) {
        (Some(dir), false) => (real(dir, args.n, side, terminal)?, Vec::new()),
        (None, true) => world(seed, args.n, side),
        _ => {
            return Err(Failure::usage(
                "--enlarge needs either --world or --real DIR",
            ));
        }
    };
    // Made small as `m6 prepare` does it.
    let shrink = |image: &Rgb8| m6_image::resize_square(image, small_side, Fit::Stretch);
    let small: Vec<Rgb8> = truth.iter().map(shrink).collect();
    let mut jobs = Vec::with_capacity(truth.len());
    for (i, image) in small.iter().enumerate() {
        jobs.push(FineJob {
            prompt: prompt(&studio, &texts.get(i).cloned(), &m6_image::to_chw(image))?,
            seed: seed.wrapping_add(i as u64),
        });
    }
    let begun = Instant::now();
    let drawn = refiner.draw(&jobs)?;
    let seconds = begun.elapsed().as_secs_f64() / truth.len() as f64;
    let drawn: Vec<Rgb8> = drawn.into_iter().map(|(_, image)| image).collect();
    let enlarge = |image: &Rgb8| m6_image::resize_with(image, side, side, Filter::Cubic);
    let bicubic: Vec<Rgb8> = rebuilt(&studio, &small)?.iter().map(enlarge).collect();
    let of_pictures: Vec<Rgb8> = small.iter().map(enlarge).collect();
    let ceiling = rebuilt(&studio, &truth)?;
    if let Some(out) = &args.out {
        sheet(out, &[&bicubic, &drawn, &ceiling, &truth])?;
    }
    let row = json!({"enlarge": {
        "n": truth.len(), "from": small_side, "to": side, "seconds": seconds,
        "drawn": near(&drawn, &truth), "bicubic": near(&bicubic, &truth),
        "ceiling": near(&ceiling, &truth), "bicubic_of_pictures": near(&of_pictures, &truth),
    }});
    match terminal.json() {
        true => terminal.object(&row),
        false => tell(&row["enlarge"], terminal),
    }
    Ok(())
}

/// The figures for people.
fn tell(row: &Value, terminal: &Terminal) {
    let named = [
        ("drawn", "drawn in finer codes"),
        ("bicubic", "bicubic, of the decoded codes"),
        ("ceiling", "the true picture through finer codes"),
        (
            "bicubic_of_pictures",
            "bicubic, of the small picture itself",
        ),
    ];
    for (key, name) in named {
        let figure = |name: &str| row[key][name].as_f64().unwrap_or(f64::NAN);
        terminal.data(&format!(
            "{name:38} PSNR {:6.2} dB  SSIM {:.4}\n",
            figure("psnr"),
            figure("ssim")
        ));
    }
    terminal.say(&format!(
        "{:.2} s a picture",
        row["seconds"].as_f64().unwrap_or(f64::NAN)
    ));
}

/// Pictures of any side through the codes.
fn rebuilt(studio: &Studio, pictures: &[Rgb8]) -> Result<Vec<Rgb8>> {
    let vqgan = &studio.vqgan.vqgan;
    let through = |image: &Rgb8| {
        let side = image.width;
        let codes = vqgan.encode_at(&m6_image::to_chw(image), side).or_usage()?;
        let grid = side / vqgan.config().factor();
        let pixels = vqgan.decode_at(&codes, grid).or_usage()?;
        Rgb8::from_chw(side, side, &pixels).or_usage()
    };
    pictures.iter().map(through).collect()
}

/// Mean PSNR and SSIM of pictures against the true ones.
fn near(found: &[Rgb8], truth: &[Rgb8]) -> Value {
    let scores: Vec<[f64; 3]> = found
        .par_iter()
        .zip(truth)
        .map(|(found, truth)| {
            let (a, b) = (m6_image::to_chw(found), m6_image::to_chw(truth));
            m6_train::vqgan::compare(&a, &b, truth.width)
        })
        .collect();
    let mean = |i: usize| scores.iter().map(|s| s[i]).sum::<f64>() / scores.len().max(1) as f64;
    json!({"psnr": mean(0), "ssim": mean(1)})
}

/// Unseen combinations of the sample world with their captions.
fn world(seed: u64, n: usize, side: usize) -> (Vec<Rgb8>, Vec<String>) {
    let world = World::new(seed, side);
    let picture = |i: u64| {
        let image = world.picture(Split::HeldOut, i).image;
        (image, world.captions(Split::HeldOut, i).swap_remove(0))
    };
    (0..n as u64).into_par_iter().map(picture).unzip()
}

/// The first pictures of a folder that are large enough, scaled to the side.
fn real(dir: &Path, n: usize, side: usize, terminal: &Terminal) -> Result<Vec<Rgb8>> {
    let mut found = Vec::new();
    let mut n_small = 0;
    for path in shared::picture_files(dir)? {
        if found.len() == n {
            break;
        }
        let image = draw::picture(&path)?;
        match image.width.min(image.height) < side {
            true => n_small += 1,
            false => found.push(m6_image::resize_square(&image, side, Fit::Stretch)),
        }
    }
    if n_small > 0 {
        terminal.say(&format!(
            "{n_small} pictures of {} are below {side} x {side} pixels and passed over",
            dir.display()
        ));
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(Failure::usage(format!(
            "{} holds no picture of {side} x {side} pixels or more",
            dir.display()
        ))),
    }
}

/// A new folder with a sheet: a line for each picture, the true one last.
fn sheet(out: &Path, columns: &[&Vec<Rgb8>]) -> Result<()> {
    let n = columns
        .first()
        .map_or(0, |column| column.len())
        .min(N_SHOWN);
    let line = |i: usize| columns.iter().map(move |column| column[i].clone());
    let cells: Vec<Rgb8> = (0..n).flat_map(line).collect();
    // Two pictures with their lines side by side.
    let grid = m6_image::grid(&cells, 2 * columns.len(), 2);
    let commit = DirCommit::begin(out).or_usage()?;
    let png = m6_image::encode_png(&grid, &[]).or_usage()?;
    shared::put(&commit, "grid.png", &png)?;
    commit.commit().or_usage()
}
