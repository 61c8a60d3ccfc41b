//! Web pages saved as files, in folders or tars.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::doc::{Html, Item, Items, Place, RawDoc};
use super::fields::{FieldMap, Selector};
use super::json::{object, unreadable};
use super::lines::Lines;
use super::spec::SourceSpec;
use super::tar::Tar;
use super::{input, io};
use crate::{Error, Result};

/// Extensions of pages.
const EXTENSIONS: [&str; 6] = ["html", "htm", "xhtml", "shtml", "mhtml", "sgml"];
/// Extensions of tars, compressed or not.
const TARS: [&str; 6] = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.zst", ".tzst"];

/// What an index says about a file.
#[derive(Clone, Debug, Default)]
struct Known {
    id: Option<String>,
    url: Option<String>,
    title: Option<String>,
}

/// Pages with what an index says about them.
#[derive(Clone)]
struct Pages {
    source: String,
    lang: Option<String>,
    limit: usize,
    known: std::rc::Rc<HashMap<String, Known>>,
}

/// Opens a source of pages; an index is read at once, folders are walked in the order of their names.
pub(super) fn open(spec: &SourceSpec) -> Result<Items> {
    let mut known = HashMap::new();
    let mut damage = Vec::new();
    if let Some(index) = &spec.index {
        read_index(index, spec, &mut known, &mut damage)?;
    }
    let pages = Pages {
        source: spec.name.clone(),
        lang: spec.lang.clone(),
        limit: spec.limits.record,
        known: std::rc::Rc::new(known),
    };
    let mut files = Vec::new();
    for path in &spec.files {
        collect(path, Path::new(""), &mut files)?;
    }
    let items = files
        .into_iter()
        .flat_map(move |(path, name)| pages.items(path, name));
    Ok(Box::new(damage.into_iter().chain(items)))
}

/// The files below a path, each with its name relative to where the walk began, sorted.
fn collect(path: &Path, name: &Path, out: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
    if !path.is_dir() {
        let name = if name.as_os_str().is_empty() {
            Path::new(path.file_name().unwrap_or_default())
        } else {
            name
        };
        out.push((path.to_path_buf(), name.to_path_buf()));
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| io(path, error))? {
        entries.push(entry.map_err(|error| io(path, error))?);
    }
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        // A link to a folder could lead round in a circle.
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link && entry.path().is_dir() {
            continue;
        }
        collect(&entry.path(), &name.join(entry.file_name()), out)?;
    }
    Ok(())
}

fn read_index(
    path: &Path,
    spec: &SourceSpec,
    known: &mut HashMap<String, Known>,
    damage: &mut Vec<Item>,
) -> Result<()> {
    let map = FieldMap::new(&spec.fields)?;
    let field = |given: &Option<Selector>, usual: &str| match given {
        Some(selector) => Ok(selector.clone()),
        None => Selector::parse(usual),
    };
    let (file, url, title) = (
        Selector::parse("file")?,
        field(&map.url, "url")?,
        field(&map.title, "title")?,
    );
    let mut lines = Lines::new(
        input::open(path).map_err(|error| io(path, error))?,
        spec.limits.record,
    );
    while let Some(line) = lines.next() {
        let at = |offset, number| Place {
            path: path.to_path_buf(),
            offset,
            line: Some(number),
        };
        let line = match line {
            Ok(line) if line.bytes.trim_ascii().is_empty() => continue,
            Ok(line) => line,
            Err(bad) => {
                damage.push(Item::damage(at(bad.offset, bad.number), bad.reason));
                continue;
            }
        };
        match object(&line.bytes) {
            Ok(row) => {
                let about = Known {
                    id: map.id.first(&row),
                    url: url.first(&row),
                    title: title.first(&row),
                };
                if let Some(file) = file.first(&row) {
                    known.insert(file, about);
                }
            }
            Err(reason) => damage.push(Item::damage(at(line.offset, line.number), reason)),
        }
    }
    match known.is_empty() {
        true => Err(Error::Config(format!(
            "{}: no line names a `file`",
            path.display()
        ))),
        false => Ok(()),
    }
}

impl Pages {
    /// The items of one file.
    fn items(&self, path: PathBuf, name: PathBuf) -> Box<dyn Iterator<Item = Item>> {
        let shown = name.to_string_lossy().into_owned();
        if TARS
            .iter()
            .any(|tar| shown.to_ascii_lowercase().ends_with(tar))
        {
            return self.tar(path);
        }
        let place = Place {
            path: path.clone(),
            ..Place::default()
        };
        let read = File::open(&path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(self.limit as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        Box::new(std::iter::once(match read {
            _ if !is_page(&shown) => Item::skipped(place, shown, "kind"),
            Ok(bytes) if bytes.len() > self.limit => {
                Item::damage(place, format!("a page of more than {} bytes", self.limit))
            }
            Ok(bytes) => self.page(shown, bytes, place),
            Err(error) => Item::damage(place, format!("the file cannot be opened: {error}")),
        }))
    }

    fn tar(&self, path: PathBuf) -> Box<dyn Iterator<Item = Item>> {
        let mut tar = match input::open(&path) {
            Ok(input) => Tar::new(input, self.limit),
            Err(error) => return unreadable(path, &error),
        };
        let pages = self.clone();
        Box::new(std::iter::from_fn(move || {
            let at = |offset| Place {
                path: path.clone(),
                offset,
                line: None,
            };
            Some(match tar.next()? {
                Ok(member) if !is_page(&member.name) => {
                    Item::skipped(at(member.offset), member.name, "kind")
                }
                Ok(member) => pages.page(member.name, member.bytes, at(member.offset)),
                Err(fault) => Item::damage(at(fault.offset), fault.reason),
            })
        }))
    }

    fn page(&self, name: String, bytes: Vec<u8>, place: Place) -> Item {
        let name = name.trim_start_matches("./").to_string();
        if bytes.is_empty() {
            return Item::skipped(place, name, "empty");
        }
        let known = self.known.get(&name).cloned().unwrap_or_default();
        Item::Doc(Box::new(RawDoc {
            source: self.source.clone(),
            id: known.id.unwrap_or(name),
            url: known.url,
            title: known.title,
            html: Some(Html {
                bytes,
                charset: None,
            }),
            lang: self.lang.clone(),
            place,
            ..RawDoc::default()
        }))
    }
}

fn is_page(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}
