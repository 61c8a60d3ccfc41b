//! From a row (a JSON value) to a record.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::doc::{Caption, CaptionRole, Html, Item, Picture, PictureData, Place, RawDoc};
use super::fields::{FieldMap, Selector, leaf};
use super::members::Members;
use super::spec::{Limits, SourceSpec, TextFormat};
use super::{markdown, wiki};
use crate::Result;

/// Keys of a picture object that hold its address, in order of trust.
const ADDRESS_KEYS: [&str; 5] = ["file", "url", "src", "path", "pic_url"];
/// Keys of a picture object that hold its texts.
const CAPTION_KEYS: [(&str, CaptionRole); 3] = [
    ("caption", CaptionRole::Caption),
    ("alt", CaptionRole::Alt),
    ("title", CaptionRole::Title),
];
/// Key under which a text names the picture of an object, where that differs from its file.
const REFERENCE_KEY: &str = "ref";

/// Builds the records of a source from its rows.
pub(super) struct Rows {
    source: String,
    lang: Option<String>,
    format: TextFormat,
    /// Where the records lie inside each top-level value.
    pub(super) records: Option<Selector>,
    pub(super) map: FieldMap,
    /// True when the configuration names the id field, so that a table must have it.
    pub(super) names_id: bool,
    pub(super) limits: Limits,
    members: Members,
}

impl Rows {
    pub(super) fn new(spec: &SourceSpec) -> Result<Arc<Self>> {
        let records = spec.records.as_deref().map(Selector::parse);
        Ok(Arc::new(Self {
            source: spec.name.clone(),
            lang: spec.lang.clone(),
            format: spec.format,
            records: records.transpose()?,
            map: FieldMap::new(&spec.fields)?,
            names_id: spec.fields.id.is_some(),
            limits: spec.limits,
            members: Members::open(&spec.pictures_from, spec.limits.record)?,
        }))
    }

    /// The record of a row; a row without text, HTML and pictures is left out.
    pub(super) fn item(&self, value: &Value, place: Place) -> Item {
        self.doc(value, place).into_item()
    }

    /// The record of a row, possibly without any content.
    pub(super) fn doc(&self, value: &Value, place: Place) -> RawDoc {
        let map = &self.map;
        let first = |field: &Option<Selector>| field.as_ref()?.first(value);
        let charset = Some("utf-8".to_string());
        let mut doc = RawDoc {
            source: self.source.clone(),
            id: map.id.first(value).unwrap_or_else(|| fallback_id(&place)),
            url: first(&map.url),
            title: first(&map.title).map(|title| one_line(&title)),
            html: first(&map.html).map(|html| Html {
                bytes: html.into_bytes(),
                charset,
            }),
            lang: first(&map.lang).or_else(|| self.lang.clone()),
            place,
            ..RawDoc::default()
        };
        let texts: Vec<String> = map
            .text
            .iter()
            .flat_map(|field| field.strings(value))
            .collect();
        self.set_text(&mut doc, &texts.join("\n"));
        for (name, field) in &map.meta {
            if let Some(text) = field.first(value) {
                doc.meta.insert(name.clone(), text);
            }
        }
        self.add_pictures(&mut doc, value);
        doc
    }

    /// Fills text, and the pictures that stand in it, from a text of the source's format.
    fn set_text(&self, doc: &mut RawDoc, text: &str) {
        match self.format {
            TextFormat::Plain => doc.text = plain_lines(text),
            TextFormat::Markdown => (doc.text, doc.pictures) = markdown::plain(text),
            TextFormat::Wikitext => {
                let plain = wiki::plain(text);
                doc.text = plain.text;
                doc.pictures = plain
                    .pictures
                    .into_iter()
                    .map(wiki::WikiPicture::into_picture)
                    .collect();
            }
        }
    }

    /// Adds the pictures that fields name, and the captions that hold for all.
    fn add_pictures(&self, doc: &mut RawDoc, value: &Value) {
        let named = self
            .map
            .pictures
            .iter()
            .flat_map(|field| field.values(value));
        for value in named {
            let reference = value.get(REFERENCE_KEY).and_then(Value::as_str);
            let Some(new) = picture(&value) else { continue };
            // A picture that already stands in the text keeps its place and learns where its file is.
            let known = doc.pictures.iter_mut().filter(|known| {
                matches!((&known.data, reference), (PictureData::Address(address), Some(named)) if address == named)
            });
            let mut is_known = false;
            for known in known {
                known.data = new.data.clone();
                for caption in &new.captions {
                    if !known.captions.contains(caption) {
                        known.captions.push(caption.clone());
                    }
                }
                is_known = true;
            }
            if !is_known {
                doc.pictures.push(new);
            }
        }
        doc.pictures.truncate(self.limits.pictures);
        let shared: Vec<Caption> = self.captions(value);
        for picture in &mut doc.pictures {
            for caption in &shared {
                if !picture.captions.contains(caption) {
                    picture.captions.push(caption.clone());
                }
            }
            self.load(picture);
        }
    }

    /// The captions of a row that hold for all its pictures.
    pub(super) fn captions(&self, value: &Value) -> Vec<Caption> {
        let texts = self
            .map
            .captions
            .iter()
            .flat_map(|field| field.strings(value));
        texts
            .filter_map(|text| Caption::new(CaptionRole::Caption, &one_line(&text)))
            .collect()
    }

    /// Replaces the address of a picture by its bytes when the source's archives hold it.
    fn load(&self, picture: &mut Picture) {
        if let PictureData::Address(name) = &picture.data
            && let Some(bytes) = self.members.get(name)
        {
            picture.data = PictureData::Bytes {
                name: name.clone(),
                bytes,
            };
        }
    }
}

/// File stem and line, or offset: an identity that does not depend on where the data lies.
pub(super) fn fallback_id(place: &Place) -> String {
    let name = Path::new(place.path.file_name().unwrap_or_default());
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}:{}", place.line.unwrap_or(place.offset))
}

/// A picture from an address or an object with one.
fn picture(value: &Value) -> Option<Picture> {
    let address = match value {
        Value::Object(object) => ADDRESS_KEYS
            .iter()
            .find_map(|key| leaf(object.get(*key)?))?,
        other => leaf(other)?,
    };
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let captions = CAPTION_KEYS
        .iter()
        .filter_map(|(key, role)| Caption::new(*role, text(key)));
    Some(Picture {
        data: PictureData::Address(address),
        captions: captions.collect(),
        line: None,
    })
}

/// The lines of a text that are not blank, each without white space around it.
pub(super) fn plain_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
