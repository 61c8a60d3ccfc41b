//! Files, compressed or not, as streams.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes read at a time.
const BUFFER: usize = 1 << 16;

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Bzip2,
    Zstd,
}

fn packing(head: &[u8]) -> Packing {
    match head {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [b'B', b'Z', b'h', _, ..] => Packing::Bzip2,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        _ => Packing::None,
    }
}

/// A stream of the content of a file.
pub(super) type Input = Box<dyn BufRead>;

/// Opens a file; gzip, bzip2 and zstd are known by their first bytes, whatever the name says.
pub(super) fn open(path: &Path) -> io::Result<Input> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let inner: Box<dyn Read> = match packing(file.fill_buf()?) {
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        Packing::None => return Ok(Box::new(file)),
    };
    Ok(Box::new(BufReader::with_capacity(BUFFER, inner)))
}

/// Opens a file and passes `offset` bytes of its content; what follows the end is empty.
pub(super) fn open_at(path: &Path, offset: u64) -> io::Result<Input> {
    if offset == 0 {
        return open(path);
    }
    let mut file = File::open(path)?;
    let mut head = [0; 4];
    let n_head = read_full(&mut file, &mut head)?;
    if packing(head.get(..n_head).unwrap_or_default()) != Packing::None {
        let mut input = open(path)?;
        io::copy(&mut input.by_ref().take(offset), &mut io::sink())?;
        return Ok(input);
    }
    file.seek(SeekFrom::Start(offset))?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
}

/// Reads until `buffer` is full or the input ends; gives how many bytes were read.
pub(super) fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < buffer.len() {
        match input.read(&mut buffer[n_read..]) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_read)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn content_is_known_by_its_first_bytes() {
        let text = "第一行\n第二行\n".repeat(20_000);
        let gzip = |bytes: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        };
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(text.as_bytes()).unwrap();
        // Two members one behind the other, as parallel compressors write them.
        let half = text.len() / 2;
        let members = [
            gzip(&text.as_bytes()[..half]),
            gzip(&text.as_bytes()[half..]),
        ]
        .concat();
        let forms = [
            text.as_bytes().to_vec(),
            gzip(text.as_bytes()),
            members,
            bzip2.finish().unwrap(),
            zstd::stream::encode_all(text.as_bytes(), 1).unwrap(),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (i, form) in forms.iter().enumerate() {
            let path = dir.path().join(format!("{i}.txt"));
            m6_store::atomic::write_file(&path, form).unwrap();
            let mut read = String::new();
            open(&path).unwrap().read_to_string(&mut read).unwrap();
            assert!(read == text, "form {i}");
        }
        let empty = dir.path().join("empty");
        m6_store::atomic::write_file(&empty, b"").unwrap();
        assert!(open(&empty).unwrap().fill_buf().unwrap().is_empty());
    }
}
