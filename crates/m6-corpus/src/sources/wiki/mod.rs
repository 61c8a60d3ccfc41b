//! MediaWiki XML dumps: encyclopedia articles as plain text with their pictures (paper section 1: encyclopedia data).

mod dump;
mod elements;
mod format;
mod infobox;
mod inline;
mod page;
mod sections;
mod spans;
mod text;

use super::doc::{Caption, CaptionRole, Item, Picture, PictureData, Place, RawDoc};
use super::input;
use super::json::unreadable;
use super::spec::SourceSpec;

pub use text::{Plain, WikiPicture, plain};

/// Namespace of articles.
const ARTICLES: i64 = 0;

/// The articles of a dump from a place on. Pages of other namespaces, redirects and pages that are no wikitext are left out.
pub(super) fn open(spec: &SourceSpec, start: Place) -> Box<dyn Iterator<Item = Item>> {
    let (path, limit) = (start.path, spec.limits.record);
    let mut pages = match input::open(&path) {
        Ok(input) => dump::Pages::new(input, limit),
        Err(error) => return unreadable(path, &error),
    };
    if start.offset > 0 {
        // The head of the dump names the wiki; the pages behind it were read already.
        pages = match input::open_at(&path, start.offset) {
            Ok(input) => pages.moved(input, start.offset),
            Err(error) => return unreadable(path, &error),
        };
    }
    let spec = spec.clone();
    Box::new(std::iter::from_fn(move || {
        let (offset, piece) = pages.next()?;
        let place = Place {
            path: path.clone(),
            offset,
            line: None,
        };
        let page = piece.and_then(|xml| page::parse(&xml));
        Some(match page {
            Ok(page) => item(&spec, page, pages.base(), place),
            Err(reason) => Item::damage(place, reason),
        })
    }))
}

fn item(spec: &SourceSpec, page: page::Page, base: Option<&str>, place: Place) -> Item {
    let id = if page.id.is_empty() {
        page.title.clone()
    } else {
        page.id.clone()
    };
    if page.namespace != ARTICLES {
        return Item::skipped(place, id, "namespace");
    }
    if page.is_redirect || text::is_redirect(&page.text) {
        return Item::skipped(place, id, "redirect");
    }
    if page
        .model
        .as_deref()
        .is_some_and(|model| model != "wikitext")
    {
        return Item::skipped(place, id, "model");
    }
    let plain = plain(&page.text);
    if plain.text.is_empty() && plain.pictures.is_empty() {
        return Item::skipped(place, id, "empty");
    }
    let pictures = plain
        .pictures
        .into_iter()
        .take(spec.limits.pictures)
        .map(WikiPicture::into_picture);
    let meta = page.timestamp.map(|time| ("timestamp".to_string(), time));
    Item::Doc(Box::new(RawDoc {
        source: spec.name.clone(),
        id,
        url: base.map(|base| address(base, &page.title)),
        title: Some(page.title),
        text: plain.text,
        lang: spec.lang.clone(),
        pictures: pictures.collect(),
        meta: meta.into_iter().collect(),
        place,
        ..RawDoc::default()
    }))
}

/// The address of an article: the wiki's main page with its last part replaced, as MediaWiki writes titles.
fn address(base: &str, title: &str) -> String {
    let folder = base.rfind('/').map_or("", |slash| &base[..=slash]);
    format!("{folder}{}", title.replace(' ', "_"))
}

impl WikiPicture {
    /// The form that all sources share; the address is the file's name on the wiki.
    pub(super) fn into_picture(self) -> Picture {
        let caption =
            |role, text: &Option<String>| Caption::new(role, text.as_deref().unwrap_or_default());
        let captions = [
            caption(CaptionRole::Caption, &self.caption),
            caption(CaptionRole::Alt, &self.alt),
        ];
        Picture {
            data: PictureData::Address(self.file),
            captions: captions.into_iter().flatten().collect(),
            line: Some(self.line),
        }
    }
}

#[cfg(test)]
mod dump_tests;
#[cfg(test)]
mod tests;
