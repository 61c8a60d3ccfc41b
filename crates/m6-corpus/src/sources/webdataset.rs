//! Tars whose neighbouring members share a name up to the first dot: one sample each.

use std::path::PathBuf;
use std::sync::Arc;

use super::doc::{Caption, CaptionRole, Item, Picture, PictureData, Place};
use super::input;
use super::json::{object, unreadable};
use super::rows::{Rows, plain_lines};
use super::tar::{Member, Tar};

/// Extensions of members that are pictures.
const PICTURES: [&str; 9] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "avif", "tif", "tiff",
];
/// Extensions of members that hold the sample's text.
const TEXTS: [&str; 2] = ["txt", "caption"];

/// The samples of a tar.
pub(super) fn open(rows: Arc<Rows>, path: PathBuf) -> Box<dyn Iterator<Item = Item>> {
    let tar = match input::open(&path) {
        Ok(input) => Tar::new(input, rows.limits.record),
        Err(error) => return unreadable(path, &error),
    };
    let mut samples = Samples {
        rows,
        path,
        tar,
        waiting: None,
        fault: None,
    };
    Box::new(std::iter::from_fn(move || samples.next()))
}

struct Samples {
    rows: Arc<Rows>,
    path: PathBuf,
    tar: Tar,
    /// First member of the next sample.
    waiting: Option<Member>,
    /// A broken place behind the sample that was given last.
    fault: Option<Item>,
}

impl Samples {
    /// The next sample; a broken place ends the one before it.
    fn next(&mut self) -> Option<Item> {
        if let Some(fault) = self.fault.take() {
            return Some(fault);
        }
        let mut sample: Vec<Member> = self.waiting.take().into_iter().collect();
        let mut n_bytes: usize = sample.iter().map(|member| member.bytes.len()).sum();
        while let Some(next) = self.tar.next() {
            let mut next = match next {
                Ok(next) => next,
                Err(bad) => {
                    self.fault = Some(Item::damage(self.place(bad.offset), bad.reason));
                    break;
                }
            };
            if sample
                .first()
                .is_some_and(|first| key(&first.name) != key(&next.name))
            {
                self.waiting = Some(next);
                break;
            }
            n_bytes = n_bytes.saturating_add(next.bytes.len());
            if n_bytes > self.rows.limits.record {
                // The sample is given up, but its other members must still be passed.
                sample.truncate(1);
                next.bytes.clear();
            }
            sample.push(next);
        }
        let Some(first) = sample.first() else {
            return self.fault.take();
        };
        let place = self.place(first.offset);
        if n_bytes > self.rows.limits.record {
            let reason = format!(
                "`{}`: a sample of {n_bytes} bytes, the limit is {}",
                key(&first.name),
                self.rows.limits.record
            );
            return Some(Item::damage(place, reason));
        }
        Some(record(
            &self.rows,
            place,
            key(&first.name).to_string(),
            sample,
        ))
    }

    fn place(&self, offset: u64) -> Place {
        Place {
            path: self.path.clone(),
            offset,
            line: None,
        }
    }
}

/// The name of the sample, with its folders.
fn key(name: &str) -> &str {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[base..].find('.') {
        Some(dot) => &name[..base + dot],
        None => name,
    }
}

fn extension(name: &str) -> String {
    name.rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .unwrap_or_default()
}

fn is_picture(member: &Member) -> bool {
    PICTURES.contains(&extension(&member.name).as_str())
}

fn is_text(member: &Member) -> bool {
    TEXTS.contains(&extension(&member.name).as_str())
}

fn record(rows: &Rows, place: Place, key: String, sample: Vec<Member>) -> Item {
    let key = key.trim_start_matches("./").to_string();
    let json = sample
        .iter()
        .find(|member| extension(&member.name) == "json");
    let value = match json.map(|member| object(&member.bytes)).transpose() {
        Ok(value) => value.unwrap_or_default(),
        Err(reason) => return Item::damage(place, format!("{key}.json: {reason}")),
    };
    let mut doc = rows.doc(&value, place);
    // The name of a sample is its identity, unless its row has one.
    if rows.map.id.first(&value).is_none() {
        doc.id = key;
    }
    let texts = sample.iter().filter(|member| is_text(member));
    let texts: Vec<String> = texts
        .map(|member| plain_lines(&String::from_utf8_lossy(&member.bytes)))
        .collect();
    let mut captions = rows.captions(&value);
    if sample.iter().any(is_picture) {
        // Beside a picture, a text is about the picture.
        let lines = texts.iter().flat_map(|text| text.lines());
        captions.extend(lines.filter_map(|line| Caption::new(CaptionRole::Caption, line)));
        // The row can only name the picture that lies beside it.
        doc.pictures.clear();
    } else {
        let all: Vec<&str> = std::iter::once(doc.text.as_str())
            .chain(texts.iter().map(String::as_str))
            .collect();
        doc.text = plain_lines(&all.join("\n"));
    }
    for member in sample
        .into_iter()
        .filter(is_picture)
        .take(rows.limits.pictures)
    {
        let data = PictureData::Bytes {
            name: member.name,
            bytes: member.bytes,
        };
        doc.pictures.push(Picture {
            data,
            captions: captions.clone(),
            line: None,
        });
    }
    doc.into_item()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_named_up_to_the_first_dot_of_its_base() {
        let check = |name: &str, expected: &str| assert_eq!(key(name), expected);
        check("a.jpg", "a");
        check("a.seg.png", "a");
        check("d.1/a.jpg", "d.1/a");
        check("./a", "./a");
        check(".hidden", "");
        assert_eq!(extension("d.x/A.JPG"), "jpg");
        assert_eq!(extension("none"), "");
    }
}
