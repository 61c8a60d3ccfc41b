//! Where the members of a tar file lie, found without copying them.

use std::io::Cursor;
use std::ops::Range;

const BLOCK: usize = 512;

/// A regular file inside a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name with its folders.
    pub name: String,
    /// Where its bytes lie.
    pub range: Range<usize>,
}

/// A place where the tar is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset in bytes.
    pub offset: usize,
    /// What is wrong.
    pub detail: String,
}

/// The members and the broken places of a tar, in order.
///
/// After a broken header the next valid one is looked for, so that one bad member costs one member. A
/// member that reaches past the end of the file is a fault, never a short member.
pub fn index(bytes: &[u8]) -> (Vec<Member>, Vec<Fault>) {
    let mut members = Vec::new();
    let mut faults = Vec::new();
    let mut start = Some(0);
    while let Some(from) = start {
        start = walk(bytes, from, &mut members, &mut faults);
    }
    (members, faults)
}

/// Reads from one header on; gives the place of the next valid header after a fault.
fn walk(
    bytes: &[u8],
    from: usize,
    members: &mut Vec<Member>,
    faults: &mut Vec<Fault>,
) -> Option<usize> {
    let mut archive = tar::Archive::new(Cursor::new(&bytes[from..]));
    let mut reached = from;
    let entries = archive.entries_with_seek().ok()?;
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                faults.push(Fault {
                    offset: reached,
                    detail: error.to_string(),
                });
                return next_header(bytes, reached + BLOCK);
            }
        };
        let begin =
            from.saturating_add(usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX));
        let end = begin.saturating_add(usize::try_from(entry.size()).unwrap_or(usize::MAX));
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if end > bytes.len() {
            faults.push(Fault {
                offset: begin,
                detail: format!(
                    "`{name}` claims {} bytes, {} are left",
                    entry.size(),
                    bytes.len().saturating_sub(begin)
                ),
            });
            // Its size may be the lie: what follows may still be whole.
            return next_header(bytes, begin);
        }
        if entry.header().entry_type().is_file() {
            members.push(Member {
                name,
                range: begin..end,
            });
        }
        reached = end.next_multiple_of(BLOCK);
    }
    let ended = bytes
        .get(reached..reached + BLOCK)
        .is_some_and(|block| block.iter().all(|&byte| byte == 0));
    if !ended {
        // A tar cut between two members reads as a whole shorter one, but for this.
        faults.push(Fault {
            offset: reached,
            detail: "the tar ends without its end marker; what followed was cut off".into(),
        });
    }
    None
}

/// The first block at or after `from` whose header checksum holds.
fn next_header(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.next_multiple_of(BLOCK);
    while let Some(block) = bytes.get(at..at + BLOCK) {
        if &block[257..262] == b"ustar" && checksum_holds(block) {
            return Some(at);
        }
        at += BLOCK;
    }
    None
}

fn checksum_holds(block: &[u8]) -> bool {
    let field = 148..156;
    let digits: String = block[field.clone()]
        .iter()
        .map(|&byte| byte as char)
        .filter(char::is_ascii_digit)
        .collect();
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(i, &byte)| u64::from(if field.contains(&i) { b' ' } else { byte }))
        .sum();
    u64::from_str_radix(&digits, 8) == Ok(sum)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tar of the given files.
    pub(crate) fn build(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, *bytes)
                .expect("appends");
        }
        builder.into_inner().expect("finishes")
    }

    #[test]
    fn members_are_found_where_they_lie() {
        let tar = build(&[("a.txt", b"one"), ("d/b.txt", b"second")]);
        let (members, faults) = index(&tar);
        assert!(faults.is_empty());
        let texts: Vec<&[u8]> = members.iter().map(|m| &tar[m.range.clone()]).collect();
        assert_eq!(texts, [&b"one"[..], b"second"]);
    }

    #[test]
    fn a_truncated_tar_keeps_the_whole_members_and_names_the_short_one() {
        let tar = build(&[("a.txt", b"one"), ("b.txt", &[7; 900])]);
        let (members, faults) = index(&tar[..2048]);
        assert_eq!(members.len(), 1);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].detail.contains("b.txt"), "{faults:?}");
    }

    #[test]
    fn after_a_broken_header_the_next_member_is_found() {
        let mut tar = build(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        tar[1024 + 10] ^= 0xff;
        let (members, faults) = index(&tar);
        let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn any_bytes_are_indexed_without_a_panic() {
        for seed in 0..64u64 {
            let mut stream = m6_store::rng::Key::new(seed).stream();
            let mut tar = build(&[("a", &[1; 600]), ("b", b"2"), ("c", &[3; 1000])]);
            for _ in 0..8 {
                let at = stream.below(tar.len() as u64) as usize;
                tar[at] = stream.next_u32() as u8;
            }
            tar.truncate(stream.below(tar.len() as u64) as usize);
            for member in index(&tar).0 {
                assert!(member.range.end <= tar.len());
            }
        }
    }
}
