//! What a stranger may send.

use proto::ads::{Node, value::Kind};
use tonic::Status;

/// Bounds on what a client sends; beyond them its stream ends with a gRPC status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request.
    pub message: usize,
    /// Names of one type that a client may ask for.
    pub names: usize,
    /// Bytes of a node id.
    pub node_id: usize,
    /// Streams that may be open.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: 4 << 20, names: 100_000, node_id: 1024, streams: 100_000 }
    }
}

impl Limits {
    /// Checks the first request's node.
    pub(super) fn node(&self, node: Option<Node>) -> Result<Node, Status> {
        let node = node.ok_or_else(|| Status::invalid_argument("missing node information"))?;
        if node.id.is_empty() {
            return Err(Status::invalid_argument("missing node ID"));
        }
        if node.id.len() > self.node_id {
            let seen = node.id.len();
            return Err(Status::invalid_argument(format!("node id has {seen} bytes, wanted at most {}", self.node_id)));
        }
        if let Some(odd) = node.id.chars().find(|c| c.is_control()) {
            return Err(Status::invalid_argument(format!("node id has the control character {odd:?}")));
        }
        Ok(node)
    }
}

/// A switch in a node's metadata: `"true"`, as Istio's bool-like strings are, or a bool.
pub(super) fn is_on(node: &Node, key: &str) -> bool {
    let value = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(key)?.kind.as_ref());
    match value {
        Some(Kind::StringValue(text)) => text == "true",
        Some(Kind::BoolValue(on)) => *on,
        _ => false,
    }
}
