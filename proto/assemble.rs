//! Large messages put together from parts that are encoded once.
//!
//! Repeated fields of protobuf concatenate: a message followed by the bytes of one more field is the message with that
//! field. So a RouteConfiguration of 10,000 virtual hosts is its shell followed by the shared bytes of each.
//!
//! The split: a resource of [`TypeUrl::Route`](crate::TypeUrl::Route) is a *shell*: a RouteConfiguration with neither
//! virtual hosts nor `vhds`. Each virtual host is a resource of its own, named `<route configuration>/<host>`. Who serves
//! them sends [`full`] to ordinary Envoys and [`vhds`] to clients that subscribe to virtual hosts.

use crate::envoy::envoy::config::{
    core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource, config_source::ConfigSourceSpecifier},
    route::v3::{RouteConfiguration, Vhds},
};
use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use std::sync::LazyLock;

/// `RouteConfiguration.virtual_hosts`
const VIRTUAL_HOSTS: u32 = 2;

/// A shell with its virtual hosts, given as encoded `VirtualHost` messages. The order of hosts means nothing to Envoy;
/// give them sorted by name, so that equal contents have equal bytes.
pub fn full<'a>(shell: &Bytes, virtual_hosts: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let length = shell.len() + virtual_hosts.clone().map(|host| field_len(VIRTUAL_HOSTS, host)).sum::<usize>();
    let mut message = BytesMut::with_capacity(length);
    message.put_slice(shell);
    for host in virtual_hosts {
        field(&mut message, VIRTUAL_HOSTS, host);
    }
    message.freeze()
}

/// A shell that has its virtual hosts discovered over the same ADS stream.
pub fn vhds(shell: &Bytes) -> Bytes {
    static VHDS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let source = ConfigSource {
            resource_api_version: ApiVersion::V3.into(),
            config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
            ..Default::default()
        };
        RouteConfiguration { vhds: Some(Vhds { config_source: Some(source) }), ..Default::default() }.encode_to_vec()
    });
    [shell, &VHDS[..]].concat().into()
}

/// The route configuration that a virtual host belongs to, by the name of its resource.
pub fn route_of(virtual_host: &str) -> Option<&str> {
    virtual_host.rsplit_once('/').map(|(route, _)| route)
}

/// Appends one field that is an encoded message, a string or bytes.
pub fn field(message: &mut impl BufMut, number: u32, value: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(value.len() as u64, message);
    message.put_slice(value);
}

fn field_len(number: u32, value: &[u8]) -> usize {
    key_len(number) + encoded_len_varint(value.len() as u64) + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::envoy::config::route::v3::VirtualHost;

    #[test]
    fn parts_concatenate() {
        let shell = RouteConfiguration { name: "http.80".into(), ..Default::default() };
        let hosts: Vec<_> = ["a", "b"].map(|name| VirtualHost { name: name.into(), ..Default::default() }).into();
        let encoded: Vec<Bytes> = hosts.iter().map(|host| host.encode_to_vec().into()).collect();
        let bytes: Bytes = shell.encode_to_vec().into();
        let whole = RouteConfiguration { virtual_hosts: hosts, ..shell.clone() };
        assert_eq!(full(&bytes, encoded.iter()), whole.encode_to_vec());
        let discovered = RouteConfiguration::decode(vhds(&bytes)).unwrap();
        assert!(discovered.vhds.is_some());
        assert_eq!(RouteConfiguration { vhds: None, ..discovered }, shell);
        assert_eq!(route_of("https.443.web.gw.ns/*.a.test"), Some("https.443.web.gw.ns"));
    }
}
