//! `m6 generate image`: pictures from words.

use super::common as shared;
use super::enlarge;
use super::gallery::{Card, Gallery};
use super::refine::{FineJob, Refiner};
use super::rerank::Rerank;
use super::vqgan;
use crate::cli::{Common, DrawArgs, DrawHow};
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_image::{Fit, Limits, Rgb8};
use m6_model::{DrawOptions, DrawPrompt, Drawn, Model};
use m6_store::atomic::DirCommit;
use m6_text::Tokenizer;
use m6_train::LoadedModel;
use m6_train::vqgan::LoadedVqgan;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What draws: a model, the VQGAN of its codes, and how.
pub struct Studio {
    /// The transformer with its vocabulary.
    pub model: LoadedModel,
    /// The VQGAN that its codes are of.
    pub vqgan: LoadedVqgan,
}

/// One picture that was drawn.
pub struct Picture {
    /// Index of its prompt.
    pub prompt: usize,
    /// Seed with which it alone is drawn again.
    pub seed: u64,
    /// Its codes and their log probability.
    pub drawn: Drawn,
    /// 3 x side x side bytes, channels first.
    pub pixels: Vec<u8>,
    /// What pictures are ranked by: log probability of the prompt given the picture, or the Chinese-CLIP's cosine.
    pub rerank: Option<f64>,
}

/// A prompt as it was written and as the model reads it.
pub struct Asked {
    /// Its words.
    pub words: String,
    /// Its tokens and the codes that are given.
    pub prompt: DrawPrompt,
}

impl Studio {
    /// Loads a model and its VQGAN: the one named, or the one kept beside the run.
    pub fn open(model: &Path, vqgan: Option<&Path>, terminal: &Terminal) -> Result<Self> {
        Self::of(shared::load_model(model, terminal)?, vqgan, terminal)
    }

    /// A loaded model with its VQGAN.
    pub fn of(loaded: LoadedModel, vqgan: Option<&Path>, terminal: &Terminal) -> Result<Self> {
        if loaded.model.config().codes.is_none() {
            return Err(Failure::usage(format!(
                "{} has no image codes and cannot draw",
                loaded.path.display()
            ))
            .hint("prepare data with --set data.codes.vqgan=RUN, and pretrain on text_to_image"));
        }
        let kept = || {
            loaded
                .path
                .ancestors()
                .take(3)
                .map(|dir| dir.join(m6_data::CODER_DIR))
        };
        let path = match vqgan {
            Some(path) => path.to_path_buf(),
            None => kept().find(|dir| dir.is_dir()).ok_or_else(|| {
                Failure::usage(format!("no VQGAN beside {}", loaded.path.display()))
                    .hint("--vqgan DIR names the one the data was prepared with")
            })?,
        };
        let vqgan = vqgan::load(&path, terminal)?;
        let wanted = loaded.config.data["codes"]["vqgan"]
            .as_str()
            .unwrap_or_default();
        if vqgan::identity(&vqgan)? != wanted {
            return Err(Failure::data(format!(
                "{} is not the VQGAN whose codes the model learned: its weights have another hash",
                vqgan.path.display()
            )));
        }
        Ok(Self {
            model: loaded,
            vqgan,
        })
    }

    /// Draws `n` pictures for every prompt, in batches, ranked within their prompt when there is a way to; best first.
    pub fn draw(
        &self,
        prompts: &[Asked],
        n: usize,
        seed: u64,
        batch: usize,
        options: &DrawOptions,
        rerank: &Rerank,
        on_codes: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<Vec<Picture>> {
        let jobs: Vec<(usize, u64)> = (0..prompts.len() * n)
            .map(|i| (i / n, seed.wrapping_add(i as u64)))
            .collect();
        let mut pictures = Vec::with_capacity(jobs.len());
        for part in jobs.chunks(batch.max(1)) {
            let own: Vec<DrawPrompt> = part
                .iter()
                .map(|(p, _)| prompts[*p].prompt.clone())
                .collect();
            let options = DrawOptions {
                streams: part.iter().map(|(_, seed)| *seed).collect(),
                ..options.clone()
            };
            let base = pictures.len();
            let drawn = m6_model::draw(&self.model.model, &own, &options, &mut |i, codes| {
                on_codes(base + i, codes);
            });
            for ((prompt, seed), drawn) in part.iter().zip(drawn.or_usage()?) {
                let pixels = self.vqgan.vqgan.decode(&drawn.codes).or_usage()?;
                pictures.push(Picture {
                    prompt: *prompt,
                    seed: *seed,
                    rerank: None,
                    drawn,
                    pixels,
                });
            }
        }
        for (asked, own) in prompts.iter().zip(pictures.chunks_mut(n.max(1))) {
            rerank.score(&self.model, asked, own)?;
            let score = |p: &Picture| p.rerank.unwrap_or(0.0);
            own.sort_by(|a, b| score(b).total_cmp(&score(a)));
        }
        Ok(pictures)
    }

    /// Side of a picture in pixels.
    pub fn side(&self) -> usize {
        self.vqgan.vqgan.config().image_side
    }
}

/// Runs the verb.
pub fn run(args: &DrawArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    shared::check_out(&args.out.out, args.out.overwrite)?;
    if !args.enlarge.is_empty() {
        return enlarge::run(args, common, terminal);
    }
    let studio = Studio::open(&args.model, args.vqgan.as_deref(), terminal)?;
    let texts = texts(args)?;
    let given = given(args, &studio, 1)?;
    let prompts = prompts(&texts, &given, &studio.model.model, &studio.model.tokenizer)?;
    let options = options(&args.how);
    let rerank = Rerank::of(&args.how, &studio.model)?;
    let refiner = Refiner::wanted(args, &studio, terminal)?;
    if common.dry_run {
        let n = prompts.len() * args.n;
        terminal.say(&format!("would draw {n} picture(s)"));
        return Ok(());
    }
    let seed = common.seed.unwrap_or(1);
    let gallery = Gallery::begin(&args.out)?;
    let mut frames = Frames::new(args.progress_images, &studio, gallery.commit());
    let pictures = studio.draw(
        &prompts,
        args.n,
        seed,
        args.how.batch,
        &options,
        &rerank,
        &mut |i, codes| frames.add(i, codes),
    )?;
    frames.verdict()?;
    let mut settings =
        json!({"options": options, "model": studio.model.path, "rerank": rerank.name()});
    let mut cards: Vec<Card> = Vec::new();
    for (i, picture) in pictures.iter().enumerate() {
        let text = &texts[picture.prompt];
        let file = format!("{:04}-{}.png", picture.prompt, i % args.n.max(1));
        cards.push(Card {
            image: Rgb8::from_chw(studio.side(), studio.side(), &picture.pixels).or_usage()?,
            seed: picture.seed,
            line: json!({
                "prompt": text, "file": file, "seed": picture.seed, "logprob": picture.drawn.logprob,
                "rerank": picture.rerank, "codes": picture.drawn.codes,
            }),
            prompt: text.clone(),
            file,
        });
    }
    if let Some(refiner) = &refiner {
        settings["fine"] = refiner.settings();
        refine(refiner, args, &texts, &pictures, &mut cards)?;
    }
    gallery.finish(cards, &settings, args.n, terminal)
}

/// Draws every picture's finer codes and puts the larger picture in its place.
fn refine(
    refiner: &Refiner<'_>,
    args: &DrawArgs,
    texts: &[String],
    pictures: &[Picture],
    cards: &mut [Card],
) -> Result<()> {
    let given = given(args, refiner.studio(), refiner.times())?;
    let loaded = &refiner.studio().model;
    let prompts = prompts(texts, &given, &loaded.model, &loaded.tokenizer)?;
    let job = |picture: &Picture| FineJob {
        prompt: DrawPrompt {
            coarse: picture.drawn.codes.clone(),
            ..prompts[picture.prompt].prompt.clone()
        },
        seed: picture.seed,
    };
    let jobs: Vec<FineJob> = pictures.iter().map(job).collect();
    for (card, (drawn, image)) in cards.iter_mut().zip(refiner.draw(&jobs)?) {
        card.image = image;
        card.line["fine_logprob"] = drawn.logprob.into();
        card.line["fine_codes"] = drawn.codes.into();
    }
    Ok(())
}

/// The prompts of the command line, possibly none.
pub fn all_texts(args: &DrawArgs) -> Result<Vec<String>> {
    shared::with_lines(&args.prompt, args.prompts.as_deref())
}

fn texts(args: &DrawArgs) -> Result<Vec<String>> {
    let texts = all_texts(args)?;
    match texts.is_empty() {
        false => Ok(texts),
        true => {
            Err(Failure::usage("no prompt")
                .hint("--prompt TEXT, or --prompts FILE with one a line"))
        }
    }
}

/// Token ids of the prompts; refused when empty, of nothing but unknown characters, or too long.
pub fn prompts(
    texts: &[String],
    given: &[Option<u32>],
    model: &Model,
    tokenizer: &Tokenizer,
) -> Result<Vec<Asked>> {
    let most = model.config().max_len;
    let prompt = |text: &String| {
        let ids = tokenizer.encode(text);
        let shown: String = text.chars().take(40).collect();
        if ids.is_empty() {
            return Err(Failure::usage(format!(
                "the prompt {shown:?} has no character that could be drawn"
            )));
        }
        if ids.len() > most {
            return Err(Failure::usage(format!(
                "the prompt {shown:?}... has {} tokens, the model reads at most {most}",
                ids.len()
            )));
        }
        Ok(Asked {
            words: text.clone(),
            prompt: DrawPrompt {
                text: ids,
                given: given.to_vec(),
                ..DrawPrompt::default()
            },
        })
    };
    texts.iter().map(prompt).collect()
}

/// Options of the model's drawing from the command line.
pub fn options(how: &DrawHow) -> DrawOptions {
    DrawOptions {
        method: how.decode,
        guidance: how.guidance,
        guidance_until: how.guidance_until,
        temperature: how.temperature,
        top_k: how.top_k,
        top_p: how.top_p,
        steps: how.steps,
        ..DrawOptions::default()
    }
}

/// Codes that the command line gives, of pictures of so many times the VQGAN's side: what lies outside the mask of a picture, or its upper
/// rows.
fn given(args: &DrawArgs, studio: &Studio, times: usize) -> Result<Vec<Option<u32>>> {
    let config = studio.vqgan.vqgan.config();
    let (grid, side) = (config.code_grid() * times, config.image_side * times);
    let (path, keeps): (&PathBuf, Box<dyn Fn(usize) -> bool>) = match (&args.inpaint, &args.prime) {
        (None, None) => return Ok(Vec::new()),
        (Some(path), _) => {
            let Some(mask) = &args.mask else {
                return Err(Failure::usage(
                    "--inpaint needs --mask: a picture, white where to draw anew",
                ));
            };
            let drawn = masked(&square(&picture(mask)?, side), side, grid);
            if drawn.iter().all(|d| *d) || drawn.iter().all(|d| !d) {
                let part = if drawn[0] { "all" } else { "none" };
                return Err(Failure::usage(format!(
                    "{} covers {part} of the {} codes; white is drawn anew, black is kept",
                    mask.display(),
                    drawn.len()
                )));
            }
            (path, Box::new(move |place| !drawn[place]))
        }
        (None, Some(path)) => {
            let n_rows = config.code_grid();
            if args.rows == 0 || args.rows >= n_rows {
                return Err(Failure::usage(format!(
                    "--rows {}: a picture has {n_rows} rows of codes, of which 1 to {} can be given",
                    args.rows,
                    n_rows - 1
                )));
            }
            let n = args.rows * times * grid;
            (path, Box::new(move |place| place < n))
        }
    };
    let image = picture(path)?;
    if times > 1 && image.width.min(image.height) < side {
        return Err(Failure::usage(format!(
            "{} has {} x {} pixels; --fine keeps its part at {side} x {side}",
            path.display(),
            image.width,
            image.height
        ))
        .hint("give a larger picture, or draw without --fine"));
    }
    let vqgan = &studio.vqgan.vqgan;
    let codes = vqgan.encode_at(&square(&image, side), side).or_usage()?;
    let keep = |(place, code): (usize, u32)| keeps(place).then_some(code);
    Ok(codes.into_iter().enumerate().map(keep).collect())
}

/// A picture from a file.
pub fn picture(path: &Path) -> Result<Rgb8> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
    m6_image::decode(&bytes, &Limits::default())
        .map_err(|e| Failure::data(format!("{}: {e}", path.display())))
}

/// The picture as 3 x side x side bytes.
fn square(image: &Rgb8, side: usize) -> Vec<u8> {
    m6_image::to_chw(&m6_image::resize_square(image, side, Fit::Stretch))
}

/// Codes of which any pixel of the mask is light.
fn masked(mask: &[u8], side: usize, grid: usize) -> Vec<bool> {
    let cell = side / grid;
    let light = |x: usize, y: usize| {
        (0..3)
            .map(|c| usize::from(mask[(c * side + y) * side + x]))
            .sum::<usize>()
            > 3 * 127
    };
    let cells = (0..grid * grid).map(|place| {
        let (top, left) = (place / grid * cell, place % grid * cell);
        (0..cell * cell).any(|i| light(left + i % cell, top + i / cell))
    });
    cells.collect()
}

/// Pictures of the first prompt while it is drawn.
struct Frames<'a> {
    every: usize,
    studio: &'a Studio,
    commit: &'a DirCommit,
    n_seen: usize,
    failure: Option<Failure>,
}

impl<'a> Frames<'a> {
    fn new(every: usize, studio: &'a Studio, commit: &'a DirCommit) -> Self {
        Self {
            every,
            studio,
            commit,
            n_seen: 0,
            failure: None,
        }
    }

    fn add(&mut self, index: usize, codes: &[u32]) {
        if self.every == 0 || index != 0 || self.failure.is_some() {
            return;
        }
        self.n_seen += 1;
        if self.n_seen.is_multiple_of(self.every)
            && let Err(failure) = self.write(codes)
        {
            self.failure = Some(failure);
        }
    }

    /// What is not drawn yet shows as the first code.
    fn write(&self, codes: &[u32]) -> Result<()> {
        let config = self.studio.vqgan.vqgan.config();
        let mut whole: Vec<u32> = codes.to_vec();
        whole.resize(config.n_codes(), 0);
        for code in &mut whole {
            *code = if (*code as usize) < config.codebook_size {
                *code
            } else {
                0
            };
        }
        let pixels = self.studio.vqgan.vqgan.decode(&whole).or_usage()?;
        let image = Rgb8::from_chw(config.image_side, config.image_side, &pixels).or_usage()?;
        let name = format!("progress/{:04}.png", self.n_seen);
        shared::put(
            self.commit,
            &name,
            &m6_image::encode_png(&image, &[]).or_usage()?,
        )
    }

    fn verdict(self) -> Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}
