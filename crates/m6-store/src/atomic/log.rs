//! Append-only text logs (metrics.jsonl).

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{parent_of, sync_dir};
use crate::{Error, Result};

/// A file of whole lines; a line torn by a crash is cut off when the log is opened again.
#[derive(Debug)]
pub struct AppendLog {
    file: File,
    path: PathBuf,
    n_bytes: u64,
}

impl AppendLog {
    /// Opens or makes a log, and cuts off a last line without an end or with zero bytes in it (what a
    /// power cut leaves when the size reached the disk before the data).
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened, read or cut.
    pub fn open(path: &Path) -> Result<Self> {
        let is_new = !path.exists();
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|source| Error::io("open the log", path, source))?;
        if is_new {
            sync_dir(parent_of(path))?;
        }
        let mut log = Self {
            file,
            path: path.to_owned(),
            n_bytes: 0,
        };
        log.n_bytes = log.size()?;
        let whole = log.end_of_whole_lines()?;
        log.cut(whole)?;
        Ok(log)
    }

    /// Appends one line; it is in the system's hands when this returns, so a killed process keeps it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `text` holds a line break, [`Error::DiskFull`] or [`Error::Io`] when it
    /// cannot be written; what was written of it is cut off again.
    pub fn line(&mut self, text: &str) -> Result<()> {
        if text.contains(['\n', '\0']) {
            return Err(Error::invalid(
                &self.path,
                "a log line may hold no line break and no zero byte",
            ));
        }
        let line = format!("{text}\n");
        let end = self.n_bytes + line.len() as u64;
        if let Err(source) = self.file.write_all(line.as_bytes()) {
            // Best effort: opening the log again would cut the same part.
            let _ = self.file.set_len(self.n_bytes);
            return Err(Error::write(&self.path, end, source));
        }
        self.n_bytes = end;
        Ok(())
    }

    /// Hands everything written so far to the disk.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`].
    pub fn sync(&mut self) -> Result<()> {
        let synced = self.file.sync_all();
        synced.map_err(|source| Error::write(&self.path, self.n_bytes, source))
    }

    /// Keeps the lines before the first for which `keep` is false (a resumed run drops the steps it will
    /// do again); a line that is not UTF-8 ends the log as well. Returns the number of lines kept.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read or cut.
    pub fn truncate_after(&mut self, mut keep: impl FnMut(&str) -> bool) -> Result<usize> {
        self.seek(0)?;
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        let (mut end, mut n_lines) = (0, 0);
        loop {
            line.clear();
            let n_read = reader
                .read_until(b'\n', &mut line)
                .map_err(|source| Error::io("read", &self.path, source))?;
            let text = line
                .strip_suffix(b"\n")
                .and_then(|text| std::str::from_utf8(text).ok());
            match text {
                Some(text) if keep(text) => {
                    end += n_read as u64;
                    n_lines += 1;
                }
                _ => break,
            }
        }
        self.cut(end)?;
        Ok(n_lines)
    }

    fn size(&self) -> Result<u64> {
        let data = self.file.metadata();
        Ok(data
            .map_err(|source| Error::io("read the size of", &self.path, source))?
            .len())
    }

    fn seek(&mut self, at: u64) -> Result<()> {
        let sought = self.file.seek(SeekFrom::Start(at));
        sought
            .map(|_| ())
            .map_err(|source| Error::io("read", &self.path, source))
    }

    fn cut(&mut self, at: u64) -> Result<()> {
        if at < self.n_bytes {
            let cut = self.file.set_len(at).and_then(|()| self.file.sync_all());
            cut.map_err(|source| Error::io("cut", &self.path, source))?;
            self.n_bytes = at;
        }
        Ok(())
    }

    /// Where the last whole line ends, read backwards from the end of the file.
    fn end_of_whole_lines(&mut self) -> Result<u64> {
        let mut end = self.n_bytes;
        loop {
            end = match self.last_break_before(end)? {
                None => return Ok(0),
                Some(at) => at + 1,
            };
            let start = self.last_break_before(end - 1)?.map_or(0, |at| at + 1);
            if !self.read_at(start, (end - start) as usize)?.contains(&0) {
                return Ok(end);
            }
            end = start;
        }
    }

    /// The position of the last line break before `end`.
    fn last_break_before(&mut self, end: u64) -> Result<Option<u64>> {
        const PIECE: u64 = 1 << 16;
        let mut to = end;
        while to > 0 {
            let from = to.saturating_sub(PIECE);
            let piece = self.read_at(from, (to - from) as usize)?;
            if let Some(at) = piece.iter().rposition(|&byte| byte == b'\n') {
                return Ok(Some(from + at as u64));
            }
            to = from;
        }
        Ok(None)
    }

    fn read_at(&mut self, at: u64, n_bytes: usize) -> Result<Vec<u8>> {
        self.seek(at)?;
        let mut piece = vec![0; n_bytes];
        let read = self.file.read_exact(&mut piece);
        read.map_err(|source| Error::io("read", &self.path, source))?;
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::write_file;

    fn check_open(before: &[u8], after: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write_file(&path, before).unwrap();
        let mut log = AppendLog::open(&path).unwrap();
        log.line("next").unwrap();
        let expected = [after, b"next\n"].concat();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            expected,
            "from {:?}",
            before.len()
        );
    }

    #[test]
    fn a_torn_last_line_is_cut_on_opening() {
        check_open(b"", b"");
        check_open(b"torn", b"");
        check_open(b"a\nb\n", b"a\nb\n");
        check_open(b"a\nb\n{\"step\":", b"a\nb\n");
        check_open(b"a\nb\0\0\n\0\0\0", b"a\n");
        check_open(b"\0\0\n\0\n", b"");
        let long = [b"x".repeat(70_000), b"\n".to_vec()].concat();
        check_open(&[&long[..], &b"y".repeat(200_000)].concat(), &long);
        check_open(b"\n\n", b"\n\n");
    }

    #[test]
    fn lines_are_kept_while_the_predicate_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = AppendLog::open(&path).unwrap();
        for step in 0..10 {
            log.line(&step.to_string()).unwrap();
        }
        let kept = log
            .truncate_after(|line| line.parse::<u32>().is_ok_and(|step| step < 4))
            .unwrap();
        assert_eq!(kept, 4);
        log.line("again").unwrap();
        log.sync().unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "0\n1\n2\n3\nagain\n"
        );
        assert_eq!(log.truncate_after(|_| true).unwrap(), 5);
        write_file(&path, b"good\n\xff\xfe\nlost\n").unwrap();
        assert_eq!(
            AppendLog::open(&path)
                .unwrap()
                .truncate_after(|_| true)
                .unwrap(),
            1
        );
    }

    #[test]
    fn a_line_with_a_break_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = AppendLog::open(&dir.path().join("log")).unwrap();
        assert!(
            log.line("a\nb")
                .unwrap_err()
                .to_string()
                .contains("line break")
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_names_path_and_bytes() {
        let path = Path::new("/dev/full");
        let Ok(file) = File::options().append(true).open(path) else {
            return;
        };
        let mut log = AppendLog {
            file,
            path: path.to_owned(),
            n_bytes: 10,
        };
        let error = log.line("12345").unwrap_err();
        assert!(
            matches!(error, Error::DiskFull { bytes: 16, .. }),
            "{error}"
        );
    }
}
