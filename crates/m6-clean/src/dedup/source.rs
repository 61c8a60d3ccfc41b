//! Where the documents to compare come from.

use std::borrow::Cow;

use crate::Result;

/// One document as the comparison needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<'t> {
    /// Its text; white space does not count.
    pub text: Cow<'t, str>,
    /// How good it is, on any scale; of a cluster the best is kept. `None` is below every number.
    pub quality: Option<f32>,
}

/// Documents that can be read again by index: candidates are checked against the texts themselves, which need not fit in memory.
pub trait Documents: Sync {
    /// How many there are, damaged ones included.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The document at an index below [`Documents::len`]; `None` for a damaged one, which takes no part. Must give the same each time.
    ///
    /// # Errors
    /// The store could not be read.
    fn document(&self, index: usize) -> Result<Option<Document<'_>>>;
}

/// Texts in memory, all of the same quality.
impl<T: AsRef<str> + Sync> Documents for [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn document(&self, index: usize) -> Result<Option<Document<'_>>> {
        Ok(self.get(index).map(|text| Document {
            text: Cow::Borrowed(text.as_ref()),
            quality: None,
        }))
    }
}
