//! What drawn candidates are ranked by.

use super::draw::{Asked, Picture};
use crate::cli::DrawHow;
use crate::error::{Failure, OrFail, Result};
use m6_image::Rgb8;
use m6_model::{ChineseClip, Prompt};
use m6_train::LoadedModel;

/// What candidates are ranked by.
pub enum Rerank {
    /// They stay in the order they were drawn in.
    None,
    /// How likely the model finds the prompt as a description of their codes (CogView).
    Codes,
    /// The same of their pixels, through the patch network.
    Pixels,
    /// How near a Chinese-CLIP finds them to the prompt.
    Clip(Box<ChineseClip>),
}

impl Rerank {
    /// What the command line names; `auto` takes what the model was trained for.
    pub fn of(how: &DrawHow, model: &LoadedModel) -> Result<Self> {
        let learned = |task: &str| model.config.tasks.iter().any(|known| known == task);
        match (how.rerank.as_str(), &how.clip) {
            ("clip", Some(dir)) => {
                let clip = m6_train::load_clip(dir).or_data()?;
                Ok(Rerank::Clip(Box::new(clip)))
            }
            ("clip", None) => Err(Failure::usage("--rerank clip needs --clip DIR").hint(
                "a folder of transformers' ChineseCLIPModel: config.json, vocab.txt, model.safetensors",
            )),
            (_, Some(_)) => Err(Failure::usage("--clip is only used with --rerank clip")),
            ("codes", _) => Ok(Rerank::Codes),
            ("pixels", _) => Ok(Rerank::Pixels),
            ("auto", _) if learned("codes_to_text") => Ok(Rerank::Codes),
            ("auto", _) if learned("image_to_text") => Ok(Rerank::Pixels),
            _ => Ok(Rerank::None),
        }
    }

    /// As the command line has it.
    pub fn name(&self) -> &'static str {
        match self {
            Rerank::None => "none",
            Rerank::Codes => "codes",
            Rerank::Pixels => "pixels",
            Rerank::Clip(_) => "clip",
        }
    }

    /// Fills in the scores of the pictures of one prompt.
    pub fn score(&self, loaded: &LoadedModel, asked: &Asked, own: &mut [Picture]) -> Result<()> {
        match self {
            Rerank::None => {}
            Rerank::Codes => {
                for picture in own {
                    let prompt = Prompt {
                        codes: picture.drawn.codes.clone(),
                        ..Prompt::default()
                    };
                    picture.rerank = Some(likelihood(loaded, &prompt, asked)?);
                }
            }
            Rerank::Pixels => {
                let side = loaded.model.config().patches.image_side;
                for picture in own {
                    let small = m6_image::resize(&square(&picture.pixels)?, side, side);
                    let prompt = Prompt {
                        pictures: m6_image::to_chw(&small),
                        ..Prompt::default()
                    };
                    picture.rerank = Some(likelihood(loaded, &prompt, asked)?);
                }
            }
            Rerank::Clip(clip) => {
                let images: Result<Vec<Rgb8>> = own.iter().map(|p| square(&p.pixels)).collect();
                let scores = clip.score(&asked.words, &images?).or_data()?;
                for (picture, score) in own.iter_mut().zip(scores) {
                    picture.rerank = Some(score);
                }
            }
        }
        Ok(())
    }
}

/// Log probability of the words after what was drawn.
fn likelihood(loaded: &LoadedModel, prompt: &Prompt, asked: &Asked) -> Result<f64> {
    let marks = loaded.tokenizer.special();
    let words = asked.prompt.text.iter().copied();
    let target: Vec<u32> = words.chain([marks.sep]).collect();
    m6_model::score_target(&loaded.model, prompt, marks.cls, &target).or_usage()
}

/// The picture of square planes.
fn square(pixels: &[u8]) -> Result<Rgb8> {
    let side = (pixels.len() / 3).isqrt();
    Rgb8::from_chw(side, side, pixels).or_usage()
}
