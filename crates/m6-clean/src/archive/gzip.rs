//! One gzip member after the other, each with its own header and checksum (RFC 1952).

use flate2::{Crc, Decompress, FlushDecompress, Status};
use memchr::memchr;

use super::source::{Fault, Source};

/// The first three bytes of a member whose method is deflate.
pub(super) const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Most bytes of a member header (name, comment and extra field together).
const HEADER_LIMIT: usize = 192 << 10;

const FLAG_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;
const FIXED_HEADER: usize = 10;
const TRAILER: usize = 8;

/// Decodes members.
pub(super) struct Gzip {
    inflate: Decompress,
    crc: Crc,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            crc: Crc::new(),
        }
    }

    /// Reads the header of a member.
    pub(super) fn begin(&mut self, source: &mut Source) -> Result<(), Fault> {
        let mut want = 512;
        loop {
            let bytes = source.look(want)?;
            let is_all = bytes.len() < want;
            match header_len(bytes) {
                Ok(Some(n)) => {
                    source.consume(n);
                    break;
                }
                Ok(None) if is_all => return Err(Fault::Cut),
                Ok(None) if want >= HEADER_LIMIT => {
                    let reason = format!("gzip header of more than {HEADER_LIMIT} bytes");
                    return Err(Fault::Corrupt(reason));
                }
                Ok(None) => want = (want * 2).min(HEADER_LIMIT),
                Err(reason) => return Err(Fault::Corrupt(reason.into())),
            }
        }
        self.inflate.reset(false);
        self.crc.reset();
        Ok(())
    }

    /// Decodes into the room behind `out`, at least one byte; true when the member ended and its checksum holds.
    pub(super) fn pull(&mut self, source: &mut Source, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let before = out.len();
        loop {
            let input = source.fill(1)?;
            let n_input = input.len();
            let n_before = self.inflate.total_in();
            let status = self
                .inflate
                .decompress_vec(input, out, FlushDecompress::None)
                // The decoder's own words depend on how much it is given at once.
                .map_err(|_| Fault::Corrupt("deflate: the data is damaged".into()))?;
            let n_used = usize::try_from(self.inflate.total_in() - n_before).unwrap_or(n_input);
            source.consume(n_used);
            if status == Status::StreamEnd {
                self.crc.update(&out[before..]);
                self.finish(source)?;
                return Ok(true);
            }
            if out.len() > before {
                self.crc.update(&out[before..]);
                return Ok(false);
            }
            if n_used == 0 && source.fill(n_input + 1)?.len() == n_input {
                return Err(Fault::Cut);
            }
        }
    }

    /// Compares checksum and length behind the member.
    fn finish(&self, source: &mut Source) -> Result<(), Fault> {
        let Some(trailer) = source.fill(TRAILER)?.first_chunk::<TRAILER>() else {
            return Err(Fault::Cut);
        };
        let [a, b, c, d, e, f, g, h] = *trailer;
        let (crc, size) = (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        if crc != self.crc.sum() || size != self.crc.amount() {
            return Err(Fault::Corrupt("gzip: the checksum does not hold".into()));
        }
        source.consume(TRAILER);
        Ok(())
    }

    /// The first decoded bytes of the member that `bytes` begin with, at most the room behind `out`.
    pub(super) fn probe(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Ok(Some(n)) = header_len(bytes) else {
            return;
        };
        self.inflate.reset(false);
        // What was decoded before an error counts: the caller looks at the bytes.
        let _ = self.inflate.decompress_vec(
            bytes.get(n..).unwrap_or_default(),
            out,
            FlushDecompress::None,
        );
    }
}

/// Length of the member header at the start of `bytes`; none when more bytes are needed.
fn header_len(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(fixed) = bytes.first_chunk::<FIXED_HEADER>() else {
        return Ok(None);
    };
    if fixed[..3] != MAGIC {
        return Err("not a gzip member");
    }
    let flags = fixed[3];
    if flags & FLAGS_RESERVED != 0 {
        return Err("gzip header with reserved flags");
    }
    let mut at = FIXED_HEADER;
    if flags & FLAG_EXTRA != 0 {
        let Some(&[low, high]) = bytes.get(at..at + 2) else {
            return Ok(None);
        };
        at += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            match memchr(0, bytes.get(at..).unwrap_or_default()) {
                Some(n) => at += n + 1,
                None => return Ok(None),
            }
        }
    }
    if flags & FLAG_CRC != 0 {
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_shapes_have_their_length() {
        let with = |flags: u8, rest: &[u8]| {
            let mut bytes = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
            bytes.extend_from_slice(rest);
            bytes
        };
        for (bytes, expected) in [
            (with(0, b""), Ok(Some(10))),
            (with(8, b"name\0x"), Ok(Some(15))),
            (with(8, b"name"), Ok(None)),
            (with(4, &[2, 0, 9, 9]), Ok(Some(14))),
            (with(4, &[2, 0, 9]), Ok(None)),
            (with(31, &[1, 0, 9, b'a', 0, b'b', 0, 1, 2]), Ok(Some(19))),
            (with(2, &[1]), Ok(None)),
            (with(0x20, b""), Err("gzip header with reserved flags")),
            (vec![0x1f, 0x8b], Ok(None)),
            (vec![0; 12], Err("not a gzip member")),
        ] {
            assert_eq!(header_len(&bytes), expected, "{bytes:?}");
        }
    }
}
