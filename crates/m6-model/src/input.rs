//! What a forward pass takes: plain arrays, checked against the model before any of them is used.

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use m6_nn::spans::Spans;
use std::sync::Arc;

/// Id that adds nothing in an embedding table.
pub(crate) const NONE: u32 = u32::MAX;

/// Segment of picture patches (V in the paper).
pub const SEGMENT_PICTURE: u32 = 0;
/// Segment of source text (Tm in the paper).
pub const SEGMENT_SOURCE: u32 = 1;
/// Segment of target text (Td in the paper).
pub const SEGMENT_TARGET: u32 = 2;

/// Segment of image codes that are read, in the prefix of a sample (ours; beside V in the paper).
pub const SEGMENT_CODE_READ: u32 = 3;
/// Segment of image codes that are written, in a target (paper section 4.1).
pub const SEGMENT_CODE_WRITTEN: u32 = 4;
/// Segment of finer codes that are read, in the prefix of a sample (ours; super-resolution).
pub const SEGMENT_FINE_READ: u32 = 5;
/// Segment of finer codes that are written, in a target.
pub const SEGMENT_FINE_WRITTEN: u32 = 6;
/// Segment of the one position behind picture and text that tells if they belong together (paper section 4.6; the form is ours). Its label
/// is 1 or 0.
pub const SEGMENT_VERDICT: u32 = 7;
/// Segment of the one position behind a picture alone whose state is its vector for retrieval (ours). Its label is any number that
/// pictures and texts of one record share; the i-th such position and the i-th of [`SEGMENT_POOL_TEXT`] are a pair.
pub const SEGMENT_POOL_PICTURE: u32 = 8;
/// The same behind a text alone.
pub const SEGMENT_POOL_TEXT: u32 = 9;

/// A batch of samples one after another, without padding (paper section 2.2; packing is ours).
///
/// Any of the three segments of a sample may be empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelInput<'a> {
    /// Word or code of every flat position, `[n]`; ignored where the segment is a picture.
    pub tokens: &'a [u32],
    /// Position inside its own text, or the index of the patch or code inside its picture, `[n]`. A written code has the place of the
    /// code that comes after it, which it tells.
    pub positions: &'a [u32],
    /// 0 picture, 1 source text, 2 target text, 3 code read, 4 code written, 5 finer code read, 6 finer code written, 7 verdict, 8 and 9
    /// vectors of picture and text, `[n]`.
    pub segments: &'a [u32],
    /// Flat ranges `[from, to)` whose tokens see exactly each other; one per sample, possibly empty.
    pub prefixes: &'a [[u32; 2]],
    /// Causal ranges `[prefix, from, to)`; several may share a prefix and do not see each other.
    pub targets: &'a [[u32; 3]],
    /// Pixels of all pictures, `k * 3 * side * side` bytes, channels first.
    pub pictures: &'a [u8],
    /// Flat position of the first patch of each of the `k` pictures; the others follow it.
    pub picture_at: &'a [u32],
    /// Flat positions whose next word is learned, `[m]`, distinct.
    pub loss_at: &'a [u32],
    /// The words to learn, codes at the positions of codes, verdicts at theirs, groups at those of vectors, `[m]`.
    pub labels: &'a [u32],
    /// Weight of each label in the loss, `[m]`; empty means `1 / m` each.
    pub loss_weights: &'a [f32],
}

/// A checked input in the form the operators take.
pub(crate) struct Layout {
    pub tokens: Arc<[u32]>,
    pub positions: Arc<[u32]>,
    pub patch_positions: Arc<[u32]>,
    pub segments: Arc<[u32]>,
    /// Present where the model has codes.
    pub codes: Option<CodeLayout>,
    /// Flat position of every patch of every picture.
    pub patch_at: Arc<[u32]>,
    pub spans: Arc<Spans>,
}

/// Rows of the code tables at every flat position, [`NONE`] where there is no code.
pub(crate) struct CodeLayout {
    pub codes: Arc<[u32]>,
    pub rows: Arc<[u32]>,
    pub columns: Arc<[u32]>,
    pub segments: Arc<[u32]>,
    /// Of the finer codes alone.
    pub parts: Arc<[u32]>,
}

/// Whether a segment holds image codes.
pub(crate) fn is_code(segment: u32) -> bool {
    matches!(segment, SEGMENT_CODE_READ..=SEGMENT_FINE_WRITTEN)
}

/// Whether a segment holds finer codes.
pub(crate) fn is_fine(segment: u32) -> bool {
    matches!(segment, SEGMENT_FINE_READ | SEGMENT_FINE_WRITTEN)
}

/// Whether a segment is a single position that a head reads; it looks like the first word of a target.
fn is_answer(segment: u32) -> bool {
    matches!(
        segment,
        SEGMENT_VERDICT | SEGMENT_POOL_PICTURE | SEGMENT_POOL_TEXT
    )
}

fn bad<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Input(what.into()))
}

impl ModelInput<'_> {
    /// Checks the arrays against each other and the model, and separates words from patches.
    pub(crate) fn layout(&self, cfg: &ModelConfig) -> Result<Layout> {
        let n = self.tokens.len();
        if n == 0 {
            return bad("there are no tokens");
        }
        if self.positions.len() != n || self.segments.len() != n {
            return bad(format!(
                "{n} tokens, {} positions and {} segments must be equally many",
                self.positions.len(),
                self.segments.len()
            ));
        }
        let patch_at = self.patch_at(cfg)?;
        let (tokens, positions, patch_positions) = self.ids(cfg)?;
        let text = |s: &u32| match *s {
            s if is_code(s) => NONE,
            s if is_answer(s) => SEGMENT_TARGET,
            s => s,
        };
        let segments: Vec<u32> = self.segments.iter().map(text).collect();
        let spans = Spans::new(n, self.prefixes.to_vec(), self.targets.to_vec())?;
        Ok(Layout {
            tokens: tokens.into(),
            positions: positions.into(),
            patch_positions: patch_positions.into(),
            segments: segments.into(),
            codes: self.code_layout(cfg)?,
            patch_at: patch_at.into(),
            spans: Arc::new(spans),
        })
    }

    /// Flat position of every patch; fails unless the pictures cover exactly the picture segment.
    fn patch_at(&self, cfg: &ModelConfig) -> Result<Vec<u32>> {
        let bytes = cfg.patches.picture_bytes();
        if self.pictures.len() != self.picture_at.len() * bytes {
            return bad(format!(
                "{} bytes of pictures for {} pictures of {bytes} bytes (3 x {side} x {side})",
                self.pictures.len(),
                self.picture_at.len(),
                side = cfg.patches.image_side
            ));
        }
        let n_patches = cfg.patches.n_patches();
        let mut taken = vec![false; self.tokens.len()];
        let mut out = Vec::with_capacity(self.picture_at.len() * n_patches);
        for (i, &first) in self.picture_at.iter().enumerate() {
            for at in first as usize..first as usize + n_patches {
                if self.segments.get(at) != Some(&SEGMENT_PICTURE) || taken[at] {
                    return bad(format!(
                        "picture {i} at {first} needs {n_patches} positions of segment 0, but position {at} is not free"
                    ));
                }
                taken[at] = true;
                out.push(at as u32);
            }
        }
        let n_picture = self
            .segments
            .iter()
            .filter(|&&s| s == SEGMENT_PICTURE)
            .count();
        if n_picture != out.len() {
            return bad(format!(
                "{n_picture} positions are of segment 0, but the pictures fill {}",
                out.len()
            ));
        }
        Ok(out)
    }

    /// Word ids, text positions and patch positions, each with [`NONE`] where it does not apply.
    fn ids(&self, cfg: &ModelConfig) -> Result<(Vec<u32>, Vec<u32>, Vec<u32>)> {
        let n = self.tokens.len();
        let (mut tokens, mut positions) = (self.tokens.to_vec(), self.positions.to_vec());
        let mut patches = vec![NONE; n];
        for i in 0..n {
            let position = self.positions[i];
            match self.segments[i] {
                SEGMENT_PICTURE => {
                    check_below("patch position", i, position, cfg.patches.n_patches())?;
                    patches[i] = position;
                    tokens[i] = NONE;
                    positions[i] = NONE;
                }
                segment if is_answer(segment) && !has_head(cfg, segment) => {
                    return bad(format!(
                        "segment {segment} at {i}, but the model has no such head; set model.heads.match or model.heads.contrastive"
                    ));
                }
                SEGMENT_SOURCE | SEGMENT_TARGET | SEGMENT_VERDICT | SEGMENT_POOL_PICTURE
                | SEGMENT_POOL_TEXT => {
                    check_below("token", i, tokens[i], cfg.vocab_size)?;
                    check_below("position", i, position, cfg.max_len)?;
                }
                segment if is_code(segment) => {
                    let n_places = match is_fine(segment) {
                        _ if cfg.codes.is_none() => {
                            return bad(format!("a code at {i}, but the model has no codes"));
                        }
                        true if !cfg.codes.has_fine() => {
                            return bad(format!(
                                "a finer code at {i}, but the model has none (codes.fine)"
                            ));
                        }
                        true => cfg.codes.n_fine(),
                        false => cfg.codes.n_codes(),
                    };
                    check_below("code", i, tokens[i], cfg.codes.mask() as usize + 1)?;
                    check_below("place of a code", i, position, n_places)?;
                    tokens[i] = match cfg.codes.joint {
                        true => cfg.vocab_size as u32 + tokens[i],
                        false => NONE,
                    };
                    positions[i] = NONE;
                }
                other => return bad(format!("segment {other} at {i} is none of 0 to 9")),
            }
        }
        Ok((tokens, positions, patches))
    }

    /// Rows of the code tables; `None` for a model without codes. Ids were checked by [`ModelInput::ids`].
    fn code_layout(&self, cfg: &ModelConfig) -> Result<Option<CodeLayout>> {
        if cfg.codes.is_none() {
            return Ok(None);
        }
        let pick = |f: &dyn Fn(usize) -> u32| -> Arc<[u32]> {
            let at = (0..self.tokens.len()).map(|i| match is_code(self.segments[i]) {
                true => f(i),
                false => NONE,
            });
            at.collect()
        };
        let place = |i: usize| cfg.codes.place(self.segments[i], self.positions[i]);
        Ok(Some(CodeLayout {
            codes: pick(&|i| self.tokens[i]),
            rows: pick(&|i| place(i).row),
            columns: pick(&|i| place(i).column),
            segments: pick(&|i| place(i).segment),
            parts: pick(&|i| place(i).part.unwrap_or(NONE)),
        }))
    }

    /// Checks the loss arrays and gives the weights, `[m]`.
    pub(crate) fn loss_weights(&self, cfg: &ModelConfig) -> Result<Vec<f32>> {
        let m = self.labels.len();
        if m == 0 {
            return bad("there are no labels, so there is no loss");
        }
        let n_weights = self.loss_weights.len();
        if self.loss_at.len() != m || (n_weights != m && n_weights != 0) {
            return bad(format!(
                "{m} labels, {} loss positions and {n_weights} loss weights must be equally many",
                self.loss_at.len()
            ));
        }
        for i in 0..m {
            check_below("loss position", i, self.loss_at[i], self.tokens.len())?;
            let most = match self.segments.get(self.loss_at[i] as usize) {
                Some(&segment) if is_code(segment) && !cfg.codes.is_none() => {
                    cfg.codes.codebook_size
                }
                Some(&SEGMENT_VERDICT) => 2,
                Some(&(SEGMENT_POOL_PICTURE | SEGMENT_POOL_TEXT)) => continue,
                _ => cfg.vocab_size,
            };
            check_below("label", i, self.labels[i], most)?;
        }
        Ok(if n_weights == 0 {
            vec![1.0 / m as f32; m]
        } else {
            self.loss_weights.to_vec()
        })
    }
}

fn has_head(cfg: &ModelConfig, segment: u32) -> bool {
    match segment {
        SEGMENT_VERDICT => cfg.heads.matching,
        _ => cfg.heads.contrastive > 0,
    }
}

fn check_below(what: &str, at: usize, got: u32, limit: usize) -> Result<()> {
    if (got as usize) < limit {
        return Ok(());
    }
    bad(format!("{what} {got} at {at} must be below {limit}"))
}
