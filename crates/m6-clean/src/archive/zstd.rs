//! One zstd frame after the other (RFC 8878), with a dictionary where the file brings one.

use std::io;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::source::{Fault, Source};

/// The first bytes of a frame.
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Largest window of a frame, as a power of two: what the format's own tools accept (128 MiB).
const WINDOW_LOG: u32 = 27;

/// Bytes of a magic number and of a length behind it.
const SKIPPABLE_HEADER: usize = 8;

/// The skippable frame that holds the dictionary of a `.warc.zst` file (IIPC, WARC compression with zstd).
const DICTIONARY_FRAME: u32 = 0x184d_2a5d;

/// Bytes of a frame that tell how long its header is.
const FRAME_HEADER: usize = 5;

/// Bytes before a block that tell its kind and length.
const BLOCK_HEADER: usize = 3;

/// Decodes frames.
pub(super) struct Zstd {
    decoder: Decoder<'static>,
    /// Bytes that the decoder asks for next.
    hint: usize,
    /// Whether it filled the room it had, and may have more to give before it reads on.
    is_full: bool,
}

impl Zstd {
    /// A decoder whose frames may refer to `dictionary`; an empty one is none.
    pub(super) fn new(dictionary: &[u8]) -> Result<Self, Fault> {
        let build = || -> io::Result<Decoder<'static>> {
            let mut decoder = Decoder::with_dictionary(dictionary)?;
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
            Ok(decoder)
        };
        let decoder = build().map_err(|error| Fault::Corrupt(format!("zstd: {error}")))?;
        Ok(Self {
            decoder,
            hint: FRAME_HEADER,
            is_full: false,
        })
    }

    /// Makes ready for the next frame.
    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        (self.hint, self.is_full) = (FRAME_HEADER, false);
        let ready = self.decoder.reinit();
        ready.map_err(|error| Fault::Corrupt(format!("zstd: {error}")))
    }

    /// Decodes into the room behind `out`, at least one byte; true when the frame ended and its checksum holds.
    pub(super) fn pull(&mut self, source: &mut Source, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let before = out.len();
        loop {
            let input = source.fill(1)?;
            let n_input = input.len();
            let flushes = self.is_full;
            let n_used = self
                .step(input, out)
                .map_err(|error| Fault::Corrupt(format!("zstd: {error}")))?;
            source.consume(n_used);
            if self.hint == 0 {
                return Ok(true);
            }
            if out.len() > before {
                return Ok(false);
            }
            if n_used == 0 && !flushes && source.fill(n_input + 1)?.len() == n_input {
                return Err(Fault::Cut);
            }
        }
    }

    /// Decodes to the end of a header or of a block and no further, or gives out what is left of one: an error in the next block would cost what
    /// came out of this one. Gives the number of bytes that were used.
    fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        // The decoder asks for a block together with the header of the next.
        let n = match (self.is_full, self.hint.checked_sub(BLOCK_HEADER)) {
            (true, _) => 0,
            (false, None | Some(0)) => self.hint,
            (false, Some(n)) => n,
        };
        let mut input = InBuffer::around(input.get(..n).unwrap_or(input));
        let filled = out.len();
        let mut output = OutBuffer::around_pos(out, filled);
        self.hint = self.decoder.run(&mut input, &mut output)?;
        self.is_full = output.pos() == output.capacity();
        Ok(input.pos())
    }

    /// The first decoded bytes of the frame that `bytes` begin with, at most the room behind `out`; what comes before damage counts.
    pub(super) fn probe(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.begin().is_err() {
            return;
        }
        let mut rest = bytes;
        while out.len() < out.capacity() && self.hint > 0 {
            let (n_out, flushes) = (out.len(), self.is_full);
            match self.step(rest, out) {
                Ok(n) if n > 0 || out.len() > n_out || flushes => {
                    rest = rest.get(n..).unwrap_or_default();
                }
                _ => return,
            }
        }
    }
}

/// A skippable frame at the start of `bytes`: the length of its content, and whether that is a dictionary.
pub(super) fn skippable(bytes: &[u8]) -> Option<(u64, bool)> {
    let [a, b, c, d, e, f, g, h] = *bytes.first_chunk::<SKIPPABLE_HEADER>()?;
    let magic = u32::from_le_bytes([a, b, c, d]);
    let length = u64::from(u32::from_le_bytes([e, f, g, h]));
    (magic & 0xffff_fff0 == 0x184d_2a50).then_some((length, magic == DICTIONARY_FRAME))
}

/// Reads the dictionary frame that `source` stands at; the dictionary itself may be a frame of its own.
pub(super) fn read_dictionary(source: &mut Source, max: usize) -> Result<Vec<u8>, Fault> {
    let Some((length, true)) = skippable(source.fill(SKIPPABLE_HEADER)?) else {
        return Err(Fault::Corrupt("zstd: no dictionary frame".into()));
    };
    if length > max as u64 {
        let reason = format!("zstd: a dictionary of {length} bytes, {max} are allowed");
        return Err(Fault::Corrupt(reason));
    }
    source.consume(SKIPPABLE_HEADER);
    let mut stored = Vec::new();
    let mut left = usize::try_from(length).unwrap_or(max);
    while left > 0 {
        let bytes = source.fill(1)?;
        if bytes.is_empty() {
            return Err(Fault::Cut);
        }
        let n = bytes.len().min(left);
        stored.extend_from_slice(&bytes[..n]);
        source.consume(n);
        left -= n;
    }
    if !stored.starts_with(&MAGIC) {
        return Ok(stored);
    }
    inflate_dictionary(stored, max)
}

fn inflate_dictionary(stored: Vec<u8>, max: usize) -> Result<Vec<u8>, Fault> {
    let mut source = Source::new(Box::new(io::Cursor::new(stored)), 0);
    let mut decoder = Zstd::new(&[])?;
    let mut dictionary = Vec::new();
    loop {
        dictionary.reserve(64 << 10);
        let ended = decoder.pull(&mut source, &mut dictionary)?;
        if dictionary.len() > max {
            let reason = format!("zstd: a dictionary of more than {max} bytes");
            return Err(Fault::Corrupt(reason));
        }
        if ended {
            return Ok(dictionary);
        }
    }
}
