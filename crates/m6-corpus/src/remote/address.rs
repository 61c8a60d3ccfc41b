//! `s3://bucket/key`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// How an address begins.
const SCHEME: &str = "s3://";

/// A place in a bucket: an object, or what lies below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The bucket.
    pub bucket: String,
    /// Parts of the key between single `/`; empty for the whole bucket.
    pub key: String,
}

/// Whether a path is an address of an object store.
pub fn is_remote(path: &Path) -> bool {
    path.to_string_lossy().starts_with(SCHEME)
}

impl Address {
    /// Reads an address; empty parts and `.` are left out.
    ///
    /// # Errors
    /// [`Error::Config`] for another scheme, an address without a bucket, and one with `..`.
    pub fn parse(path: &Path) -> Result<Self> {
        let text = path.to_str().unwrap_or_default();
        let wrong = |why: &str| {
            let shown = path.display();
            Error::Config(format!(
                "`{shown}` is no address: {why}; write s3://bucket/prefix"
            ))
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| wrong("it must be UTF-8 and begin with s3://"))?;
        let mut parts = rest.split('/').filter(|part| !matches!(*part, "" | "."));
        let bucket = parts.next().ok_or_else(|| wrong("it names no bucket"))?;
        let parts: Vec<&str> = parts.collect();
        if bucket == ".." || parts.contains(&"..") {
            return Err(wrong("it climbs with `..`"));
        }
        Ok(Self {
            bucket: bucket.to_string(),
            key: parts.join("/"),
        })
    }

    /// The key of something below.
    pub fn below(&self, name: &str) -> String {
        match self.key.is_empty() {
            true => name.to_string(),
            false => format!("{}/{name}", self.key),
        }
    }

    /// The last part: of the key, or the bucket.
    pub fn name(&self) -> &str {
        match self.key.rsplit('/').next() {
            Some(name) if !name.is_empty() => name,
            _ => &self.bucket,
        }
    }

    /// The address of a key of the same bucket.
    pub fn of_key(&self, key: &str) -> Self {
        Self {
            bucket: self.bucket.clone(),
            key: key.to_string(),
        }
    }

    /// The same as a path, for tables of paths; it names no file.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(self.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.is_empty() {
            true => write!(f, "{SCHEME}{}", self.bucket),
            false => write!(f, "{SCHEME}{}/{}", self.bucket, self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_slips_are_named() {
        let read = |text: &str| Address::parse(Path::new(text)).map(|address| address.to_string());
        for (text, expected) in [
            ("s3://b", "s3://b"),
            ("s3://b//语料/./x/", "s3://b/语料/x"),
            ("s3://b/*.warc.gz", "s3://b/*.warc.gz"),
        ] {
            assert_eq!(read(text).expect("an address"), expected);
        }
        for (text, why) in [
            ("b/x", "begin with s3://"),
            ("s3://", "no bucket"),
            ("s3://b/../x", "climbs"),
        ] {
            let error = read(text).expect_err("refused").to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
        let address = Address::parse(Path::new("s3://b/x/y")).expect("an address");
        assert_eq!((address.name(), &*address.below("z")), ("y", "x/y/z"));
        let bucket = Address::parse(Path::new("s3://b")).expect("an address");
        assert_eq!((bucket.name(), &*bucket.below("z")), ("b", "z"));
        assert!(is_remote(Path::new("s3://b")) && !is_remote(Path::new("data/s3://b")));
    }
}
