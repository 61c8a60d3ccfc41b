//! One page of the world with its records and its truth.

use m6_image::{Rgb8, encode_png};
use m6_store::rng::Key;
use m6_world::{Split, World};

use super::content::{Content, content};
use super::furniture::Furniture;
use super::html::{self, LOGO, SPACER};
use super::plan::{Layout, PageKind, Plan, plan};
use super::records::Answer;
use super::script::traditional;
use super::truth::TruthRow;
use crate::{Error, Result};

/// When everything was crawled.
pub(super) const DATE: &str = "2021-03-01T00:00:00Z";
/// Size of a logo in pixels: below the paper's 5,000.
const LOGO_SIZE: (usize, usize) = (96, 32);

/// A record's gzip member and its truth.
type Record = (Vec<u8>, TruthRow);

/// What a page adds to an archive.
pub(super) struct Made {
    pub(super) host: String,
    /// The pictures, then the page.
    pub(super) records: Vec<Record>,
}

/// Makes a page.
pub(super) fn make(world: &World, seed: u64, key: Key, number: u64) -> Result<Made> {
    let plan = plan(key, number);
    let mut stream = key.child("page").at(number).stream();
    let mut said = content(world, key, &plan);
    let simplified = (plan.kind == PageKind::Traditional).then(|| said.text());
    if simplified.is_some() {
        said.map(traditional);
    }
    let around = Furniture::draw(world, site(plan.layout), &mut stream);
    let shown = match plan.kind {
        PageKind::Nul => with_nuls(&said),
        _ => said.clone(),
    };
    let page = html::render(&plan, &shown, &around, &mut stream);
    let mut row = TruthRow {
        id: id(seed, number),
        url: plan.url.clone(),
        kind: plan.kind.name().to_string(),
        keep: plan.kind.is_good(),
        why: plan.kind.why().to_string(),
        title: said.title.clone(),
        text: said.text(),
        simplified,
        images: page.images,
        duplicate_of: (plan.content_of != number).then(|| id(seed, plan.content_of)),
        charset: plan.charset.name().to_string(),
        charset_lies: plan.charset.lies,
        file: String::new(),
    };
    // Captions were written from what is shown, which may hold NULs.
    row.images
        .iter_mut()
        .for_each(|image| image.caption.retain(|character| character != '\0'));
    let mut records = Vec::new();
    // Errors and damaged records bring no pictures.
    if !matches!(row.why.as_str(), "status" | "damaged") {
        for (&index, image) in page.indices.iter().zip(&row.images) {
            records.push(picture(world, index, &image.src, &image.caption)?);
        }
    } else {
        row.images.clear();
    }
    // What stands around the text is in the same characters.
    let html = if row.simplified.is_some() {
        traditional(&page.html)
    } else {
        page.html
    };
    records.push((page_record(&plan, &html, &mut stream)?, row));
    Ok(Made {
        host: plan.host,
        records,
    })
}

fn id(seed: u64, number: u64) -> String {
    format!("world-{seed}-page-{number:08}")
}

fn site(layout: Layout) -> usize {
    match layout {
        Layout::Encyclopedia => 0,
        Layout::Forum => 1,
        Layout::Shop => 2,
        Layout::Blog => 3,
    }
}

/// A NUL behind every comma of the text: some parsers end a text there.
fn with_nuls(content: &Content) -> Content {
    let mut content = content.clone();
    content.map(|text| text.replace('，', "，\0"));
    content
}

fn page_record(plan: &Plan, html: &str, stream: &mut m6_store::rng::Stream) -> Result<Vec<u8>> {
    let mime = match plan.charset.http {
        Some(charset) => format!("text/html; charset={charset}"),
        None => "text/html".to_string(),
    };
    let (status, location) = match plan.kind {
        PageKind::NotFound => ("404 Not Found", None),
        PageKind::Redirect => (
            "301 Moved Permanently",
            Some(format!("http://{}/", plan.host)),
        ),
        _ => ("200 OK", None),
    };
    let body = plan.charset.encode(html);
    let answer = Answer {
        url: &plan.url,
        date: DATE,
        status,
        mime: &mime,
        location: location.as_deref(),
        body: &body,
    };
    answer
        .damaged(plan.kind, stream)
        .map_err(|source| Error::Io {
            path: plan.url.clone().into(),
            source,
        })
}

fn picture(world: &World, index: u64, url: &str, caption: &str) -> Result<Record> {
    let image = world.picture(Split::Train, index).image;
    image_record(&image, url, "picture", caption)
}

fn image_record(image: &Rgb8, url: &str, kind: &str, caption: &str) -> Result<Record> {
    let png = encode_png(image, &[]).map_err(|error| Error::Config(error.to_string()))?;
    let answer = Answer {
        url,
        date: DATE,
        status: "200 OK",
        mime: "image/png",
        location: None,
        body: &png,
    };
    let member = answer.member().map_err(|source| Error::Io {
        path: url.into(),
        source,
    })?;
    let is_content = kind == "picture";
    let row = TruthRow {
        id: url.to_string(),
        url: url.to_string(),
        kind: kind.to_string(),
        keep: is_content,
        why: if is_content {
            String::new()
        } else {
            "small".to_string()
        },
        text: caption.to_string(),
        ..TruthRow::default()
    };
    Ok((member, row))
}

/// The logo and the placeholder of a host: pictures that no corpus wants.
pub(super) fn decorations(host: &str) -> Result<Vec<Record>> {
    let (width, height) = LOGO_SIZE;
    let logo = Rgb8::filled(width, height, [200, 60, 40]);
    let spacer = Rgb8::filled(1, 1, [255, 255, 255]);
    [(LOGO, logo), (SPACER, spacer)]
        .iter()
        .map(|(path, image)| {
            image_record(image, &format!("http://{host}/{path}"), "decoration", "")
        })
        .collect()
}
