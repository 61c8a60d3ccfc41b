//! One record to token ids and pixels; the part that runs in parallel.

use m6_image::{resize_square, to_chw};
use m6_store::hash::hash64;
use m6_text::Tokenizer;

use super::fine::is_large;
use crate::config::{DataConfig, SourceConfig};
use crate::record::{BadRecord, Record};

/// What a record came to.
pub(super) enum Digest {
    /// It is kept.
    Kept(Kept),
    /// A rule passes over it.
    Skipped(&'static str),
    /// It cannot be used.
    Bad(BadRecord),
}

/// A record ready to be written.
pub(super) struct Kept {
    pub(super) id: String,
    /// Text, captions, questions and answers in the order of the record table.
    pub(super) sequences: Vec<Vec<u16>>,
    pub(super) has_text: bool,
    pub(super) n_captions: usize,
    pub(super) n_qa: usize,
    /// Pixels, channels first.
    pub(super) images: Vec<Vec<u8>>,
    /// Image codes of each picture, when there is a coder.
    pub(super) codes: Vec<Vec<u16>>,
    /// Finer image codes of each picture; empty for one that is too small, or without them.
    pub(super) fine: Vec<Vec<u16>>,
    /// Whether each picture is to have finer codes and is large enough for them.
    pub(super) large: Vec<bool>,
    pub(super) held_out: bool,
    /// Pictures that could not be used.
    pub(super) bad_pictures: Vec<BadRecord>,
    pub(super) n_beyond_max: usize,
    pub(super) n_empty: usize,
}

/// Tokens and pixels of a record; pictures of `fine_side` pixels are large enough for finer codes.
///
/// A record whose pictures are all bad is kept for its passage or its questions about that passage; without a
/// passage it is bad, since captions and questions are about a picture that is not there.
pub(super) fn digest(
    record: Record,
    config: &DataConfig,
    source: &SourceConfig,
    tokenizer: &Tokenizer,
    fine_side: usize,
) -> Digest {
    let encode = |text: &str| -> Vec<u16> {
        let ids = tokenizer.encode(text);
        // The vocabulary has at most 2^16 entries, checked before any record is read.
        ids.into_iter().map(|id| id as u16).collect()
    };
    let mut sequences = Vec::new();
    let mut n_empty = 0;
    let text = record
        .text
        .as_deref()
        .map(encode)
        .filter(|ids| !ids.is_empty());
    n_empty += usize::from(record.text.is_some() && text.is_none());
    let has_text = text.is_some();
    sequences.extend(text);
    let captions = record.captions.iter().map(|caption| encode(caption));
    sequences.extend(captions.filter(|ids| !ids.is_empty()));
    let n_captions = sequences.len() - usize::from(has_text);
    n_empty += record.captions.len() - n_captions;
    let mut n_qa = 0;
    for qa in &record.qa {
        let (question, answer) = (encode(&qa.question), encode(&qa.answer));
        if question.is_empty() || answer.is_empty() {
            n_empty += 1;
            continue;
        }
        n_qa += 1;
        sequences.extend([question, answer]);
    }
    if sequences.is_empty() {
        let pictured = !record.images.is_empty();
        return Digest::Skipped(if pictured {
            "picture_without_text"
        } else {
            "no_text"
        });
    }
    let n_beyond_max = record.images.len().saturating_sub(config.max_images);
    let mut images = Vec::new();
    let mut large = Vec::new();
    let mut bad_pictures = Vec::new();
    for picture in record.images.iter().take(config.max_images) {
        match picture.decoded(config.max_pixels) {
            Ok(image) => {
                large.push(is_large(&image, config.fit, fine_side));
                let square = resize_square(&image, config.image_side, config.fit.into());
                images.push(to_chw(&square));
            }
            Err((reason, detail)) => {
                bad_pictures.push(BadRecord::new(
                    &record.place,
                    reason,
                    detail,
                    picture.bytes(),
                ));
            }
        }
    }
    if images.is_empty() && !has_text && !bad_pictures.is_empty() {
        return Digest::Bad(bad_pictures.swap_remove(0));
    }
    Digest::Kept(Kept {
        held_out: is_held_out(&record.id, source.held_out),
        id: record.id,
        sequences,
        has_text,
        n_captions,
        n_qa,
        images,
        codes: Vec::new(),
        fine: Vec::new(),
        large,
        bad_pictures,
        n_beyond_max,
        n_empty,
    })
}

/// Whether an identity falls into the held-out share; the same for every source and seed.
pub fn is_held_out(id: &str, share: f64) -> bool {
    let unit = (hash64(id.as_bytes()) >> 11) as f64 / (1u64 << 53) as f64;
    unit < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_out_share_is_near_its_number_and_fixed_by_the_identity() {
        let n = (0..10_000)
            .filter(|i| is_held_out(&format!("record-{i}"), 0.1))
            .count();
        assert!((900..1100).contains(&n), "{n}");
        assert!(!is_held_out("x", 0.0));
        assert!(is_held_out("x", 1.0));
    }
}
