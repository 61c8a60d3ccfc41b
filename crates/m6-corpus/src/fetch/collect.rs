//! A list of addresses to a folder the builder reads: tars of what was fetched, and a line on every address.
//!
//! ```text
//! OUT/cache/...                  bodies by address: a run that was stopped goes on from here
//! OUT/pictures/pictures-00000.tar  KEY.jpg and KEY.json, in the order of the list (WebDataset)
//! OUT/pictures/fetched.jsonl     one line an address: what became of it, and why
//! ```

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use m6_store::atomic::{DirCommit, FileWriter, create_dir};
use m6_store::hash::hash_bytes;
use m6_store::lock::FolderLock;
use serde::Serialize;
use serde_json::json;

use super::config::Config;
use super::fetcher::Fetcher;
use super::hosts::lock;
use super::outcome::{Fetched, Outcome, Refusal, Summary};
use crate::{Error, Result};

/// Folder of the cache, unless another one is configured.
const CACHE: &str = "cache";
/// Folder of the result; replaced whole.
pub const PICTURES: &str = "pictures";
/// The lines on all addresses.
const LINES: &str = "fetched.jsonl";
/// A tar that has this many bytes of bodies is ended.
const TAR_BYTES: u64 = 1 << 30;
/// Digits of a key.
const KEY_DIGITS: usize = 32;
/// Endings of members, by content.
const ENDINGS: [&str; 6] = ["jpg", "png", "webp", "gif", "bmp", "bin"];
/// Limits for reading a header: nothing is decoded here.
const HEADER_LIMITS: m6_image::Limits = m6_image::Limits {
    max_pixels: u64::MAX,
    max_bytes: u64::MAX,
};

/// What a run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Different addresses of the list.
    pub n_urls: u64,
    /// Addresses that stood in it before.
    pub n_repeated: u64,
    /// Counts of the fetching.
    #[serde(flatten)]
    pub counts: Summary,
    /// Refused addresses by rule.
    pub refused_by: BTreeMap<&'static str, u64>,
    /// Tars written.
    pub n_tars: u64,
    /// The first refusal in the order of the list: address and reason.
    #[serde(skip)]
    pub first_refusal: Option<(String, String)>,
}

/// The name of an address in the tars, without ending: 32 digits of the hash of the address without scheme and fragment.
pub fn key_of(address: &str) -> String {
    let address = address.split('#').next().unwrap_or_default();
    let plain = address.split_once("://").map_or(address, |(_, rest)| rest);
    let mut key = hash_bytes(plain.as_bytes());
    key.truncate(KEY_DIGITS);
    key
}

/// The names under which a fetched body of `address` may lie in the tars.
pub fn member_names(address: &str) -> impl Iterator<Item = String> + use<> {
    let key = key_of(address);
    ENDINGS.iter().map(move |ending| format!("{key}.{ending}"))
}

/// Fetches a list into `out`; `watch` hears how many addresses are done.
///
/// The result is the same for any number of workers, as far as the servers say the same. Bodies are kept in the cache
/// (`out/cache` unless configured), so that the same command after a stop asks only for what is missing.
///
/// # Errors
/// [`Error::Config`] for settings that cannot be followed, [`Error::Interrupted`] when `stop` became true,
/// [`Error::Store`] when `out` is in use by another process or cannot be written, [`Error::Damaged`] when a body
/// vanished from the cache meanwhile.
pub fn collect(
    mut config: Config,
    list: &[String],
    out: &Path,
    stop: &AtomicBool,
    watch: &(dyn Fn(u64) + Sync),
) -> Result<Collected> {
    config.validate()?;
    create_dir(out)?;
    let _lock = FolderLock::acquire(out)?;
    config.cache.get_or_insert_with(|| out.join(CACHE));
    let mut seen = HashSet::new();
    let urls: Vec<String> = list
        .iter()
        .filter(|url| seen.insert(key_of(url)))
        .cloned()
        .collect();
    drop(seen);
    let fetcher = Fetcher::new(config)?;
    let (refusals, n_done) = (Mutex::new(vec![None; urls.len()]), AtomicU64::new(0));
    let sink = |at: usize, outcome: Outcome| {
        if let Some(place) = lock(&refusals).get_mut(at) {
            *place = outcome.err();
        }
        watch(n_done.fetch_add(1, Ordering::Relaxed) + 1);
    };
    let counts = fetcher.fetch_all(&urls, stop, &sink)?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let refusals = refusals
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut collected = Collected {
        n_urls: urls.len() as u64,
        n_repeated: (list.len() - urls.len()) as u64,
        counts,
        ..Collected::default()
    };
    write(&fetcher, &urls, &refusals, out, &mut collected)?;
    Ok(collected)
}

/// Writes the tars and the lines, in the order of the list.
fn write(
    fetcher: &Fetcher,
    urls: &[String],
    refusals: &[Option<Refusal>],
    out: &Path,
    collected: &mut Collected,
) -> Result<()> {
    let commit = DirCommit::begin_replacing(&out.join(PICTURES))?;
    let mut tars = Tars::new(&commit);
    let path = commit.path().join(LINES);
    let mut lines = std::io::BufWriter::new(commit.file(LINES)?);
    for (url, refusal) in urls.iter().zip(refusals) {
        let line = match refusal {
            Some(refusal) => {
                let rule = refusal.rule.name();
                *collected.refused_by.entry(rule).or_default() += 1;
                let first = (url.clone(), refusal.to_string());
                collected.first_refusal.get_or_insert(first);
                json!({"url": url, "verdict": "refused", "rule": rule, "detail": refusal.detail})
            }
            None => {
                let fetched = fetcher.cached(url).ok_or_else(|| Error::Damaged {
                    path: out.to_owned(),
                    problem: format!("the body of {url} is no longer in the cache"),
                })?;
                let member = tars.add(url, &fetched)?;
                json!({"url": url, "verdict": "fetched", "member": member, "final_url": fetched.url,
                    "mime": fetched.mime, "bytes": fetched.body.len()})
            }
        };
        writeln!(lines, "{line}").map_err(|source| io(&path, source))?;
    }
    let lines = lines.into_inner();
    lines
        .map_err(|error| io(&path, error.into_error()))?
        .finish()?;
    collected.n_tars = tars.finish()?;
    commit.commit()?;
    Ok(())
}

/// The tars of a result, begun when needed.
struct Tars<'a> {
    commit: &'a DirCommit,
    open: Option<(tar::Builder<FileWriter>, u64)>,
    n_tars: u64,
}

impl<'a> Tars<'a> {
    fn new(commit: &'a DirCommit) -> Self {
        Self {
            commit,
            open: None,
            n_tars: 0,
        }
    }

    /// Adds a body and what is known of it; the member's name.
    fn add(&mut self, url: &str, fetched: &Fetched) -> Result<String> {
        let header = m6_image::header(&fetched.body, &HEADER_LIMITS).ok();
        let key = key_of(url);
        let ending = header.map_or("bin", |header| ending(header.format));
        let about = json!({"url": url, "final_url": fetched.url, "mime": fetched.mime,
            "width": header.map(|header| header.width), "height": header.map(|header| header.height)});
        let (name, about_name) = (format!("{key}.{ending}"), format!("{key}.json"));
        self.append(&name, &fetched.body)?;
        self.append(&about_name, about.to_string().as_bytes())?;
        if self.open.as_ref().is_some_and(|(_, n)| *n >= TAR_BYTES) {
            self.end()?;
        }
        Ok(name)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let failed = |source| io(&self.commit.path().join(name), source);
        let (builder, n_bytes) = match &mut self.open {
            Some(open) => open,
            None => {
                let file = self
                    .commit
                    .file(&format!("pictures-{:05}.tar", self.n_tars))?;
                self.n_tars += 1;
                self.open.insert((tar::Builder::new(file), 0))
            }
        };
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        *n_bytes += bytes.len() as u64;
        builder
            .append_data(&mut header, name, bytes)
            .map_err(failed)
    }

    fn end(&mut self) -> Result<()> {
        if let Some((builder, _)) = self.open.take() {
            let file = builder.into_inner();
            file.map_err(|source| io(self.commit.path(), source))?
                .finish()?;
        }
        Ok(())
    }

    /// Ends the last one; how many there are.
    fn finish(mut self) -> Result<u64> {
        self.end()?;
        Ok(self.n_tars)
    }
}

fn ending(format: m6_image::Format) -> &'static str {
    use m6_image::Format;
    match format {
        Format::Jpeg => "jpg",
        Format::Png => "png",
        Format::WebP => "webp",
        Format::Gif => "gif",
        Format::Bmp => "bmp",
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: PathBuf::from(path),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Network;
    use super::super::testing::{Answer, Asked, Server};
    use super::*;
    use crate::sources::Members;

    fn config(n_workers: usize) -> Config {
        Config {
            network: Network::LoopbackOnly,
            delay: 0.0,
            backoff: 0.01,
            n_workers,
            types: vec!["image/".to_owned()],
            ..Config::default()
        }
    }

    fn png() -> Vec<u8> {
        m6_image::encode_png(&m6_image::Rgb8::filled(9, 7, [1, 2, 3]), &[]).unwrap()
    }

    fn server() -> Server {
        Server::start(|asked: &Asked| match asked.path.as_str() {
            "/robots.txt" => Answer::new(200, &[], b"User-agent: *\nDisallow: /private"),
            "/to" => Answer::new(302, &["Location: /a.png?x"], b""),
            "/optout" => Answer::new(
                200,
                &["X-Robots-Tag: noai", "Content-Type: image/png"],
                b"x",
            ),
            "/odd" => Answer::new(200, &["Content-Type: image/x"], b"odd"),
            path if path.starts_with("/a") => {
                Answer::new(200, &["Content-Type: image/png"], &png())
            }
            _ => Answer::new(404, &[], b""),
        })
    }

    fn run(urls: &[String], out: &Path, n_workers: usize) -> Result<Collected> {
        collect(
            config(n_workers),
            urls,
            out,
            &AtomicBool::new(false),
            &|_| {},
        )
    }

    #[test]
    fn a_list_becomes_tars_that_are_found_by_address() {
        let (server, folder) = (server(), tempfile::tempdir().unwrap());
        let paths = [
            "/to",
            "/a.png",
            "/private/b",
            "/optout",
            "/a.png#again",
            "/odd",
            "/none",
        ];
        let urls = paths.map(|path| server.url(path));
        let bytes = |n_workers: usize| {
            let out = folder.path().join(n_workers.to_string());
            let collected = run(&urls, &out, n_workers).unwrap();
            assert_eq!(
                (collected.n_urls, collected.n_repeated, collected.n_tars),
                (6, 1, 1)
            );
            let refused: Vec<_> = collected.refused_by.into_iter().collect();
            assert_eq!(refused, [("opt_out", 1), ("robots", 1), ("status", 1)]);
            let tar = out.join("pictures/pictures-00000.tar");
            let members = Members::open(std::slice::from_ref(&tar), 1 << 20).unwrap();
            let find = |url: &str| member_names(url).find_map(|name| members.get(&name));
            assert_eq!(find(&urls[0]), Some(png()));
            assert_eq!(find(&urls[1].replace("http:", "https:")), Some(png()));
            assert_eq!(find(&urls[5]), Some(b"odd".to_vec()));
            assert_eq!(find(&urls[3]), None);
            let lines = std::fs::read_to_string(out.join("pictures/fetched.jsonl")).unwrap();
            assert_eq!(lines.lines().count(), 6);
            assert!(
                lines.contains(r#""verdict":"refused","rule":"robots""#),
                "{lines}"
            );
            (std::fs::read(tar).unwrap(), lines)
        };
        assert_eq!(bytes(1), bytes(4));
        let before = server.n_asked("/a.png");
        bytes(4);
        assert_eq!(
            server.n_asked("/a.png"),
            before,
            "what is in the cache is not asked for again"
        );
    }

    #[test]
    fn a_stop_and_a_second_process_are_refused() {
        let (server, folder) = (server(), tempfile::tempdir().unwrap());
        let urls = [server.url("/a.png")];
        let stopped = collect(
            config(1),
            &urls,
            folder.path(),
            &AtomicBool::new(true),
            &|_| {},
        );
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        let held = FolderLock::acquire(folder.path()).unwrap();
        assert!(matches!(run(&urls, folder.path(), 1), Err(Error::Store(_))));
        drop(held);
        assert_eq!(run(&urls, folder.path(), 1).unwrap().counts.n_fetched, 1);
    }

    #[test]
    fn keys_leave_out_scheme_and_fragment() {
        assert_eq!(key_of("http://a.cn/x.jpg"), key_of("https://a.cn/x.jpg#y"));
        assert_ne!(key_of("http://a.cn/x.jpg"), key_of("http://a.cn/x.jpg?y"));
        assert_eq!(key_of("").len(), KEY_DIGITS);
    }
}
