//! Bodies kept on disk, one file an address: a line of JSON, then the body. A run that was killed goes on from here.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use m6_store::{atomic, hash};
use serde::{Deserialize, Serialize};

use super::outcome::Fetched;
use crate::Result;

/// Version of the files; files of another one are fetched again.
const FORMAT_VERSION: u32 = 1;
/// Longest first line that is read.
const MAX_HEAD: u64 = 64 << 10;

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    format_version: u32,
    /// The address that was asked for.
    url: String,
    /// The address that answered, after redirects; the validators are its own.
    pub final_url: String,
    mime: Option<String>,
    charset: Option<String>,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// Seconds since 1970.
    fetched_at: u64,
    n_bytes: u64,
    hash: String,
}

/// What is held of an address.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub head: Head,
    body: Vec<u8>,
}

impl Held {
    /// Whether the body may be used at `now` without asking.
    pub(super) fn is_fresh(&self, now: u64, fresh_seconds: f64) -> bool {
        // A file from the future (a clock that was set back) is not fresh.
        now >= self.head.fetched_at && ((now - self.head.fetched_at) as f64) < fresh_seconds
    }

    /// The body as an outcome.
    pub(super) fn into_fetched(self) -> Fetched {
        Fetched {
            url: self.head.final_url,
            mime: self.head.mime,
            charset: self.head.charset,
            body: self.body,
            from_cache: true,
        }
    }
}

/// Validators a server gave with a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

/// A folder of bodies.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    fn path(&self, url: &str) -> PathBuf {
        let name = hash::hash_bytes(url.as_bytes());
        let (shelf, name) = name.split_at(2);
        self.folder.join(shelf).join(name)
    }

    /// What is held of an address with at most `max_bytes` of body; damaged and foreign files count as nothing.
    pub(super) fn get(&self, url: &str, max_bytes: u64) -> Option<Held> {
        let mut reader = BufReader::new(File::open(self.path(url)).ok()?);
        let mut line = Vec::new();
        reader
            .by_ref()
            .take(MAX_HEAD)
            .read_until(b'\n', &mut line)
            .ok()?;
        let head: Head = serde_json::from_slice(&line).ok()?;
        if head.format_version != FORMAT_VERSION || head.url != url || head.n_bytes > max_bytes {
            return None;
        }
        let mut body = Vec::new();
        // One byte more than promised shows a file that is too long.
        reader.take(head.n_bytes + 1).read_to_end(&mut body).ok()?;
        let is_whole = body.len() as u64 == head.n_bytes && hash::hash_bytes(&body) == head.hash;
        is_whole.then_some(Held { head, body })
    }

    /// Keeps a body that was fetched for `url` at `now`.
    ///
    /// # Errors
    /// [`crate::Error::Store`] when it cannot be written.
    pub(super) fn put(
        &self,
        url: &str,
        fetched: &Fetched,
        validators: Validators,
        now: u64,
    ) -> Result<()> {
        let head = Head {
            format_version: FORMAT_VERSION,
            url: url.to_owned(),
            final_url: fetched.url.clone(),
            mime: fetched.mime.clone(),
            charset: fetched.charset.clone(),
            etag: validators.etag,
            last_modified: validators.last_modified,
            fetched_at: now,
            n_bytes: fetched.body.len() as u64,
            hash: hash::hash_bytes(&fetched.body),
        };
        self.write(&head, &fetched.body)
    }

    /// Notes that the server confirmed a body at `now`.
    ///
    /// # Errors
    /// [`crate::Error::Store`] when it cannot be written.
    pub(super) fn confirm(&self, held: &Held, now: u64) -> Result<()> {
        let head = Head {
            fetched_at: now,
            ..held.head.clone()
        };
        self.write(&head, &held.body)
    }

    fn write(&self, head: &Head, body: &[u8]) -> Result<()> {
        let path = self.path(&head.url);
        let mut bytes = serde_json::to_vec(head)
            .map_err(|error| crate::Error::Config(format!("a cache entry: {error}")))?;
        bytes.push(b'\n');
        bytes.extend(body);
        atomic::create_dir(path.parent().unwrap_or(&self.folder))?;
        atomic::write_file(&path, &bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(body: &[u8]) -> Fetched {
        Fetched {
            url: "http://example.org/final".to_owned(),
            mime: Some("image/png".to_owned()),
            charset: None,
            body: body.to_vec(),
            from_cache: false,
        }
    }

    #[test]
    fn a_body_comes_back_and_ages() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let url = "http://example.org/a";
        assert_eq!(cache.get(url, 100), None);
        let validators = Validators {
            etag: Some("\"7\"".to_owned()),
            last_modified: None,
        };
        cache
            .put(url, &fetched(b"line\nline"), validators, 1000)
            .unwrap();
        let held = cache.get(url, 100).unwrap();
        assert_eq!(held.head.etag.as_deref(), Some("\"7\""));
        let fresh = |now, expected| assert_eq!(held.is_fresh(now, 60.0), expected, "at {now}");
        fresh(1000, true);
        fresh(1059, true);
        fresh(1060, false);
        fresh(999, false);
        cache.confirm(&held, 2000).unwrap();
        assert!(cache.get(url, 100).unwrap().is_fresh(2001, 60.0));
        let again = cache.get(url, 100).unwrap().into_fetched();
        let expected = Fetched {
            from_cache: true,
            ..fetched(b"line\nline")
        };
        assert_eq!(again, expected);
        assert_eq!(cache.get(url, 8), None, "larger than the limit of today");
        assert_eq!(cache.get("http://example.org/b", 100), None);
    }

    #[test]
    fn damage_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let url = "http://example.org/a";
        cache
            .put(url, &fetched(b"0123456789"), Validators::default(), 5)
            .unwrap();
        let path = cache.path(url);
        let whole = std::fs::read(&path).unwrap();
        assert!(cache.get(url, 100).is_some());
        let check = |bytes: &[u8]| {
            atomic::write_file(&path, bytes).unwrap();
            assert_eq!(cache.get(url, 100), None);
        };
        check(&whole[..whole.len() - 1]);
        check(&[&whole[..], b"x"].concat());
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        check(&flipped);
        check(b"");
        check(b"{}\n");
        let other = String::from_utf8(whole).unwrap();
        check(
            other
                .replace("\"format_version\":1", "\"format_version\":2")
                .as_bytes(),
        );
        check(other.replace("example.org/a", "example.org/b").as_bytes());
    }
}
