//! A backend that answers as a story says.

use super::client::{PATIENCE, find};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// What a backend was asked, and how often it was connected to.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) requests: Mutex<Vec<String>>,
    pub(super) connections: AtomicUsize,
}

/// A backend; it ends when it is dropped.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Seen>,
    gone: Arc<AtomicBool>,
}

impl Backend {
    /// Answers each request with what `answer` gives for its head and body; an answer without bytes closes the
    /// connection, as does one that says so.
    pub(super) fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::raw(move |mut stream, seen| {
            let mut waiting = Vec::new();
            while let Some(request) = read_request(&mut stream, &mut waiting) {
                let text = answer(&request);
                seen.requests.lock().unwrap().push(request);
                if stream.write_all(text.as_bytes()).is_err() || text.is_empty() || text.contains("connection: close") {
                    return;
                }
            }
        })
    }

    /// Hands over each connection.
    pub(super) fn raw(serve: impl Fn(TcpStream, &Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, gone) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let (seen_there, gone_there, serve) = (seen.clone(), gone.clone(), Arc::new(serve));
        base::tasks::thread("backend", move || {
            for stream in listener.incoming() {
                if gone_there.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                seen_there.connections.fetch_add(1, Ordering::SeqCst);
                let (serve, seen) = (serve.clone(), seen_there.clone());
                base::tasks::thread("backend connection", move || serve(stream, &seen)).unwrap();
            }
        })
        .unwrap();
        Self { address, seen, gone }
    }

    /// Says `text` to everybody.
    pub(super) fn saying(text: &'static str) -> Self {
        Self::new(move |_| ok(text))
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// One request with its body, by its content-length or its chunks.
pub(super) fn read_request(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> Option<String> {
    let mut more = |waiting: &mut Vec<u8>| {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        waiting.extend_from_slice(&bytes[..count]);
        Some(())
    };
    let head = loop {
        match find(waiting, b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(waiting)?,
        }
    };
    let text = String::from_utf8(waiting[..head].to_vec()).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let end = match length {
        Some(length) => head + length.parse::<usize>().unwrap(),
        None if text.contains("transfer-encoding: chunked") => loop {
            match find(&waiting[head..], b"0\r\n\r\n") {
                Some(end) => break head + end + 5,
                None => more(waiting)?,
            }
        },
        None => head,
    };
    while waiting.len() < end {
        more(waiting)?;
    }
    Some(String::from_utf8(waiting.drain(..end).collect()).unwrap())
}
