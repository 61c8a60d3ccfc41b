//! Heads for matching and retrieval, on the state of one position behind picture, text, or both (paper section 4.6; the form is ours).
//!
//! Shape suffixes: k pairs, d model, e vector for retrieval, m rows with a loss.

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::input::{
    ModelInput, SEGMENT_PICTURE, SEGMENT_POOL_PICTURE, SEGMENT_POOL_TEXT, SEGMENT_SOURCE,
    SEGMENT_VERDICT, is_code,
};
use crate::model::{ForwardOptions, Model, row_ids};
use crate::params::Lookup;
use m6_nn::glue::view;
use m6_nn::kernels::info_nce::normalised;
use m6_nn::ops::{self, Act};
use m6_nn::{Param, Tensor, no_grad};

/// The heads a model has.
pub(crate) struct Heads {
    /// Vectors whose inner products with a state tell "apart" (0) and "together" (1), `[2, d]`.
    pub matching: Option<Param>,
    contrastive: Option<Contrastive>,
}

/// Projections `[e, d]` of either side, and the logarithm of what cosines are multiplied by.
struct Contrastive {
    picture: Param,
    text: Param,
    log_scale: Param,
}

/// Places in the list of labels, by the head that tells them.
#[derive(Default)]
pub(crate) struct Kinds {
    pub words: Vec<usize>,
    pub codes: Vec<usize>,
    pub verdicts: Vec<usize>,
    pub pairs: Pairs,
}

/// Labels of vectors; the i-th picture and the i-th text are a pair.
#[derive(Default)]
pub(crate) struct Pairs {
    pub pictures: Vec<usize>,
    pub texts: Vec<usize>,
}

impl Kinds {
    /// Sorts the labels of a checked input.
    pub fn new(input: &ModelInput<'_>) -> Self {
        let mut kinds = Self::default();
        for (i, &at) in input.loss_at.iter().enumerate() {
            let list = match input.segments[at as usize] {
                segment if is_code(segment) => &mut kinds.codes,
                SEGMENT_VERDICT => &mut kinds.verdicts,
                SEGMENT_POOL_PICTURE => &mut kinds.pairs.pictures,
                SEGMENT_POOL_TEXT => &mut kinds.pairs.texts,
                _ => &mut kinds.words,
            };
            list.push(i);
        }
        kinds
    }
}

impl Heads {
    pub fn new(cfg: &ModelConfig, params: &Lookup<'_>) -> m6_nn::Result<Self> {
        let of = |name: &str| params.get(&format!("heads.{name}"));
        Ok(Self {
            matching: match cfg.heads.matching {
                true => Some(of("match.weight")?),
                false => None,
            },
            contrastive: match cfg.heads.contrastive {
                0 => None,
                _ => Some(Contrastive {
                    picture: of("contrastive.picture.weight")?,
                    text: of("contrastive.text.weight")?,
                    log_scale: of("contrastive.log_scale")?,
                }),
            },
        })
    }

    /// Loss of telling pairs apart, and the likelihoods in nats: pictures first, then texts. All pairs of the input are held against each
    /// other, and those of no other input: with several micro-batches, those of one.
    ///
    /// # Errors
    /// [`Error::Input`] when pictures and texts are not equally many.
    pub fn contrast(
        &self,
        x_md: &Tensor,
        pairs: &Pairs,
        input: &ModelInput<'_>,
        weights: &[f32],
    ) -> Result<Option<(Tensor, Vec<f32>)>> {
        let Pairs { pictures, texts } = pairs;
        if pictures.len() != texts.len() {
            return Err(Error::Input(format!(
                "{} vectors of pictures and {} of texts cannot be paired",
                pictures.len(),
                texts.len()
            )));
        }
        // The input was checked against the configuration, so vectors without the head cannot be here.
        let Some(head) = self.contrastive.as_ref().filter(|_| !pictures.is_empty()) else {
            return Ok(None);
        };
        let side = |rows: &[usize], projection: &Param| -> m6_nn::Result<Tensor> {
            let x_kd = ops::select_rows(x_md, row_ids(rows))?;
            ops::linear(&x_kd, projection, None, Act::None)
        };
        let (p_ke, t_ke) = (side(pictures, &head.picture)?, side(texts, &head.text)?);
        let groups: Vec<u32> = pictures.iter().map(|&i| input.labels[i]).collect();
        let shares: Vec<f32> = pictures.iter().chain(texts).map(|&i| weights[i]).collect();
        let part = ops::info_nce(&p_ke, &t_ke, &head.log_scale, &groups, &shares)?;
        Ok(Some(part))
    }
}

/// Samples that each end in one position, as flat arrays.
#[derive(Default)]
struct Flat {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    segments: Vec<u32>,
    prefixes: Vec<[u32; 2]>,
    targets: Vec<[u32; 3]>,
    pictures: Vec<u8>,
    picture_at: Vec<u32>,
    ends: Vec<u32>,
}

impl Flat {
    fn push(&mut self, cfg: &ModelConfig, pictures: &[u8], text: &[u32], begin: u32, end: u32) {
        let from = self.tokens.len() as u32;
        for picture in pictures.chunks(cfg.patches.picture_bytes().max(1)) {
            self.picture_at.push(self.tokens.len() as u32);
            self.pictures.extend_from_slice(picture);
            let patches = 0..cfg.patches.n_patches() as u32;
            self.rows(patches.map(|_| 0), SEGMENT_PICTURE);
        }
        self.rows(text.iter().copied(), SEGMENT_SOURCE);
        let to = self.tokens.len() as u32;
        self.targets.push([self.prefixes.len() as u32, to, to + 1]);
        self.prefixes.push([from, to]);
        self.ends.push(to);
        self.rows(std::iter::once(begin), end);
    }

    fn rows(&mut self, tokens: impl Iterator<Item = u32>, segment: u32) {
        for (position, token) in tokens.enumerate() {
            self.tokens.push(token);
            self.positions.push(position as u32);
            self.segments.push(segment);
        }
    }

    /// States of the last positions after the last norm, `[k, d]`.
    fn states(&self, model: &Model) -> Result<Tensor> {
        let input = ModelInput {
            tokens: &self.tokens,
            positions: &self.positions,
            segments: &self.segments,
            prefixes: &self.prefixes,
            targets: &self.targets,
            pictures: &self.pictures,
            picture_at: &self.picture_at,
            ..ModelInput::default()
        };
        let options = ForwardOptions::default();
        let keep = self.ends.as_slice().into();
        let (x_kd, _) = model.run_blocks(&input, &options, Some(keep), |_| ())?;
        Ok(model.norm.forward(&x_kd)?)
    }
}

/// Pictures (any number, as bytes) and a text that may belong to them.
#[derive(Clone, Copy, Debug)]
pub struct MatchPair<'a> {
    /// Pixels, `3 * side * side` bytes a picture, channels first.
    pub pictures: &'a [u8],
    /// The text.
    pub text: &'a [u32],
}

impl Model {
    /// How likely it is that each text belongs to its pictures, 0 to 1; `begin` is the token a target begins with. All pairs are read in
    /// one pass, so hand over as many as memory allows.
    ///
    /// # Errors
    /// [`Error::Input`] when the model has no such head or a pair does not fit it.
    pub fn match_scores(&self, pairs: &[MatchPair<'_>], begin: u32) -> Result<Vec<f32>> {
        let Some(head) = &self.heads.matching else {
            return Err(Error::Input(
                "the model has no match head; finetune one with `m6 finetune match`".into(),
            ));
        };
        let mut flat = Flat::default();
        for pair in pairs {
            flat.push(
                self.config(),
                pair.pictures,
                pair.text,
                begin,
                SEGMENT_VERDICT,
            );
        }
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        no_grad(|| {
            let logits = ops::linear(&flat.states(self)?, head, None, Act::None)?;
            let logits = view::<f32>(&logits)?;
            let share = |row: &[f32]| 1.0 / (1.0 + (row[0] - row[1]).exp());
            Ok(logits.chunks_exact(2).map(share).collect())
        })
    }

    /// A vector of length 1 for each picture, `[k, e]` row by row.
    ///
    /// # Errors
    /// [`Error::Input`] when the model has no contrastive head or a picture does not fit it.
    pub fn embed_pictures(&self, pictures: &[&[u8]], begin: u32) -> Result<Vec<f32>> {
        let head = self.contrastive()?;
        let mut flat = Flat::default();
        for picture in pictures {
            flat.push(self.config(), picture, &[], begin, SEGMENT_POOL_PICTURE);
        }
        self.vectors(&flat, &head.picture)
    }

    /// A vector of length 1 for each text, `[k, e]` row by row; the inner product with that of a picture is their likeness.
    ///
    /// # Errors
    /// As [`Model::embed_pictures`].
    pub fn embed_texts(&self, texts: &[&[u32]], begin: u32) -> Result<Vec<f32>> {
        let head = self.contrastive()?;
        let mut flat = Flat::default();
        for text in texts {
            flat.push(self.config(), &[], text, begin, SEGMENT_POOL_TEXT);
        }
        self.vectors(&flat, &head.text)
    }

    fn contrastive(&self) -> Result<&Contrastive> {
        self.heads.contrastive.as_ref().ok_or_else(|| {
            Error::Input(
                "the model has no contrastive head; finetune one with `m6 finetune retrieval`"
                    .into(),
            )
        })
    }

    fn vectors(&self, flat: &Flat, projection: &Param) -> Result<Vec<f32>> {
        if flat.ends.is_empty() {
            return Ok(Vec::new());
        }
        no_grad(|| {
            let x_ke = ops::linear(&flat.states(self)?, projection, None, Act::None)?;
            let (_, e) = x_ke.dims2().map_err(m6_nn::Error::from)?;
            Ok(normalised(&view::<f32>(&x_ke)?, e).0)
        })
    }
}
