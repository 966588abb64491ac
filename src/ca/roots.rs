//! Where the authority comes from: a root of our own on disk, or files that somebody else keeps.
//!
//! [`Roots`] owns the current [`Authority`]; everyone else holds an `Arc` of it. A source that turns bad never takes
//! the place of one that is good: the error is returned, the old authority goes on.

use crate::{Authority, AuthorityError, Kept, plug_in, root_file::RootFile};
use arc_swap::ArcSwap;
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Where keys and certificates are kept.
#[derive(Clone, Debug)]
pub enum Source {
    /// A root of our own, made at the first start, kept in `root.pem` of this directory.
    SelfSigned(PathBuf),
    /// A directory that somebody else fills: `ca-cert.pem ca-key.pem cert-chain.pem root-cert.pem`, or `tls.crt
    /// tls.key ca.crt`. It is read again when its files change.
    PlugIn(PathBuf),
    /// A root of our own that somebody else keeps. Changes that are due are told by [`Roots::next`].
    Kept(Kept),
}

/// Why there is no (new) authority.
#[derive(Debug)]
pub enum RootError {
    /// A file can't be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    Content {
        /// Which.
        path: PathBuf,
        /// What was wanted and seen.
        why: String,
    },
    /// The files are whole but do not fit together.
    Authority {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        error: AuthorityError,
    },
    /// The root in use is missing from the new trust bundle.
    RootDropped(PathBuf),
    /// So many roots of our own are still trusted that there is no room for one more.
    TooSoon(usize),
    /// A plug-in root is rotated by its owner.
    NotOurs,
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Content { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Authority { path, error } => write!(f, "{}: {error}", path.display()),
            Self::RootDropped(path) => write!(
                f,
                "{}: the root in use is no longer among the roots: keep the old and the new root together until all \
                 certificates were renewed, or restart to cut over at once",
                path.display()
            ),
            Self::TooSoon(roots) => {
                write!(f, "{roots} roots are still in use: the oldest is given up 91 days after it was replaced")
            }
            Self::NotOurs => f.write_str("a plug-in root is rotated by whoever keeps its directory"),
        }
    }
}

impl std::error::Error for RootError {}

/// The owner of the current authority.
pub struct Roots {
    source: Source,
    organization: String,
    current: ArcSwap<Authority>,
    /// What the current authority was made of. Locked while the source is read, never while anything is signed.
    state: Mutex<State>,
}

enum State {
    SelfSigned(RootFile),
    PlugIn(plug_in::Files),
    Kept(Arc<Vec<u8>>),
}

impl Roots {
    /// Reads the source, or makes a root if it is ours and there is none. `organization` names a new root.
    pub fn open(source: Source, organization: &str, now: SystemTime) -> Result<Self, RootError> {
        let (state, authority) = match &source {
            Source::SelfSigned(dir) => {
                let mut file = RootFile::open(dir, organization, now)?;
                if let Some(next) = file.next(organization, now)? {
                    next.save()?;
                    file = next;
                }
                let authority = file.authority(now)?;
                (State::SelfSigned(file), authority)
            }
            Source::PlugIn(dir) => {
                let files = plug_in::Files::read(dir)?;
                let authority = files.authority(dir, now)?;
                (State::PlugIn(files), authority)
            }
            Source::Kept(kept) => (State::Kept(kept.get()), kept.read()?.authority(now)?),
        };
        let organization = organization.to_owned();
        Ok(Self { source, organization, current: ArcSwap::from_pointee(authority), state: Mutex::new(state) })
    }

    /// The authority as of now.
    pub fn authority(&self) -> Arc<Authority> {
        self.current.load_full()
    }

    /// Looks whether the authority must change: plug-in files that did, a root that nears its end, an old root whose
    /// certificates have all ended. Returns whether it changed. Cheap enough for every second.
    pub fn refresh(&self, now: SystemTime) -> Result<bool, RootError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&self.source, &mut *state) {
            (Source::SelfSigned(_), State::SelfSigned(file)) => {
                let due = file.next(&self.organization, now)?;
                due.map(|next| self.adopt(file, next, now)).transpose().map(|changed| changed.is_some())
            }
            (Source::PlugIn(dir), State::PlugIn(files)) => {
                let read = plug_in::Files::read(dir)?;
                if read == *files {
                    return Ok(false);
                }
                let authority = read.authority(dir, now)?;
                if !self.authority().shares_root_with(&authority) {
                    return Err(RootError::RootDropped(dir.clone()));
                }
                self.current.store(Arc::new(authority));
                *files = read;
                Ok(true)
            }
            (Source::Kept(kept), State::Kept(used)) => {
                let text = kept.get();
                if text == *used {
                    return Ok(false);
                }
                let authority = kept.read()?.authority(now)?;
                if !self.authority().shares_root_with(&authority) {
                    return Err(RootError::RootDropped(kept.place().to_owned()));
                }
                self.current.store(Arc::new(authority));
                *used = text;
                Ok(true)
            }
            _ => Err(RootError::NotOurs),
        }
    }

    /// Makes a new root of our own at once. Both roots are trusted until the last certificate of the old one has
    /// ended; who knows only the old root trusts the new one through a certificate that the old root signed for it.
    pub fn rotate(&self, now: SystemTime) -> Result<(), RootError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&self.source, &mut *state) {
            (Source::SelfSigned(_), State::SelfSigned(file)) => {
                let next = file.rotated(&self.organization, now)?;
                self.adopt(file, next, now)
            }
            _ => Err(RootError::NotOurs),
        }
    }

    /// What should be kept from now on in place of what is kept, if a change is due: of several who share what is kept
    /// only one gets to write it.
    pub fn next(&self, now: SystemTime) -> Result<Option<Vec<u8>>, RootError> {
        match &self.source {
            Source::Kept(kept) => Ok(kept.read()?.next(&self.organization, now)?.map(|next| next.text())),
            _ => Ok(None),
        }
    }

    fn adopt(&self, file: &mut RootFile, next: RootFile, now: SystemTime) -> Result<(), RootError> {
        let authority = next.authority(now)?;
        next.save()?;
        self.current.store(Arc::new(authority));
        *file = next;
        Ok(())
    }
}
