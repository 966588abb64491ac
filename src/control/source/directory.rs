//! The objects of many files: which definition counts, what changed, what is wrong.
//!
//! Bad input loses nothing: what a broken file held stays as it last was until the file is mended or deleted. Of
//! several definitions of one object the first counts, in the order of file names and places.

use super::{Changes, Update};
use api::{Object, ObjectId, Problem, Severity, manifest};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a file turned out to be.
#[derive(Debug)]
pub enum Content {
    /// Its text.
    Text(String),
    /// It is gone.
    Gone,
    /// It is there and can't be read: why.
    Unreadable(String),
}

/// The objects of many files.
#[derive(Default)]
pub struct Directory {
    /// The objects that each file defines.
    files: BTreeMap<Arc<str>, Vec<ObjectId>>,
    /// All definitions of each object, in order; the first counts.
    definitions: BTreeMap<ObjectId, Vec<Definition>>,
    /// Objects with more than one definition.
    repeated: BTreeSet<ObjectId>,
    /// What is wrong with which file.
    problems: BTreeMap<Arc<str>, Vec<Problem>>,
    /// The definitions that counted before the files that were set since the last update.
    touched: BTreeMap<ObjectId, Option<Object>>,
    /// The problems of the last update.
    told: Vec<Problem>,
}

struct Definition {
    file: Arc<str>,
    line: u32,
    object: Object,
}

impl Directory {
    /// Takes a file's new content.
    pub fn set(&mut self, file: &str, content: Content) {
        let file: Arc<str> = self.files.get_key_value(file).map_or_else(|| file.into(), |(known, _)| known.clone());
        let mut read = match content {
            Content::Text(text) => manifest::read(&file, &text),
            Content::Gone => manifest::Manifest::default(),
            Content::Unreadable(message) => {
                let problem = Problem {
                    severity: Severity::Error,
                    file: file.clone(),
                    line: 0,
                    column: 0,
                    object: None,
                    path: api::FieldPath::default(),
                    message,
                };
                manifest::Manifest { objects: Vec::new(), problems: vec![problem] }
            }
        };
        let before = self.files.remove(&file).unwrap_or_default();
        let kept = keep(&before, &mut read);
        for id in before.iter().filter(|id| !kept.contains(*id)) {
            self.touch(id);
            self.remove(id, &file);
        }
        let mut ids = Vec::with_capacity(kept.len() + read.objects.len());
        ids.extend(kept);
        for located in read.objects {
            let id = located.object.id();
            self.touch(&id);
            self.insert(id.clone(), Definition { file: file.clone(), line: located.line, object: located.object });
            ids.push(id);
        }
        self.problems.remove(&file);
        if !read.problems.is_empty() {
            self.problems.insert(file.clone(), read.problems);
        }
        if !ids.is_empty() {
            self.files.insert(file, ids);
        }
    }

    /// The files that define objects or have problems.
    pub fn files(&self) -> BTreeSet<Arc<str>> {
        self.files.keys().chain(self.problems.keys()).cloned().collect()
    }

    /// Where the definition of an object that counts stands: file and line.
    pub fn place(&self, id: &ObjectId) -> Option<(&Arc<str>, u32)> {
        self.definitions.get(id)?.first().map(|definition| (&definition.file, definition.line))
    }

    /// What changed since the last update. An object's `metadata.generation` is counted here: it rises with every
    /// change of anything but metadata, as an API server does it.
    pub fn update(&mut self) -> Update {
        let mut changes = Changes::new();
        for (id, before) in std::mem::take(&mut self.touched) {
            let now = self.definitions.get_mut(&id).and_then(|definitions| definitions.first_mut());
            match (before, now) {
                (None, None) => {}
                (Some(_), None) => {
                    changes.insert(id, None);
                }
                (before, Some(definition)) => {
                    if next_generation(before.as_ref(), &mut definition.object) {
                        changes.insert(id, Some(definition.object.clone()));
                    }
                }
            }
        }
        let problems = self.all_problems();
        let changed = problems != self.told;
        if changed {
            self.told.clone_from(&problems);
        }
        Update { changes, problems: changed.then_some(problems) }
    }

    fn touch(&mut self, id: &ObjectId) {
        if !self.touched.contains_key(id) {
            let counts = self.definitions.get(id).and_then(|definitions| definitions.first());
            self.touched.insert(id.clone(), counts.map(|definition| definition.object.clone()));
        }
    }

    fn insert(&mut self, id: ObjectId, definition: Definition) {
        // Nearly all have one.
        let definitions = self.definitions.entry(id.clone()).or_insert_with(|| Vec::with_capacity(1));
        let place = definitions.partition_point(|other| other.file <= definition.file);
        definitions.insert(place, definition);
        if definitions.len() > 1 {
            self.repeated.insert(id);
        }
    }

    fn remove(&mut self, id: &ObjectId, file: &Arc<str>) {
        let Some(definitions) = self.definitions.get_mut(id) else { return };
        definitions.retain(|definition| definition.file != *file);
        if definitions.len() < 2 {
            self.repeated.remove(id);
        }
        if definitions.is_empty() {
            self.definitions.remove(id);
        }
    }

    fn all_problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.problems.values().flatten().cloned().collect();
        for id in &self.repeated {
            let Some([first, rest @ ..]) = self.definitions.get(id).map(Vec::as_slice) else { continue };
            problems.extend(rest.iter().map(|definition| Problem {
                severity: Severity::Error,
                file: definition.file.clone(),
                line: definition.line,
                column: 0,
                object: Some(id.clone()),
                path: api::FieldPath::default(),
                message: format!("defined already in {}:{}; that one counts", first.file, first.line),
            }));
        }
        problems
    }
}

/// Which objects of a file stay as they were, because the file doesn't say what became of them.
fn keep(before: &[ObjectId], read: &mut manifest::Manifest) -> BTreeSet<ObjectId> {
    const KEPT: &str = "; what was known before stays in use";
    let found: BTreeSet<ObjectId> = read.objects.iter().map(|located| located.object.id()).collect();
    let mut kept = BTreeSet::new();
    for problem in read.problems.iter_mut().filter(|problem| problem.severity == Severity::Error) {
        let lost: Vec<ObjectId> = match &problem.object {
            Some(broken) => before.iter().filter(|id| *id == broken && !found.contains(*id)).cloned().collect(),
            // Whatever the document was, it may have been any of those that are missing now.
            None => before.iter().filter(|id| !found.contains(*id)).cloned().collect(),
        };
        if !lost.is_empty() {
            problem.message.push_str(KEPT);
            kept.extend(lost);
        }
    }
    kept
}

/// Gives an object its generation and says whether it differs from the one before.
fn next_generation(before: Option<&Object>, object: &mut Object) -> bool {
    {
        let metadata = object.metadata_mut();
        // These change with every write and mean nothing to us.
        (metadata.resource_version, metadata.uid, metadata.owner_references) = (None, None, None);
        metadata.generation = Some(1);
    }
    let Some(before) = before else { return true };
    let generation = before.metadata().generation.unwrap_or(1);
    object.metadata_mut().generation = Some(generation);
    if object == before {
        return false;
    }
    // Only to compare: shares nothing with the object afterwards.
    let mut only_spec = before.clone();
    only_spec.metadata_mut().clone_from(object.metadata());
    if only_spec != *object {
        object.metadata_mut().generation = Some(generation + 1);
    }
    true
}

#[cfg(test)]
mod tests;
