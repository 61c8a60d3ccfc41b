//! A prepared record: where its token sequences and pictures lie.
//!
//! Sequences of a record lie one after the other: text, captions, then question and answer in turn. The table holds,
//! little endian: first sequence (u64), first picture (u64), then u32: has text, captions, pairs, pictures, held
//! out; then the identity as UTF-8.

use std::ops::Range;

/// Bytes before the identity.
const HEAD: usize = 36;

/// A record as the tasks see it: token ids and picture numbers.
#[derive(Clone, Debug, Default)]
pub struct Entry<'a> {
    /// Identity.
    pub id: &'a str,
    /// Ids of the passage.
    pub text: Option<&'a [u16]>,
    /// Ids of each caption.
    pub captions: Vec<&'a [u16]>,
    /// Ids of each question and answer.
    pub qa: Vec<(&'a [u16], &'a [u16])>,
    /// Numbers of its pictures among those of the source.
    pub images: Range<u64>,
    /// Image codes of each picture; empty for data without codes.
    pub codes: Vec<&'a [u16]>,
    /// Finer codes of each picture; empty for a picture that was too small for them, and for data without any.
    pub fine: Vec<&'a [u16]>,
}

impl<'a> Entry<'a> {
    /// Number of its pictures.
    pub fn n_images(&self) -> usize {
        self.images.end.saturating_sub(self.images.start) as usize
    }

    /// What describes the pictures: the captions or, without any, the passage.
    pub fn descriptions(&self) -> Vec<&'a [u16]> {
        match (self.captions.is_empty(), self.text) {
            (true, Some(text)) => vec![text],
            _ => self.captions.clone(),
        }
    }
}

/// The fixed part of a record in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryRow {
    /// Identity.
    pub id: String,
    /// Number of its first sequence.
    pub first_sequence: u64,
    /// Number of its first picture.
    pub first_image: u64,
    /// Whether the first sequence is a passage.
    pub has_text: bool,
    /// Captions.
    pub n_captions: u32,
    /// Pairs of question and answer.
    pub n_qa: u32,
    /// Pictures.
    pub n_images: u32,
    /// Whether it is kept out of training.
    pub held_out: bool,
}

impl EntryRow {
    /// Number of token sequences.
    pub fn n_sequences(&self) -> u64 {
        u64::from(self.has_text) + u64::from(self.n_captions) + 2 * u64::from(self.n_qa)
    }

    /// The bytes of the table.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.id.len());
        out.extend(self.first_sequence.to_le_bytes());
        out.extend(self.first_image.to_le_bytes());
        let numbers = [
            u32::from(self.has_text),
            self.n_captions,
            self.n_qa,
            self.n_images,
            u32::from(self.held_out),
        ];
        out.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
        out.extend(self.id.as_bytes());
        out
    }

    /// The record of these bytes, or `None` where they cannot be one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            first_sequence: long(0)?,
            first_image: long(8)?,
            has_text: number(16)? != 0,
            n_captions: number(20)?,
            n_qa: number(24)?,
            n_images: number(28)?,
            held_out: number(32)? != 0,
            id: std::str::from_utf8(bytes.get(HEAD..)?).ok()?.to_string(),
        })
    }

    /// The entry, its sequences given by `sequence`; `None` where one is not there.
    pub fn entry<'a>(&'a self, sequence: impl Fn(u64) -> Option<&'a [u16]>) -> Option<Entry<'a>> {
        self.first_sequence.checked_add(self.n_sequences())?;
        let mut at = self.first_sequence;
        let mut take = || {
            at += 1;
            sequence(at - 1)
        };
        let mut entry = Entry {
            id: &self.id,
            images: self.first_image..self.first_image.checked_add(u64::from(self.n_images))?,
            ..Entry::default()
        };
        if self.has_text {
            entry.text = Some(take()?);
        }
        for _ in 0..self.n_captions {
            entry.captions.push(take()?);
        }
        for _ in 0..self.n_qa {
            entry.qa.push((take()?, take()?));
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_written_and_short_bytes_are_none() {
        let row = EntryRow {
            id: "图-1".to_string(),
            first_sequence: 1 << 40,
            first_image: 7,
            has_text: true,
            n_captions: 5,
            n_qa: 2,
            n_images: 3,
            held_out: true,
        };
        let bytes = row.to_bytes();
        assert_eq!(EntryRow::from_bytes(&bytes), Some(row));
        assert_eq!(EntryRow::from_bytes(&bytes[..HEAD - 1]), None);
    }

    #[test]
    fn sequences_go_to_text_captions_and_pairs_in_order() {
        let row = EntryRow {
            has_text: true,
            n_captions: 2,
            n_qa: 1,
            ..EntryRow::default()
        };
        let sequences: Vec<Vec<u16>> = (0..5).map(|i| vec![i]).collect();
        let entry = row
            .entry(|at| sequences.get(at as usize).map(Vec::as_slice))
            .expect("all there");
        assert_eq!(entry.text, Some(&[0u16][..]));
        assert_eq!(entry.captions, [&[1u16][..], &[2]]);
        assert_eq!(entry.qa, [(&[3u16][..], &[4u16][..])]);
        assert!(row.entry(|_| None).is_none());
    }
}
