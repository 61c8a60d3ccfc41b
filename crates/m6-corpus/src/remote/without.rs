//! What stands for a client in a build without the feature `s3`: nothing can be one.

use std::convert::Infallible;
use std::ops::Range;
use std::path::Path;

use super::{Address, Object};
use crate::{Error, Result};

/// A client that cannot be had.
#[derive(Debug)]
pub struct Client(Infallible);

impl Client {
    /// Refuses.
    ///
    /// # Errors
    /// [`Error::Config`], always.
    pub fn open(bucket: &str) -> Result<Self> {
        Err(Error::Config(format!(
            "s3://{bucket}: this program was built without object stores; build it with them: cargo build --release --features s3"
        )))
    }

    pub(crate) fn list(&self, _: &str) -> Result<Vec<Object>> {
        match self.0 {}
    }

    pub(crate) fn any(&self, _: &str) -> Result<bool> {
        match self.0 {}
    }

    pub(crate) fn head(&self, _: &str) -> Result<Option<Object>> {
        match self.0 {}
    }

    pub(crate) fn hash_of(&self, _: &str) -> Result<Option<(u64, String)>> {
        match self.0 {}
    }

    pub(crate) fn read(&self, _: &str, _: Option<&str>, _: Range<u64>) -> Result<Vec<u8>> {
        match self.0 {}
    }

    pub(crate) fn get(&self, _: &str) -> Result<Option<Vec<u8>>> {
        match self.0 {}
    }

    pub(crate) fn put(&self, _: &str, _: Vec<u8>) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn put_file(&self, _: &str, _: &Path, _: &str) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn delete(&self, _: &str) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn address(&self, _: &str) -> Address {
        match self.0 {}
    }
}
