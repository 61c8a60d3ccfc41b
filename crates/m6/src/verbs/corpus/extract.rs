//! `m6 corpus extract`: pages to their text and pictures.

use crate::cli::Common;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use m6_clean::archive::{self, Reader};
use m6_clean::page::{self, Block, Candidate, Kind, Options, Page, Role};
use m6_corpus::sources::{self, Fields, SourceSpec};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Pages worked on together. Fixed: the result does not depend on threads.
const BATCH_PAGES: usize = 256;
/// Bytes of pages worked on together, at most one page more.
const BATCH_BYTES: usize = 32 << 20;
/// Index beside saved pages: `file` and what is known of it.
const INDEX: &str = "pages.jsonl";
/// Endings of web archives, before an ending of a compressor.
const ARCHIVES: [&str; 2] = [".warc", ".arc"];
/// Endings of compressors that archives are read through.
const COMPRESSED: [&str; 3] = ["", ".gz", ".zst"];

/// `m6 corpus extract`.
#[derive(Args, Debug, Clone)]
pub struct ExtractArgs {
    /// A page; or a web archive, of which --url names the page.
    #[arg(value_name = "PAGE", required_unless_present = "batch")]
    pub page: Option<PathBuf>,
    /// Every page of a folder, a tar or a web archive, a line each.
    #[arg(long, value_name = "DIR_OR_WARC", conflicts_with = "page")]
    pub batch: Option<PathBuf>,
    /// Address of the page; it makes the addresses of pictures absolute.
    #[arg(long, value_name = "URL", conflicts_with = "batch")]
    pub url: Option<String>,
    /// With --json: all texts that may describe a picture, each with its role and distance.
    #[arg(long)]
    pub candidates: bool,
    /// Refuses pages with fewer Han characters.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_han: usize,
    /// Refuses larger pages.
    #[arg(long, value_name = "BYTES", default_value_t = Options::default().max_bytes)]
    pub max_bytes: usize,
}

/// A page that was read, or where one should have been and why it is not.
struct Found {
    source: String,
    page: std::result::Result<Raw, String>,
}

/// A page as it was stored.
struct Raw {
    url: Option<String>,
    charset: Option<String>,
    bytes: Vec<u8>,
}

type Pages = Box<dyn Iterator<Item = Result<Found>>>;

/// Runs the verb.
pub fn run(args: &ExtractArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let options = Options {
        max_bytes: args.max_bytes,
        min_han: args.min_han,
    };
    match (&args.batch, &args.page) {
        (Some(path), _) => batch(path, &options, args.candidates, common, terminal),
        (None, Some(path)) => single(path, &options, args, common, terminal),
        (None, None) => Err(Failure::usage("there is no page to extract")),
    }
}

fn single(
    path: &Path,
    options: &Options,
    args: &ExtractArgs,
    common: &Common,
    terminal: &Terminal,
) -> Result<()> {
    let found = if is_archive(path) {
        let url = args.url.as_deref().ok_or_else(|| {
            Failure::usage(format!("{} holds many pages", path.display()))
                .hint("name one with --url, or give --batch for all")
        })?;
        find_in_archive(path, url, options)?
    } else {
        let bytes = read_page(path, options.max_bytes)?;
        Found {
            source: path.display().to_string(),
            page: Ok(Raw {
                url: args.url.clone(),
                charset: None,
                bytes,
            }),
        }
    };
    if common.dry_run {
        terminal.say(&format!("would extract {}", found.source));
        return Ok(());
    }
    match content(&found, options) {
        Ok(page) if terminal.json() => {
            terminal.object(&row(&found, &page, args.candidates));
            Ok(())
        }
        Ok(page) => {
            terminal.data(&shown(&page));
            Ok(())
        }
        Err(reason) => {
            if terminal.json() {
                terminal.object(&json!({"source": found.source, "error": reason}));
            }
            Err(Failure::new(
                Code::Check,
                format!("{}: {reason}", found.source),
            ))
        }
    }
}

/// At most one byte more than is allowed, so that a larger page is refused by its size.
fn read_page(path: &Path, max_bytes: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(max_bytes as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Ok(bytes)
}

fn batch(
    path: &Path,
    options: &Options,
    with_candidates: bool,
    common: &Common,
    terminal: &Terminal,
) -> Result<()> {
    let mut pages = pages(path, options)?;
    if common.dry_run {
        terminal.say(&format!("would extract the pages of {}", path.display()));
        return Ok(());
    }
    let (mut n_pages, mut n_refused) = (0, 0);
    loop {
        let (mut found, mut n_bytes) = (Vec::new(), 0);
        while found.len() < BATCH_PAGES && n_bytes < BATCH_BYTES {
            let Some(next) = pages.next().transpose()? else {
                break;
            };
            n_bytes += next.page.as_ref().map_or(0, |raw| raw.bytes.len());
            found.push(next);
        }
        if found.is_empty() {
            break;
        }
        let made: Vec<_> = found
            .par_iter()
            .map(|found| {
                let page = content(found, options);
                let refused = page.is_err();
                (line(found, page, with_candidates, terminal.json()), refused)
            })
            .collect();
        let mut out = String::new();
        for (line, refused) in made {
            n_pages += 1;
            n_refused += usize::from(refused);
            out.push_str(&line);
        }
        terminal.data(&out);
    }
    terminal.say(&format!("{n_pages} pages, {n_refused} refused"));
    Ok(())
}

fn content(found: &Found, options: &Options) -> std::result::Result<Page, String> {
    let raw = found.page.as_ref().map_err(String::clone)?;
    let (charset, url) = (raw.charset.as_deref(), raw.url.as_deref());
    page::extract_bytes(&raw.bytes, charset, url, options).map_err(|refusal| refusal.to_string())
}

/// A page of a batch as one line.
fn line(
    found: &Found,
    page: std::result::Result<Page, String>,
    with_candidates: bool,
    as_json: bool,
) -> String {
    match page {
        Ok(page) if as_json => {
            let json = serde_json::to_string(&row(found, &page, with_candidates));
            // Strings and numbers alone always serialise.
            json.map_or_else(|error| error.to_string(), |json| json + "\n")
        }
        Ok(page) => format!(
            "{}\t{}\t{}\t{} characters, {} pictures\t{}\n",
            found.source,
            page.charset,
            page.lang,
            page.text.chars().count(),
            page.images.len(),
            page.title
        ),
        Err(reason) if as_json => format!("{}\n", json!({"source": found.source, "error": reason})),
        Err(reason) => format!("{}\trefused: {reason}\n", found.source),
    }
}

/// A page as JSON. The keys are the stable interface of the verb.
#[derive(Serialize)]
struct Row<'a> {
    source: &'a str,
    url: Option<&'a str>,
    title: &'a str,
    charset: &'a str,
    lang: &'a str,
    text: &'a str,
    blocks: &'a [Block],
    images: Vec<ImageRow<'a>>,
}

/// A picture of a [`Row`].
#[derive(Serialize)]
struct ImageRow<'a> {
    src: &'a str,
    alt: &'a str,
    caption: Option<&'a str>,
    caption_role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<&'a [Candidate]>,
}

fn row<'a>(found: &'a Found, page: &'a Page, with_candidates: bool) -> Row<'a> {
    let images = page.images.iter().map(|image| ImageRow {
        src: &image.src,
        alt: &image.alt,
        caption: image.caption.as_deref(),
        caption_role: image.caption_role,
        candidates: with_candidates.then_some(image.candidates.as_slice()),
    });
    let raw = found.page.as_ref().ok();
    Row {
        source: &found.source,
        url: raw.and_then(|raw| raw.url.as_deref()),
        title: &page.title,
        charset: &page.charset,
        lang: &page.lang,
        text: &page.text,
        blocks: &page.blocks,
        images: images.collect(),
    }
}

/// A page for people: its head, then lines and pictures in reading order.
fn shown(page: &Page) -> String {
    let mut out = format!("{}\n[{} {}]\n\n", page.title, page.charset, page.lang);
    for block in &page.blocks {
        let image = block.image.and_then(|i| page.images.get(i));
        match (block.kind, image) {
            (Kind::Image, Some(image)) => {
                let caption = image.caption.as_deref().unwrap_or("no caption");
                out.push_str(&format!("[picture {} : {caption}]\n", image.src));
            }
            (Kind::Heading, _) => out.push_str(&format!("\n# {}\n", block.text)),
            (Kind::ListItem, _) => out.push_str(&format!("- {}\n", block.text)),
            _ => out.push_str(&format!("{}\n", block.text)),
        }
    }
    out
}

/// Whether a file is a web archive by its name.
fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    ARCHIVES.iter().any(|kind| {
        COMPRESSED
            .iter()
            .any(|packed| name.ends_with(&format!("{kind}{packed}")))
    })
}

/// The pages of an archive, a folder or a tar.
fn pages(path: &Path, options: &Options) -> Result<Pages> {
    if is_archive(path) && path.is_file() {
        return archive_pages(path, options);
    }
    if !path.exists() {
        return Err(Failure::usage(format!("{} is not there", path.display())));
    }
    let folder = if path.is_dir() {
        Some(path)
    } else {
        path.parent()
    };
    let index = folder.map(|f| f.join(INDEX)).filter(|f| f.is_file());
    let spec = SourceSpec {
        name: "pages".to_string(),
        kind: sources::Kind::Pages,
        files: vec![path.to_path_buf()],
        fields: Fields {
            id: Some("file".to_string()),
            ..Fields::default()
        },
        index,
        limits: sources::Limits {
            record: options.max_bytes,
            ..sources::Limits::default()
        },
        ..SourceSpec::default()
    };
    let items = sources::open(&spec).or_usage()?;
    Ok(Box::new(
        items.filter_map(|item| page_of_item(item).map(Ok)),
    ))
}

/// A page of a folder; files of other kinds are none.
fn page_of_item(item: sources::Item) -> Option<Found> {
    match item {
        sources::Item::Skipped(_) => None,
        sources::Item::Damage(damage) => Some(Found {
            source: damage.place.to_string(),
            page: Err(damage.reason),
        }),
        sources::Item::Doc(doc) => {
            let sources::RawDoc { id, url, html, .. } = *doc;
            html.map(|html| Found {
                source: id,
                page: Ok(Raw {
                    url,
                    charset: html.charset,
                    bytes: html.bytes,
                }),
            })
        }
    }
}

fn open_archive(path: &Path, options: &Options) -> Result<Reader> {
    let limits = archive::Limits {
        // A payload cut at the limit is refused by its size.
        payload: options.max_bytes.saturating_add(1),
        ..archive::Limits::default()
    };
    Reader::open(path, limits).or_usage()
}

fn archive_pages(path: &Path, options: &Options) -> Result<Pages> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.into_owned();
    let max_bytes = options.max_bytes;
    let items = open_archive(path, options)?;
    Ok(Box::new(items.filter_map(move |item| {
        let item = match item.or_data() {
            Ok(item) => item,
            Err(failure) => return Some(Err(failure)),
        };
        page_of_record(&name, item, max_bytes).map(Ok)
    })))
}

/// A page of an archive; records about the crawl, and responses that are no pages, are none.
fn page_of_record(name: &str, item: archive::Item, max_bytes: usize) -> Option<Found> {
    let record = match item {
        archive::Item::Damage(damage) => {
            return Some(Found {
                source: format!("{name}@{}", damage.offset),
                page: Err(damage.reason),
            });
        }
        archive::Item::Record(record) => record,
    };
    let holds_page = matches!(
        record.kind,
        archive::Kind::Response | archive::Kind::Resource
    );
    let mime = record.mime.as_deref().unwrap_or_default();
    let is_html = matches!(mime, "text/html" | "application/xhtml+xml");
    let status = record.http.as_ref().and_then(|http| http.status);
    if !holds_page || !is_html || status.is_some_and(|status| status != 200) {
        return None;
    }
    let charset = record
        .http
        .as_ref()
        .and_then(|http| http.charset())
        .map(str::to_string);
    let page = match record.body(max_bytes.saturating_add(1)) {
        Ok(body) => Ok(Raw {
            url: record.url.clone(),
            charset,
            bytes: body.bytes.into_owned(),
        }),
        Err(error) => Err(error.to_string()),
    };
    let source = match record.place.within {
        0 => format!("{name}@{}", record.place.offset),
        within => format!("{name}@{}+{within}", record.place.offset),
    };
    Some(Found { source, page })
}

fn find_in_archive(path: &Path, url: &str, options: &Options) -> Result<Found> {
    for found in archive_pages(path, options)? {
        let found = found?;
        let address = found.page.as_ref().ok().and_then(|raw| raw.url.as_deref());
        if address == Some(url) {
            return Ok(found);
        }
    }
    Err(
        Failure::usage(format!("{} has no page {url}", path.display()))
            .hint("m6 corpus read FILE lists what is in it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(html: &str) -> Found {
        Found {
            source: "a.html".to_string(),
            page: Ok(Raw {
                url: Some("http://a.cn/".to_string()),
                charset: None,
                bytes: html.as_bytes().to_vec(),
            }),
        }
    }

    #[test]
    fn the_keys_of_a_line_are_frozen() {
        let found = found(
            "<title>t</title><p>正文一段，有标点，也够长，所以是一句话。</p><img src=x.jpg alt=花朵>",
        );
        let page = content(&found, &Options::default()).expect("a page");
        let value = serde_json::to_value(row(&found, &page, false)).expect("plain data");
        let keys: Vec<&String> = value.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            [
                "source", "url", "title", "charset", "lang", "text", "blocks", "images"
            ]
        );
        let image = value["images"][0].as_object().expect("a picture");
        let keys: Vec<&String> = image.keys().collect();
        assert_eq!(keys, ["src", "alt", "caption", "caption_role"]);
        assert_eq!(value["images"][0]["caption_role"], "alt");
        assert!(row(&found, &page, true).images[0].candidates.is_some());
    }

    #[test]
    fn a_refused_page_is_a_line_with_its_reason() {
        let found = found("");
        let page = content(&found, &Options::default());
        assert_eq!(
            line(&found, page, false, true),
            "{\"source\":\"a.html\",\"error\":\"no text and no pictures\"}\n"
        );
    }

    #[test]
    fn archives_are_known_by_their_names() {
        for (name, expected) in [
            ("a.warc.gz", true),
            ("A.WARC", true),
            ("a.arc.gz", true),
            ("a.warc.zst", true),
            ("a.html", false),
            ("pages.tar.gz", false),
            ("warc", false),
        ] {
            assert_eq!(is_archive(Path::new(name)), expected, "{name}");
        }
    }
}
