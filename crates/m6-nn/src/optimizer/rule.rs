//! The rules of an update: what each keeps of a parameter, by what name, and which parts of a parameter it can be confined to.

use crate::error::{Error, Result};
use crate::glue;
use crate::kernels::adamw8::LEAST;
use crate::kernels::dynamic8::BLOCK;
use crate::kernels::muon::matrices;
use crate::param::bytes_of;
use crate::real::{Buffer, Real};
use candle_core::DType;
use m6_store::scratch::Scratch;
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// How a parameter is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// AdamW (Loshchilov and Hutter): two moments in full.
    AdamW,
    /// AdamW with moments of 8 bits (Dettmers and others), from 4,096 elements on; smaller parameters keep them in full.
    AdamW8,
    /// Muon (Jordan and others), for matrices: a momentum.
    Muon,
    /// Adafactor (Shazeer and Stern): means of squares of the rows and columns of matrices, of every element of vectors.
    Adafactor,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdamW => "AdamW",
            Self::AdamW8 => "AdamW of 8 bits",
            Self::Muon => "Muon",
            Self::Adafactor => "Adafactor",
        })
    }
}

impl Rule {
    pub(super) const ALL: [Self; 4] = [Self::AdamW, Self::AdamW8, Self::Muon, Self::Adafactor];

    /// The rule under which a parameter of this shape really is.
    pub(super) fn of(self, shape: &[usize]) -> Self {
        match self {
            Self::AdamW8 if shape.iter().product::<usize>() < LEAST => Self::AdamW,
            rule => rule,
        }
    }

    /// Bytes of the moments of a parameter of single precision that has this shape.
    pub fn n_bytes(self, shape: &[usize]) -> usize {
        let all = 0..shape.iter().product();
        let kinds = self.of(shape).moments(shape);
        let bytes = |kind: &Kind| size_of(kind.dtype(DType::F32)) * kind.entries(&all).len();
        kinds.iter().map(bytes).sum()
    }

    /// Names of the moments in a saved state; the first one tells the rule.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::AdamW => &["exp_avg", "exp_avg_sq"],
            Self::AdamW8 => &[
                "exp_avg_codes",
                "exp_avg_scales",
                "exp_avg_sq_codes",
                "exp_avg_sq_scales",
            ],
            Self::Muon => &["momentum"],
            Self::Adafactor => &["row_mean_sq", "col_mean_sq"],
        }
    }

    /// Whether ranks can share out any parameter in parts.
    pub fn divides(self) -> bool {
        matches!(self, Self::AdamW | Self::AdamW8)
    }

    /// Where a part of a parameter of this shape may begin and end; `None` for a rule that needs all of it. Of stacked experts each is a matrix
    /// of its own.
    pub(super) fn unit(self, shape: &[usize]) -> Option<usize> {
        match (self, shape) {
            (Self::AdamW, _) => Some(1),
            (Self::AdamW8, _) => Some(BLOCK),
            (Self::Muon | Self::Adafactor, [_, rows, cols]) => Some((rows * cols).max(1)),
            (Self::Muon | Self::Adafactor, _) => None,
        }
    }

    /// The moments of a parameter of this shape, in the order of their names.
    pub(super) fn moments(self, shape: &[usize]) -> Vec<Kind> {
        let n: usize = shape.iter().product();
        let each = Kind::new(Number::Own, Extent::Elements(shape.to_vec()));
        match self {
            Self::AdamW => vec![each.clone(), each],
            Self::Muon => vec![each],
            Self::AdamW8 => {
                let codes = Kind::new(Number::Code, Extent::Elements(shape.to_vec()));
                let scales = Kind::new(Number::Scale, Extent::Blocks(n.div_ceil(BLOCK)));
                vec![codes.clone(), scales.clone(), codes, scales]
            }
            Self::Adafactor => {
                let (stacked, rows, cols) = folded(shape);
                let each = (rows * cols).max(1);
                let means = |of| Kind::new(Number::Own, Extent::Means([stacked, of], each));
                vec![means(rows), means(cols)]
            }
        }
    }
}

/// A parameter as Adafactor's matrices: their number, rows and columns; a vector is one of one row.
pub(super) fn folded(shape: &[usize]) -> (usize, usize, usize) {
    match *shape {
        [n] => (1, 1, n),
        _ => matrices(shape),
    }
}

/// The number type of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    /// That of the parameter.
    Own,
    Scale,
    Code,
}

/// What a moment has an entry for; with the shape of a whole one.
#[derive(Debug, Clone)]
enum Extent {
    Elements(Vec<usize>),
    Blocks(usize),
    /// So many entries for each of the stacked matrices, which have so many elements.
    Means([usize; 2], usize),
}

/// One moment of a parameter: what its tensor looks like.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    number: Number,
    extent: Extent,
}

impl Kind {
    fn new(number: Number, extent: Extent) -> Self {
        Self { number, extent }
    }

    /// Shape of the tensor for all of a parameter.
    pub(super) fn shape(&self) -> Vec<usize> {
        match &self.extent {
            Extent::Elements(shape) => shape.clone(),
            Extent::Means(shape, _) => shape.to_vec(),
            Extent::Blocks(n) => vec![*n],
        }
    }

    /// The entries of a part of the parameter, which begins where a part may.
    pub(super) fn entries(&self, part: &Range<usize>) -> Range<usize> {
        match &self.extent {
            Extent::Elements(_) => part.clone(),
            Extent::Blocks(_) => part.start / BLOCK..part.end.div_ceil(BLOCK),
            Extent::Means([_, of], each) => part.start / each * of..part.end / each * of,
        }
    }

    /// The number type in a file, for a parameter of type `own`.
    pub(super) fn dtype(&self, own: DType) -> Dtype {
        match (self.number, own) {
            (Number::Code, _) => Dtype::U8,
            (Number::Own, DType::F64) => Dtype::F64,
            _ => Dtype::F32,
        }
    }

    /// `n` entries before the first update.
    pub(super) fn zeros(&self, own: DType, n: usize) -> Values {
        match self.dtype(own) {
            // Whatever the code, a scale of 0 makes it 0.
            Dtype::U8 => Values::Codes(vec![0; n]),
            Dtype::F64 => Values::Numbers(Buffer::F64(glue::zeros(n))),
            _ => Values::Numbers(Buffer::F32(glue::zeros(n))),
        }
    }
}

/// Bytes of an entry of a type that moments have.
pub(super) fn size_of(dtype: Dtype) -> usize {
    match dtype {
        Dtype::U8 => 1,
        Dtype::F64 => 8,
        _ => 4,
    }
}

/// The entries of one moment.
pub(super) enum Values {
    Numbers(Buffer),
    Codes(Vec<u8>),
    /// In a file, for want of room in memory.
    Stored(Stored),
}

/// Where the entries of a moment are in a file.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    dtype: Dtype,
    n_bytes: usize,
    at: u64,
}

impl Stored {
    fn read(&self, scratch: &Scratch) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.n_bytes];
        scratch.read(self.at, &mut bytes)?;
        Ok(bytes)
    }
}

impl Values {
    /// Entries of the type `dtype` from the bytes of a file.
    pub(super) fn from_bytes(dtype: Dtype, bytes: Vec<u8>) -> Self {
        match dtype {
            Dtype::U8 => Self::Codes(bytes),
            Dtype::F64 => Self::Numbers(Buffer::F64(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| f64::from_le_bytes(b))
                    .collect(),
            )),
            _ => Self::Numbers(Buffer::F32(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| f32::from_le_bytes(b))
                    .collect(),
            )),
        }
    }

    /// Type in a file.
    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Self::Codes(_) => Dtype::U8,
            Self::Numbers(Buffer::F32(_)) => Dtype::F32,
            Self::Numbers(Buffer::F64(_)) => Dtype::F64,
            Self::Stored(stored) => stored.dtype,
        }
    }

    /// Bytes for a file.
    ///
    /// # Errors
    /// Those of `scratch`, where stored ones are.
    pub(super) fn bytes(&self, scratch: Option<&Scratch>) -> Result<Cow<'_, [u8]>> {
        Ok(match self {
            Self::Codes(codes) => codes.into(),
            Self::Numbers(Buffer::F32(values)) => bytes_of(values).into(),
            Self::Numbers(Buffer::F64(values)) => bytes_of(values).into(),
            Self::Stored(stored) => stored.read(scratch.ok_or_else(nowhere)?)?.into(),
        })
    }

    /// Bytes of the entries, wherever they are.
    pub(super) fn n_bytes(&self) -> usize {
        match self {
            Self::Codes(codes) => codes.len(),
            Self::Numbers(Buffer::F32(values)) => 4 * values.len(),
            Self::Numbers(Buffer::F64(values)) => 8 * values.len(),
            Self::Stored(stored) => stored.n_bytes,
        }
    }

    /// Brings stored entries into memory; gives where they were.
    ///
    /// # Errors
    /// Those of `scratch`.
    pub(super) fn fetch(&mut self, scratch: &Scratch) -> Result<Option<Stored>> {
        let Self::Stored(stored) = *self else {
            return Ok(None);
        };
        *self = Self::from_bytes(stored.dtype, stored.read(scratch)?);
        Ok(Some(stored))
    }

    /// Puts entries into the file, to where they were if they were there.
    ///
    /// # Errors
    /// Those of `scratch`.
    pub(super) fn store(&mut self, scratch: &Scratch, place: Option<Stored>) -> Result<()> {
        if matches!(self, Self::Stored(_)) {
            return Ok(());
        }
        let bytes = self.bytes(None)?;
        let stored = place.unwrap_or_else(|| Stored {
            dtype: self.dtype(),
            n_bytes: bytes.len(),
            at: scratch.reserve(bytes.len()),
        });
        scratch.write(stored.at, &bytes)?;
        *self = Self::Stored(stored);
        Ok(())
    }

    /// The numbers of type `T`.
    pub(super) fn numbers<T: Real>(&mut self) -> Result<&mut [T]> {
        let found = match self {
            Self::Numbers(buffer) => T::of_buffer_mut(buffer),
            Self::Codes(_) | Self::Stored(_) => None,
        };
        found
            .map(Vec::as_mut_slice)
            .ok_or_else(|| other_type(T::DTYPE))
    }

    /// The codes.
    pub(super) fn codes(&mut self) -> Result<&mut [u8]> {
        match self {
            Self::Codes(codes) => Ok(codes),
            Self::Numbers(_) | Self::Stored(_) => Err(other_type(DType::U8)),
        }
    }
}

fn nowhere() -> Error {
    Error::Value {
        op: "optimizer",
        what: "moments are stored and there is no file of them".into(),
    }
}

fn other_type(expected: DType) -> Error {
    Error::Value {
        op: "optimizer",
        what: format!("the moments are of another number type than the gradient, {expected:?}"),
    }
}
