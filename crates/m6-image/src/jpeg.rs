//! Whether a JPEG reaches its end: the decoder fills what is missing with grey and says nothing.

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

/// True when the markers of the first picture lead to an end marker (ITU T.81, annex B).
///
/// Segments are skipped by their length, so that a thumbnail inside one does not count.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 0;
    loop {
        let Some(found) = next_marker(bytes, at) else {
            return false;
        };
        let marker = bytes[found];
        at = found + 1;
        match marker {
            END_OF_IMAGE => return true,
            // TEM and the restart markers stand alone.
            START_OF_IMAGE | 0x01 | 0xD0..=0xD7 => {}
            _ => {
                let Some(length) = bytes.get(at..at + 2) else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                if marker == START_OF_SCAN {
                    at = end_of_scan(bytes, at);
                }
            }
        }
    }
}

/// The position of the next marker code at or after `at`, past fill bytes.
fn next_marker(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let start = rest.iter().position(|&byte| byte == 0xFF)?;
    let code = rest[start..].iter().position(|&byte| byte != 0xFF)?;
    Some(at + start + code)
}

/// Where the entropy-coded data after `at` ends: at the next 0xFF that is neither stuffed nor a restart.
fn end_of_scan(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        let Some(found) = next_marker(bytes, at) else {
            return bytes.len();
        };
        if !matches!(bytes[found], 0x00 | 0xD0..=0xD7) {
            return found - 1;
        }
        at = found + 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: bool) {
        assert_eq!(is_complete(bytes), expected, "{bytes:02x?}");
    }

    #[test]
    fn only_an_end_outside_segments_counts() {
        check(&[], false);
        check(&[0xFF, 0xD8], false);
        check(&[0xFF, 0xD8, 0xFF, 0xD9], true);
        // An end marker inside an APP1 segment (a thumbnail) is not the end.
        check(&[0xFF, 0xD8, 0xFF, 0xE1, 0, 4, 0xFF, 0xD9], false);
        check(
            &[0xFF, 0xD8, 0xFF, 0xE1, 0, 4, 0xFF, 0xD9, 0xFF, 0xD9],
            true,
        );
        // Stuffed bytes, restart markers and fill bytes in a scan.
        check(
            &[
                0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0, 0xD9, 0xFF, 0xD0, 7, 0xFF, 0xFF, 0xD9,
            ],
            true,
        );
        check(
            &[
                0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0, 0xD9, 0xFF, 0xD0, 7,
            ],
            false,
        );
        // A length past the end, and a length of zero.
        check(&[0xFF, 0xD8, 0xFF, 0xE1, 0xFF, 0xFF, 0xFF, 0xD9], false);
        check(&[0xFF, 0xD8, 0xFF, 0xE1, 0, 0, 0xFF, 0xD9], true);
        check(&[0xFF; 9], false);
    }
}
