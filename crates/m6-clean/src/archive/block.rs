//! The block of a record: its bytes, and whether they are as many as its header says.

use super::record::{Damage, Place, Truncation};
use super::search::raw_start;
use super::source::Fault;
use super::stream::{Codec, SNIFF, Stream};

/// How the reading of a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// All bytes that the header promises were there.
    Whole,
    /// The segment ended before.
    Short,
    /// The file ended inside a segment.
    Cut,
}

/// The bytes of a block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) payload: Vec<u8>,
    /// Bytes read, kept or not.
    n_read: u64,
    /// Bytes promised.
    length: u64,
    /// Most bytes to keep.
    keep: usize,
    ending: Ending,
    /// Where the first byte lies.
    start: Place,
}

/// What to make of a block.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is as long as it should be, and another record or the end follows.
    Sound,
    /// It is there, but not as its header says.
    Flagged(Truncation, Damage),
    /// Its bytes are not to be trusted.
    Lost(Damage),
}

impl Block {
    /// Reads `length` bytes and keeps the first `keep` of them.
    pub(super) fn read(stream: &mut Stream, length: u64, keep: usize) -> Result<Self, Fault> {
        let mut block = Self {
            payload: Vec::new(),
            n_read: 0,
            length,
            keep,
            ending: Ending::Whole,
            start: stream.place(),
        };
        let keep = usize::try_from(length).unwrap_or(usize::MAX).min(keep);
        while block.n_read < length {
            let left = keep - block.payload.len();
            let taken = match left {
                0 => stream.skip(length - block.n_read),
                _ => stream.take(&mut block.payload, left).map(|n| n as u64),
            };
            match taken {
                Ok(0) if stream.join()? => {}
                Ok(0) => {
                    block.ending = Ending::Short;
                    break;
                }
                Ok(n) => block.n_read += n,
                Err(Fault::Cut) => {
                    block.ending = Ending::Cut;
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(block)
    }

    /// Whether bytes were read and not kept.
    pub(super) fn is_over_limit(&self) -> bool {
        self.n_read > self.payload.len() as u64
    }

    /// Looks at what follows the block and leaves the stream where the next record begins.
    ///
    /// `record` is where the header of this one begins.
    pub(super) fn settle(&mut self, stream: &mut Stream, record: Place) -> Result<Verdict, Fault> {
        if self.ending == Ending::Whole {
            match at_boundary(stream) {
                Ok(true) => return Ok(Verdict::Sound),
                Ok(false) => {}
                Err(Fault::Cut) => self.ending = Ending::Cut,
                Err(fault) => return Err(fault),
            }
        }
        match (stream.codec(), self.ending) {
            (_, Ending::Cut) => self.settle_cut(stream, record),
            (Some(Codec::Raw), _) => self.settle_raw(stream, record),
            (_, Ending::Short) => {
                let n = self.missing();
                let reason = format!("the member ends {n} bytes before the record does");
                Ok(flag(Truncation::Length, record, reason))
            }
            (_, Ending::Whole) => {
                let room = self.room();
                self.n_read += stream.scan_into(&mut self.payload, room)?;
                Ok(self.relength(record))
            }
        }
    }

    /// The file ends inside a segment. If other segments follow after all, it was damage that looked so.
    fn settle_cut(&self, stream: &mut Stream, record: Place) -> Result<Verdict, Fault> {
        let reason = match self.missing() {
            0 => "the file ends inside the member of this record".to_string(),
            n => format!("the file ends {n} bytes before the record does"),
        };
        if stream.resync()? {
            return Ok(Verdict::Lost(Damage {
                offset: record.offset,
                reason: "the member does not end where the next one begins".into(),
            }));
        }
        Ok(flag(Truncation::EndOfInput, record, reason))
    }

    /// In raw text the length is all there is. When it is wrong the next record tells where this one ends.
    fn settle_raw(&mut self, stream: &mut Stream, record: Place) -> Result<Verdict, Fault> {
        let start = self.start.offset;
        let end = start + self.n_read;
        stream.back_to(start);
        let is_at_start = stream.place().offset == start;
        let found = stream.scan(is_at_start)?;
        let next = stream.place().offset;
        if found && next < end {
            self.n_read = next - start;
            let kept = usize::try_from(self.n_read).unwrap_or(usize::MAX);
            self.payload.truncate(kept);
        } else if self.ending == Ending::Short {
            let reason = format!(
                "the file ends {} bytes before the record does",
                self.missing()
            );
            return Ok(flag(Truncation::EndOfInput, record, reason));
        } else {
            stream.back_to(end);
            if stream.place().offset == end {
                let room = self.room();
                stream.scan_into(&mut self.payload, room)?;
            }
            self.n_read = next - start;
        }
        Ok(self.relength(record))
    }

    /// The block ends where the next record begins, whatever the header says.
    fn relength(&mut self, record: Place) -> Verdict {
        trim_separator(&mut self.payload);
        let reason = format!(
            "the record says that {} bytes follow, the next record begins after {}",
            self.length, self.n_read
        );
        flag(Truncation::Length, record, reason)
    }

    /// Bytes that may still be kept.
    fn room(&self) -> usize {
        match self.is_over_limit() {
            true => 0,
            false => self.keep.saturating_sub(self.payload.len()),
        }
    }

    fn missing(&self) -> u64 {
        self.length - self.n_read.min(self.length)
    }
}

fn flag(truncation: Truncation, record: Place, reason: String) -> Verdict {
    let offset = record.offset;
    Verdict::Flagged(truncation, Damage { offset, reason })
}

/// Line ends that stand behind every WARC record. Where they are, what follows them is not part of the record.
const SEPARATOR_LINES: usize = 2;

/// Whether the record ends here: by its separator, with its segment, or because another one begins.
fn at_boundary(stream: &mut Stream) -> Result<bool, Fault> {
    /// Separators are of two or four bytes.
    const LOOK: usize = 8;
    let bytes = stream.look(LOOK)?;
    let blank = bytes.iter().take_while(|byte| b"\r\n".contains(byte));
    let (n_blank, n_lines) = blank.fold((0, 0), |(n, lines), &byte| {
        (n + 1, lines + usize::from(byte == b'\n'))
    });
    let is_end = n_blank == bytes.len();
    let ends = is_end || n_lines >= SEPARATOR_LINES || raw_start(stream.look(SNIFF)?);
    if ends {
        stream.skip_blank()?;
    }
    Ok(ends)
}

/// Takes off the two line ends that stand between records.
fn trim_separator(payload: &mut Vec<u8>) {
    for _ in 0..2 {
        if payload.last() == Some(&b'\n') {
            payload.pop();
            if payload.last() == Some(&b'\r') {
                payload.pop();
            }
        }
    }
}
