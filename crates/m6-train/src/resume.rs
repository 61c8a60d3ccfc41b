//! The run folder: who may write to it, what is in it, and where a run goes on.

use crate::checkpoint::{TrainState, read_state};
use crate::error::{Error, Result};
use m6_store::atomic::sweep_stale;
use m6_store::checkpoints::scan;
use m6_store::lock::FolderLock;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What may be in the folder that a run is started in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Nothing.
    Fresh,
    /// A run to go on with; an empty folder starts one, so that the same command serves both.
    Resume,
    /// A run to be removed first.
    Overwrite,
}

/// A run folder, locked for this process until dropped.
pub struct RunFolder {
    dir: PathBuf,
    _lock: FolderLock,
}

/// Where a run goes on.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// The checkpoint.
    pub path: PathBuf,
    /// Its state.
    pub state: TrainState,
}

/// The file that marks a folder as written by a run.
pub(crate) const RUN_FILE: &str = "run.json";
const CHECKPOINTS: &str = "checkpoints";
/// Present without a run in it: the lock, the log of the terminal, and signs of life.
const IGNORED: [&str; 3] = [".lock", "log.txt", crate::parallel::heartbeat::RANKS_DIR];
/// What a run writes, and so what overwriting removes.
const OWN_FILES: [&str; 9] = [
    "config.toml",
    "config.resolved.toml",
    RUN_FILE,
    crate::METRICS_FILE,
    "report.html",
    "samples",
    "log.txt",
    m6_data::CODER_DIR,
    crate::parallel::heartbeat::RANKS_DIR,
];
const OWN_EVENTS: &str = "events.out.tfevents.";

impl RunFolder {
    /// Creates the folder if need be, locks it, and makes it what `mode` expects.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::NotARun`], a store error naming the process that holds the folder, or an error
    /// of the file system.
    pub fn open(dir: &Path, mode: OpenMode) -> Result<Self> {
        if mode == OpenMode::Fresh && is_used(dir)? {
            return Err(Error::NotEmpty {
                dir: dir.to_path_buf(),
            });
        }
        if mode == OpenMode::Overwrite && is_used(dir)? && !dir.join(RUN_FILE).is_file() {
            return Err(Error::NotARun {
                dir: dir.to_path_buf(),
            });
        }
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let lock = FolderLock::acquire(dir)?;
        let folder = Self {
            dir: dir.to_path_buf(),
            _lock: lock,
        };
        if mode == OpenMode::Overwrite {
            folder.clear()?;
        }
        let checkpoints = folder.checkpoints();
        std::fs::create_dir_all(&checkpoints).map_err(Error::io(&checkpoints))?;
        sweep_stale(dir)?;
        sweep_stale(&checkpoints)?;
        Ok(folder)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        Self::checkpoints_in(&self.dir)
    }

    /// The folder of the checkpoints of a run folder.
    pub(crate) fn checkpoints_in(dir: &Path) -> PathBuf {
        dir.join(CHECKPOINTS)
    }

    /// The newest valid checkpoint; damaged ones are passed over with a warning that says why.
    ///
    /// # Errors
    /// The folder cannot be read, or a sound checkpoint has a state of a newer version.
    pub fn newest(&self) -> Result<Option<Resumed>> {
        let Some((step, path)) = newest_checkpoint(&self.checkpoints())?.0 else {
            return Ok(None);
        };
        let state = read_state(&path)?;
        if state.step != step {
            return Err(Error::damaged(
                &path,
                format!("state.json is of step {}", state.step),
            ));
        }
        Ok(Some(Resumed { path, state }))
    }

    /// Removes what a run writes, and nothing else; the checkpoints go last, so that a kill leaves a run.
    fn clear(&self) -> Result<()> {
        let entries = entries(&self.dir)?;
        let own = entries.iter().filter(|name| {
            *name != RUN_FILE
                && (OWN_FILES.contains(&name.as_str()) || name.starts_with(OWN_EVENTS))
        });
        let last = [CHECKPOINTS.to_string(), RUN_FILE.to_string()];
        for name in own.chain(&last) {
            remove(&self.dir.join(name))?;
        }
        Ok(())
    }
}

/// The newest valid checkpoint under `dir`, and a line about every newer one that is damaged; each is also a warning
/// in the log.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn newest_checkpoint(dir: &Path) -> Result<(Option<(u64, PathBuf)>, Vec<String>)> {
    let scan = scan(dir)?;
    let skipped: Vec<String> = scan
        .skipped
        .iter()
        .map(|(path, reason)| format!("{}: {reason}", path.display()))
        .collect();
    for line in &skipped {
        tracing::warn!("damaged checkpoint skipped: {line}");
    }
    Ok((scan.valid, skipped))
}

/// Refuses a checkpoint that was made with other settings or other data, naming every key that differs.
///
/// # Errors
/// [`Error::ResumeMismatch`].
pub(crate) fn check_same_run(resumed: &Resumed, now: &TrainState) -> Result<()> {
    let then = &resumed.state;
    let pairs = [
        (
            "the settings",
            &then.config_hash,
            &now.config_hash,
            &then.settings,
            &now.settings,
        ),
        (
            "the data",
            &then.data_hash,
            &now.data_hash,
            &then.data,
            &now.data,
        ),
    ];
    for (what, hash_then, hash_now, then, now) in pairs {
        if hash_then == hash_now {
            continue;
        }
        let mut differences = Vec::new();
        differing_keys(then, now, "", &mut differences);
        if differences.is_empty() {
            differences.push(format!("hash: was {hash_then}, now {hash_now}"));
        }
        return Err(Error::ResumeMismatch {
            dir: resumed.path.clone(),
            what,
            differences,
        });
    }
    Ok(())
}

/// Lists every leaf that differs as `a.b: was 1, now 2`.
fn differing_keys(then: &Value, now: &Value, path: &str, out: &mut Vec<String>) {
    let join = |key: &str| {
        if path.is_empty() {
            key.to_string()
        } else {
            format!("{path}.{key}")
        }
    };
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            let added = now.keys().filter(|key| !then.contains_key(*key));
            for key in then.keys().chain(added) {
                let (then, now) = (
                    then.get(key).unwrap_or(&Value::Null),
                    now.get(key).unwrap_or(&Value::Null),
                );
                differing_keys(then, now, &join(key), out);
            }
        }
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            for (i, (then, now)) in then.iter().zip(now).enumerate() {
                differing_keys(then, now, &join(&i.to_string()), out);
            }
        }
        (then, now) if then != now => out.push(format!("{path}: was {then}, now {now}")),
        _ => {}
    }
}

fn is_used(dir: &Path) -> Result<bool> {
    if !dir.exists() {
        return Ok(false);
    }
    // A run killed before its first file leaves an empty folder of checkpoints.
    let is_trace = |name: &String| {
        IGNORED.contains(&name.as_str())
            || (name == CHECKPOINTS && entries(&dir.join(name)).is_ok_and(|e| e.is_empty()))
    };
    Ok(!entries(dir)?.iter().all(is_trace))
}

fn entries(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        names.push(
            entry
                .map_err(Error::io(dir))?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn touch(path: &Path) {
        m6_store::atomic::write_file(path, b"x").unwrap();
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        touch(&dir.path().join("holiday.jpg"));
        let error = RunFolder::open(dir.path(), OpenMode::Fresh)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("--resume") && error.contains("--overwrite"),
            "{error}"
        );
        let error = RunFolder::open(dir.path(), OpenMode::Overwrite)
            .err()
            .unwrap();
        assert!(matches!(error, Error::NotARun { .. }), "{error}");
        assert!(!dir.path().join(".lock").exists());
    }

    #[test]
    fn overwriting_removes_a_run_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "run.json",
            "metrics.jsonl",
            "events.out.tfevents.1",
            "holiday.jpg",
            "config.toml",
        ] {
            touch(&dir.path().join(name));
        }
        std::fs::create_dir_all(dir.path().join("checkpoints/step-00000001")).unwrap();
        let folder = RunFolder::open(dir.path(), OpenMode::Overwrite).unwrap();
        assert_eq!(
            entries(folder.dir()).unwrap(),
            [".lock", "checkpoints", "holiday.jpg"]
        );
        assert!(entries(&folder.checkpoints()).unwrap().is_empty());
    }

    #[test]
    fn a_second_process_is_told_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunFolder::open(dir.path(), OpenMode::Fresh).unwrap();
        let error = RunFolder::open(dir.path(), OpenMode::Resume).err().unwrap();
        assert_eq!(error.kind(), crate::ErrorKind::Usage);
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(first);
        RunFolder::open(dir.path(), OpenMode::Resume).unwrap();
    }

    #[test]
    fn every_key_that_differs_is_named() {
        let mut out = Vec::new();
        let then = json!({"train": {"lr": 1.0, "betas": [0.9, 0.98]}, "model": {"d": 8, "old": 1}});
        let now = json!({"train": {"lr": 2.0, "betas": [0.9, 0.95]}, "model": {"d": 8, "new": 2}});
        differing_keys(&then, &now, "", &mut out);
        assert_eq!(
            out,
            [
                "train.lr: was 1.0, now 2.0",
                "train.betas.1: was 0.98, now 0.95",
                "model.old: was 1, now null",
                "model.new: was null, now 2"
            ]
        );
    }
}
