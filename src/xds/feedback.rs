//! What the streams tell the rest of the control plane.

use proto::{Scope, TypeUrl};
use std::sync::Arc;

/// One thing that a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// Whose resources it gets.
    pub scope: Scope,
    /// Which stream: `<node id>-<number>`, unique in this process.
    pub client: Arc<str>,
    /// What it did.
    pub outcome: Outcome,
}

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Opened a stream.
    Connected,
    /// Acknowledged everything up to and including this generation of its scope, parked resources left out.
    Acked {
        /// As [`crate::Publisher::publish`] returned it.
        generation: u64,
    },
    /// Refused a resource, which is now parked: this stream gets it again when its version changes, or after a while
    /// if the refusal may pass.
    Nacked {
        /// The resource's type.
        type_url: TypeUrl,
        /// The resource's name.
        name: Arc<str>,
        /// The version that was refused, as it stood on the wire.
        version: String,
        /// The client's reason.
        error: String,
        /// The fault is the client's machine's, such as a port in use: the same version is offered again.
        may_pass: bool,
    },
    /// A resource that had been refused is accepted, or gone, or no longer asked for.
    Recovered {
        /// The resource's type.
        type_url: TypeUrl,
        /// The resource's name.
        name: Arc<str>,
    },
    /// The stream ended.
    Disconnected,
}

/// Who listens. Called from the streams: it must return at once.
pub trait Observe: Send + Sync + 'static {
    /// Takes one piece of feedback.
    fn observe(&self, feedback: Feedback);
}

/// Nobody listens.
impl Observe for () {
    fn observe(&self, _: Feedback) {}
}

impl<F: Fn(Feedback) + Send + Sync + 'static> Observe for F {
    fn observe(&self, feedback: Feedback) {
        self(feedback);
    }
}
