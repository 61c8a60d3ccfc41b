//! Pictures: found, looked at, copied.

use std::path::PathBuf;

use crate::Result;
use crate::build::config::PicturesConfig;
use crate::fetch::member_names;
use crate::sources::Members;
use m6_clean::pictures::{self, Fingerprint, Prepare, WEB_LIMITS};

/// Side of the small copies that the report shows of dropped pictures, in pixels.
const THUMB_SIDE: u32 = 128;
/// JPEG quality of those copies.
const THUMB_QUALITY: u8 = 70;

/// What became of one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Width in pixels; 0 when it could not be read.
    pub width: u32,
    /// Height in pixels; 0 when it could not be read.
    pub height: u32,
    /// Perceptual hashes.
    pub print: Fingerprint,
    /// The rule it failed (`picture_...`), with its value and threshold, or the kind of refusal without numbers.
    pub failure: Option<(String, Option<f64>, Option<f64>)>,
    /// Whether it could not be read at all.
    pub is_refused: bool,
    /// The training copy of a picture that is kept.
    pub jpeg: Option<Vec<u8>>,
}

/// Looks at one picture.
pub fn look(bytes: &[u8], config: &PicturesConfig) -> Seen {
    match pictures::look(bytes, &WEB_LIMITS, &config.rules, &config.copy) {
        Ok(look) => Seen {
            width: look.facts.width,
            height: look.facts.height,
            print: look.facts.fingerprint(),
            failure: look.failure.map(|failure| {
                let rule = failure.rule.to_string();
                (rule, Some(failure.value), Some(failure.threshold))
            }),
            is_refused: false,
            jpeg: look.copy.map(|copy| copy.jpeg),
        },
        Err(refusal) => Seen {
            failure: Some((format!("picture_{}", refusal.kind()), None, None)),
            is_refused: true,
            ..Seen::default()
        },
    }
}

/// A small copy for the report, if one can be made.
pub fn thumbnail(bytes: &[u8]) -> Option<Vec<u8>> {
    let how = Prepare {
        side: THUMB_SIDE,
        quality: THUMB_QUALITY,
        ..Prepare::default()
    };
    let copy = pictures::prepare(bytes, &WEB_LIMITS, &how);
    copy.ok().map(|copy| copy.jpeg)
}

/// Pictures of folders and tars under the addresses that pages give them.
#[derive(Debug, Default)]
pub struct Shelf(Members);

impl Shelf {
    /// Opens tars and folders.
    ///
    /// # Errors
    /// As [`Members::open`].
    pub fn open(paths: &[PathBuf], limit: usize) -> Result<Self> {
        Ok(Self(Members::open(paths, limit)?))
    }

    /// The bytes of a picture: as `m6 corpus fetch` names it, by its address as written, by the path of the address, then
    /// by its file name.
    pub fn find(&self, address: &str) -> Option<Vec<u8>> {
        if address.contains("://")
            && let Some(bytes) = member_names(address).find_map(|name| self.0.get(&name))
        {
            return Some(bytes);
        }
        let path = path_of(address);
        let decoded = percent_decoded(path);
        let file = decoded.rsplit('/').next().unwrap_or_default();
        [address, path, &decoded, file]
            .into_iter()
            .filter(|name| !name.is_empty())
            .find_map(|name| self.0.get(name))
    }
}

/// The path of an address without host, query and fragment, relative.
fn path_of(address: &str) -> &str {
    let rest = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    path.trim_start_matches('/')
}

/// `%E5%9B%BE.jpg` as text; sequences that are no UTF-8 stay as they are.
fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_found_by_address_path_and_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |name: &str| {
            let path = dir.path().join(name);
            m6_store::atomic::create_dir(path.parent().expect("a parent")).expect("a folder");
            m6_store::atomic::write_file(&path, name.as_bytes()).expect("written");
        };
        put("img/图.jpg");
        put("b.png");
        let fetched = format!("{}.png", crate::fetch::key_of("http://a.cn/b.png?v=2"));
        put(&fetched);
        let shelf = Shelf::open(&[dir.path().to_owned()], 1 << 20).expect("opens");
        for (address, expected) in [
            ("img/图.jpg", Some("img/图.jpg")),
            ("http://a.cn/img/%E5%9B%BE.jpg?x=1", Some("img/图.jpg")),
            ("/img/%E5%9B%BE.jpg#f", Some("img/图.jpg")),
            ("https://c.cn/deep/b.png", Some("b.png")),
            ("https://a.cn/b.png?v=2", Some(&*fetched)),
            ("http://a.cn", None),
            ("%", None),
            ("http://a.cn/../../etc/passwd", None),
        ] {
            let found = shelf.find(address);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{address}");
        }
    }

    #[test]
    fn bytes_that_are_no_picture_are_refused_with_a_word() {
        let seen = look(b"GIF89a nothing", &PicturesConfig::default());
        assert!(seen.is_refused && seen.jpeg.is_none());
        let (rule, value, _) = seen.failure.expect("a reason");
        assert!(rule.starts_with("picture_") && value.is_none(), "{rule}");
        assert_eq!(thumbnail(b""), None);
    }
}
