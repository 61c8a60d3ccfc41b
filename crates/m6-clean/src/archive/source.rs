//! A window over the bytes of a file that can step back a little.

use std::io::{self, Read};

/// Bytes asked of the system at once.
const READ: usize = 256 << 10;

/// Bytes behind the reading position that can be gone back to.
pub(super) const KEEP: usize = 1 << 20;

/// Bytes that may be read again for each byte read, so that a hostile file costs linear time.
const REREAD_RATIO: u64 = 8;

/// Bytes that may be read again in any file.
const REREAD_FREE: u64 = 8 << 20;

/// Why decoded bytes stop.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file cannot be read.
    Io(io::Error),
    /// The bytes are not what they should be.
    Corrupt(String),
    /// The file ends inside a segment.
    Cut,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

/// The bytes of a file from some offset on.
pub(super) struct Source {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Bytes from here on are kept for stepping back, at most [`KEEP`] of them.
    mark: usize,
    /// Next byte to give.
    at: usize,
    /// End of what is filled.
    end: usize,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    ended: bool,
    /// Bytes that were gone back over so far.
    reread: u64,
}

impl Source {
    /// Bytes of `input`, whose first one lies at `offset` of its file.
    pub(super) fn new(input: Box<dyn Read + Send>, offset: u64) -> Self {
        Self {
            input,
            buffer: vec![0; READ],
            mark: 0,
            at: 0,
            end: 0,
            base: offset,
            ended: false,
            reread: 0,
        }
    }

    /// Offset in the file of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// What is buffered, at least `n` bytes of it unless the file ends before.
    pub(super) fn fill(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.end - self.at < n && !self.ended {
            self.make_room(n);
            let room = self.buffer.len().min(self.end + READ);
            match self.input.read(&mut self.buffer[self.end..room]) {
                Ok(0) => self.ended = true,
                Ok(n_bytes) => self.end += n_bytes.min(room - self.end),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.at..self.end])
    }

    /// The next `n` bytes, fewer only where the file ends: what is decided by these does not depend on how much is buffered.
    pub(super) fn look(&mut self, n: usize) -> io::Result<&[u8]> {
        let bytes = self.fill(n)?;
        Ok(&bytes[..bytes.len().min(n)])
    }

    /// Makes room behind `end`, so that `n` bytes from `at` on fit.
    fn make_room(&mut self, n: usize) {
        if self.end < self.buffer.len() && self.at + n <= self.buffer.len() {
            return;
        }
        // One byte more than asked for, so that `previous` can answer.
        let kept = self.mark.max(self.at.saturating_sub(KEEP)).min(self.at);
        let from = kept.saturating_sub(1);
        self.buffer.copy_within(from..self.end, 0);
        self.base += from as u64;
        self.mark = kept - from;
        self.at -= from;
        self.end -= from;
        // What is kept fills at most half, so that a byte is moved about once.
        if self.end > self.buffer.len() / 2 || self.at + n > self.buffer.len() {
            let larger = (self.buffer.len() * 2).max(self.at + n + READ);
            self.buffer.resize(larger, 0);
        }
    }

    /// Steps over bytes that were filled.
    pub(super) fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.end);
    }

    /// The byte before the next one; none at the start.
    pub(super) fn previous(&self) -> Option<u8> {
        self.at
            .checked_sub(1)
            .and_then(|i| self.buffer.get(i).copied())
    }

    /// Keeps the bytes from here on for [`Source::back_to`].
    pub(super) fn mark(&mut self) {
        self.mark = self.at;
    }

    /// Goes to `offset`, or as near to it as the bytes still held and the allowance permit.
    pub(super) fn back_to(&mut self, offset: u64) {
        if offset >= self.offset() {
            let ahead = usize::try_from(offset - self.offset()).unwrap_or(usize::MAX);
            self.consume(ahead.min(self.end - self.at));
            return;
        }
        let offset = offset.max(self.base);
        let back = self.offset() - offset;
        let allowed = REREAD_RATIO.saturating_mul(self.offset()) + REREAD_FREE;
        if self.reread + back > allowed {
            return;
        }
        self.reread += back;
        self.at -= usize::try_from(back).unwrap_or(0).min(self.at);
        self.mark = self.mark.min(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes `step` at a time.
    struct Drip(Vec<u8>, usize, usize);

    impl Read for Drip {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let rest = &self.0[self.1..];
            let n = rest.len().min(self.2).min(out.len());
            out[..n].copy_from_slice(&rest[..n]);
            self.1 += n;
            Ok(n)
        }
    }

    #[test]
    fn all_bytes_come_in_order_whatever_the_reads() {
        let bytes: Vec<u8> = (0..3 * READ + 7).map(|i| (i % 251) as u8).collect();
        for step in [1 << 16, READ, usize::MAX] {
            let mut source = Source::new(Box::new(Drip(bytes.clone(), 0, step)), 100);
            let mut seen = Vec::new();
            loop {
                let piece = source.fill(3000).unwrap();
                let n = piece.len().min(1777);
                if n == 0 {
                    break;
                }
                seen.extend_from_slice(&piece[..n]);
                source.consume(n);
                assert_eq!(source.offset(), 100 + seen.len() as u64);
                assert_eq!(source.previous(), seen.last().copied());
            }
            assert!(seen == bytes);
        }
    }

    #[test]
    fn it_steps_back_to_the_mark_and_not_before_what_is_held() {
        let bytes: Vec<u8> = (0..4 * KEEP).map(|i| (i / 1000) as u8).collect();
        let mut source = Source::new(Box::new(io::Cursor::new(bytes.clone())), 0);
        source.fill(10).unwrap();
        source.consume(10);
        source.mark();
        let far = 10 + KEEP - 5;
        while source.offset() < far as u64 {
            let n = source
                .fill(1)
                .unwrap()
                .len()
                .min(far - source.offset() as usize);
            source.consume(n);
        }
        source.back_to(10);
        assert_eq!(source.offset(), 10);
        while !source.fill(1).unwrap().is_empty() {
            let n = source.fill(1).unwrap().len();
            source.consume(n);
        }
        assert_eq!(source.offset(), bytes.len() as u64);
        source.back_to(10);
        let at = source.offset() as usize;
        assert!(at >= bytes.len() - 4 * KEEP && at < bytes.len());
        assert_eq!(source.fill(1).unwrap()[0], bytes[at]);
    }

    #[test]
    fn going_back_has_an_allowance() {
        let bytes = vec![0u8; KEEP];
        let mut source = Source::new(Box::new(io::Cursor::new(bytes)), 0);
        let mut n_backs = 0;
        loop {
            let n = source.fill(KEEP).unwrap().len();
            source.consume(n);
            source.back_to(0);
            if source.offset() != 0 {
                break;
            }
            n_backs += 1;
        }
        assert!((1..=20).contains(&n_backs), "{n_backs}");
    }
}
