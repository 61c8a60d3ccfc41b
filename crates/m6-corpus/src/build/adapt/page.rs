//! Raw records to clean records: pages are extracted, texts and captions cleaned.

use serde::Serialize;

use super::normalize::Cleaner;
use crate::build::config::SourceConfig;
use crate::build::docs::{Doc, DocPicture, PictureText, host_of};
use crate::sources::{Html, Picture, PictureData, RawDoc};
use m6_clean::page::{self, Image, Page};

/// Largest picture address that is kept, in bytes; data addresses are pictures, not addresses.
const MAX_ADDRESS: usize = 4096;

/// What became of a raw record.
#[derive(Debug)]
pub enum Made {
    /// A record, and the bytes of those of its pictures that came with it, by place.
    Doc {
        /// The record.
        doc: Box<Doc>,
        /// Place among its pictures, and bytes.
        pictures: Vec<(usize, Vec<u8>)>,
    },
    /// A picture of an archive.
    Picture {
        /// Its address.
        address: String,
        /// As stored.
        bytes: Vec<u8>,
    },
    /// Nothing: a row of the ledger says why.
    Refused {
        /// Its name in the ledger.
        id: String,
        /// Its address; may be empty.
        url: String,
        /// `read` or `extract`.
        stage: &'static str,
        /// `damaged`, `skipped` or `refused`.
        verdict: &'static str,
        /// Why.
        rule: String,
    },
}

impl Made {
    /// A record that was not taken.
    pub fn refused(
        id: String,
        url: &str,
        stage: &'static str,
        verdict: &'static str,
        rule: String,
    ) -> Self {
        Made::Refused {
            id,
            url: url.to_string(),
            stage,
            verdict,
            rule,
        }
    }
}

/// Extracts and cleans one record, unless its page or its text has more than `most_bytes`; a pure function.
pub fn make(most_bytes: usize, source: &SourceConfig, cleaner: &Cleaner, mut raw: RawDoc) -> Made {
    let id = format!("{}/{}", source.name, raw.id);
    let url = raw.url.take().unwrap_or_default();
    let mut page = Page::default();
    if raw.text.len() > most_bytes {
        return Made::refused(id, &url, "extract", "refused", "text_too_large".to_string());
    }
    if let Some(html) = raw.html.take() {
        match extract(most_bytes.min(source.limits.record), &html, &url) {
            Ok(found) => page = found,
            // A record may also have fields of its own; then the page was only a part of it.
            Err(_) if !raw.text.trim().is_empty() => {}
            Err(refusal) => return Made::refused(id, &url, "extract", "refused", word(&refusal)),
        }
    }
    let (mut text, mut pictures, bytes) = given(cleaner, &mut raw);
    append(cleaner, &page, &mut text, &mut pictures);
    if text.is_empty() && pictures.is_empty() {
        return Made::refused(id, &url, "extract", "refused", "empty".to_string());
    }
    let title = raw
        .title
        .filter(|title| !title.trim().is_empty())
        .unwrap_or(page.title);
    let lang = match (page::language(&text), raw.lang, page.lang) {
        (Some(lang), ..) => lang.to_string(),
        (None, Some(lang), _) => lang,
        (None, None, lang) => lang,
    };
    Made::Doc {
        doc: Box::new(Doc {
            id,
            host: host_of(&url),
            url,
            title: cleaner.line(&title),
            lang,
            charset: page.charset,
            text,
            pictures,
            meta: raw.meta,
        }),
        pictures: bytes,
    }
}

fn extract(most_bytes: usize, html: &Html, url: &str) -> std::result::Result<Page, page::Refusal> {
    let options = page::Options {
        max_bytes: most_bytes,
        ..page::Options::default()
    };
    let url = Some(url).filter(|url| !url.is_empty());
    page::extract_bytes(&html.bytes, html.charset.as_deref(), url, &options)
}

fn word(refusal: &page::Refusal) -> String {
    match refusal {
        page::Refusal::TooLarge { .. } => "page_too_large",
        page::Refusal::NotText { .. } => "page_not_text",
        page::Refusal::Empty => "page_empty",
        page::Refusal::NotChinese { .. } => "page_not_chinese",
    }
    .to_string()
}

/// Text and pictures that the record brought itself, and the bytes of such pictures by place.
fn given(cleaner: &Cleaner, raw: &mut RawDoc) -> (String, Vec<DocPicture>, Vec<(usize, Vec<u8>)>) {
    let (text, before) = cleaner.lines(raw.text.lines());
    let end = before.last().copied().unwrap_or(0);
    let (mut pictures, mut bytes) = (Vec::new(), Vec::new());
    for Picture {
        data,
        captions,
        line,
    } in raw.pictures.drain(..)
    {
        let address = match data {
            PictureData::Address(address) => address,
            PictureData::Bytes { name, bytes: data } => {
                bytes.push((pictures.len(), data));
                name
            }
        };
        let texts = captions.iter().map(|caption| PictureText {
            role: name_of(&caption.role),
            text: cleaner.line(&caption.text),
            distance: 0,
        });
        let texts: Vec<PictureText> = texts.filter(|text| !text.text.is_empty()).collect();
        let chosen = texts.first().cloned().unwrap_or_default();
        pictures.push(DocPicture {
            address,
            blob: None,
            line: line
                .and_then(|line| before.get(line).copied())
                .unwrap_or(end),
            caption: chosen.text,
            role: chosen.role,
            texts,
        });
    }
    (text, pictures, bytes)
}

/// Adds the lines and pictures of a page behind what the record brought itself.
fn append(cleaner: &Cleaner, page: &Page, text: &mut String, pictures: &mut Vec<DocPicture>) {
    let first = text.lines().count();
    let lines = page.blocks.iter().map(|block| block.text.as_str());
    let (more, before) = cleaner.lines(lines);
    for (at, block) in page.blocks.iter().enumerate() {
        let image = block.image.and_then(|image| page.images.get(image));
        if let Some(image) = image.filter(|image| image.src.len() <= MAX_ADDRESS) {
            pictures.push(found(cleaner, image, first + before[at]));
        }
    }
    if !text.is_empty() && !more.is_empty() {
        text.push('\n');
    }
    text.push_str(&more);
}

fn found(cleaner: &Cleaner, image: &Image, line: usize) -> DocPicture {
    let texts = image.candidates.iter().map(|candidate| PictureText {
        role: name_of(&candidate.role),
        text: cleaner.line(&candidate.text),
        distance: candidate.distance.unsigned_abs(),
    });
    DocPicture {
        address: image.src.clone(),
        blob: None,
        line,
        caption: cleaner.line(image.caption.as_deref().unwrap_or_default()),
        role: image.caption_role.as_ref().map(name_of).unwrap_or_default(),
        texts: texts.filter(|text| !text.text.is_empty()).collect(),
    }
}

/// The name a role has in files.
fn name_of(role: &impl Serialize) -> String {
    match serde_json::to_value(role) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::config::NormalizeConfig;
    use crate::sources::{Caption, CaptionRole};

    fn made(raw: RawDoc) -> Made {
        let source = SourceConfig {
            name: "s".to_string(),
            ..SourceConfig::default()
        };
        let cleaner = Cleaner::new(&NormalizeConfig::default()).expect("a script that exists");
        make(1 << 20, &source, &cleaner, raw)
    }

    #[test]
    fn own_text_comes_first_and_pictures_keep_their_lines() {
        let caption = Caption {
            role: CaptionRole::Alt,
            text: " 貓 ".to_string(),
        };
        let picture = |data, line| Picture {
            data,
            captions: vec![caption.clone()],
            line,
        };
        let bytes = PictureData::Bytes {
            name: "a.jpg".to_string(),
            bytes: vec![1, 2],
        };
        let raw = RawDoc {
            id: "7".to_string(),
            url: Some("http://A.cn/x".to_string()),
            text: "第一行\n\n第二行".to_string(),
            pictures: vec![
                picture(PictureData::Address("b.jpg".to_string()), Some(2)),
                picture(bytes, None),
            ],
            ..RawDoc::default()
        };
        let Made::Doc { doc, pictures } = made(raw) else {
            panic!("a record");
        };
        assert_eq!((doc.id.as_str(), doc.host.as_str()), ("s/7", "a.cn"));
        assert_eq!(doc.text, "第一行\n第二行");
        assert_eq!(doc.pictures[0].line, 1);
        assert_eq!(
            (doc.pictures[1].line, doc.pictures[1].caption.as_str()),
            (2, "猫")
        );
        assert_eq!(doc.pictures[1].role, "alt");
        assert_eq!(pictures, [(1, vec![1, 2])]);
    }

    #[test]
    fn a_record_of_nothing_is_refused_with_a_word() {
        let html = |bytes: &[u8]| RawDoc {
            html: Some(Html {
                bytes: bytes.to_vec(),
                charset: None,
            }),
            ..RawDoc::default()
        };
        let long = RawDoc {
            text: "a".repeat((1 << 20) + 1),
            ..RawDoc::default()
        };
        for (raw, expected) in [
            (RawDoc::default(), "empty"),
            (html(b"<html><body></body></html>"), "page_empty"),
            (html(&[0; 64]), "page_not_text"),
            (html(&[b'a'; (1 << 20) + 1]), "page_too_large"),
            (long, "text_too_large"),
        ] {
            let Made::Refused { rule, .. } = made(raw) else {
                panic!("refused");
            };
            assert_eq!(rule, expected);
        }
    }
}
