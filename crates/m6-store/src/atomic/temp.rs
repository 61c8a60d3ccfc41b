//! Temporary names that tell whether their maker still lives.
//!
//! A temporary is `.tmp-<name>-<pid>-<tag>`; the tag holds the start time of the process, the boot of
//! the machine and a counter. A process id alone would not do: ids are reused (always, in
//! containers), and on a shared file system another machine's ids mean nothing here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::parent_of;
use crate::{Error, Result};

const PREFIX: &str = ".tmp-";
/// Temporaries of another machine (or an earlier boot) are left alone this long after their last change.
const FOREIGN_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// File systems allow 255 bytes; the rest of the name needs about 60.
const MAX_NAME_BYTES: usize = 160;

/// A fresh temporary name beside `path`.
pub(super) fn sibling(path: &Path) -> Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| Error::invalid(path, "the path names no file or folder"))?
        .to_string_lossy();
    let mut n_kept = name.len().min(MAX_NAME_BYTES);
    while !name.is_char_boundary(n_kept) {
        n_kept -= 1;
    }
    let pid = std::process::id();
    let start = start_time(pid).unwrap_or(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let tag = format!("{start}_{}_{count}", boot());
    Ok(parent_of(path).join(format!("{PREFIX}{}-{pid}-{tag}", &name[..n_kept])))
}

/// Removes what dead processes left in a folder; returns what was removed.
///
/// Temporaries of live processes stay. Those of another machine, or of this one before its last
/// boot, go only after a day without change. A folder that does not exist has no leftovers.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be read or a leftover cannot be removed.
pub fn sweep_stale(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("list", parent, source)),
    };
    let mut removed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::io("list", parent, source))?;
        let path = entry.path();
        let is_stale = entry
            .file_name()
            .to_str()
            .and_then(parse)
            .is_some_and(|maker| !maker.may_live(&path));
        if !is_stale {
            continue;
        }
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let gone = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match gone {
            Ok(()) => removed.push(path),
            // Another process swept at the same time.
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::io("remove the leftover", &path, source)),
        }
    }
    removed.sort();
    Ok(removed)
}

/// Who made a temporary, as far as its name tells.
#[derive(Debug, PartialEq)]
struct Maker {
    pid: u32,
    /// Start time and boot; absent in names with a bare number.
    life: Option<(u64, String)>,
}

fn parse(name: &str) -> Option<Maker> {
    let (rest, tag) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    let (_, pid) = rest.rsplit_once('-')?;
    let pid = pid.parse().ok()?;
    let parts: Vec<&str> = tag.split('_').collect();
    let life = match parts[..] {
        [count] => {
            count.parse::<u64>().ok()?;
            None
        }
        [start, boot, _] => Some((start.parse().ok()?, boot.to_owned())),
        _ => return None,
    };
    Some(Maker { pid, life })
}

impl Maker {
    fn may_live(&self, path: &Path) -> bool {
        let is_ours = self
            .life
            .as_ref()
            .is_none_or(|(_, boot)| boot == self::boot());
        if !is_ours || !Path::new("/proc/self").exists() {
            return age(path).is_none_or(|age| age < FOREIGN_PATIENCE);
        }
        match (start_time(self.pid), &self.life) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(now), Some((then, _))) => now == *then,
        }
    }
}

/// Time since the last change of a file, or of the newest direct member of a folder.
fn age(path: &Path) -> Option<Duration> {
    let changed = |path: &Path| {
        fs::symlink_metadata(path)
            .and_then(|data| data.modified())
            .ok()
    };
    let members = fs::read_dir(path).into_iter().flatten().flatten();
    let newest = members
        .filter_map(|entry| changed(&entry.path()))
        .chain(changed(path))
        .max()?;
    // A change in the future (clocks differ between machines) counts as just now.
    Some(SystemTime::now().duration_since(newest).unwrap_or_default())
}

/// Eight digits that name this machine and this boot of it; "00000000" where unknown.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        format!("{digits:0>8}")
    })
}

/// When a process started, in clock ticks after boot; `None` when there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the command in brackets, may hold anything; fields are counted after it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::atomic::{create_dir, write_file};

    const DEAD: u32 = 4_000_000_000;

    #[test]
    fn only_leftovers_of_the_dead_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let own = sibling(&dir.path().join("mine")).unwrap();
        let parent = std::os::unix::process::parent_id();
        let reused = format!(".tmp-r-{}-1_{}_0", std::process::id(), boot());
        let dead = format!(".tmp-a-b-{DEAD}-5_{}_0", boot());
        let foreign = ".tmp-f-1-5_zzzzzzzz_0";
        for name in [
            &dead,
            &reused,
            foreign,
            &format!(".tmp-p-{parent}-0"),
            ".tmp-x",
            "data",
            ".tmp-a-b-c",
        ] {
            write_file(&dir.path().join(name), b"x").unwrap();
        }
        write_file(&own, b"x").unwrap();
        let folder = dir.path().join(format!(".tmp-d-{DEAD}-0"));
        create_dir(&folder).unwrap();
        write_file(&folder.join("part"), b"x").unwrap();

        let removed = sweep_stale(dir.path()).unwrap();
        let mut expected = vec![dir.path().join(&dead), folder, dir.path().join(&reused)];
        expected.sort();
        assert_eq!(removed, expected);
        assert!(own.exists() && dir.path().join(foreign).exists());
        assert!(dir.path().join(format!(".tmp-p-{parent}-0")).exists());
    }

    #[test]
    fn foreign_leftovers_go_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".tmp-f-1-5_zzzzzzzz_0");
        write_file(&path, b"x").unwrap();
        let old = SystemTime::now() - FOREIGN_PATIENCE - Duration::from_secs(60);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert_eq!(sweep_stale(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn a_missing_folder_has_no_leftovers() {
        assert!(
            sweep_stale(Path::new("/nonexistent-m6"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn long_names_still_fit_the_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("图".repeat(80));
        write_file(&path, b"x").unwrap();
        assert!(sibling(&path).unwrap().file_name().unwrap().len() < 255);
        assert!(sibling(Path::new("/")).is_err());
    }
}
