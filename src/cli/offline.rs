//! What the offline commands start from: files, resolved and translated as the control plane does it, without a cluster
//! and without a proxy.

use crate::progress::Progress;
use anyhow::Context;
use api::{FieldPath, Object, ObjectId, Problem, Severity, manifest};
use clap::Args;
use control::{
    Graph,
    source::{
        directory::{Content, Directory},
        files,
    },
};
use model::{ObjectKey, ObjectRef, Status};
use proto::{Resource, ResourceKey};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What isn't in the files and is taken to be so.
#[derive(Args, Clone, Debug)]
pub struct Assume {
    /// A GatewayClass that is ours even if the files don't have it.
    #[arg(long, value_name = "NAME", default_value = "windlass")]
    class: String,
}

/// Everything that follows from some files.
pub struct World {
    /// The objects that count.
    pub objects: BTreeMap<ObjectId, Object>,
    /// What is wrong with what was read.
    pub problems: Vec<Problem>,
    /// What is said of objects that concern us.
    pub statuses: BTreeMap<ObjectRef, Status>,
    /// What the data planes get.
    pub resources: BTreeMap<ResourceKey, Arc<Resource>>,
    directory: Directory,
    texts: BTreeMap<Arc<str>, String>,
    /// Places that were looked for: each costs reading its file.
    places: RefCell<BTreeMap<(ObjectId, FieldPath), Place>>,
}

/// File, line, column. Zero is what isn't known.
type Place = (Arc<str>, u32, u32);

/// Standard input, where a file is wanted.
const STDIN: &str = "-";

impl World {
    /// Reads files and directories; `-` is standard input.
    ///
    /// # Errors
    /// If a path can't be read at all. Bad objects are problems.
    pub fn read(paths: &[PathBuf], assume: &Assume) -> anyhow::Result<Self> {
        let (mut directory, mut texts) = (Directory::default(), BTreeMap::new());
        let mut take = |name: &str, content: Content| {
            if let Content::Text(text) = &content {
                texts.insert(Arc::from(name), text.clone());
            }
            directory.set(name, content);
        };
        let (stdin, paths): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| path == Path::new(STDIN));
        if !stdin.is_empty() {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            take("<stdin>", Content::Text(text));
        }
        for path in &paths {
            std::fs::metadata(path).with_context(|| path.display().to_string())?;
        }
        let files = files::list(&paths);
        let progress = Progress::new("reading", files.len());
        for file in files.keys() {
            progress.step();
            take(&file.to_string_lossy(), files::read(file));
        }
        drop(progress);
        Ok(Self::of(directory, texts, assume))
    }

    fn of(mut directory: Directory, texts: BTreeMap<Arc<str>, String>, assume: &Assume) -> Self {
        let update = directory.update();
        let changes = update.changes.into_iter().filter_map(|(id, object)| Some((id, object?)));
        let objects: BTreeMap<ObjectId, Object> = changes.collect();
        let settings = resolve::Settings::default();
        let mut given = objects.clone();
        if let Some(class) = assumed_class(assume) {
            given.entry(class.id()).or_insert(class);
        }
        let mut graph = Graph::new(settings, translate::Settings::default(), crate::flags::threads());
        let progress = Progress::new("resolving", given.len());
        let effects = graph.commit(given.into_iter().map(|(id, object)| (id, Some(object))));
        drop(progress);
        let statuses = effects.statuses().filter_map(|(object, status)| Some((object.clone(), (*status?).clone())));
        let mut statuses: BTreeMap<ObjectRef, Status> = statuses.collect();
        statuses.retain(|object, _| objects.contains_key(&id(object)));
        let resources = graph.resources().map(|(key, resource)| (key.clone(), resource)).collect();
        Self {
            objects,
            problems: update.problems.unwrap_or_default(),
            statuses,
            resources,
            directory,
            texts,
            places: RefCell::default(),
        }
    }

    /// Tells on standard error what was refused at the door: without it the answer may be another.
    pub fn complain(&self) {
        for problem in self.problems.iter().filter(|problem| problem.severity == Severity::Error) {
            eprintln!("{problem}");
        }
    }

    /// Where a field of an object stands.
    pub fn place(&self, id: &ObjectId, path: &FieldPath) -> Place {
        let key = (id.clone(), path.clone());
        let known = self.places.borrow().get(&key).cloned();
        known.unwrap_or_else(|| self.places.borrow_mut().entry(key).or_insert_with(|| self.find(id, path)).clone())
    }

    fn find(&self, id: &ObjectId, path: &FieldPath) -> Place {
        let Some((file, line)) = self.directory.place(id) else { return ("".into(), 0, 0) };
        let found = self.texts.get(file).and_then(|text| manifest::place(text, id, path));
        let (line, column) = found.unwrap_or((line, 0));
        (file.clone(), line, column)
    }

    /// What is said of an object.
    pub fn status(&self, id: &ObjectId) -> Option<&Status> {
        self.statuses.get(&reference(id))
    }

    /// Where a route on the wire comes from: `<namespace>/<name>/<rule>/<match>`, perhaps behind its kind.
    pub fn route(&self, name: &str) -> Option<RouteOrigin> {
        let (name, kind) = match name.split_once(' ') {
            Some((kind, name)) => (name, Some(kind)),
            None => (name, None),
        };
        let mut parts = name.split('/');
        let (namespace, name) = (parts.next()?, parts.next()?);
        let mut index = || parts.next()?.parse::<usize>().ok();
        let (rule, matched) = (index()?, index()?);
        let of_that_name = |id: &&ObjectId| *id.namespace == *namespace && *id.name == *name;
        let kind = kind.unwrap_or("HTTPRoute");
        let is_route = |id: &&ObjectId| *id.kind == *kind;
        let object = self.objects.keys().filter(of_that_name).find(is_route)?.clone();
        Some(RouteOrigin { object, rule, matched })
    }
}

/// A match of a rule of a route object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteOrigin {
    /// The object.
    pub object: ObjectId,
    /// The index of the rule.
    pub rule: usize,
    /// The index of the match within the rule.
    pub matched: usize,
}

/// The id of what a status speaks of.
pub fn id(object: &ObjectRef) -> ObjectId {
    let ObjectKey { namespace, name } = object.key.clone();
    ObjectId { kind: object.kind.clone(), namespace, name }
}

fn reference(id: &ObjectId) -> ObjectRef {
    ObjectRef::new(id.kind.clone(), ObjectKey::new(id.namespace.clone(), id.name.clone()))
}

fn assumed_class(assume: &Assume) -> Option<Object> {
    let spec = api::GatewayClassSpec {
        controller_name: resolve::CONTROLLER.to_owned(),
        parameters_ref: None,
        description: None,
    };
    let metadata = api::ObjectMeta { name: Some(assume.class.clone()), ..Default::default() };
    (!assume.class.is_empty()).then(|| api::GatewayClass { metadata, spec }.into())
}
