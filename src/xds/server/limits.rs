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

/// Program and version of a node, as far as it says: `envoy 1.40.0`. The program's name is cut, for it is a stranger's.
pub(super) fn software(node: &Node) -> String {
    let name: String = node.user_agent_name.chars().filter(|c| !c.is_control()).take(64).collect();
    let version: String = match node.user_agent_build_version.as_ref().and_then(|build| build.version.as_ref()) {
        Some(number) => format!("{}.{}.{}", number.major_number, number.minor_number, number.patch),
        None => node.user_agent_version.chars().filter(|c| !c.is_control()).take(64).collect(),
    };
    format!("{name} {version}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ads::{BuildVersion, SemanticVersion};

    #[test]
    fn clients_say_what_they_are_in_two_ways() {
        let number = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
        let build = Some(BuildVersion { version: Some(number) });
        let node = |name: &str| Node { user_agent_name: name.into(), ..Node::default() };
        let envoy = Node { user_agent_build_version: build, ..node("envoy") };
        let ours = Node { user_agent_version: "0.1.0\n".into(), ..node("windlass-proxy") };
        let wanted = [(envoy, "envoy 1.40.0"), (ours, "windlass-proxy 0.1.0"), (node(""), "")];
        assert!(wanted.into_iter().all(|(node, text)| software(&node) == text));
    }
}
