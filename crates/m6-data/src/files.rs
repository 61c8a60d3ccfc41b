//! From configured patterns to files.

use std::path::{Component, Path, PathBuf};

use crate::config::Fields;
use crate::error::{Error, Result, hint};

/// Files that match the patterns, in the order of the patterns and sorted inside each, without repeats.
///
/// # Errors
/// [`Error::Missing`] for the first pattern that matches nothing, with the nearest name there is.
pub fn expand(name: &str, patterns: &Fields, root: &Path) -> Result<Vec<PathBuf>> {
    let mut out: Vec<PathBuf> = Vec::new();
    for pattern in patterns.iter() {
        let found = matches(pattern, root);
        if found.is_empty() {
            return Err(Error::Missing {
                name: name.to_string(),
                pattern: pattern.to_string(),
                root: root.to_path_buf(),
                hint: nearest_file(&root.join(pattern)),
            });
        }
        for path in found {
            if !out.contains(&path) {
                out.push(path);
            }
        }
    }
    Ok(out)
}

fn matches(pattern: &str, root: &Path) -> Vec<PathBuf> {
    let full = root.join(pattern);
    // A path that is there as written is not a pattern, even with `[` in its name.
    if full.exists() {
        return vec![full];
    }
    // Only the configured part is a pattern: the root may hold any character.
    let escaped = glob::Pattern::escape(&root.to_string_lossy());
    let text = if Path::new(pattern).is_absolute() {
        pattern.to_string()
    } else {
        format!("{escaped}/{pattern}")
    };
    let mut found: Vec<PathBuf> = match glob::glob(&text) {
        Ok(paths) => paths.filter_map(std::result::Result::ok).collect(),
        Err(_) => Vec::new(),
    };
    found.sort();
    found
}

/// A hint that names the file most like the wanted one in the deepest folder that exists.
fn nearest_file(wanted: &Path) -> String {
    let mut missing = wanted;
    while let Some(parent) = missing.parent() {
        if parent.is_dir() {
            let name = missing.file_name().unwrap_or_default().to_string_lossy();
            let mut names: Vec<String> = std::fs::read_dir(parent)
                .map(|entries| {
                    entries
                        .filter_map(std::result::Result::ok)
                        .map(|entry| entry.file_name().to_string_lossy().into_owned())
                        .collect()
                })
                .unwrap_or_default();
            names.sort();
            return hint(&name, names.iter().map(String::as_str));
        }
        missing = parent;
    }
    String::new()
}

/// `name` below `folder`, if it does not lead out of it.
pub fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    (!name.is_empty() && path.components().all(plain)).then(|| folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_names_the_nearest_one() {
        let dir = tempfile::tempdir().expect("a folder");
        m6_store::atomic::write_file(&dir.path().join("poems.jsonl"), b"").expect("writes");
        let error = expand("p", &Fields::from(["poem.jsonl"]), dir.path()).expect_err("missing");
        let text = error.to_string();
        assert!(text.contains("did you mean `poems.jsonl`"), "{text}");
        let found = expand("p", &Fields::from(["*.jsonl", "poems.*"]), dir.path());
        assert_eq!(found.expect("found").len(), 1);
    }

    #[test]
    fn names_never_lead_out_of_their_folder() {
        let folder = Path::new("/data");
        assert_eq!(
            inside(folder, "./a/b.jpg"),
            Some(PathBuf::from("/data/a/b.jpg"))
        );
        for name in ["../x", "/etc/passwd", "a/../../x", ""] {
            assert_eq!(inside(folder, name), None, "{name}");
        }
    }
}
