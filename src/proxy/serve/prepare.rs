//! What is added to and removed from heads on their way, as Envoy's connection manager and router do.

use super::Link;
use crate::{
    config::ServerHeader,
    h1::strip_hop_by_hop,
    head::{Fields, Head, Known, Reply},
    worker::Worker,
};
use std::net::IpAddr;

/// Prepares a request for policies and routes: hop-by-hop fields go, what strangers may not say goes, and what we know
/// of the client is written.
pub(super) fn request(head: &mut Head, link: &Link, worker: &Worker, upgrade: bool) {
    let http = &link.http;
    let fields = head.fields_mut();
    strip_hop_by_hop(fields, upgrade, |known| match known {
        // 100 Continue is our own affair with the client.
        Known::Expect => true,
        Known::Envoy => http.use_remote_address,
        Known::ForwardedClientCert => !http.forward_client_cert,
        _ => false,
    });
    if http.tell_client_cert.is_some()
        && let Some(told) = link.conn.certificate.as_ref().and_then(|certificate| certificate.forwarded.as_deref())
    {
        fields.set("x-forwarded-client-cert", told.as_bytes());
    }
    let peer = link.conn.remote.ip();
    let mut https = link.conn.tls.is_some();
    let client = client_address(fields, peer, http.use_remote_address, http.trusted_hops);
    if http.use_remote_address && !http.skip_xff_append {
        append_forwarded_for(fields, &link.peer);
    }
    let trusted = !http.use_remote_address || http.trusted_hops > 0;
    match fields.get_known(Known::ForwardedProto) {
        Some(proto) if trusted => https = proto.eq_ignore_ascii_case(b"https"),
        _ => fields.set("x-forwarded-proto", if https { b"https" } else { b"http" }),
    }
    if http.generate_request_id {
        let keep = http.preserve_request_id || !http.use_remote_address;
        if !(keep && fields.get_known(Known::RequestId).is_some()) {
            fields.set("x-request-id", &uuid(worker));
        }
    }
    if let Some(via) = &http.via {
        fields.append("via", via.as_bytes());
    }
    head.set_client(client, https);
}

/// Prepares a response for the client.
pub(super) fn response(reply: &mut Reply, link: &Link, worker: &Worker) {
    let http = &link.http;
    match &http.server {
        ServerHeader::PassThrough => {}
        ServerHeader::IfAbsent(_) if reply.fields.get_known(Known::Server).is_some() => {}
        ServerHeader::IfAbsent(name) | ServerHeader::Overwrite(name) => reply.fields.set("server", name.as_bytes()),
    }
    if let Some(via) = &http.via {
        reply.fields.append("via", via.as_bytes());
    }
    if reply.fields.get_known(Known::Date).is_none() {
        worker.with_date(|date| reply.fields.append("date", date.as_bytes()));
    }
}

/// The client's address: the peer, or what the last proxy that we trust wrote.
fn client_address(fields: &Fields, peer: IpAddr, use_remote_address: bool, trusted_hops: u32) -> IpAddr {
    let back = match (use_remote_address, trusted_hops) {
        (true, 0) => return peer,
        // The peer itself is the first trusted proxy.
        (true, hops) => hops - 1,
        (false, hops) => hops,
    };
    let Some(value) = fields.values("x-forwarded-for").last() else { return peer };
    let address = value.rsplit(|&byte| byte == b',').nth(back as usize);
    let address = address.and_then(|text| std::str::from_utf8(text.trim_ascii()).ok());
    address.and_then(|text| text.parse().ok()).unwrap_or(peer)
}

/// Adds the peer to `x-forwarded-for`.
fn append_forwarded_for(fields: &mut Fields, peer: &str) {
    if fields.get_known(Known::ForwardedFor).is_none() {
        return fields.append("x-forwarded-for", peer.as_bytes());
    }
    let mut joined: Vec<u8> = fields.values("x-forwarded-for").collect::<Vec<_>>().join(&b","[..]);
    joined.push(b',');
    joined.extend_from_slice(peer.as_bytes());
    fields.set("x-forwarded-for", &joined);
}

/// A random UUID, version 4.
fn uuid(worker: &Worker) -> [u8; 36] {
    let bits = (u128::from(worker.random()) << 64) | u128::from(worker.random());
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
    let (mut out, mut at) = ([b'-'; 36], 0);
    for (index, byte) in bits.to_be_bytes().into_iter().enumerate() {
        at += usize::from(matches!(index, 4 | 6 | 8 | 10));
        (out[at], out[at + 1]) = (digit(byte >> 4), digit(byte));
        at += 2;
    }
    out
}
