//! Archives: pages, texts and pictures as records.

use std::path::Path;

use serde_json::Value;

use super::Raw;
use crate::Result;
use crate::build::config::SourceConfig;
use crate::sources::{self, Caption, CaptionRole, Html, Picture, PictureData, RawDoc};
use m6_clean::archive::{Item, Kind, Limits, Place, Reader, Record};

/// Links of one WAT record that are looked at.
const MAX_LINKS: usize = 10_000;
/// Records at the beginning of an archive that tell whether every record has a member of its own.
const FIRST: usize = 3;
/// Bytes of a body in which a page without a media type is known by its first mark.
const SNIFF: usize = 512;

/// Whether reading can start at any byte: every record has a member of its own, or none is compressed.
pub fn can_start_anywhere(path: &Path) -> bool {
    Reader::open(path, limits(1)).is_ok_and(|reader| are_apart(&first_places(reader)))
}

/// The same from the first bytes of an archive; none when they hold too few records to tell, and are not all.
pub fn beginning_can_start_anywhere(bytes: Vec<u8>, is_whole: bool) -> Option<bool> {
    let first = first_places(Reader::from_read(std::io::Cursor::new(bytes), limits(1)));
    (is_whole || first.len() >= FIRST).then(|| are_apart(&first))
}

fn first_places(reader: Reader) -> Vec<Place> {
    let places = reader.filter_map(|item| match item {
        Ok(Item::Record(record)) => Some(record.place),
        _ => None,
    });
    places.take(FIRST).collect()
}

fn are_apart(first: &[Place]) -> bool {
    let apart = first.windows(2).all(|pair| pair[0].offset < pair[1].offset);
    first.len() > 1 && apart && first.iter().all(|place| place.within == 0)
}

/// Hands every record that begins in `range` (the whole file unless given) to `take`, until it answers false.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be opened or read.
pub fn each(
    source: &SourceConfig,
    path: &Path,
    range: Option<(u64, u64)>,
    take: &mut dyn FnMut(Raw) -> bool,
) -> Result<()> {
    let limits = limits(source.limits.record);
    let (from, to) = range.unwrap_or((0, u64::MAX));
    let reader = match from {
        0 => Reader::open(path, limits)?,
        _ => Reader::at(path, Place::from(from), limits)?,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for item in reader {
        let raw = match item? {
            Item::Record(record) if record.place.offset >= to => break,
            Item::Damage(damage) if damage.offset >= to => break,
            // Bytes before the first record of a later piece belong to a record of the piece before.
            Item::Damage(damage) if from > 0 && damage.offset == from => continue,
            Item::Damage(damage) => Some(Raw::Damage {
                place: format!("{}/{name}@{}", source.name, damage.offset),
                reason: damage.reason,
            }),
            Item::Record(record) => raw(source, &name, &record),
        };
        if let Some(raw) = raw
            && !take(raw)
        {
            break;
        }
    }
    Ok(())
}

fn limits(payload: usize) -> Limits {
    Limits {
        payload,
        ..Limits::default()
    }
}

/// What a record is to the corpus; none for those about the crawl itself.
fn raw(source: &SourceConfig, name: &str, record: &Record) -> Option<Raw> {
    let id = match record.place.within {
        0 => format!("{name}@{}", record.place.offset),
        within => format!("{name}@{}+{within}", record.place.offset),
    };
    let url = record.url.clone().unwrap_or_default();
    let skipped = |reason: &str| {
        Some(Raw::Skipped {
            id: format!("{}/{id}", source.name),
            url: url.clone(),
            reason: reason.to_string(),
        })
    };
    match record.kind {
        Kind::Response | Kind::Resource => {}
        Kind::Conversion => return Some(conversion(source, id, record)),
        Kind::Metadata => return links(source, id, record),
        _ => return None,
    }
    if !url.contains("://") || url.starts_with("dns:") {
        return skipped("no_web_address");
    }
    if let Some(status) = record.http.as_ref().and_then(|http| http.status)
        && status != 200
    {
        return skipped(&format!("status_{status}"));
    }
    let body = match record.body(source.limits.record) {
        Ok(body) => body,
        Err(error) => {
            return Some(Raw::Damage {
                place: format!("{}/{id}", source.name),
                reason: error.to_string(),
            });
        }
    };
    if body.bytes.is_empty() {
        return skipped("empty");
    }
    let charset = record.http.as_ref().and_then(|http| http.charset());
    match record.mime.as_deref().unwrap_or_default() {
        mime if mime.starts_with("image/") => Some(Raw::Picture {
            address: url,
            bytes: body.bytes.into_owned(),
        }),
        "text/html" | "application/xhtml+xml" => page(source, id, record, &body.bytes, charset),
        "" | "text/plain" | "application/octet-stream" if looks_like_html(&body.bytes) => {
            page(source, id, record, &body.bytes, charset)
        }
        _ => skipped("media_type"),
    }
}

fn page(
    source: &SourceConfig,
    id: String,
    record: &Record,
    bytes: &[u8],
    charset: Option<&str>,
) -> Option<Raw> {
    let html = Html {
        bytes: bytes.to_vec(),
        charset: charset.map(str::to_string),
    };
    Some(Raw::Record(Box::new(RawDoc {
        html: Some(html),
        ..base(source, id, record)
    })))
}

/// The plain text of a WET record.
fn conversion(source: &SourceConfig, id: String, record: &Record) -> Raw {
    let text = String::from_utf8_lossy(&record.payload);
    let (title, text) = text.split_once('\n').unwrap_or(("", &text));
    Raw::Record(Box::new(RawDoc {
        title: Some(title.trim().to_string()).filter(|title| !title.is_empty()),
        text: text.to_string(),
        ..base(source, id, record)
    }))
}

fn base(source: &SourceConfig, id: String, record: &Record) -> RawDoc {
    RawDoc {
        source: source.name.clone(),
        id,
        url: record.url.clone(),
        lang: source.lang.clone(),
        place: sources::Place {
            offset: record.place.offset,
            ..sources::Place::default()
        },
        ..RawDoc::default()
    }
}

/// The pictures that a WAT record names, each with its alternative text.
fn links(source: &SourceConfig, id: String, record: &Record) -> Option<Raw> {
    let envelope: Value = serde_json::from_slice(&record.payload).ok()?;
    let payload = envelope.get("Envelope")?.get("Payload-Metadata")?;
    let metadata = payload
        .get("HTTP-Response-Metadata")?
        .get("HTML-Metadata")?;
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_string);
    let links = metadata.get("Links").and_then(Value::as_array)?;
    let pictures: Vec<Picture> = links
        .iter()
        .take(MAX_LINKS)
        .filter(|link| link.get("path").and_then(Value::as_str) == Some("IMG@/src"))
        .filter_map(|link| {
            let alt = text(link, "alt").filter(|alt| !alt.trim().is_empty());
            let caption = alt.map(|alt| Caption {
                role: CaptionRole::Alt,
                text: alt.trim().to_string(),
            });
            Some(Picture {
                data: PictureData::Address(text(link, "url")?),
                captions: caption.into_iter().collect(),
                line: None,
            })
        })
        .take(source.limits.pictures)
        .collect();
    let head = metadata.get("Head");
    (!pictures.is_empty()).then(|| {
        Raw::Record(Box::new(RawDoc {
            title: head.and_then(|head| text(head, "Title")),
            pictures,
            ..base(source, id, record)
        }))
    })
}

fn looks_like_html(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(SNIFF)];
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    ["<!doctype html", "<html", "<head", "<body"]
        .iter()
        .any(|mark| head.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_without_a_media_type_are_known_by_their_marks() {
        for (bytes, expected) in [
            (&b"\n<!DOCTYPE HTML><p>"[..], true),
            (b"<HTML lang=zh>", true),
            (b"{\"a\": 1}", false),
            (b"\xff\xfe\x00", false),
            (b"", false),
        ] {
            assert_eq!(looks_like_html(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn any_beginning_of_an_archive_tells_the_same_as_the_whole_or_nothing() {
        use std::io::Write;

        use m6_clean::archive::{Compression, NewRecord, Writer};
        let archive = |compression: Compression| {
            let mut out = Writer::new(Vec::new(), compression);
            for n in 0..5u8 {
                let block = vec![b'a' + n; 900];
                let record = NewRecord {
                    kind: Kind::Conversion,
                    url: Some("http://a.cn/"),
                    date: "2024-01-01T00:00:00Z",
                    content_type: "text/plain",
                    fields: &[],
                    block: &block,
                };
                out.write(&record).expect("written");
            }
            out.finish().expect("ends")
        };
        let mut one = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        one.write_all(&archive(Compression::None)).expect("packed");
        let dir = tempfile::tempdir().expect("a folder");
        for (bytes, expected) in [
            (archive(Compression::Gzip), true),
            (archive(Compression::None), true),
            (one.finish().expect("packed"), false),
            (b"no archive at all".to_vec(), false),
        ] {
            let path = dir.path().join("x");
            m6_store::atomic::write_file(&path, &bytes).expect("written");
            assert_eq!(can_start_anywhere(&path), expected);
            let whole = beginning_can_start_anywhere(bytes.clone(), true);
            assert_eq!(whole, Some(expected));
            for n in (0..bytes.len()).step_by(7) {
                let answer = beginning_can_start_anywhere(bytes[..n].to_vec(), false);
                assert!(answer.is_none_or(|answer| answer == expected), "{n} bytes");
            }
        }
    }
}
