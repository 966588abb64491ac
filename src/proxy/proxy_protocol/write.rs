//! Headers towards backends: version 2, without extensions.

use super::{Ends, read::SIGNATURE2};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The header for a connection that is passed on for somebody; none: for one that speaks for the proxy itself.
pub fn version2(ends: Option<Ends>) -> Vec<u8> {
    let mut header = SIGNATURE2.to_vec();
    match ends {
        None => header.extend([0x20, 0x00, 0, 0]),
        Some(Ends { from, to }) => match (from.ip(), to.ip()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                header.extend([0x21, 0x11, 0, 12]);
                header.extend([one.octets(), other.octets()].concat());
                ports(&mut header, from, to);
            }
            (one, other) => {
                header.extend([0x21, 0x21, 0, 36]);
                header.extend([wide(one).octets(), wide(other).octets()].concat());
                ports(&mut header, from, to);
            }
        },
    }
    header
}

fn ports(header: &mut Vec<u8>, from: SocketAddr, to: SocketAddr) {
    header.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
