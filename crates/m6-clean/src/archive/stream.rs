//! Decoded bytes of the open segment: a gzip member, a zstd frame, or raw text.

mod open;

use super::gzip::Gzip;
use super::http::head_len;
use super::record::{Limits, Place};
use super::search::raw_start;
use super::source::{Fault, Source};
use super::zstd::Zstd;

pub(super) use open::{Opened, quoted};

/// Decoded bytes wanted at once.
const WINDOW: usize = 64 << 10;

/// From this many bytes on a payload is decoded in place instead of through the window.
const DIRECT: usize = 16 << 10;

/// Bytes of a payload that are reserved on the word of a header alone.
const CLAIM: usize = 1 << 20;

/// Bytes looked at to tell what a segment or a record is.
pub(super) const SNIFF: usize = 4096;

/// How a segment is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Raw,
    Gzip,
    Zstd,
}

/// The segments of a file, one open at a time.
pub(super) struct Stream {
    source: Source,
    /// How the open segment is packed; none between segments.
    codec: Option<Codec>,
    /// How the last one was.
    last: Option<Codec>,
    gzip: Gzip,
    zstd: Option<Zstd>,
    dictionary: Vec<u8>,
    limits: Limits,
    /// Decoded bytes; those before `at` are given.
    window: Vec<u8>,
    at: usize,
    /// Where the open segment begins.
    start: u64,
    /// Decoded bytes given from it.
    taken: u64,
    /// The decoder is at the end of the segment, and its checksum held.
    ended: bool,
    /// What stopped the decoder; told once the window is empty.
    fault: Option<Fault>,
}

impl Stream {
    pub(super) fn new(source: Source, limits: Limits) -> Self {
        Self {
            source,
            codec: None,
            last: None,
            gzip: Gzip::new(),
            zstd: None,
            dictionary: Vec::new(),
            limits,
            window: Vec::new(),
            at: 0,
            start: 0,
            taken: 0,
            ended: false,
            fault: None,
        }
    }

    /// How the open segment is packed.
    pub(super) fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Where the open segment, or the last one tried, begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The dictionary for the frames of a file that is not read from its start.
    pub(super) fn set_dictionary(&mut self, dictionary: Vec<u8>) {
        self.dictionary = dictionary;
        self.zstd = None;
    }

    /// Where the next byte lies.
    pub(super) fn place(&self) -> Place {
        match self.codec {
            Some(Codec::Gzip | Codec::Zstd) => Place {
                offset: self.start,
                within: self.taken,
            },
            _ => Place::from(self.source.offset()),
        }
    }

    /// Leaves the open segment; bytes of it that were decoded and not taken are dropped.
    pub(super) fn close(&mut self) {
        self.codec = None;
        self.window.clear();
        self.at = 0;
        self.ended = false;
        self.fault = None;
    }

    /// Decodes once into the room behind `out`.
    fn pull(&mut self, out: &mut Vec<u8>) {
        let pulled = match (self.codec, self.zstd.as_mut()) {
            (Some(Codec::Gzip), _) => self.gzip.pull(&mut self.source, out),
            (Some(Codec::Zstd), Some(zstd)) => zstd.pull(&mut self.source, out),
            _ => Ok(true),
        };
        match pulled {
            Ok(ended) => self.ended = ended,
            Err(fault) => {
                self.fault = Some(fault);
                self.ended = true;
            }
        }
    }

    /// What is decoded and not taken, at least `n` bytes of it unless the segment ends before.
    pub(super) fn peek(&mut self, n: usize) -> Result<&[u8], Fault> {
        if self.codec == Some(Codec::Raw) {
            return Ok(self.source.fill(n)?);
        }
        while self.window.len() - self.at < n && !self.ended {
            let mut window = std::mem::take(&mut self.window);
            window.drain(..self.at);
            self.at = 0;
            window.reserve(WINDOW.max(n - window.len().min(n)));
            self.pull(&mut window);
            self.window = window;
        }
        if self.window.len() == self.at
            && let Some(fault) = self.fault.take()
        {
            return Err(fault);
        }
        Ok(self.window.get(self.at..).unwrap_or_default())
    }

    /// The next `n` bytes, fewer only where the segment ends: what is decided by these does not depend on how much is decoded.
    pub(super) fn look(&mut self, n: usize) -> Result<&[u8], Fault> {
        let bytes = self.peek(n)?;
        Ok(bytes.get(..n).unwrap_or(bytes))
    }

    /// Takes bytes that were peeked at.
    pub(super) fn consume(&mut self, n: usize) {
        match self.codec {
            Some(Codec::Raw) => self.source.consume(n),
            _ => self.at = (self.at + n).min(self.window.len()),
        }
        self.taken += n as u64;
    }

    /// Appends up to `n` bytes to `out`; 0 when the segment is at its end.
    pub(super) fn take(&mut self, out: &mut Vec<u8>, n: usize) -> Result<usize, Fault> {
        // No more than what has come so far is reserved on the word of a header.
        out.reserve(n.min(out.len().max(CLAIM)));
        let is_packed = self.codec != Some(Codec::Raw);
        if is_packed && n >= DIRECT && self.at == self.window.len() && !self.ended {
            return self.take_direct(out, n);
        }
        let bytes = self.peek(1)?;
        let n = bytes.len().min(n);
        out.extend_from_slice(bytes.get(..n).unwrap_or_default());
        self.consume(n);
        Ok(n)
    }

    /// Decodes behind `out` without a copy.
    fn take_direct(&mut self, out: &mut Vec<u8>, n: usize) -> Result<usize, Fault> {
        let before = out.len();
        while out.len() == before && !self.ended {
            self.pull(out);
        }
        // The room may be larger than what was asked for.
        self.window.clear();
        self.at = 0;
        if out.len() - before > n {
            self.window
                .extend_from_slice(out.get(before + n..).unwrap_or_default());
            out.truncate(before + n);
        }
        let n_taken = out.len() - before;
        self.taken += n_taken as u64;
        match self.fault.take() {
            Some(fault) if n_taken == 0 => Err(fault),
            fault => {
                self.fault = fault;
                Ok(n_taken)
            }
        }
    }

    /// Takes up to `n` bytes without keeping them; gives how many there were.
    pub(super) fn skip(&mut self, n: u64) -> Result<u64, Fault> {
        let mut skipped = 0;
        while skipped < n {
            let bytes = self.peek(1)?;
            let left = usize::try_from(n - skipped).unwrap_or(usize::MAX);
            let step = bytes.len().min(left);
            if step == 0 {
                break;
            }
            self.consume(step);
            skipped += step as u64;
        }
        Ok(skipped)
    }

    /// Takes the line ends before a record; true when the segment ends behind them.
    pub(super) fn skip_blank(&mut self) -> Result<bool, Fault> {
        loop {
            let bytes = self.peek(1)?;
            if bytes.is_empty() {
                return Ok(true);
            }
            let n = bytes
                .iter()
                .take_while(|byte| b"\r\n".contains(byte))
                .count();
            let is_all = n == bytes.len();
            self.consume(n);
            if !is_all {
                return Ok(false);
            }
        }
    }

    /// Length of the head that begins here, with its empty line, if it ends within `limit` bytes.
    pub(super) fn head(&mut self, limit: usize) -> Result<Option<usize>, Fault> {
        let mut want = limit.min(1024);
        loop {
            let bytes = self.peek(want)?;
            let is_all = bytes.len() < want;
            let seen = bytes.len().min(limit);
            if let Some(n) = head_len(bytes.get(..seen).unwrap_or_default()) {
                return Ok(Some(n));
            }
            if is_all || seen == limit {
                return Ok(None);
            }
            want = (seen * 2).min(limit);
        }
    }

    /// Whether a record begins here.
    pub(super) fn at_record(&mut self) -> Result<bool, Fault> {
        let first = self.peek(1)?.first().copied();
        // Nothing but a letter begins a record, and most bytes are none that do.
        let is_candidate = first.is_some_and(|byte| byte.is_ascii_alphabetic());
        Ok(is_candidate && raw_start(self.look(SNIFF)?))
    }

    /// Goes to the next line of the segment that begins a record; false at its end.
    pub(super) fn scan(&mut self, mut at_line_start: bool) -> Result<bool, Fault> {
        loop {
            if at_line_start && self.at_record()? {
                return Ok(true);
            }
            match self.line_piece()? {
                (0, _) => return Ok(false),
                (n, is_end) => {
                    at_line_start = is_end;
                    self.consume(n);
                }
            }
        }
    }

    /// The same from inside a line, keeping the first `room` bytes of what lies before; gives how many lie there.
    pub(super) fn scan_into(&mut self, out: &mut Vec<u8>, room: usize) -> Result<u64, Fault> {
        let (mut passed, mut room) = (0, room);
        loop {
            let (n, is_end) = self.line_piece()?;
            let kept = n.min(room);
            out.extend_from_slice(self.peek(n)?.get(..kept).unwrap_or_default());
            room -= kept;
            self.consume(n);
            passed += n as u64;
            if n == 0 || is_end && self.at_record()? {
                return Ok(passed);
            }
        }
    }

    /// Bytes up to the end of the line, or of what is decoded; true when the line ends there.
    fn line_piece(&mut self) -> Result<(usize, bool), Fault> {
        let bytes = self.peek(1)?;
        let line_end = memchr::memchr(b'\n', bytes);
        Ok((line_end.map_or(bytes.len(), |n| n + 1), line_end.is_some()))
    }

    /// A record begins here: raw bytes from here on may be read again.
    pub(super) fn mark_record(&mut self) {
        if self.codec == Some(Codec::Raw) {
            self.source.mark();
        }
    }

    /// Goes back to a place in the open raw segment, or as near as the bytes still held allow.
    pub(super) fn back_to(&mut self, offset: u64) {
        self.source.back_to(offset);
    }
}
