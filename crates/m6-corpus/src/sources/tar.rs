//! Members of a tar, read as a stream.

use super::input::{Input, read_full};

const BLOCK: usize = 512;
/// Longest name that a GNU or pax record may give, in bytes.
const MAX_NAME: u64 = 1 << 16;

/// A regular file inside a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Name with its folders.
    pub(super) name: String,
    /// Where its bytes begin.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// A place where the tar is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: u64,
    pub(super) reason: String,
}

/// Reads a tar from front to back. After a broken header, or a member that claims more bytes than there are, the next
/// header whose checksum holds is looked for, so that one bad member costs one member.
pub(super) struct Tar {
    input: Input,
    /// Bytes to be read again, because their member's size was a lie.
    again: std::io::Cursor<Vec<u8>>,
    offset: u64,
    limit: usize,
    /// True while the next valid header is being looked for.
    is_lost: bool,
    has_ended: bool,
}

/// What stands at a header.
enum Entry {
    File { name: String, size: u64 },
    LongName { size: u64 },
    Pax { size: u64 },
    Other { size: u64 },
}

impl Tar {
    /// Members beyond `limit` bytes are skipped with a fault.
    pub(super) fn new(input: Input, limit: usize) -> Self {
        let again = std::io::Cursor::default();
        Self {
            input,
            again,
            offset: 0,
            limit,
            is_lost: false,
            has_ended: false,
        }
    }

    /// The next regular file, or the next broken place.
    pub(super) fn next(&mut self) -> Option<Result<Member, Fault>> {
        let mut long_name: Option<String> = None;
        while !self.has_ended {
            let offset = self.offset;
            let entry = match self.header() {
                Ok(Some(entry)) => entry,
                Ok(None) => return None,
                Err(reason) => return Some(Err(Fault { offset, reason })),
            };
            let (name, size) = match entry {
                Entry::File { name, size } => (long_name.take().unwrap_or(name), size),
                Entry::LongName { size } | Entry::Pax { size } if size > MAX_NAME => {
                    self.is_lost = true;
                    let reason = format!("a name of {size} bytes, the limit is {MAX_NAME}");
                    return Some(Err(Fault { offset, reason }));
                }
                Entry::LongName { size } => match self.data(size) {
                    Ok(bytes) => {
                        let end = bytes
                            .iter()
                            .position(|&byte| byte == 0)
                            .unwrap_or(bytes.len());
                        long_name = Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
                        continue;
                    }
                    Err(reason) => return Some(Err(Fault { offset, reason })),
                },
                Entry::Pax { size } => match self.data(size) {
                    Ok(bytes) => {
                        long_name = pax_path(&bytes).or(long_name);
                        continue;
                    }
                    Err(reason) => return Some(Err(Fault { offset, reason })),
                },
                Entry::Other { size } => match self.skip(size) {
                    Ok(()) => continue,
                    Err(reason) => return Some(Err(Fault { offset, reason })),
                },
            };
            let offset = self.offset;
            let fault = |reason| Some(Err(Fault { offset, reason }));
            if size > self.limit as u64 {
                let reason = format!("`{name}` has {size} bytes, the limit is {}", self.limit);
                return match self.skip(size) {
                    Ok(()) => fault(reason),
                    Err(short) => fault(format!("{reason}; {short}")),
                };
            }
            return match self.data(size) {
                Ok(bytes) => Some(Ok(Member {
                    name,
                    offset,
                    bytes,
                })),
                Err(reason) => fault(format!("`{name}`: {reason}")),
            };
        }
        None
    }

    /// The next header; none at the end marker. When lost, blocks are passed until a header holds.
    fn header(&mut self) -> Result<Option<Entry>, String> {
        loop {
            let mut block = [0u8; BLOCK];
            let n_read = self.read(&mut block)?;
            if n_read < BLOCK {
                self.has_ended = true;
                // A tar cut between two members reads as a whole shorter one, but for this.
                return match self.is_lost {
                    true => Ok(None),
                    false => Err(
                        "the tar ends without its end marker; what followed was cut off"
                            .to_string(),
                    ),
                };
            }
            if block.iter().all(|&byte| byte == 0) {
                if self.is_lost {
                    continue;
                }
                self.has_ended = true;
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(&block);
            let size = header.entry_size().ok();
            match size.filter(|_| checksum_holds(&block, header)) {
                Some(size) => {
                    self.is_lost = false;
                    return Ok(Some(entry(header, size)));
                }
                None if self.is_lost => {}
                None => {
                    self.is_lost = true;
                    return Err("a header whose checksum does not hold".to_string());
                }
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let mut n_read = read_full(&mut self.again, buffer).unwrap_or_default();
        match read_full(&mut self.input, &mut buffer[n_read..]) {
            Ok(n) => n_read += n,
            Err(error) => {
                self.has_ended = true;
                return Err(format!("the file cannot be read further: {error}"));
            }
        }
        self.offset += n_read as u64;
        Ok(n_read)
    }

    /// The bytes of a member, at most as many as `limit` or [`MAX_NAME`] allow. When the input ends inside them, they
    /// are read again in search of a header: the size may be the lie.
    fn data(&mut self, size: u64) -> Result<Vec<u8>, String> {
        let begin = self.offset;
        let padded = size.next_multiple_of(BLOCK as u64);
        let mut bytes = Vec::new();
        let mut piece = [0u8; 16 * BLOCK];
        // Grows with what is there, not with what is claimed.
        while (bytes.len() as u64) < padded {
            let wanted = (padded - bytes.len() as u64).min(piece.len() as u64) as usize;
            let n_read = self.read(&mut piece[..wanted])?;
            bytes.extend_from_slice(&piece[..n_read]);
            if n_read < wanted {
                break;
            }
        }
        if (bytes.len() as u64) < size {
            let reason = format!("{size} bytes are claimed, {} are left", bytes.len());
            self.again = std::io::Cursor::new(bytes);
            self.offset = begin;
            self.is_lost = true;
            return Err(reason);
        }
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// Passes the bytes of a member without keeping them.
    fn skip(&mut self, size: u64) -> Result<(), String> {
        let mut left = size
            .checked_next_multiple_of(BLOCK as u64)
            .unwrap_or(u64::MAX);
        let mut piece = [0u8; 16 * BLOCK];
        while left > 0 {
            let wanted = left.min(piece.len() as u64) as usize;
            let n_read = self.read(&mut piece[..wanted])?;
            left -= n_read as u64;
            if n_read < wanted {
                self.has_ended = true;
                return Err("the tar ends inside it".to_string());
            }
        }
        Ok(())
    }
}

fn entry(header: &tar::Header, size: u64) -> Entry {
    let kind = header.entry_type();
    if kind.is_file() || kind.is_contiguous() {
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        return Entry::File { name, size };
    }
    if kind.is_gnu_longname() {
        return Entry::LongName { size };
    }
    if kind.is_pax_local_extensions() {
        return Entry::Pax { size };
    }
    Entry::Other { size }
}

fn checksum_holds(block: &[u8; BLOCK], header: &tar::Header) -> bool {
    let field = 148..156;
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(i, &b)| u32::from(if field.contains(&i) { b' ' } else { b }))
        .sum();
    header.cksum().is_ok_and(|said| said == sum)
}

/// The `path` of a pax record: lines of `<length> <key>=<value>`.
fn pax_path(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.split_once(' ')?.1.strip_prefix("path="))?;
    Some(line.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tar of the given files.
    pub(crate) fn build(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, *bytes)
                .expect("appends");
        }
        builder.into_inner().expect("finishes")
    }

    fn read(bytes: Vec<u8>, limit: usize) -> (Vec<String>, Vec<String>) {
        let mut tar = Tar::new(Box::new(std::io::Cursor::new(bytes)), limit);
        let (mut names, mut faults) = (Vec::new(), Vec::new());
        while let Some(member) = tar.next() {
            match member {
                Ok(member) => names.push(member.name),
                Err(fault) => faults.push(fault.reason),
            }
        }
        (names, faults)
    }

    fn check(bytes: Vec<u8>, names: &[&str], faults: &[&str]) {
        let (got, got_faults) = read(bytes, 1000);
        assert_eq!(got, names);
        assert_eq!(got_faults.len(), faults.len(), "{got_faults:?}");
        for (got, wanted) in got_faults.iter().zip(faults) {
            assert!(got.contains(wanted), "{got}, not: {wanted}");
        }
    }

    #[test]
    fn members_are_read_in_order_with_long_names() {
        let long = "一".repeat(60) + ".txt";
        check(
            build(&[("a.txt", b"one"), (&long, b"two")]),
            &["a.txt", &long],
            &[],
        );
        check(build(&[]), &[], &[]);
    }

    #[test]
    fn damage_costs_one_member() {
        let tar = build(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        let mut broken = tar.clone();
        broken[1024 + 10] ^= 0xff;
        check(broken, &["a", "c"], &["checksum"]);
        check(tar[..2048].to_vec(), &["a", "b"], &["end marker"]);
        check(
            tar[..1536].to_vec(),
            &["a"],
            &["`b`: 1 bytes are claimed, 0 are left"],
        );
        check(
            build(&[("a", &[7; 1001]), ("b", b"2")]),
            &["b"],
            &["1001 bytes, the limit is 1000"],
        );
    }

    #[test]
    fn a_member_that_lies_about_its_size_does_not_hide_the_next() {
        let mut tar = build(&[("x", b"short"), ("b", b"2")]);
        let mut header = tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_size(5_000);
        header.set_cksum();
        tar[..BLOCK].copy_from_slice(header.as_bytes());
        let (names, faults) = read(tar, 10_000);
        assert_eq!(names, ["b"]);
        assert!(faults[0].contains("5000 bytes are claimed"), "{faults:?}");
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        for seed in 0..64u64 {
            let mut stream = m6_store::rng::Key::new(seed).stream();
            let mut tar = build(&[("a", &[1; 600]), ("b", b"2"), ("c", &[3; 900])]);
            for _ in 0..8 {
                let at = stream.below(tar.len() as u64) as usize;
                tar[at] = stream.next_u32() as u8;
            }
            tar.truncate(stream.below(tar.len() as u64) as usize);
            read(tar, 1000);
        }
    }
}
