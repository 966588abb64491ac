//! What is known of one kind: what events change of it.

use super::super::Changes;
use api::{FieldPath, Kind, Object, ObjectId, ObjectMeta, Problem, Severity, manifest};
use kube::api::DynamicObject;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where the problems of a cluster's objects are said to be.
const ORIGIN: &str = "cluster";

/// Annotations that change often or are large, and mean nothing to us.
const NOISE: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];

/// How many faults of an object are told in its status.
const MOST_FAULTS: usize = 5;

/// The objects of one kind.
pub struct Known {
    kind: Kind,
    objects: BTreeMap<ObjectId, Object>,
    problems: BTreeMap<ObjectId, Vec<Problem>>,
    problems_changed: bool,
    /// Nothing of this kind may be read.
    forbidden: bool,
    /// A list that is being read.
    list: Option<List>,
}

#[derive(Default)]
struct List {
    seen: BTreeSet<ObjectId>,
    changes: Changes,
}

impl Known {
    /// Nothing is known.
    pub fn new(kind: Kind) -> Self {
        let (objects, problems) = (BTreeMap::new(), BTreeMap::new());
        Self { kind, objects, problems, problems_changed: false, forbidden: false, list: None }
    }

    /// A list begins; one that was under way is forgotten.
    pub fn begin(&mut self) {
        self.list = Some(List::default());
    }

    /// An object as the API server has it. What it changes is held back while a list is read.
    pub fn apply(&mut self, object: DynamicObject) -> Changes {
        let id = id(self.kind, &object.metadata);
        let (read, problems) = read(self.kind, &id, object);
        self.set_problems(&id, problems);
        let mut change = Changes::new();
        // An object that fails is used as it last was good: it hurts nobody but itself.
        if let Some(object) = read
            && self.objects.get(&id) != Some(&object)
        {
            change.insert(id.clone(), Some(object));
        }
        let Some(list) = &mut self.list else {
            self.keep(&change);
            return change;
        };
        list.seen.insert(id);
        list.changes.append(&mut change);
        Changes::new()
    }

    /// An object is gone.
    pub fn delete(&mut self, metadata: &ObjectMeta) -> Changes {
        let id = id(self.kind, metadata);
        self.set_problems(&id, Vec::new());
        let change = if self.objects.contains_key(&id) { Changes::from([(id, None)]) } else { Changes::new() };
        self.keep(&change);
        change
    }

    /// The list is whole: what differs from before.
    pub fn done(&mut self) -> Changes {
        let List { seen, mut changes } = self.list.take().unwrap_or_default();
        let gone = |id: &&ObjectId| !seen.contains(*id);
        changes.extend(self.objects.keys().filter(gone).map(|id| (id.clone(), None)));
        let healed: Vec<ObjectId> = self.problems.keys().filter(gone).cloned().collect();
        healed.iter().for_each(|id| self.set_problems(id, Vec::new()));
        self.keep(&changes);
        changes
    }

    /// The API server doesn't have this kind any more.
    pub fn absent(&mut self) -> Changes {
        self.begin();
        self.done()
    }

    /// Whether the API server lets this kind be read; if not, what is known stays.
    pub fn forbidden(&mut self, forbidden: bool) {
        self.problems_changed |= self.forbidden != forbidden;
        self.forbidden = forbidden;
    }

    /// Why the door refuses an object as it stands.
    pub fn fault(&self, id: &ObjectId) -> Option<String> {
        let errors = self.problems.get(id)?.iter().filter(|problem| problem.severity == Severity::Error);
        let text: Vec<String> = errors.map(Problem::what).take(MOST_FAULTS).collect();
        (!text.is_empty()).then(|| text.join("\n"))
    }

    /// Whether there is no object that is of use.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All problems, if they changed since they were last asked for.
    pub fn problems(&mut self) -> Option<Vec<Problem>> {
        let changed = std::mem::take(&mut self.problems_changed);
        let forbidden = self.forbidden.then(|| unreadable(self.kind));
        changed.then(|| forbidden.into_iter().chain(self.problems.values().flatten().cloned()).collect())
    }

    fn set_problems(&mut self, id: &ObjectId, problems: Vec<Problem>) {
        let before = self.problems.remove(id).unwrap_or_default();
        self.problems_changed |= before != problems;
        if !problems.is_empty() {
            self.problems.insert(id.clone(), problems);
        }
    }

    fn keep(&mut self, changes: &Changes) {
        for (id, object) in changes {
            match object {
                Some(object) => self.objects.insert(id.clone(), object.clone()),
                None => self.objects.remove(id),
            };
        }
    }
}

/// The problem of a kind that may not be read.
fn unreadable(kind: Kind) -> Problem {
    let message = format!(
        "the API server doesn't let objects of kind {} be read: grant get, list and watch; what was known before stays \
         in use",
        kind.as_str()
    );
    Problem {
        severity: Severity::Error,
        file: ORIGIN.into(),
        line: 0,
        column: 0,
        object: None,
        path: FieldPath::default(),
        message,
    }
}

/// What an API server's object is called.
pub(super) fn id(kind: Kind, metadata: &ObjectMeta) -> ObjectId {
    let text = |field: &Option<String>| field.as_deref().unwrap_or_default().into();
    ObjectId { kind: kind.name(), namespace: text(&metadata.namespace), name: text(&metadata.name) }
}

/// Takes an object through the door; of its metadata only what means something to us.
pub(super) fn read(kind: Kind, id: &ObjectId, object: DynamicObject) -> (Option<Object>, Vec<Problem>) {
    let DynamicObject { metadata, mut data, .. } = object;
    let Some(fields) = data.as_object_mut() else { return (None, Vec::new()) };
    fields.insert("apiVersion".into(), kind.api_version().into());
    fields.insert("kind".into(), kind.as_str().into());
    fields.insert("metadata".into(), serde_json::to_value(strip(metadata)).unwrap_or(Value::Null));
    let mut manifest = manifest::read_value(ORIGIN, data);
    if manifest.objects.is_empty() {
        let errors = manifest.problems.iter_mut().filter(|problem| problem.severity == Severity::Error);
        errors.for_each(|problem| problem.message.push_str("; what was known before stays in use"));
    }
    manifest.problems.iter_mut().for_each(|problem| problem.object = Some(id.clone()));
    (manifest.objects.pop().map(|located| located.object), manifest.problems)
}

fn strip(mut metadata: ObjectMeta) -> ObjectMeta {
    // These change with every write, or are large, and mean nothing to us.
    metadata.managed_fields = None;
    metadata.resource_version = None;
    metadata.owner_references = None;
    metadata.finalizers = None;
    metadata.self_link = None;
    metadata.generate_name = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| !NOISE.contains(&name.as_str()));
    }
    metadata.annotations = metadata.annotations.filter(|annotations| !annotations.is_empty());
    metadata
}

#[cfg(test)]
mod tests;
