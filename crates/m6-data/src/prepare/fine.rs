//! Finer codes: whether they can be had, and which pictures are large enough for them.

use m6_image::Rgb8;

use super::PictureCoder;
use super::digest::{Digest, Kept};
use crate::config::{DataConfig, Fit};
use crate::error::{Error, Result};
use crate::manifest::SourceReport;

/// The tasks that learn finer codes.
const TASKS: [&str; 2] = ["super_resolution", "masked_super_resolution"];

/// Words that an example shall have room for beside its codes.
const FEW_WORDS: usize = 8;

/// Refuses what the tasks over finer codes could not learn from; every problem at once.
pub(super) fn check(config: &DataConfig, coder: Option<&PictureCoder<'_>>) -> Result<()> {
    let Some(coder) = coder else {
        return Ok(());
    };
    let mut problems = Vec::new();
    let asks = |task: &str| {
        let weight = |source: &crate::SourceConfig| source.task_weights().get(task).copied();
        let mut weights = config.sources.iter().filter_map(weight);
        weights.any(|weight| weight > 0.0)
    };
    let asked: Vec<&str> = TASKS.into_iter().filter(|task| asks(task)).collect();
    if let (Some(task), false) = (asked.first(), config.codes.has_fine()) {
        problems.push(format!(
            "the task {task} needs finer codes: set data.codes.fine = 2, and data.image_side = {} or more",
            2 * coder.side
        ));
    }
    let side = fine_side(coder);
    if side > config.image_side {
        problems.push(format!(
            "data.codes.fine = {} encodes pictures at {side} pixels a side, {} times the VQGAN's {}, but data.image_side = {} stores them smaller; set it to {side} or more",
            coder.fine, coder.fine, coder.side, config.image_side
        ));
    }
    let n_codes = config.codes.n_codes() + config.codes.n_fine();
    if !asked.is_empty() && config.codes.has_fine() && config.row_len < n_codes + FEW_WORDS {
        problems.push(format!(
            "data.row_len = {} cannot hold the {} codes and {} finer codes of one picture of {}; set it to {} or more",
            config.row_len,
            config.codes.n_codes(),
            config.codes.n_fine(),
            asked.join(" and "),
            n_codes + FEW_WORDS
        ));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Config(problems)),
    }
}

/// Pixels per side at which pictures are encoded in finer codes; 0 without them.
pub(super) fn fine_side(coder: &PictureCoder<'_>) -> usize {
    match coder.fine {
        0 | 1 => 0,
        fine => coder.side * fine,
    }
}

/// Whether a picture becomes a square of `side` pixels without being enlarged; none does for a side of 0.
pub(super) fn is_large(image: &Rgb8, fit: Fit, side: usize) -> bool {
    let deciding = match fit {
        Fit::Stretch | Fit::Crop => image.width.min(image.height),
        Fit::Pad => image.width.max(image.height),
    };
    side > 0 && deciding >= side
}

/// Codes and finer codes of every kept picture, all pictures at once; a picture that is too small has none of the latter.
pub(super) fn encode(
    coder: &PictureCoder<'_>,
    picture_bytes: usize,
    digests: &mut [Digest],
) -> std::result::Result<(), String> {
    let large = |kept: &Kept, image: usize| kept.large[image];
    let mut all = codes_of(coder, digests, picture_bytes, 1, &|_, _| true)?.into_iter();
    let mut finer = codes_of(coder, digests, picture_bytes, coder.fine, &large)?.into_iter();
    for digest in digests {
        if let Digest::Kept(kept) = digest {
            kept.codes = all.by_ref().take(kept.images.len()).collect();
            let fine = kept.large.iter().map(|large| match large {
                true => finer.next().unwrap_or_default(),
                false => Vec::new(),
            });
            kept.fine = fine.collect();
        }
    }
    Ok(())
}

/// Codes of the kept pictures that `wanted` names, at so many times the coder's side.
fn codes_of(
    coder: &PictureCoder<'_>,
    digests: &[Digest],
    picture_bytes: usize,
    times: usize,
    wanted: &dyn Fn(&Kept, usize) -> bool,
) -> std::result::Result<Vec<Vec<u16>>, String> {
    let mut pixels = Vec::new();
    for digest in digests {
        if let Digest::Kept(kept) = digest {
            let each = kept.images.iter().enumerate();
            let wanted = each.filter(|(i, _)| wanted(kept, *i));
            wanted.for_each(|(_, image)| pixels.extend_from_slice(image));
        }
    }
    let n = pixels.len() / picture_bytes;
    if n == 0 {
        return Ok(Vec::new());
    }
    let codes = (coder.encode)(&pixels, times)?;
    let n_codes = (coder.grid * times).pow(2);
    match codes.len() == n * n_codes {
        true => Ok(codes.chunks_exact(n_codes).map(<[u16]>::to_vec).collect()),
        false => Err(format!(
            "{} codes for {n} pictures of {n_codes} codes",
            codes.len()
        )),
    }
}

/// Refuses a source that shall teach finer codes when none of its pictures is large enough for them.
pub(super) fn check_report(coder: &PictureCoder<'_>, report: &SourceReport) -> Result<()> {
    for task in TASKS {
        let Some(found) = report.tasks.get(task) else {
            continue;
        };
        let n_examples: u64 = found.splits.values().map(|rows| rows.examples).sum();
        let n_small = found.cuts.get("picture_too_small").copied().unwrap_or(0);
        if n_examples == 0 && n_small > 0 {
            let side = fine_side(coder);
            return Err(Error::Config(vec![format!(
                "source `{}` shall teach {task}, but all its {n_small} described pictures are below {side} x {side} pixels, and enlarging them would teach blur; give larger pictures, lower data.codes.fine, or leave the task out",
                report.name
            )]));
        }
    }
    Ok(())
}
