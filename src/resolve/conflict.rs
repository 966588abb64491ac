//! Listeners that can't be told apart: which of them stand, and which don't.
//!
//! Within one Gateway, or one ListenerSet, there is no winner: all of them are refused (Gateway API
//! `GatewaySpec.listeners`, "Handling indistinct Listeners"). Between them the Gateway comes first, then its ListenerSets
//! (`ListenerSetSpec.listeners`). A listener that lost to an earlier one holds nothing. One that is refused without a
//! winner keeps its place, so that nobody comes by another's mistake to what was not his.

use crate::{gateway::ListenerShape, status::Fault};
use model::{Hostname, Protocol};
use std::collections::{BTreeMap, BTreeSet};

/// So many HTTPS listeners may share a port: each has to know the hosts of all others, to tell clients that they are
/// misdirected.
const MAX_HTTPS_LISTENERS: usize = 256;

/// What is taken of a port by listeners that come first.
#[derive(Default)]
struct Taken {
    protocols: BTreeSet<Protocol>,
    hosts: BTreeSet<Hostname>,
}

/// Marks listeners in conflict. They come in the order of precedence, those of one object next to each other.
pub(crate) fn find(listeners: &mut [ListenerShape]) {
    // Datagrams have ports of their own.
    let mut ports: BTreeMap<(u16, bool), Taken> = BTreeMap::new();
    let place = |listener: &ListenerShape| (listener.port, listener.protocol == Some(Protocol::Udp));
    for source in listeners.chunk_by_mut(|a, b| a.set == b.set) {
        for listener in source.iter_mut() {
            listener.conflict = ports.get(&place(listener)).and_then(|taken| lost(listener, taken));
        }
        let mutual: Vec<_> = (0..source.len()).map(|index| mutual(index, source)).collect();
        for (listener, fault) in source.iter_mut().zip(mutual) {
            let (Some(protocol), None) = (listener.protocol, &listener.conflict) else { continue };
            let taken = ports.entry(place(listener)).or_default();
            taken.protocols.insert(protocol);
            taken.hosts.insert(listener.hostname.clone());
            listener.conflict = fault;
        }
    }
}

/// Refuses HTTPS listeners of a port beyond the bound, the last in precedence first.
pub(crate) fn bound(listeners: &mut [ListenerShape]) {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for listener in listeners.iter_mut().filter(|listener| listener.protocol == Some(Protocol::Https)) {
        if !listener.is_sound() {
            continue;
        }
        let count = counts.entry(listener.port).or_default();
        *count += 1;
        if *count > MAX_HTTPS_LISTENERS {
            let what = format!(
                "{}: port {} of the Gateway has {MAX_HTTPS_LISTENERS} HTTPS listeners already",
                listener.field(""),
                listener.port
            );
            listener.fault = Some(Fault::new("TooManyListeners", what));
        }
    }
}

/// The conflict with listeners that come first. It names none: they may be of another namespace.
fn lost(listener: &ListenerShape, taken: &Taken) -> Option<Fault> {
    let protocol = listener.protocol?;
    let fault = |reason, what: &str| {
        let (at, port) = (listener.field(""), listener.port);
        Some(Fault::new(
            reason,
            format!("{at}: the Gateway, or a ListenerSet before this one, has {what} on port {port}"),
        ))
    };
    if taken.protocols.iter().any(|other| differs(*other, protocol)) {
        return fault("ProtocolConflict", "another protocol");
    }
    if taken.hosts.contains(&listener.hostname) {
        return fault("HostnameConflict", "the same hostname");
    }
    None
}

/// Whether two protocols can't share a port: a server name tells HTTPS and TLS apart.
fn differs(one: Protocol, other: Protocol) -> bool {
    one != other && !(one.is_by_server_name() && other.is_by_server_name())
}

/// The conflict with another listener of the same object that has lost to none.
fn mutual(index: usize, source: &[ListenerShape]) -> Option<Fault> {
    let listener = &source[index];
    let protocol = listener.protocol?;
    let others = || {
        let others = source.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, other)| other);
        let is_near = move |other: Protocol| !other.is_apart(protocol);
        let others = others.filter(|other| other.port == listener.port && other.conflict.is_none());
        others.filter(move |other| other.protocol.is_some_and(is_near))
    };
    let fault = |reason, what: &str, other: &ListenerShape| {
        let (at, port, name) = (listener.field(""), listener.port, &other.name);
        Fault::new(reason, format!("{at}: listener {name} has {what} on port {port}"))
    };
    let protocol = others().find(|other| other.protocol.is_some_and(|other| differs(other, protocol)));
    let hostname = || others().find(|other| other.hostname == listener.hostname);
    protocol
        .map(|other| fault("ProtocolConflict", "another protocol", other))
        .or_else(|| hostname().map(|other| fault("HostnameConflict", "the same hostname", other)))
}
