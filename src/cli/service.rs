//! What the names of clusters stand for.

use api::ObjectId;

/// The XBackend and port that a cluster stands for: `xbackend|<port>||<name>.<namespace>`.
pub fn xbackend(cluster: &str) -> Option<(ObjectId, u16)> {
    let mut parts = cluster.split('|');
    let ("xbackend", port, _, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?) else { return None };
    let (name, namespace) = host.rsplit_once('.')?;
    let id = ObjectId { kind: "XBackend".into(), namespace: namespace.into(), name: name.into() };
    Some((id, port.parse().ok()?))
}

/// The Service and port that a cluster stands for: `outbound|<port>||<name>.<namespace>.svc.<domain>`.
pub fn service(cluster: &str) -> Option<(ObjectId, u16)> {
    let mut parts = cluster.split('|');
    let ("outbound", port, _, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?) else { return None };
    let (name, rest) = host.split_once('.')?;
    let (namespace, _) = rest.split_once(".svc.")?;
    let id = ObjectId { kind: "Service".into(), namespace: namespace.into(), name: name.into() };
    Some((id, port.parse().ok()?))
}
