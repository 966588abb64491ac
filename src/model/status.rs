//! Verdicts: what is said of an object in its status. Decided by the same code that decides the configuration.

use crate::ObjectKey;
use std::{fmt, sync::Arc};

/// A yes or a no with its reason, before it becomes a condition of a type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    /// Whether the condition holds; none is `Unknown`.
    pub holds: Option<bool>,
    /// One CamelCase word, from the specification where it has one.
    pub reason: &'static str,
    /// What was wanted, what was seen, where (field path), what to do. Empty if all is well.
    pub message: String,
}

/// A condition in the sense of Kubernetes, without the time of its last transition: that is the writer's business.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// `Accepted`, `ResolvedRefs`, `Programmed`, `Conflicted`, …
    pub kind: &'static str,
    /// Whether it holds, and why.
    pub verdict: Verdict,
}

impl Condition {
    /// A condition that holds.
    pub fn yes(kind: &'static str, reason: &'static str) -> Self {
        Self { kind, verdict: Verdict { holds: Some(true), reason, message: String::new() } }
    }

    /// A condition that holds, with something to say.
    pub fn yes_but(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, verdict: Verdict { holds: Some(true), reason, message: message.into() } }
    }

    /// A condition that can't be told yet.
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, verdict: Verdict { holds: None, reason, message: message.into() } }
    }

    /// A condition that does not hold.
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, verdict: Verdict { holds: Some(false), reason, message: message.into() } }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.verdict.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        write!(f, "{}={status} ({})", self.kind, self.verdict.reason)?;
        match self.verdict.message.as_str() {
            "" => Ok(()),
            message => write!(f, ": {message}"),
        }
    }
}

/// What a Gateway or ListenerSet says of one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerStatus {
    /// The listener's `name`.
    pub name: Arc<str>,
    /// Its port.
    pub port: u16,
    /// `(group, kind)` of the routes that may attach and that we support.
    pub supported_kinds: Vec<(&'static str, &'static str)>,
    /// How many routes are attached.
    pub attached_routes: u32,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// What a route (or policy) says of one of the parents (or targets) that it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParentStatus {
    /// The controller of the parent's class, in whose name this is said.
    pub controller: Arc<str>,
    /// `(group, kind)` of the parent.
    pub kind: (Arc<str>, Arc<str>),
    /// The parent's key. `explicit_namespace` says whether the reference wrote the namespace.
    pub parent: ObjectKey,
    /// Whether the reference in the spec names the namespace; the status repeats the reference as written.
    pub explicit_namespace: bool,
    /// The listener that the reference names.
    pub section: Option<Arc<str>>,
    /// The port that the reference names.
    pub port: Option<u16>,
    /// The conditions of this pair.
    pub conditions: Vec<Condition>,
}

/// The whole status that we would write to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status {
    /// The generation of the object that this status speaks of.
    pub observed_generation: i64,
    /// The Gateway whose proxies decide on `Programmed`, of a Gateway or ListenerSet.
    pub gateway: Option<ObjectKey>,
    /// Conditions of the object itself (GatewayClass, Gateway, ListenerSet, AuthorizationPolicy).
    pub conditions: Vec<Condition>,
    /// How many ListenerSets are attached to a Gateway; none if none names it.
    pub attached_listener_sets: Option<u32>,
    /// A Gateway's or ListenerSet's own listeners, in the order of the spec.
    pub listeners: Vec<ListenerStatus>,
    /// A route's parents, in the order of the spec.
    pub parents: Vec<ParentStatus>,
    /// The Gateways that a policy for Services concerns, by name.
    pub ancestors: Vec<ParentStatus>,
    /// What a GatewayClass does of Gateway API.
    pub supported_features: &'static [&'static str],
    /// A Gateway's addresses, `(type, value)`.
    pub addresses: Vec<(&'static str, Arc<str>)>,
}
