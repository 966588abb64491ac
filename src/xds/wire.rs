//! Responses as gRPC messages, written around bytes that are encoded already.

use crate::snapshot::Entry;
use crate::subscription::{Content, Flavor, Response};
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encoded_len_varint, key_len};
use proto::{TypeUrl, assemble::field};
use std::sync::Arc;

/// The gRPC message prefix: not compressed, and the length.
const PREFIX: usize = 5;

/// Field numbers that `DiscoveryResponse` and `DeltaDiscoveryResponse` share, and the one of delta only.
const VERSION: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;
const REMOVED: u32 = 6;

/// A response in one or two pieces: its own head, and resources that it may share with others.
pub(crate) fn frames(response: &Response, flavor: Flavor) -> (Bytes, Option<Bytes>) {
    let type_url = response.type_url;
    let mut head = BytesMut::with_capacity(256);
    head.put_bytes(0, PREFIX);
    field(&mut head, VERSION, version(response, flavor).as_bytes());
    field(&mut head, TYPE_URL, type_url.as_str().as_bytes());
    field(&mut head, NONCE, response.nonce.to_string().as_bytes());
    for name in &response.removed {
        field(&mut head, REMOVED, name.as_bytes());
    }
    let shared = match &response.content {
        Content::Some(entries) => {
            head.reserve(entries.iter().map(|entry| resource_len(entry, type_url, flavor)).sum());
            entries.iter().for_each(|entry| put_resource(&mut head, entry, type_url, flavor));
            None
        }
        Content::Whole(published) => Some(published.form(flavor as usize, || {
            let length = published.entries().map(|entry| resource_len(entry, type_url, flavor)).sum();
            let mut bytes = Vec::with_capacity(length);
            published.entries().for_each(|entry| put_resource(&mut bytes, entry, type_url, flavor));
            bytes
        })),
    };
    let length = head.len() - PREFIX + shared.as_ref().map_or(0, Bytes::len);
    // A message of 4 GiB and more can't be said in gRPC; a scope that large isn't served by this protocol.
    head[1..PREFIX].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    (head.freeze(), shared)
}

/// Delta: the generation, for people; each resource has its own version. State of the world: a hash of the contents.
fn version(response: &Response, flavor: Flavor) -> String {
    if flavor == Flavor::Delta {
        return response.generation.to_string();
    }
    let mut versions = BytesMut::new();
    let mut add = |entry: &Arc<Entry>| {
        versions.put_slice(entry.name.as_bytes());
        versions.put_u64(entry.resource.version);
    };
    match &response.content {
        Content::Some(entries) => entries.iter().for_each(&mut add),
        Content::Whole(published) => published.entries().for_each(&mut add),
    }
    proto::Resource::from_bytes(versions.freeze()).version_text()
}

/// `google.protobuf.Any`: type_url = 1, value = 2.
fn any_len(entry: &Entry, type_url: TypeUrl) -> usize {
    field_len(type_url.as_str().len()) + field_len(entry.resource.body.len())
}

/// `Resource`: version = 1, resource = 2, name = 3.
fn inner_len(entry: &Entry, type_url: TypeUrl) -> usize {
    field_len(16) + field_len(any_len(entry, type_url)) + field_len(entry.name.len())
}

fn resource_len(entry: &Entry, type_url: TypeUrl, flavor: Flavor) -> usize {
    field_len(match flavor {
        Flavor::Delta => inner_len(entry, type_url),
        Flavor::Sotw => any_len(entry, type_url),
    })
}

/// All fields here have numbers below 16: one byte of key.
fn field_len(length: usize) -> usize {
    key_len(RESOURCES) + encoded_len_varint(length as u64) + length
}

fn put_resource(out: &mut impl BufMut, entry: &Entry, type_url: TypeUrl, flavor: Flavor) {
    if flavor == Flavor::Delta {
        start(out, RESOURCES, inner_len(entry, type_url));
        field(out, 3, entry.name.as_bytes());
        field(out, 1, entry.resource.version_text().as_bytes());
    }
    start(out, RESOURCES, any_len(entry, type_url));
    field(out, 1, type_url.as_str().as_bytes());
    field(out, 2, &entry.resource.body);
}

/// The key and length of a field whose contents follow.
fn start(out: &mut impl BufMut, number: u32, length: usize) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(length as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;
    use prost::Message;
    use proto::{Resource, ads};

    /// What tonic would make of it: the prefix, then prost's encoding.
    fn message(response: &Response, flavor: Flavor) -> Bytes {
        let (head, tail) = frames(response, flavor);
        let bytes = Bytes::from([&head[..], &tail.unwrap_or_default()].concat());
        assert_eq!(bytes[0], 0);
        assert_eq!(u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize, bytes.len() - 5);
        bytes.slice(5..)
    }

    #[test]
    fn prost_reads_what_is_written() {
        let mut snapshot = Snapshot::default();
        for (name, body) in [("a", "x".repeat(300)), ("b", String::new())] {
            let resource = Resource::from_bytes(body.into());
            snapshot.set(1, TypeUrl::Cluster, name.into(), Some(resource));
        }
        let published = snapshot.published(TypeUrl::Cluster).clone();
        let entries: Vec<_> = published.entries().cloned().collect();
        let any = |entry: &Arc<Entry>| ads::OpaqueAny {
            type_url: TypeUrl::Cluster.to_string(),
            value: entry.resource.body.clone(),
        };
        for content in [Content::Some(entries.clone()), Content::Whole(published)] {
            let response = Response {
                type_url: TypeUrl::Cluster,
                nonce: 7,
                generation: 3,
                content,
                removed: vec!["gone".into(), "away".into()],
            };
            let delta = ads::DeltaDiscoveryResponse::decode(message(&response, Flavor::Delta)).unwrap();
            let resource = |entry: &Arc<Entry>| ads::Resource {
                name: entry.name.to_string(),
                version: entry.resource.version_text(),
                resource: Some(any(entry)),
                aliases: Vec::new(),
            };
            let expected = ads::DeltaDiscoveryResponse {
                system_version_info: "3".into(),
                resources: entries.iter().map(resource).collect(),
                type_url: TypeUrl::Cluster.to_string(),
                nonce: "7".into(),
                removed_resources: vec!["gone".into(), "away".into()],
            };
            assert_eq!(delta, expected);
            let response = Response { removed: Vec::new(), ..response };
            let sotw = ads::DiscoveryResponse::decode(message(&response, Flavor::Sotw)).unwrap();
            assert_eq!(sotw.resources, entries.iter().map(any).collect::<Vec<_>>());
            assert_eq!((sotw.nonce.as_str(), sotw.version_info.len()), ("7", 16));
        }
    }
}
