//! A root of our own that somebody else keeps, such as a Secret in a cluster: its text comes from there and goes there,
//! what it means is ours.

use crate::{RootError, root_file::RootFile};
use arc_swap::ArcSwap;
use std::{path::PathBuf, sync::Arc, time::SystemTime};

/// The text of a root, as whoever keeps it has it now. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Kept {
    place: PathBuf,
    text: Arc<ArcSwap<Vec<u8>>>,
}

impl Kept {
    /// What was read at a place; its name is for messages.
    pub fn new(place: impl Into<PathBuf>, text: Vec<u8>) -> Self {
        Self { place: place.into(), text: Arc::new(ArcSwap::from_pointee(text)) }
    }

    /// Takes what is kept now. It is used from the next refresh on, if it can be.
    pub fn set(&self, text: Vec<u8>) {
        self.text.store(Arc::new(text));
    }

    /// What is kept.
    pub fn get(&self) -> Arc<Vec<u8>> {
        self.text.load_full()
    }

    pub(crate) fn place(&self) -> &std::path::Path {
        &self.place
    }

    pub(crate) fn read(&self) -> Result<RootFile, RootError> {
        RootFile::parse(self.place.clone(), &self.get())
    }
}

/// The text of a new root, to be kept.
pub fn new_root(organization: &str, now: SystemTime) -> Result<Vec<u8>, RootError> {
    Ok(RootFile::first(PathBuf::from("a new root"), organization, now)?.text())
}
