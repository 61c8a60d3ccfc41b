//! The second stage of drawing: finer codes of pictures whose codes are there.

use super::draw::Studio;
use super::vqgan;
use crate::cli::{DrawArgs, DrawHow, FineHow};
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_image::Rgb8;
use m6_model::{DrawMethod, DrawOptions, DrawPrompt, Drawn};
use serde_json::{Value, json};

/// What draws finer codes, and how.
pub struct Refiner<'a> {
    studio: Which<'a>,
    options: DrawOptions,
    batch: usize,
}

enum Which<'a> {
    /// The model that drew the codes.
    Same(&'a Studio),
    /// Another one, of the same VQGAN.
    Other(Box<Studio>),
}

/// A picture whose finer codes are wanted.
pub struct FineJob {
    /// Its codes, what it shows, and what is given.
    pub prompt: DrawPrompt,
    /// Seed with which it alone is drawn again.
    pub seed: u64,
}

impl<'a> Refiner<'a> {
    /// The second stage of `m6 generate image`, where it is asked for.
    pub fn wanted(
        args: &DrawArgs,
        studio: &'a Studio,
        terminal: &Terminal,
    ) -> Result<Option<Self>> {
        if !args.fine {
            return Ok(None);
        }
        let Some(path) = &args.fine_model else {
            return Self::of(studio, &args.fine_how, &args.how).map(Some);
        };
        let other = Studio::open(path, args.vqgan.as_deref(), terminal)?;
        if vqgan::identity(&other.vqgan)? != vqgan::identity(&studio.vqgan)? {
            return Err(Failure::data(format!(
                "{} learned the codes of another VQGAN than {}",
                other.model.path.display(),
                studio.model.path.display()
            )));
        }
        let studio = Which::Other(Box::new(other));
        Self::with(studio, &args.fine_how, &args.how).map(Some)
    }

    /// A model that draws finer codes of what it or someone else drew.
    pub fn of(studio: &'a Studio, how: &FineHow, all: &DrawHow) -> Result<Self> {
        Self::with(Which::Same(studio), how, all)
    }

    fn with(which: Which<'a>, how: &FineHow, all: &DrawHow) -> Result<Self> {
        let studio = which.studio();
        let shown = studio.model.path.display();
        if !studio.model.model.config().codes.has_fine() {
            return Err(Failure::usage(format!("{shown} has no finer codes")).hint(
                "prepare data with --set data.codes.fine=2 and pretrain on super_resolution, or name such a model with --fine-model",
            ));
        }
        let learned = |task: &str| studio.model.config.tasks.iter().any(|known| known == task);
        let method = how
            .fine_decode
            .unwrap_or(match learned("super_resolution") {
                true => DrawMethod::Ar,
                false => DrawMethod::Parallel,
            });
        let needed = match method {
            DrawMethod::Ar => "super_resolution",
            DrawMethod::Parallel => "masked_super_resolution",
        };
        if !learned(needed) {
            return Err(Failure::usage(format!(
                "{shown} did not learn {needed}, which --fine-decode needs"
            ))
            .hint("--fine-decode ar needs super_resolution, parallel masked_super_resolution"));
        }
        let options = DrawOptions {
            method,
            guidance: how.fine_guidance,
            temperature: how.fine_temperature,
            top_k: all.top_k,
            top_p: all.top_p,
            steps: all.steps,
            ..DrawOptions::default()
        };
        Ok(Self {
            studio: which,
            options,
            batch: all.batch.max(1),
        })
    }

    /// What draws.
    pub fn studio(&self) -> &Studio {
        self.studio.studio()
    }

    /// How many times the side of its codes a picture has.
    pub fn times(&self) -> usize {
        self.studio().model.model.config().codes.fine
    }

    /// Side of a picture in pixels.
    pub fn side(&self) -> usize {
        self.studio().side() * self.times()
    }

    /// As the metadata of a picture has them.
    pub fn settings(&self) -> Value {
        json!({"options": self.options, "model": self.studio().model.path})
    }

    /// Draws the finer codes of all, in batches, and their pictures.
    pub fn draw(&self, jobs: &[FineJob]) -> Result<Vec<(Drawn, Rgb8)>> {
        let studio = self.studio();
        let grid = studio.model.model.config().codes.fine_grid();
        let mut out = Vec::with_capacity(jobs.len());
        for part in jobs.chunks(self.batch) {
            let prompts: Vec<DrawPrompt> = part.iter().map(|job| job.prompt.clone()).collect();
            let options = DrawOptions {
                streams: part.iter().map(|job| job.seed).collect(),
                ..self.options.clone()
            };
            let model = &studio.model.model;
            let drawn = m6_model::draw(model, &prompts, &options, &mut |_, _| {}).or_usage()?;
            for drawn in drawn {
                let pixels = studio
                    .vqgan
                    .vqgan
                    .decode_at(&drawn.codes, grid)
                    .or_usage()?;
                let side = self.side();
                out.push((drawn, Rgb8::from_chw(side, side, &pixels).or_usage()?));
            }
        }
        Ok(out)
    }
}

impl Which<'_> {
    fn studio(&self) -> &Studio {
        match self {
            Which::Same(studio) => studio,
            Which::Other(studio) => studio,
        }
    }
}
