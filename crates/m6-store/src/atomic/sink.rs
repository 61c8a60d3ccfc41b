//! A buffered file whose errors name the path and the bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Counts what was handed over, so that a full disk can be reported with a size.
#[derive(Debug)]
pub(crate) struct Sink {
    writer: BufWriter<File>,
    /// The name the user knows (the destination, not the temporary).
    path: PathBuf,
    n_bytes: u64,
}

impl Sink {
    pub(crate) fn new(file: File, path: &Path) -> Self {
        Self {
            writer: BufWriter::with_capacity(1 << 16, file),
            path: path.to_owned(),
            n_bytes: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands everything to the system.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.writer
            .flush()
            .map_err(|source| Error::write(&self.path, self.n_bytes, source))
    }

    /// Hands everything to the disk.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.finish()?;
        let synced = self.writer.get_ref().sync_all();
        synced.map_err(|source| Error::write(&self.path, self.n_bytes, source))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.writer.write(bytes) {
            Ok(n_bytes) => {
                self.n_bytes += n_bytes as u64;
                Ok(n_bytes)
            }
            // Must reach `write_all` as it is, which tries again.
            Err(source) if source.kind() == io::ErrorKind::Interrupted => Err(source),
            Err(source) => {
                Err(Error::write(&self.path, self.n_bytes + bytes.len() as u64, source).into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish().map_err(io::Error::from)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_names_path_and_bytes() {
        // /dev/full answers every write with ENOSPC.
        let Ok(file) = File::options().write(true).open("/dev/full") else {
            return;
        };
        let mut sink = Sink::new(file, Path::new("/data/model.safetensors"));
        let wrote = sink
            .write_all(&vec![0u8; 100_000])
            .and_then(|()| sink.flush());
        let error = Error::write(Path::new("elsewhere"), 0, wrote.unwrap_err());
        assert!(
            matches!(error, Error::DiskFull { bytes: 100_000, .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("/data/model.safetensors"),
            "{error}"
        );
    }
}
