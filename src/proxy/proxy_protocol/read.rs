//! Headers of both versions, read in pieces: no byte is taken that isn't the header's. What Envoy refuses is refused.

use super::Ends;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE1: &[u8] = b"PROXY ";
pub(super) const SIGNATURE2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// Version 2 up to and with the length of the rest.
const FIXED: usize = 16;
/// Bytes of two IPv4 addresses with ports, and of two IPv6 addresses.
const IPV4: usize = 12;
const IPV6: usize = 36;

/// Why something is no header that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It starts with something else.
    #[error("wanted a PROXY header, saw something else")]
    Absent,
    /// Version 1: no end of the line where it must be.
    #[error("wanted the end of the PROXY line within {LONGEST_LINE} bytes")]
    Endless,
    /// Version 1: not `PROXY TCP4|TCP6 FROM TO PORT PORT` or `PROXY UNKNOWN`.
    #[error("the PROXY line is malformed")]
    Line,
    /// Version 2: another version, command, family or transport.
    #[error("a version, command, family or transport of the PROXY protocol that is not known")]
    Unknown,
    /// Version 2: too short for its addresses, or its extensions go beyond its end.
    #[error("a length in the PROXY header does not fit")]
    Length,
    /// Nobody can have connected from there or to there.
    #[error("an address in the PROXY header is none of a connection")]
    Address,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All of them are the header's, and it goes on.
    More,
    /// It has ended.
    End {
        /// So many of them were the header's.
        used: usize,
        /// None: the connection speaks for itself.
        ends: Option<Ends>,
    },
}

/// A header that is being read. It keeps 107 bytes at most, whatever length is announced.
#[derive(Debug, Default)]
pub struct Header {
    kept: Vec<u8>,
    part: Part,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default)]
enum Part {
    /// A signature.
    #[default]
    Start,
    /// Version 1: the rest of the line.
    Line,
    /// Version 2: command, family, length.
    Fixed,
    /// Version 2: addresses up to that length of all, then the rest.
    Addresses { end: usize, rest: usize },
    /// Version 2: extensions, or what is passed over.
    Rest { ends: Option<Ends>, rest: Rest },
}

/// What follows the addresses.
#[derive(Clone, Copy, Debug)]
struct Rest {
    left: usize,
    /// Whether it must be made of extensions: a type, two bytes of length, a value.
    extensions: bool,
    /// Bytes that are known of an extension's type and length.
    known: u8,
    length: usize,
}

impl Header {
    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        for (index, byte) in bytes.iter().enumerate() {
            if let Some(ends) = self.byte(*byte)? {
                return Ok(Step::End { used: index + 1, ends });
            }
        }
        Ok(Step::More)
    }

    fn byte(&mut self, byte: u8) -> Result<Option<Option<Ends>>, Fault> {
        if let Part::Rest { ends, rest } = &mut self.part {
            rest.byte(byte)?;
            return if rest.left == 0 { rest.end().map(|()| Some(*ends)) } else { Ok(None) };
        }
        self.kept.push(byte);
        let kept = &*self.kept;
        match self.part {
            Part::Start if kept == SIGNATURE1 => self.part = Part::Line,
            Part::Start if kept == SIGNATURE2 => self.part = Part::Fixed,
            Part::Start if SIGNATURE1.starts_with(kept) || SIGNATURE2.starts_with(kept) => {}
            Part::Start => return Err(Fault::Absent),
            Part::Line if kept.ends_with(b"\r\n") => return line(kept).map(Some),
            Part::Line if kept.len() >= LONGEST_LINE => return Err(Fault::Endless),
            Part::Fixed if kept.len() == FIXED => return self.fixed(),
            Part::Addresses { end, rest } if kept.len() == end => {
                return self.go_on(Some(addresses(&kept[FIXED..])?), rest, true);
            }
            Part::Line | Part::Fixed | Part::Addresses { .. } | Part::Rest { .. } => {}
        }
        Ok(None)
    }

    /// Version 2, once its first part is whole.
    fn fixed(&mut self) -> Result<Option<Option<Ends>>, Fault> {
        let [command, family, high, low] = self.kept[SIGNATURE2.len()..] else { return Err(Fault::Length) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let addresses = match (command, family) {
            // A check of the passer-on's own: whatever follows means nothing.
            (0x20, _) => return self.go_on(None, length, false),
            (0x21, 0x11 | 0x12) => IPV4,
            (0x21, 0x21 | 0x22) => IPV6,
            _ => return Err(Fault::Unknown),
        };
        let rest = length.checked_sub(addresses).ok_or(Fault::Length)?;
        self.part = Part::Addresses { end: FIXED + addresses, rest };
        Ok(None)
    }

    fn go_on(&mut self, ends: Option<Ends>, left: usize, extensions: bool) -> Result<Option<Option<Ends>>, Fault> {
        self.part = Part::Rest { ends, rest: Rest { left, extensions, known: 0, length: 0 } };
        Ok((left == 0).then_some(ends))
    }
}

impl Rest {
    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        self.left -= 1;
        match self.known {
            _ if !self.extensions => return Ok(()),
            0 => {}
            1 | 2 => self.length = (self.length << 8) | usize::from(byte),
            _ => {
                self.length -= 1;
                if self.length == 0 {
                    self.known = 0;
                }
                return Ok(());
            }
        }
        self.known += 1;
        if self.known == 3 && self.length == 0 {
            self.known = 0;
        }
        if self.known == 3 && self.length > self.left { Err(Fault::Length) } else { Ok(()) }
    }

    /// Whether it may end here.
    fn end(&self) -> Result<(), Fault> {
        if self.known == 0 { Ok(()) } else { Err(Fault::Length) }
    }
}

/// Version 1, with its end.
fn line(line: &[u8]) -> Result<Option<Ends>, Fault> {
    let line = std::str::from_utf8(line).map_err(|_| Fault::Line)?.trim_ascii_end();
    let parts: Vec<&str> = line.split(' ').collect();
    let (from, to, ports) = match parts[..] {
        [_, "UNKNOWN", ..] => return Ok(None),
        [_, "TCP4", from, to, ref ports @ ..] => (v4(from)?, v4(to)?, ports),
        [_, "TCP6", from, to, ref ports @ ..] => (v6(from)?, v6(to)?, ports),
        _ => return Err(Fault::Line),
    };
    let &[from_port, to_port] = ports else { return Err(Fault::Line) };
    connection(SocketAddr::new(from, port(from_port)?), SocketAddr::new(to, port(to_port)?)).map(Some)
}

fn v4(text: &str) -> Result<IpAddr, Fault> {
    text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Fault::Line)
}

fn v6(text: &str) -> Result<IpAddr, Fault> {
    text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Fault::Line)
}

fn port(text: &str) -> Result<u16, Fault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Fault::Line)
}

/// Version 2: both addresses, then both ports.
fn addresses(bytes: &[u8]) -> Result<Ends, Fault> {
    let (addresses, ports) = bytes.split_at(bytes.len() - 4);
    let (from, to) = addresses.split_at(addresses.len() / 2);
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let address = |bytes: &[u8]| match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(four), _) => Ok(IpAddr::from(four)),
        (_, Ok(sixteen)) => Ok(IpAddr::from(sixteen)),
        _ => Err(Fault::Length),
    };
    connection(SocketAddr::new(address(from)?, port(0)), SocketAddr::new(address(to)?, port(2)))
}

/// Nobody connects from or to no address, a group or everybody.
fn connection(from: SocketAddr, to: SocketAddr) -> Result<Ends, Fault> {
    let is_one = |ip: IpAddr| !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST);
    if is_one(from.ip()) && is_one(to.ip()) { Ok(Ends { from, to }) } else { Err(Fault::Address) }
}
