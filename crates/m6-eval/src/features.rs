//! Feature vectors of a set of pictures, as some network gave them.

use crate::error::{Error, Result};

/// Feature vectors `[n, d]`, one row a picture, in double precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Vec<f64>,
    n: usize,
    d: usize,
}

impl Features {
    /// Rows of `d` numbers each, one behind the other.
    ///
    /// # Errors
    /// [`Error::Features`] when there is no row, the rows are not whole, or a number is not finite.
    pub fn new<T: Copy + Into<f64>>(values: &[T], d: usize) -> Result<Self> {
        if d == 0 || values.is_empty() || !values.len().is_multiple_of(d) {
            return Err(Error::Features(format!(
                "{} numbers are no whole number of vectors of length {d}; expected at least one",
                values.len()
            )));
        }
        let values: Vec<f64> = values.iter().map(|v| (*v).into()).collect();
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::Features(format!(
                "number {} of vector {} is {}; the network that gave it is damaged",
                at % d,
                at / d,
                values[at]
            )));
        }
        Ok(Self {
            n: values.len() / d,
            d,
            values,
        })
    }

    /// Vectors.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Numbers of a vector.
    pub fn d(&self) -> usize {
        self.d
    }

    /// The vectors, one behind the other.
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// An error unless `other` has vectors of the same length.
    pub(crate) fn expect_like(&self, other: &Self) -> Result<()> {
        if self.d == other.d {
            return Ok(());
        }
        Err(Error::Features(format!(
            "one set has vectors of length {}, the other of {}; take both from one network",
            self.d, other.d
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_rows_and_numbers_that_are_none_are_refused() {
        let set = Features::new(&[1.0f32, 2.0, 3.0, 4.0], 2).unwrap();
        assert_eq!((set.n(), set.d()), (2, 2));
        assert!(Features::new(&[1.0f64, 2.0, 3.0], 2).is_err());
        assert!(Features::new::<f64>(&[], 2).is_err());
        assert!(Features::new(&[1.0f64], 0).is_err());
        let error = Features::new(&[1.0, 2.0, f64::NAN, 4.0], 2).unwrap_err();
        assert!(error.to_string().contains("number 0 of vector 1 is NaN"));
    }
}
