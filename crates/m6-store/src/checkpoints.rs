//! Checkpoint folders: found by scanning, never by a pointer file (ours).

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result, atomic, manifest};

const PREFIX: &str = "step-";
/// [`prune`] keeps at least this many: one may turn out to be damaged.
const MIN_KEPT: usize = 2;

/// The folder name of a step: `step-00001000`.
pub fn step_dir_name(step: u64) -> String {
    format!("{PREFIX}{step:08}")
}

/// The step of a folder name, if it is exactly what [`step_dir_name`] makes.
fn parse_step(name: &str) -> Option<u64> {
    let step = name.strip_prefix(PREFIX)?.parse().ok()?;
    (step_dir_name(step) == name).then_some(step)
}

/// The checkpoint folders in `dir` by ascending step, whole or not; none when `dir` does not exist.
///
/// # Errors
/// [`Error::Io`] when `dir` cannot be read.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let unreadable = |source| Error::io("list", dir, source);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let step = entry.file_name().to_str().and_then(parse_step);
        if let (Some(step), true) = (step, entry.path().is_dir()) {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// What [`scan`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The newest whole checkpoint: its step and folder.
    pub valid: Option<(u64, PathBuf)>,
    /// Newer ones that are damaged, newest first, each with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Finds the newest checkpoint whose every file has the size and hash of its manifest.
///
/// # Errors
/// [`Error::Io`] when `dir` cannot be read; damaged checkpoints are no error but are listed.
pub fn scan(dir: &Path) -> Result<Scan> {
    let mut scan = Scan::default();
    for (step, path) in list(dir)?.into_iter().rev() {
        match manifest::verify(&path) {
            Ok(()) => {
                scan.valid = Some((step, path));
                break;
            }
            Err(error) => scan.skipped.push((path, error.to_string())),
        }
    }
    Ok(scan)
}

/// As [`scan`], but `None` when there is no whole checkpoint: (step, folder, skipped with reasons).
///
/// # Errors
/// As [`scan`].
pub fn latest_valid(dir: &Path) -> Result<Option<(u64, PathBuf, Vec<(PathBuf, String)>)>> {
    let scan = scan(dir)?;
    Ok(scan.valid.map(|(step, path)| (step, path, scan.skipped)))
}

/// Removes every checkpoint older than the `keep` newest whole ones (at least two); returns what went.
///
/// Damaged ones do not count as kept, so damage never costs a good checkpoint its place.
///
/// # Errors
/// [`Error::Io`] when `dir` cannot be read or a folder cannot be removed.
pub fn prune(dir: &Path, keep: usize) -> Result<Vec<PathBuf>> {
    prune_but(dir, keep, None)
}

/// As [`prune`], but the checkpoint of step `spared` stays as well, however old it is.
///
/// # Errors
/// As [`prune`].
pub fn prune_but(dir: &Path, keep: usize, spared: Option<u64>) -> Result<Vec<PathBuf>> {
    let keep = keep.max(MIN_KEPT);
    let found = list(dir)?;
    if found.len() <= keep {
        return Ok(Vec::new());
    }
    let mut n_valid = 0;
    let mut removed = Vec::new();
    for (step, path) in found.into_iter().rev() {
        if n_valid < keep {
            n_valid += usize::from(manifest::verify(&path).is_ok());
        } else if Some(step) != spared {
            atomic::remove_dir(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::{DirCommit, write_file};
    use std::io::Write;

    fn commit(dir: &Path, step: u64) -> PathBuf {
        let place = dir.join(step_dir_name(step));
        let commit = DirCommit::begin(&place).unwrap();
        commit
            .file("model.safetensors")
            .unwrap()
            .write_all(&step.to_le_bytes())
            .unwrap();
        commit.commit().unwrap();
        place
    }

    fn steps(dir: &Path) -> Vec<u64> {
        list(dir)
            .unwrap()
            .into_iter()
            .map(|(step, _)| step)
            .collect()
    }

    #[test]
    fn only_exact_names_are_checkpoints() {
        assert_eq!(step_dir_name(1000), "step-00001000");
        assert_eq!(parse_step("step-00001000"), Some(1000));
        assert_eq!(parse_step(&step_dir_name(u64::MAX)), Some(u64::MAX));
        for name in [
            "step-1000",
            "step-",
            "step-+0001000",
            "step-00001000.bak",
            ".tmp-step-00001000-1-0",
        ] {
            assert_eq!(parse_step(name), None, "{name}");
        }
    }

    #[test]
    fn the_newest_whole_one_is_found_and_the_damaged_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(latest_valid(&dir.path().join("none")).unwrap(), None);
        let paths: Vec<PathBuf> = [100, 20, 300, 400]
            .iter()
            .map(|&step| commit(dir.path(), step))
            .collect();
        write_file(&dir.path().join("step-00000900"), b"a file, no folder").unwrap();
        assert_eq!(steps(dir.path()), [20, 100, 300, 400]);
        fs::remove_file(paths[3].join("MANIFEST.json")).unwrap();
        write_file(&paths[2].join("model.safetensors"), b"12345678").unwrap();
        let (step, path, skipped) = latest_valid(dir.path()).unwrap().unwrap();
        assert_eq!((step, &path), (100, &paths[0]));
        assert_eq!(skipped[0].0, paths[3]);
        assert!(skipped[0].1.contains("MANIFEST.json"), "{}", skipped[0].1);
        assert!(skipped[1].1.contains("blake3"), "{}", skipped[1].1);
    }

    #[test]
    fn all_damaged_is_none_with_reasons() {
        let dir = tempfile::tempdir().unwrap();
        let path = commit(dir.path(), 1);
        write_file(&path.join("model.safetensors"), b"").unwrap();
        assert_eq!(latest_valid(dir.path()).unwrap(), None);
        assert_eq!(scan(dir.path()).unwrap().skipped.len(), 1);
    }

    #[test]
    fn pruning_keeps_the_newest_whole_ones_and_at_least_two() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (1..=6).map(|step| commit(dir.path(), step)).collect();
        assert!(prune(dir.path(), 9).unwrap().is_empty());
        assert_eq!(prune(dir.path(), 5).unwrap(), [paths[0].clone()]);
        // The two newest are damaged: they must not push out 3 and 4.
        for path in &paths[4..] {
            write_file(&path.join("model.safetensors"), b"").unwrap();
        }
        assert_eq!(prune(dir.path(), 0).unwrap(), [paths[1].clone()]);
        assert_eq!(steps(dir.path()), [3, 4, 5, 6]);
        assert_eq!(latest_valid(dir.path()).unwrap().unwrap().0, 4);
    }

    #[test]
    fn a_spared_checkpoint_stays_beside_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        (1..=5).for_each(|step| drop(commit(dir.path(), step)));
        prune_but(dir.path(), 2, Some(2)).unwrap();
        assert_eq!(steps(dir.path()), [2, 4, 5]);
        prune_but(dir.path(), 2, Some(5)).unwrap();
        assert_eq!(steps(dir.path()), [4, 5]);
    }
}
