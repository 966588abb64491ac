//! Where objects come from, and the inbox that they are put into.

pub mod cluster;
pub mod directory;
pub mod files;
mod watch;

pub use watch::{TellProblems, Watch, watch};

use api::{Kind, Object, ObjectId, Problem};
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// New states of objects: none is deleted.
pub type Changes = BTreeMap<ObjectId, Option<Object>>;

/// What came of an object that was asked for by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is this.
    Found(Object),
    /// There is none.
    Absent,
    /// It can't be read: why.
    Unreadable(String),
}

/// What came of objects that were asked for by name.
pub type Answers = BTreeMap<ObjectId, Answer>;

/// What a source has found since it last said something.
#[derive(Debug, Default, PartialEq)]
pub struct Update {
    /// Objects that changed in a way that matters.
    pub changes: Changes,
    /// All problems that there are now, if they changed.
    pub problems: Option<Vec<Problem>>,
}

/// Changes that wait for the pipeline, coalesced by object. Cloning shares it.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    arrived: Condvar,
}

#[derive(Default)]
struct Pending {
    /// EndpointSlices stand apart, for they never wait behind configuration.
    endpoints: Changes,
    config: Changes,
    answers: Answers,
    /// When the oldest change that waits has come.
    since: Option<Instant>,
    /// Everything has been read once.
    synced: bool,
    /// What the pipeline took first had everything in it.
    started: bool,
    closed: bool,
    /// Since when the pipeline has been at what it took last.
    busy: Option<Instant>,
}

/// What the pipeline has to do next.
#[derive(Debug)]
pub struct Work {
    /// The changes.
    pub changes: Changes,
    /// What came of objects that were asked for by name.
    pub answers: Answers,
    /// When the oldest of them came.
    pub since: Instant,
    /// Whether they are endpoints only.
    pub endpoints: bool,
}

/// What [`Inbox::take`] gives.
#[derive(Debug)]
pub enum Taken {
    /// Something to do.
    Work(Work),
    /// Nothing has come for as long as was to be waited.
    Late,
    /// Nothing will come any more.
    Closed,
}

/// How many changes of configuration are committed at once, so that endpoints get their turn in between.
const MOST: usize = 2_000;

impl Inbox {
    /// Puts changes in; a newer state of an object replaces one that still waits.
    pub fn put(&self, changes: Changes) {
        let mut pending = self.pending();
        if changes.is_empty() {
            return;
        }
        let is_endpoints = |id: &ObjectId| &*id.kind == Kind::EndpointSlice.as_str();
        // Endpoints that end together with a change of configuration, as when a Service goes with the route to it, must
        // not overtake it: routes would still lead to where nobody is.
        let with_config = changes.keys().any(|id| !is_endpoints(id));
        for (id, object) in changes {
            let ahead = is_endpoints(&id) && (object.is_some() || !with_config);
            let Pending { endpoints, config, .. } = &mut *pending;
            let (into, other) = if ahead { (endpoints, config) } else { (config, endpoints) };
            other.remove(&id);
            into.insert(id, object);
        }
        pending.since.get_or_insert_with(Instant::now);
        drop(pending);
        self.0.arrived.notify_one();
    }

    /// Puts in what came of an object that was asked for by name.
    pub fn answer(&self, id: ObjectId, answer: Answer) {
        let mut pending = self.pending();
        pending.answers.insert(id, answer);
        pending.since.get_or_insert_with(Instant::now);
        drop(pending);
        self.0.arrived.notify_one();
    }

    /// Says that every source has read everything once. Until then nothing is taken.
    pub fn synced(&self) {
        self.pending().synced = true;
        self.0.arrived.notify_one();
    }

    /// Ends [`Inbox::take`].
    pub fn close(&self) {
        self.pending().closed = true;
        self.0.arrived.notify_one();
    }

    /// Waits for work: the first time everything at once, then endpoints before configuration; at most until then.
    /// While one piece of work is done the next gathers: that is how bursts coalesce, without making a single change
    /// wait.
    pub fn take(&self, until: Option<Instant>) -> Taken {
        let mut pending = self.pending();
        pending.busy = None;
        loop {
            if pending.closed {
                return Taken::Closed;
            }
            if pending.synced
                && let Some(work) = pending.next()
            {
                pending.busy = Some(Instant::now());
                return Taken::Work(work);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            pending = match left {
                Some(left) if left.is_zero() => return Taken::Late,
                Some(left) => self.0.arrived.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// How long the pipeline has been at what it took last; none while it waits for more. One that has died is at it for
    /// ever.
    pub fn busy(&self) -> Option<Duration> {
        self.pending().busy.map(|since| since.elapsed())
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Nothing in the lock panics half-way through a change.
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn next(&mut self) -> Option<Work> {
        if !self.started {
            self.started = true;
            let mut changes = std::mem::take(&mut self.config);
            changes.append(&mut self.endpoints);
            let answers = std::mem::take(&mut self.answers);
            // Also an empty first piece is work: it lets clients in.
            let since = self.since.take().unwrap_or_else(Instant::now);
            return Some(Work { changes, answers, since, endpoints: false });
        }
        let since = self.since?;
        // Answers are few, and something waits for them.
        let answers = std::mem::take(&mut self.answers);
        let endpoints = !self.endpoints.is_empty() && answers.is_empty();
        let changes = if endpoints {
            std::mem::take(&mut self.endpoints)
        } else if self.config.len() <= MOST {
            std::mem::take(&mut self.config)
        } else {
            let after = self.config.keys().nth(MOST).cloned();
            let rest = after.map(|id| self.config.split_off(&id)).unwrap_or_default();
            std::mem::replace(&mut self.config, rest)
        };
        if self.config.is_empty() && self.endpoints.is_empty() {
            self.since = None;
        }
        Some(Work { changes, answers, since, endpoints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId { kind: kind.into(), namespace: "n".into(), name: name.into() }
    }

    fn names(taken: Taken) -> Vec<String> {
        let Taken::Work(work) = taken else { return Vec::new() };
        work.changes.keys().map(ObjectId::to_string).collect()
    }

    #[test]
    fn everything_first_then_endpoints_before_configuration() {
        let inbox = Inbox::default();
        inbox.put([(id("HTTPRoute", "a"), None), (id("EndpointSlice", "b"), None)].into());
        inbox.synced();
        assert_eq!(names(inbox.take(None)), ["EndpointSlice n/b", "HTTPRoute n/a"]);
        inbox.put([(id("HTTPRoute", "a"), None)].into());
        inbox.put([(id("EndpointSlice", "b"), None)].into());
        assert_eq!(names(inbox.take(None)), ["EndpointSlice n/b"]);
        assert_eq!(names(inbox.take(None)), ["HTTPRoute n/a"]);
        assert!(inbox.busy().is_some());
        inbox.close();
        assert!(matches!(inbox.take(None), Taken::Closed));
        assert_eq!(inbox.busy(), None);
    }

    #[test]
    fn endpoints_do_not_end_before_the_configuration_that_leads_to_them() {
        let inbox = Inbox::default();
        inbox.synced();
        assert!(names(inbox.take(None)).is_empty());
        inbox.put([(id("HTTPRoute", "a"), None), (id("EndpointSlice", "b"), None)].into());
        assert_eq!(names(inbox.take(None)), ["EndpointSlice n/b", "HTTPRoute n/a"]);
    }

    #[test]
    fn answers_wait_for_nothing() {
        let inbox = Inbox::default();
        inbox.synced();
        assert!(names(inbox.take(None)).is_empty());
        assert!(matches!(inbox.take(Some(Instant::now())), Taken::Late));
        inbox.put([(id("EndpointSlice", "b"), None)].into());
        inbox.answer(id("Secret", "s"), Answer::Absent);
        let Taken::Work(work) = inbox.take(None) else { panic!("there is work") };
        assert_eq!(work.answers, Answers::from([(id("Secret", "s"), Answer::Absent)]));
        assert_eq!(names(inbox.take(None)), ["EndpointSlice n/b"]);
    }

    #[test]
    fn a_flood_is_taken_in_pieces() {
        let inbox = Inbox::default();
        inbox.synced();
        assert!(names(inbox.take(None)).is_empty());
        inbox.put((0..MOST + 1).map(|number| (id("Service", &format!("{number:05}")), None)).collect());
        assert_eq!(names(inbox.take(None)).len(), MOST);
        assert_eq!(names(inbox.take(None)), ["Service n/02000"]);
    }
}
