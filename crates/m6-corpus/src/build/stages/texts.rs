//! Texts on disk, read again in any order.
//!
//! Not mapped: what a map shows counts as memory of the process until the system wants it back, and duplicates look at every text of a build.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Bytes that are written at a time.
const BUFFER: usize = 256 << 10;

fn failed(folder: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: folder.to_owned(),
        source,
    }
}

/// Writes texts one behind the other into a temporary file that has no name.
pub struct TextsWriter {
    folder: PathBuf,
    out: BufWriter<File>,
    /// Where each text ends.
    ends: Vec<u64>,
}

impl TextsWriter {
    /// Starts a file in a folder.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|source| failed(folder, source))?;
        Ok(Self {
            folder: folder.to_owned(),
            out: BufWriter::with_capacity(BUFFER, file),
            ends: Vec::new(),
        })
    }

    /// Adds a text.
    ///
    /// # Errors
    /// A full disk.
    pub fn push(&mut self, text: &str) -> Result<()> {
        self.out
            .write_all(text.as_bytes())
            .map_err(|source| failed(&self.folder, source))?;
        let start = self.ends.last().copied().unwrap_or(0);
        self.ends.push(start + text.len() as u64);
        Ok(())
    }

    /// Ends writing.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<Texts> {
        let file = self
            .out
            .into_inner()
            .map_err(|error| failed(&self.folder, error.into_error()))?;
        Ok(Texts {
            folder: self.folder,
            file: Reader::new(file),
            ends: self.ends,
        })
    }
}

/// Texts by number; shared between threads.
pub struct Texts {
    folder: PathBuf,
    file: Reader,
    ends: Vec<u64>,
}

impl Texts {
    /// The number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A text, or `None` when there is none of that number.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn get(&self, index: usize) -> Result<Option<String>> {
        let Some(end) = self.ends.get(index) else {
            return Ok(None);
        };
        let before = index.checked_sub(1).and_then(|i| self.ends.get(i));
        let start = before.copied().unwrap_or(0);
        let mut bytes = vec![0; (end - start) as usize];
        self.file
            .read(&mut bytes, start)
            .map_err(|source| failed(&self.folder, source))?;
        Ok(String::from_utf8(bytes).ok())
    }
}

/// Reads at a place, from several threads at a time where the system can.
#[cfg(unix)]
struct Reader(File);

#[cfg(unix)]
impl Reader {
    fn new(file: File) -> Self {
        Self(file)
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, bytes, at)
    }
}

/// Reads at a place, one thread at a time.
#[cfg(not(unix))]
struct Reader(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl Reader {
    fn new(file: File) -> Self {
        Self(std::sync::Mutex::new(file))
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_in_any_order() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = TextsWriter::create(dir.path()).expect("starts");
        let long = "很长的文字".repeat(BUFFER);
        let texts = ["一", "", &long, "末"];
        for text in texts {
            writer.push(text).expect("writes");
        }
        let read = writer.finish().expect("ends");
        assert_eq!(read.len(), texts.len());
        for i in [3, 0, 2, 1, 2] {
            assert_eq!(read.get(i).expect("reads").as_deref(), Some(texts[i]));
        }
        assert_eq!(read.get(4).expect("none"), None);
        // It has no name: nothing is left behind.
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
        let error = TextsWriter::create(&dir.path().join("none")).err();
        assert!(error.is_some_and(|error| error.to_string().contains("none")));
    }
}
