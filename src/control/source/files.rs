//! Finding and reading files.

use super::directory::Content;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Files above this are refused.
const MAX_FILE: u64 = 64 << 20;
/// How deep directories may be nested.
const MAX_DEPTH: usize = 32;

/// What tells one state of a file from another: inode, length, time of the last change in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64, u64, i128);

impl Mark {
    /// Whether the last change is less than that old, or not yet come by our clock: another machine's may be ahead.
    pub fn is_fresh(&self, within: Duration) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        nanoseconds(now) - self.2 < nanoseconds(within)
    }
}

/// All files that hold objects under some paths, with their marks. A path that is a file counts whatever its name; in a
/// directory those named `*.yaml`, `*.yml` and `*.json` count, hidden ones don't.
pub fn list(paths: &[PathBuf]) -> BTreeMap<PathBuf, Mark> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walk(path, 0, &mut seen, &mut found),
            Ok(metadata) => {
                found.insert(path.clone(), mark(&metadata));
            }
            Err(_) => {}
        }
    }
    found
}

fn walk(directory: &Path, depth: usize, seen: &mut BTreeSet<(u64, u64)>, found: &mut BTreeMap<PathBuf, Mark>) {
    // What can't be read or is gone meanwhile is left out; the next scan sees it again.
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            // A link may lead back up.
            if depth < MAX_DEPTH && seen.insert((metadata.dev(), metadata.ino())) {
                walk(&path, depth + 1, seen, found);
            }
        } else if metadata.is_file() && holds_objects(&path) {
            found.insert(path, mark(&metadata));
        }
    }
}

/// Whether a file in a directory counts.
pub fn holds_objects(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    !hidden && matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
}

/// The mark of a file as it is now; none if it is gone.
pub fn look(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| mark(&metadata))
}

fn mark(metadata: &fs::Metadata) -> Mark {
    let changed = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Mark(metadata.ino(), metadata.len(), changed)
}

/// Reads a file; one that was deleted meanwhile is gone.
pub fn read(path: &Path) -> Content {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE => {
            return Content::Unreadable(format!("wanted at most {MAX_FILE} bytes, saw {}", metadata.len()));
        }
        _ => {}
    }
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Unreadable(format!(
                "wanted UTF-8, saw something else at byte {}",
                error.utf8_error().valid_up_to()
            )),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Gone,
        Err(error) => Content::Unreadable(format!("can't be read: {error}")),
    }
}
