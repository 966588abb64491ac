//! Reading files and directories, once or for as long as they change.

use super::{
    Inbox,
    directory::{Content, Directory},
    files::{self, Mark},
};
use api::Problem;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A file that is written is read when its writer closes it, or after this if nobody says that he did.
const UNCLOSED: Duration = Duration::from_millis(50);
/// How often everything is looked at, beside what the system tells: it tells when it has lost something, but not of what
/// happens at the other end of a network file system.
const RESCAN: Duration = Duration::from_secs(60);
/// The same where the system tells nothing.
const POLL: Duration = Duration::from_millis(500);
/// With more events than this, everything is looked at instead.
const MOST_EVENTS: usize = 4_096;

/// Watches until it is dropped.
pub struct Watch {
    signal: Arc<Signal>,
    _watcher: Option<RecommendedWatcher>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signal.state().ended = true;
        self.signal.changed.notify_all();
    }
}

/// Who is told of problems: all that there are, whenever they change.
pub type TellProblems = Box<dyn Fn(Vec<Problem>) + Send>;

/// Reads all files under some paths into the inbox and says that it is synced. With `follow`, goes on with every change
/// on a thread of its own until the [`Watch`] is dropped.
///
/// # Errors
/// If a path does not exist, or the thread can't be started.
pub fn watch(paths: Vec<PathBuf>, follow: bool, inbox: Inbox, tell: TellProblems) -> std::io::Result<Watch> {
    // The watcher names files by absolute paths.
    let paths = paths.iter().map(std::path::absolute).collect::<std::io::Result<Vec<PathBuf>>>()?;
    for path in &paths {
        std::fs::metadata(path)
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    let signal = Arc::new(Signal::default());
    let watcher = if follow { watcher(&paths, signal.clone()) } else { None };
    let mut reader =
        Reader { paths, directory: Directory::default(), marks: BTreeMap::new(), inbox: inbox.clone(), tell };
    // The watcher runs already: what changes from here on is seen.
    reader.scan(None);
    reader.tell();
    inbox.synced();
    if follow {
        let period = if watcher.is_some() { RESCAN } else { POLL };
        let signal = signal.clone();
        base::tasks::thread("files", move || reader.follow(&signal, period))?;
    }
    Ok(Watch { signal, _watcher: watcher })
}

/// What the watcher has seen.
#[derive(Default)]
struct Signal {
    state: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    /// Files that are as their writers want them.
    done: BTreeSet<PathBuf>,
    /// Files that are being written, since when.
    open: BTreeMap<PathBuf, Instant>,
    /// Look at everything.
    rescan: bool,
    ended: bool,
}

impl Signal {
    fn state(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: notify::Result<Event>) {
        let mut seen = self.state();
        match event {
            Ok(event) => seen.event(event),
            Err(_) => seen.rescan = true,
        }
        drop(seen);
        self.changed.notify_all();
    }
}

impl Seen {
    fn event(&mut self, event: Event) {
        if event.need_rescan() || self.done.len() + self.open.len() > MOST_EVENTS {
            self.rescan = true;
        }
        for path in event.paths {
            if !files::holds_objects(&path) {
                // A directory came or went, or the hidden link under a mounted ConfigMap was swapped.
                self.rescan |= !matches!(event.kind, EventKind::Access(_));
                continue;
            }
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                    self.open.remove(&path);
                    self.done.insert(path);
                }
                EventKind::Access(_) => {}
                EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => {
                    self.open.entry(path).or_insert_with(Instant::now);
                }
                _ => {
                    self.done.insert(path);
                }
            }
        }
    }

    /// What to do now, or how long to wait.
    fn next(&mut self, now: Instant) -> Result<(BTreeSet<PathBuf>, bool), Duration> {
        let late: Vec<PathBuf> = self
            .open
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= UNCLOSED)
            .map(|(path, _)| path.clone())
            .collect();
        for path in late {
            self.open.remove(&path);
            self.done.insert(path);
        }
        if !self.done.is_empty() || self.rescan {
            return Ok((std::mem::take(&mut self.done), std::mem::take(&mut self.rescan)));
        }
        let waits = self.open.values().map(|since| UNCLOSED.saturating_sub(now.duration_since(*since)));
        Err(waits.min().unwrap_or(Duration::MAX))
    }
}

fn watcher(paths: &[PathBuf], signal: Arc<Signal>) -> Option<RecommendedWatcher> {
    let started = notify::recommended_watcher(move |event| signal.event(event)).and_then(|mut watcher| {
        for path in paths {
            match (path.is_dir(), path.parent()) {
                (true, _) | (_, None) => watcher.watch(path, RecursiveMode::Recursive)?,
                // A file that is replaced is another file: its directory is what can be watched.
                (false, Some(parent)) => watcher.watch(parent, RecursiveMode::NonRecursive)?,
            }
        }
        Ok(watcher)
    });
    started
        .inspect_err(|error| tracing::warn!(%error, "files can't be watched; looking at all of them twice a second"))
        .ok()
}

struct Reader {
    paths: Vec<PathBuf>,
    directory: Directory,
    marks: BTreeMap<PathBuf, Mark>,
    inbox: Inbox,
    tell: TellProblems,
}

impl Reader {
    fn follow(&mut self, signal: &Signal, period: Duration) {
        let mut next_scan = Instant::now() + period;
        loop {
            let mut seen = signal.state();
            if seen.ended {
                return;
            }
            let now = Instant::now();
            match seen.next(now) {
                Ok((paths, rescan)) => {
                    drop(seen);
                    self.look(&paths);
                    if rescan {
                        self.scan(Some(signal));
                    }
                    self.tell();
                }
                Err(_) if now >= next_scan => {
                    drop(seen);
                    self.scan(Some(signal));
                    self.tell();
                    next_scan = Instant::now() + period;
                }
                Err(wait) => {
                    let wait = wait.min(next_scan.saturating_duration_since(now));
                    // Whether woken or timed out, the next turn looks.
                    drop(signal.changed.wait_timeout(seen, wait));
                }
            }
        }
    }

    /// Looks at everything. If some of what changed is perhaps being written just now, all of it is left to the signal:
    /// half a file would take away objects, an empty one all of them, and what moves from file to file is never gone.
    fn scan(&mut self, signal: Option<&Signal>) {
        let listed = files::list(&self.paths);
        let gone = self.marks.keys().filter(|path| !listed.contains_key(*path)).map(|path| (path.clone(), None));
        let new = listed.iter().filter(|(path, mark)| self.marks.get(*path) != Some(*mark));
        let changed: Vec<(PathBuf, Option<Mark>)> =
            gone.chain(new.map(|(path, mark)| (path.clone(), Some(*mark)))).collect();
        match signal {
            Some(signal) if changed.iter().any(|(_, mark)| mark.is_some_and(|mark| mark.is_fresh(UNCLOSED))) => {
                let (mut seen, now) = (signal.state(), Instant::now());
                changed.into_iter().for_each(|(path, _)| _ = seen.open.entry(path).or_insert(now));
            }
            _ => changed.iter().for_each(|(path, mark)| self.read(path, *mark)),
        }
    }

    /// Looks at some files.
    fn look(&mut self, paths: &BTreeSet<PathBuf>) {
        for path in paths {
            let ours = self.paths.iter().any(|root| path.starts_with(root));
            let mark = files::look(path);
            if ours && self.marks.get(path) != mark.as_ref() {
                self.read(path, mark);
            }
        }
    }

    fn read(&mut self, path: &Path, mark: Option<Mark>) {
        // The mark is older than the content: a change in between shows at the next look.
        let content = if mark.is_some() { files::read(path) } else { Content::Gone };
        match mark.filter(|_| !matches!(content, Content::Gone)) {
            Some(mark) => self.marks.insert(path.to_owned(), mark),
            None => self.marks.remove(path),
        };
        self.directory.set(&shown(path), content);
    }

    fn tell(&mut self) {
        let update = self.directory.update();
        self.inbox.put(update.changes);
        if let Some(problems) = update.problems {
            (self.tell)(problems);
        }
    }
}

/// A path as a person would write it here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
