//! What the commands that explain start from: objects, resolved and translated as the control plane does it, without a
//! proxy; of files alone without a cluster.

use crate::{
    live::{Live, lay_over},
    progress::Progress,
};
use anyhow::Context;
use api::{FieldPath, Object, ObjectId, Problem, Severity, manifest};
use clap::Args;
use control::{
    Graph,
    source::{
        Answer,
        directory::{Content, Directory},
        files,
    },
};
use model::{ObjectKey, ObjectRef, Status};
use proto::{Resource, ResourceKey};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
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

/// Everything that follows from some files, from a cluster, or from files that are laid over a cluster.
pub struct World {
    /// The objects that count.
    pub objects: BTreeMap<ObjectId, Object>,
    /// What is wrong with what was read.
    pub problems: Vec<Problem>,
    /// What is odd about the cluster, if one was asked: above all what may not be read.
    pub notes: Vec<String>,
    /// What is said of objects that concern us.
    pub statuses: BTreeMap<ObjectRef, Status>,
    /// What the data planes get.
    pub resources: BTreeMap<ResourceKey, Arc<Resource>>,
    /// Where it was looked.
    pub origin: Origin,
    files: Files,
    /// Places that were looked for: each costs reading its file.
    places: RefCell<BTreeMap<(ObjectId, FieldPath), Place>>,
}

/// Where a world comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From files alone.
    Files,
    /// From a cluster.
    Cluster,
    /// From a cluster with files laid over it.
    Both,
}

impl Origin {
    /// Where something isn't.
    pub fn within(self) -> &'static str {
        match self {
            Self::Files => "among these files",
            Self::Cluster => "in this cluster",
            Self::Both => "in this cluster or these files",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "these files",
            Self::Cluster => "this cluster",
            Self::Both => "this cluster and these files",
        })
    }
}

/// File, line, column. Zero is what isn't known.
type Place = (Arc<str>, u32, u32);

/// Standard input, where a file is wanted.
const STDIN: &str = "-";

/// What stands in files.
#[derive(Default)]
pub struct Files {
    directory: Directory,
    texts: BTreeMap<Arc<str>, String>,
}

impl Files {
    /// Reads files and directories; `-` is standard input.
    ///
    /// # Errors
    /// If a path can't be read at all. Bad objects are problems.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut read = Self::default();
        let (stdin, paths): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| path == Path::new(STDIN));
        if !stdin.is_empty() {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            read.take("<stdin>", Content::Text(text));
        }
        for path in &paths {
            std::fs::metadata(path).with_context(|| path.display().to_string())?;
        }
        let files = files::list(&paths);
        let progress = Progress::new("reading", files.len());
        for file in files.keys() {
            progress.step();
            read.take(&file.to_string_lossy(), files::read(file));
        }
        Ok(read)
    }

    fn take(&mut self, name: &str, content: Content) {
        if let Content::Text(text) = &content {
            self.texts.insert(Arc::from(name), text.clone());
        }
        self.directory.set(name, content);
    }
}

impl World {
    /// Reads files and directories; `-` is standard input.
    ///
    /// # Errors
    /// If a path can't be read at all. Bad objects are problems.
    pub fn read(paths: &[PathBuf], assume: &Assume) -> anyhow::Result<Self> {
        Self::of(Files::read(paths)?, None, Some(assume))
    }

    /// Resolves and translates what there is.
    ///
    /// # Errors
    /// If a cluster is asked for what is referred to, and can't be asked any more.
    pub fn of(mut files: Files, live: Option<&Live>, assume: Option<&Assume>) -> anyhow::Result<Self> {
        let update = files.directory.update();
        let mut objects = live.map(|live| live.standing.objects.clone()).unwrap_or_default();
        let origin = match (live, update.changes.is_empty()) {
            (None, _) => Origin::Files,
            (Some(_), true) => Origin::Cluster,
            (Some(_), false) => Origin::Both,
        };
        for (id, object) in update.changes.into_iter().filter_map(|(id, object)| Some((id, object?))) {
            let object = if live.is_some() { lay_over(objects.get(&id), object) } else { object };
            match live.is_some_and(|live| live.is_elsewhere(&object)) {
                true => objects.remove(&id),
                false => objects.insert(id, object),
            };
        }
        let mut given = objects.clone();
        if let Some(class) = assume.and_then(assumed_class) {
            given.entry(class.id()).or_insert(class);
        }
        let (resolve, translate) = live.map(|live| live.settings.clone()).unwrap_or_default();
        let mut graph = Graph::new(resolve, translate, crate::flags::threads());
        let progress = Progress::new("resolving", given.len());
        let mut statuses = commit(&mut graph, given, live, &mut objects)?;
        drop(progress);
        statuses.retain(|object, _| objects.contains_key(&id(object)));
        let mut problems = live.map(|live| live.standing.problems.clone()).unwrap_or_default();
        problems.extend(update.problems.unwrap_or_default());
        Ok(Self {
            problems,
            notes: live.map(|live| live.notes.clone()).unwrap_or_default(),
            statuses,
            resources: graph.resources().map(|(key, resource)| (key.clone(), resource)).collect(),
            origin,
            objects,
            files,
            places: RefCell::default(),
        })
    }

    /// Tells on standard error what was refused at the door, or may not be read: without it the answer may be another.
    pub fn complain(&self) {
        self.notes.iter().for_each(|note| eprintln!("windlass: {note}"));
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
        let Some((file, line)) = self.files.directory.place(id) else {
            return (if self.origin == Origin::Files { "" } else { "cluster" }.into(), 0, 0);
        };
        let found = self.files.texts.get(file).and_then(|text| manifest::place(text, id, path));
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

/// Commits what is given and, of a cluster, what turns out to be referred to; gives what is said of all objects.
fn commit(
    graph: &mut Graph,
    given: BTreeMap<ObjectId, Object>,
    live: Option<&Live>,
    objects: &mut BTreeMap<ObjectId, Object>,
) -> anyhow::Result<BTreeMap<ObjectRef, Status>> {
    let mut statuses = BTreeMap::new();
    let mut edits: Vec<(ObjectId, Option<Object>)> = given.into_iter().map(|(id, object)| (id, Some(object))).collect();
    let (mut unreadable, mut asked) = (Vec::new(), BTreeSet::new());
    loop {
        let effects = graph.commit_with(std::mem::take(&mut edits), std::mem::take(&mut unreadable));
        for (object, status) in effects.statuses() {
            match status {
                Some(status) => statuses.insert(object.clone(), (*status).clone()),
                None => statuses.remove(object),
            };
        }
        let Some(live) = live else { return Ok(statuses) };
        let wanted = effects.wanted().filter(|(_, is_wanted)| *is_wanted).map(|(object, _)| id(object));
        let wanted: Vec<ObjectId> = wanted.filter(|id| !objects.contains_key(id) && asked.insert(id.clone())).collect();
        for id in wanted {
            match live.named(&id)? {
                Answer::Found(object) => {
                    objects.insert(id.clone(), object.clone());
                    edits.push((id, Some(object)));
                }
                Answer::Unreadable(why) => unreadable.push((id, Some(why))),
                Answer::Absent => {}
            }
        }
        if edits.is_empty() && unreadable.is_empty() {
            return Ok(statuses);
        }
    }
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
