//! A client that sends exactly the bytes that a story says.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// A story that waits longer than this has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    waiting: Vec<u8>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, waiting: Vec::new() }
    }

    pub(super) fn send(&mut self, text: &str) -> &mut Self {
        self.stream.write_all(text.as_bytes()).unwrap();
        self
    }

    /// The next response, head and body, by its content-length or its chunks.
    pub(super) fn answer(&mut self) -> String {
        let head = loop {
            if let Some(end) = find(&self.waiting, b"\r\n\r\n") {
                break String::from_utf8_lossy(&self.waiting[..end + 4]).into_owned();
            }
            assert!(self.read() > 0, "closed after {:?}", String::from_utf8_lossy(&self.waiting));
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let end = match length {
            Some(length) => head.len() + length.parse::<usize>().unwrap(),
            None if head.contains("transfer-encoding: chunked") => loop {
                if let Some(end) = find(&self.waiting[head.len()..], b"0\r\n\r\n") {
                    break head.len() + end + 5;
                }
                assert!(self.read() > 0, "closed in a body");
            },
            None => head.len(),
        };
        while self.waiting.len() < end {
            assert!(self.read() > 0, "closed in a body");
        }
        let answer = self.waiting.drain(..end).collect();
        String::from_utf8(answer).unwrap()
    }

    /// Everything until the connection is closed.
    pub(super) fn rest(&mut self) -> String {
        while self.read() > 0 {}
        String::from_utf8(std::mem::take(&mut self.waiting)).unwrap()
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, count: usize) -> String {
        while self.waiting.len() < count {
            assert!(self.read() > 0, "closed after {:?}", String::from_utf8_lossy(&self.waiting));
        }
        String::from_utf8(self.waiting.drain(..count).collect()).unwrap()
    }

    pub(super) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// A reset counts as the end.
    fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let count = match self.stream.read(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            other => other.unwrap(),
        };
        self.waiting.extend_from_slice(&bytes[..count]);
        count
    }
}

/// One request on a connection of its own.
pub(super) fn get(address: SocketAddr, path: &str) -> String {
    let mut client = Client::new(address);
    client.send(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")).rest()
}

pub(super) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
