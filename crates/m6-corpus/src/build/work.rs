//! Results of stages, found again by what went into them.
//!
//! A result lies in `work/<stage>/<key>/`; the key is a hash of the stage, its version, the keys of its inputs, its part of the
//! configuration and the hashes of its assets. A folder is committed whole or is not there, so what exists is never made twice, and
//! several processes may fill one `work` folder at the same time: the first commit of a key wins and the others find it. With an
//! output in an object store the folder is this machine's part of it: what is finished goes there, what others finished comes from there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use m6_store::atomic::DirCommit;
use m6_store::manifest::MANIFEST_NAME;
use serde::{Deserialize, Serialize};

use super::mirror::Mirror;
use crate::{Error, Result};

/// Hexadecimal digits of a key: 128 bits.
const KEY_DIGITS: usize = 32;
/// What every process that works here does, a JSON line for each result it begins and ends.
const LOG_NAME: &str = "log.jsonl";
/// What a stage says about itself, beside its results.
const NOTE_NAME: &str = "stage.json";

/// A stage of the pipeline: a name for people and folders, and a version that is raised when its results change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Name of the folder.
    pub name: &'static str,
    /// Raised with every change of what the stage makes of the same input.
    pub version: u32,
}

/// A key under construction.
pub struct KeyHash(blake3::Hasher);

impl KeyHash {
    /// The start of a key of this stage.
    pub fn new(stage: Stage) -> Self {
        let hash = Self(blake3::Hasher::new());
        hash.with(stage.name.as_bytes())
            .with(&stage.version.to_le_bytes())
    }

    /// Adds one part; parts never run into each other.
    pub fn with(mut self, part: &[u8]) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds the JSON form of a part of the configuration.
    pub fn with_json(self, part: &impl Serialize) -> Self {
        // Plain data always serialises; the empty text only stands in for the impossible.
        let text = serde_json::to_string(part).unwrap_or_default();
        self.with(text.as_bytes())
    }

    /// The key, 32 hexadecimal digits.
    pub fn finish(self) -> String {
        let mut text = self.0.finalize().to_hex().to_string();
        text.truncate(KEY_DIGITS);
        text
    }
}

/// What a stage folder says about how it was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Seconds the stage took when it was run.
    pub seconds: f64,
    /// Records it read.
    pub records: u64,
    /// Bytes of input it read, as far as it knows.
    pub bytes: u64,
    /// Records it could not read.
    pub damaged: u64,
}

/// The `work` folder of an output.
#[derive(Debug)]
pub struct Work<'a> {
    root: PathBuf,
    mirror: Option<Mirror<'a>>,
    n_made: AtomicU64,
    n_found: AtomicU64,
}

impl<'a> Work<'a> {
    /// The work folder of an output folder; made when it is not there. `mirror` is where its results go too.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be made.
    pub fn open(out: &Path, mirror: Option<Mirror<'a>>) -> Result<Self> {
        let root = out.join("work");
        m6_store::atomic::create_dir(&root)?;
        Ok(Self {
            root,
            mirror,
            n_made: AtomicU64::new(0),
            n_found: AtomicU64::new(0),
        })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a result lies, if it is there.
    pub fn find(&self, stage: Stage, key: &str) -> Option<PathBuf> {
        let folder = self.root.join(stage.name).join(key);
        folder.join(MANIFEST_NAME).is_file().then_some(folder)
    }

    /// Where the output goes too.
    pub fn mirror(&self) -> Option<&Mirror<'a>> {
        self.mirror.as_ref()
    }

    /// The result of a stage: found here or at the mirror, or made by `make` and committed.
    ///
    /// # Errors
    /// What `make` answers, [`Error::Store`] when the result cannot be committed, [`Error::Remote`] when the mirror refuses.
    pub fn once(
        &self,
        stage: Stage,
        key: &str,
        make: impl FnOnce(&DirCommit) -> Result<Note>,
    ) -> Result<PathBuf> {
        let Some(mirror) = &self.mirror else {
            return self.once_here(stage, key, make);
        };
        let folder = self.root.join(stage.name).join(key);
        if self.find(stage, key).is_none() && mirror.fetch(stage, key, &folder)? {
            self.n_found.fetch_add(1, Ordering::Relaxed);
            self.log("fetched", stage, key)?;
            return Ok(folder);
        }
        let folder = self.once_here(stage, key, make)?;
        // Also for what was found here: a process killed between commit and upload left it so.
        mirror.push(stage, key, &folder)?;
        Ok(folder)
    }

    fn once_here(
        &self,
        stage: Stage,
        key: &str,
        make: impl FnOnce(&DirCommit) -> Result<Note>,
    ) -> Result<PathBuf> {
        if let Some(folder) = self.find(stage, key) {
            self.n_found.fetch_add(1, Ordering::Relaxed);
            return Ok(folder);
        }
        let folder = self.root.join(stage.name).join(key);
        let begun = Instant::now();
        self.log("begin", stage, key)?;
        let commit = match DirCommit::begin(&folder) {
            Err(m6_store::Error::Exists { .. }) if self.find(stage, key).is_some() => {
                return Ok(folder);
            }
            other => other?,
        };
        let mut note = make(&commit)?;
        note.seconds = begun.elapsed().as_secs_f64();
        write_json(&commit, NOTE_NAME, &note)?;
        match commit.commit() {
            // Another process made the same result meanwhile; it is the same to the byte but for its times.
            Err(m6_store::Error::Exists { .. }) if self.find(stage, key).is_some() => {}
            other => other?,
        }
        self.n_made.fetch_add(1, Ordering::Relaxed);
        self.log("end", stage, key)?;
        Ok(folder)
    }

    /// Adds a line to the log in one write, so that lines of several processes do not mix.
    fn log(&self, event: &str, stage: Stage, key: &str) -> Result<()> {
        use std::io::Write;
        let path = self.root.join(LOG_NAME);
        let line = serde_json::json!({ "event": event, "stage": stage.name, "key": key });
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        written.map_err(|source| Error::Io { path, source })
    }

    /// Results made and results found by this process.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.n_made.load(Ordering::Relaxed),
            self.n_found.load(Ordering::Relaxed),
        )
    }
}

/// The note of a result; an empty one when it cannot be read, since it only serves the report.
pub fn note(folder: &Path) -> Note {
    std::fs::read(folder.join(NOTE_NAME))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Writes a value as JSON into a folder being committed.
///
/// # Errors
/// [`Error::Store`] when it cannot be written.
pub fn write_json(commit: &DirCommit, name: &str, value: &impl Serialize) -> Result<()> {
    use std::io::Write;
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Damaged {
        path: PathBuf::from(name),
        problem: error.to_string(),
    })?;
    let mut file = commit.file(name)?;
    let written = file.write_all(text.as_bytes());
    written.map_err(|source| Error::Io {
        path: commit.path().join(name),
        source,
    })?;
    Ok(file.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: Stage = Stage {
        name: "trial",
        version: 1,
    };

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let key = |parts: &[&str]| {
            parts
                .iter()
                .fold(KeyHash::new(STAGE), |hash, part| hash.with(part.as_bytes()))
                .finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["a"]), key(&["a"]));
        assert_eq!(key(&["a"]).len(), KEY_DIGITS);
        let later = Stage {
            version: 2,
            ..STAGE
        };
        assert_ne!(KeyHash::new(later).finish(), KeyHash::new(STAGE).finish());
    }

    #[test]
    fn a_result_is_made_once_and_a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let work = Work::open(dir.path(), None).expect("opens");
        let failed = work.once(STAGE, "k", |_| Err(Error::Config("no".into())));
        assert!(failed.is_err() && work.find(STAGE, "k").is_none());
        for _ in 0..2 {
            let folder = work
                .once(STAGE, "k", |commit| {
                    write_json(commit, "x.json", &1)?;
                    Ok(Note {
                        records: 7,
                        ..Note::default()
                    })
                })
                .expect("made or found");
            assert!(folder.join("x.json").is_file());
            assert_eq!(note(&folder).records, 7);
        }
        assert_eq!(work.counts(), (1, 1));
        let log = std::fs::read_to_string(dir.path().join("work").join(LOG_NAME)).expect("a log");
        let count = |event: &str| log.lines().filter(|line| line.contains(event)).count();
        assert_eq!((count("\"begin\""), count("\"end\"")), (2, 1));
    }
}
