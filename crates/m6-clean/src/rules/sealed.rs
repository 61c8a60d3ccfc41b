//! Model files: a magic, a version, the content, and its hash (ours).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

const HASH_BYTES: usize = 32;

/// Writes `content` under a magic and a version, sealed with its blake3 hash; whole or not at all.
pub(crate) fn write(path: &Path, magic: [u8; 8], version: u32, content: &[u8]) -> Result<()> {
    let mut bytes = Vec::with_capacity(magic.len() + 4 + content.len() + HASH_BYTES);
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(content);
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    Ok(m6_store::atomic::write_file(path, &bytes)?)
}

/// Reads what [`write`] wrote and gives the content with the file's hash; at most `max_bytes` are read.
pub(crate) fn read(
    path: &Path,
    magic: [u8; 8],
    version: u32,
    max_bytes: u64,
) -> Result<(Vec<u8>, String)> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let damaged = |problem: String| Error::Damaged {
        path: path.to_owned(),
        problem,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > max_bytes {
        return Err(damaged(format!(
            "a model file of at most {max_bytes} bytes was expected, this one is longer"
        )));
    }
    if !bytes.starts_with(&magic) {
        let name = String::from_utf8_lossy(&magic)
            .trim_end_matches('\0')
            .to_owned();
        return Err(damaged(format!(
            "expected a file that begins with {name:?}; give the model that the trainer wrote"
        )));
    }
    let content_end = bytes
        .len()
        .checked_sub(HASH_BYTES)
        .filter(|end| *end >= magic.len() + 4);
    let Some(content_end) = content_end else {
        return Err(damaged("the file is cut short".to_owned()));
    };
    let (body, seal) = bytes.split_at(content_end);
    if blake3::hash(body).as_bytes() != seal {
        return Err(damaged(
            "the content does not match its hash; train the model again".to_owned(),
        ));
    }
    let mut found = [0u8; 4];
    found.copy_from_slice(&body[magic.len()..magic.len() + 4]);
    let found = u32::from_le_bytes(found);
    if found != version {
        return Err(damaged(format!(
            "format version {version} was expected, the file has {found}"
        )));
    }
    let hash = m6_store::hash::hash_bytes(&bytes);
    bytes.truncate(content_end);
    bytes.drain(..magic.len() + 4);
    Ok((bytes, hash))
}

/// Takes numbers off the front of a model's content; every `None` means that the content is too short.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*head))
    }

    /// `n` numbers; the length is checked before anything is allocated.
    pub(crate) fn u32s(&mut self, n: usize) -> Option<Vec<u32>> {
        let (head, rest) = self.0.split_at_checked(n.checked_mul(4)?)?;
        self.0 = rest;
        let (words, _) = head.as_chunks::<4>();
        Some(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// `n` numbers; the length is checked before anything is allocated.
    pub(crate) fn u64s(&mut self, n: usize) -> Option<Vec<u64>> {
        let (head, rest) = self.0.split_at_checked(n.checked_mul(8)?)?;
        self.0 = rest;
        let (words, _) = head.as_chunks::<8>();
        Some(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"M6TEST\0\0";

    fn problem(path: &Path, version: u32, max_bytes: u64) -> String {
        read(path, MAGIC, version, max_bytes)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_was_sealed_comes_back_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        write(&path, MAGIC, 2, b"content").unwrap();
        let (content, hash) = read(&path, MAGIC, 2, 1000).unwrap();
        assert_eq!(content, b"content");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(hash, m6_store::hash::hash_bytes(&bytes));
        assert!(problem(&path, 3, 1000).contains("version 3"));
        assert!(problem(&path, 2, 10).contains("longer"));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            m6_store::atomic::write_file(&path, &bad).unwrap();
            let text = problem(&path, 2, 1000);
            assert!(
                text.contains("model") && (text.contains("hash") || text.contains("begins")),
                "{text}"
            );
        }
        for end in 0..bytes.len() {
            m6_store::atomic::write_file(&path, &bytes[..end]).unwrap();
            problem(&path, 2, 1000);
        }
        assert!(problem(&dir.path().join("none"), 2, 10).contains("none"));
    }

    #[test]
    fn fields_never_read_past_the_end() {
        let mut fields = Fields(&[1, 0, 0, 0, 2, 0, 0, 0, 9]);
        assert_eq!(fields.u32(), Some(1));
        assert_eq!(fields.u64s(usize::MAX), None);
        assert_eq!(fields.u32s(2), None);
        assert_eq!(fields.u32s(1), Some(vec![2]));
        assert_eq!(fields.u32(), None);
    }
}
