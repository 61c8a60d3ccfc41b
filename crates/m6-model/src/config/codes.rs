//! The image codes' part of the configuration.

use crate::input::{SEGMENT_CODE_READ, is_fine};
use serde::{Deserialize, Serialize};

/// Most finer codes per side of a code.
const MAX_FINE: usize = 8;

/// Image codes that a model reads and writes beside words (paper section 4.1); without a codebook there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodesConfig {
    /// Entries of the VQGAN's codebook; 0 (default) is a model without codes.
    pub codebook_size: usize,
    /// Codes per side of a picture. Default 0.
    pub grid: usize,
    /// One vocabulary of words and codes: one table, one softmax over both (as in DALL-E and CogView). Default false: codes have a table
    /// and a head of their own (ours). A model without it is written as before there was the choice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub joint: bool,
    /// Finer codes per side of a code, 2 to 8: the same picture at so many times the side, in codes of the same codebook, written where
    /// the coarse ones are read (super-resolution; the grids that line up are ours, the stage is CogView's). 0 (default) or 1 is a model
    /// without them, which is written as before there was the choice.
    #[serde(skip_serializing_if = "is_own_grid")]
    pub fine: usize,
}

fn is_own_grid(fine: &usize) -> bool {
    *fine <= 1
}

/// Rows of the tables that tell where a code stands.
pub(crate) struct CodePlace {
    /// Row of the grid, or of the coarse code that a finer one is part of.
    pub row: u32,
    /// The same for the column.
    pub column: u32,
    /// Which of the finer codes of its coarse one, in raster order; `None` for a coarse code.
    pub part: Option<u32>,
    /// Coarse or fine, read or written.
    pub segment: u32,
}

impl CodesConfig {
    /// Whether the model has no codes.
    pub fn is_none(&self) -> bool {
        self.codebook_size == 0
    }

    /// Codes of a picture.
    pub fn n_codes(&self) -> usize {
        self.grid * self.grid
    }

    /// Whether the model has finer codes as well.
    pub fn has_fine(&self) -> bool {
        !self.is_none() && !is_own_grid(&self.fine)
    }

    /// Finer codes per side of a picture; 0 without them.
    pub fn fine_grid(&self) -> usize {
        match self.has_fine() {
            true => self.grid * self.fine,
            false => 0,
        }
    }

    /// Finer codes of a picture; 0 without them.
    pub fn n_fine(&self) -> usize {
        self.fine_grid() * self.fine_grid()
    }

    /// Kinds of code segments: codes and, where there are some, finer codes, each read and written.
    pub(crate) fn n_segments(&self) -> usize {
        match self.has_fine() {
            true => 4,
            false => 2,
        }
    }

    /// Where the code at `position` of its grid stands. A finer code has row and column of its coarse one, so that both grids line up.
    pub(crate) fn place(&self, segment: u32, position: u32) -> CodePlace {
        let fine = match is_fine(segment) {
            true => self.fine.max(1) as u32,
            false => 1,
        };
        let grid = self.grid as u32 * fine;
        let (row, column) = (position / grid, position % grid);
        CodePlace {
            row: row / fine,
            column: column / fine,
            part: is_fine(segment).then_some(row % fine * fine + column % fine),
            segment: segment - SEGMENT_CODE_READ,
        }
    }

    /// Entry of the code table that begins a picture to be written.
    pub fn begin(&self) -> u32 {
        self.codebook_size as u32
    }

    /// Entry of the code table that stands for a code to be told.
    pub fn mask(&self) -> u32 {
        self.codebook_size as u32 + 1
    }

    /// Rows of the word table that are codes: the codes and both marks of a joint vocabulary, none otherwise.
    pub fn n_joint(&self) -> usize {
        match self.joint && !self.is_none() {
            true => self.codebook_size + 2,
            false => 0,
        }
    }

    /// Adds every problem of this part of the configuration.
    pub(super) fn problems(&self, out: &mut Vec<String>) {
        if self.fine > MAX_FINE {
            out.push(format!(
                "codes.fine = {} must be 0 or between 2 and {MAX_FINE}",
                self.fine
            ));
        }
        if self.is_none() {
            return;
        }
        if !(2..=1 << 16).contains(&self.codebook_size) || !(1..=128).contains(&self.grid) {
            out.push(format!(
                "codes.codebook_size = {} must be 0 or between 2 and 65536, and codes.grid = {} then between 1 and 128",
                self.codebook_size, self.grid
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{SEGMENT_CODE_WRITTEN, SEGMENT_FINE_READ, SEGMENT_FINE_WRITTEN};

    fn codes() -> CodesConfig {
        CodesConfig {
            codebook_size: 20,
            grid: 3,
            fine: 2,
            ..CodesConfig::default()
        }
    }

    #[test]
    fn every_finer_code_has_the_row_and_column_of_its_coarse_one_and_a_part_of_its_own() {
        let codes = codes();
        assert_eq!((codes.fine_grid(), codes.n_fine()), (6, 36));
        let mut parts = std::collections::BTreeSet::new();
        for (row, column) in (0..36u32).map(|p| (p / 6, p % 6)) {
            let coarse = codes.place(SEGMENT_CODE_WRITTEN, row / 2 * 3 + column / 2);
            let fine = codes.place(SEGMENT_FINE_READ, row * 6 + column);
            assert_eq!((fine.row, fine.column), (coarse.row, coarse.column));
            assert_eq!((coarse.part, coarse.segment, fine.segment), (None, 1, 2));
            assert!(fine.part.is_some_and(|part| part < 4));
            parts.insert((fine.row, fine.column, fine.part));
        }
        assert_eq!(parts.len(), 36);
        assert_eq!(codes.place(SEGMENT_FINE_WRITTEN, 0).segment, 3);
    }

    #[test]
    fn a_model_without_finer_codes_is_written_as_before() {
        let plain = CodesConfig { fine: 1, ..codes() };
        assert!(!plain.has_fine() && plain.n_fine() == 0 && plain.n_segments() == 2);
        let text = serde_json::to_string(&plain).expect("plain data");
        assert_eq!(text, r#"{"codebook_size":20,"grid":3}"#);
        let none = CodesConfig {
            fine: 2,
            joint: true,
            ..CodesConfig::default()
        };
        assert!(!none.has_fine() && none.n_joint() == 0);
        let mut problems = Vec::new();
        CodesConfig { fine: 9, ..codes() }.problems(&mut problems);
        assert!(
            problems.len() == 1 && problems[0].contains("codes.fine = 9"),
            "{problems:?}"
        );
    }
}
