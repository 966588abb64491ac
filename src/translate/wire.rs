//! Small protobuf messages that all translations need.

use prost::{Message, Name};
use proto::envoy::{
    envoy::config::core::v3::{
        Address, AggregatedConfigSource, ApiVersion, CidrRange, ConfigSource, SocketAddress,
        config_source::ConfigSourceSpecifier,
        socket_address::{PortSpecifier, Protocol},
    },
    envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
    google::protobuf::{Any, BoolValue, Duration as ProtoDuration, UInt32Value},
};
use std::{net::IpAddr, time::Duration};

pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// From the ADS stream that brought the resource that says so.
pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

pub(crate) fn duration(duration: Duration) -> ProtoDuration {
    ProtoDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos() as i32,
    }
}

pub(crate) fn seconds(seconds: i64) -> ProtoDuration {
    ProtoDuration { seconds, nanos: 0 }
}

pub(crate) fn uint(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(crate) fn bool(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(crate) fn address(address: &str, port: u16) -> Address {
    socket(Protocol::Tcp, address, port)
}

pub(crate) fn udp_address(address: &str, port: u16) -> Address {
    socket(Protocol::Udp, address, port)
}

fn socket(protocol: Protocol, address: &str, port: u16) -> Address {
    let socket = SocketAddress {
        protocol: protocol.into(),
        address: address.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    Address { address: Some(proto::envoy::envoy::config::core::v3::address::Address::SocketAddress(socket)) }
}

pub(crate) fn cidr(address: IpAddr, prefix: u8) -> CidrRange {
    CidrRange { address_prefix: address.to_string(), prefix_len: uint(prefix.into()) }
}

/// RE2, the whole value.
pub(crate) fn regex(regex: impl Into<String>) -> RegexMatcher {
    RegexMatcher { regex: regex.into(), ..Default::default() }
}

pub(crate) fn string(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { ignore_case: false, match_pattern: Some(pattern) }
}

/// A literal as RE2 reads it: every character that could mean something is escaped. Names never become patterns.
pub(crate) fn escape(literal: &str) -> String {
    let mut escaped = String::with_capacity(literal.len() + 8);
    for c in literal.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && !c.is_ascii_control() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
