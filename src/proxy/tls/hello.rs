//! The server name that a client asks for, out of its first bytes: read without a TLS library, as those bytes go on to
//! somebody else's.

/// No ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The longest ClientHello that is looked at, with the heads of its records.
pub(crate) const LONGEST: usize = 16 << 10;

/// Types of a record, a handshake message and an extension, and of a name in it.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// The server name in lower case, if there is one; `None` if more bytes are needed.
pub(crate) fn server_name(bytes: &[u8]) -> Result<Option<Option<String>>, Malformed> {
    let (message, is_whole) = handshake(bytes)?;
    let mut at = Reader(&message);
    let (Some(kind), Some(length)) = (at.number(1), at.number(3)) else { return incomplete(is_whole) };
    if kind != usize::from(CLIENT_HELLO) || length > LONGEST {
        return Err(Malformed);
    }
    match at.take(length) {
        Some(hello) => read(hello).map(Some),
        None => incomplete(is_whole),
    }
}

/// More may follow, unless so much has come that it never ends.
fn incomplete(is_open: bool) -> Result<Option<Option<String>>, Malformed> {
    if is_open { Ok(None) } else { Err(Malformed) }
}

/// The handshake messages in the records, and whether more may come.
fn handshake(bytes: &[u8]) -> Result<(Vec<u8>, bool), Malformed> {
    let mut message = Vec::new();
    let mut at = Reader(bytes);
    while let Some(kind) = at.number(1) {
        if kind != usize::from(HANDSHAKE) {
            return Err(Malformed);
        }
        let (Some(version), Some(length)) = (at.number(2), at.number(2)) else { break };
        if version >> 8 != 3 || length == 0 || length > LONGEST {
            return Err(Malformed);
        }
        let there = length.min(at.0.len());
        message.extend_from_slice(at.take(there).unwrap_or_default());
        if there < length {
            break;
        }
    }
    Ok((message, bytes.len() < LONGEST))
}

fn read(hello: &[u8]) -> Result<Option<String>, Malformed> {
    let mut at = Reader(hello);
    // Version and random, session, cipher suites, compression.
    at.take(34).ok_or(Malformed)?;
    for size in [1, 2, 1] {
        at.list(size).ok_or(Malformed)?;
    }
    if at.0.is_empty() {
        return Ok(None);
    }
    let mut extensions = Reader(at.list(2).ok_or(Malformed)?);
    while !extensions.0.is_empty() {
        let kind = extensions.number(2).ok_or(Malformed)?;
        let body = extensions.list(2).ok_or(Malformed)?;
        if kind == usize::from(SERVER_NAME) {
            return name(body);
        }
    }
    Ok(None)
}

fn name(extension: &[u8]) -> Result<Option<String>, Malformed> {
    let mut names = Reader(Reader(extension).list(2).ok_or(Malformed)?);
    while !names.0.is_empty() {
        let kind = names.number(1).ok_or(Malformed)?;
        let name = names.list(2).ok_or(Malformed)?;
        if kind == usize::from(HOST_NAME) {
            let text = std::str::from_utf8(name).ok().filter(|text| text.is_ascii() && !text.is_empty());
            return text.map(|text| Some(text.to_ascii_lowercase())).ok_or(Malformed);
        }
    }
    Ok(None)
}

/// Reads numbers and lists off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// What follows a length of so many bytes.
    fn list(&mut self, size: usize) -> Option<&'a [u8]> {
        let length = self.number(size)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
    use std::sync::Arc;

    fn hello(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_of_a_real_client() {
        let bytes = hello("Ldap.Example.Test");
        assert_eq!(server_name(&bytes), Ok(Some(Some("ldap.example.test".into()))));
        assert_eq!(server_name(&hello("127.0.0.1")), Ok(Some(None)));
        for end in 0..bytes.len() {
            assert_eq!(server_name(&bytes[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn records_may_cut_it_anywhere() {
        let bytes = hello("a.test");
        let mut cut = Vec::new();
        for piece in bytes[5..].chunks(7) {
            cut.extend([22, 3, 1, 0, piece.len() as u8]);
            cut.extend(piece);
        }
        assert_eq!(server_name(&cut), Ok(Some(Some("a.test".into()))));
    }

    #[test]
    fn what_is_no_hello_is_refused() {
        assert_eq!(server_name(b"GET / HTTP/1.1\r\n"), Err(Malformed));
        assert_eq!(server_name(&[22, 2, 0, 0, 1, 1]), Err(Malformed));
        assert_eq!(server_name(&[22, 3, 1, 0, 4, 2, 0, 0, 1]), Err(Malformed));
        let mut endless = Vec::new();
        while endless.len() < LONGEST {
            endless.extend([22, 3, 1, 0, 4, 1, 0, 0x3f, 0xff]);
        }
        assert_eq!(server_name(&endless), Err(Malformed));
        // Any change of a byte is read without a panic.
        let bytes = hello("a.test");
        for index in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[index] = value;
                let _ = server_name(&changed);
            }
        }
    }
}
