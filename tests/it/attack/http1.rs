//! Over HTTP/1.

use super::{
    Attack,
    wire::{LIMIT, exchange, flood},
};
use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const HEAD: &str = "GET / HTTP/1.1\r\nHost: good.example\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Lines with bytes that no name and no value may have, and other ways to make two parsers disagree.
const BAD_LINES: &[&[u8]] = &[
    b"a\rb: c",
    b"a\nb c: d",
    b"a\0b: c",
    b"a b: c",
    b"a: b\0c",
    b"a: b\rc",
    b": no name",
    b"no colon",
    b"a : space before the colon",
    b"a\x7f: c",
    b"\xc3\xa4: c",
    b"a: b\x01c",
    b"Content-Length: 1\r\nContent-Length: 2",
    b"Content-Length: +1",
    b"Content-Length: 1, 1",
    b"Content-Length: 0x1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: \x0bchunked",
];

pub fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "names and values with CR, LF, NUL",
            run: |to| bad_lines(to.plain).boxed(),
            most_mib: 4.0,
            most_requests: 10.0,
        },
        Attack {
            name: "a head of 100,000 lines",
            run: |to| head(to.plain, b"x-line: 1\r\n", 100_000).boxed(),
            most_mib: 4.0,
            most_requests: 1.0,
        },
        Attack {
            name: "a line of 64 MiB, by the KiB",
            run: |to| head(to.plain, &[b'x'; 1024], 64 << 10).boxed(),
            most_mib: 4.0,
            most_requests: 1.0,
        },
        Attack {
            name: "empty lines before a request",
            run: |to| {
                async move { Ok(flood(to.plain, b"", 100_000, Duration::ZERO, |_| b"\r\n".repeat(8)).await?.sent) }
                    .boxed()
            },
            most_mib: 4.0,
            most_requests: 1.0,
        },
        Attack {
            name: "a chunk's extension without end",
            run: |to| body(to.plain, "3;x=", &[b'y'; 1024]).boxed(),
            most_mib: 4.0,
            most_requests: 1.0,
        },
        Attack {
            name: "trailers without end",
            run: |to| body(to.plain, "0\r\n", b"x-trailer: 1\r\n").boxed(),
            most_mib: 4.0,
            most_requests: 1.0,
        },
        Attack {
            name: "10,000 requests at once, answers unread",
            run: |to| async move { Ok(1000 * unread(to.plain, 10, format!("{HEAD}\r\n").repeat(1000)).await?) }.boxed(),
            most_mib: 16.0,
            most_requests: 2.0,
        },
        Attack {
            name: "50 answers of 10 MiB, unread",
            run: |to| unread(to.plain, 50, format!("{HEAD}x-echo-size: 10485760\r\n\r\n")).boxed(),
            most_mib: 32.0,
            most_requests: 100.0,
        },
    ]
}

/// Each of them so often that what they cost can be told from the clock's ticks.
async fn bad_lines(to: SocketAddr) -> Result<u64> {
    const ROUNDS: usize = 20;
    for line in std::iter::repeat_n(BAD_LINES, ROUNDS).flatten() {
        let request = [HEAD.as_bytes(), line, b"\r\n\r\n"].concat();
        let refused = exchange(to, &request).await?;
        let answer = String::from_utf8_lossy(&refused.answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        ensure!(["400", "501"].contains(&status), "{:?}: {status:?}", line.escape_ascii().to_string());
        refused.was_closed()?;
    }
    Ok((ROUNDS * BAD_LINES.len()) as u64)
}

async fn head(to: SocketAddr, piece: &'static [u8], count: u64) -> Result<u64> {
    flood(to, HEAD.as_bytes(), count, LIMIT, |_| piece.to_vec()).await?.was_refused("431")
}

async fn body(to: SocketAddr, start: &str, piece: &'static [u8]) -> Result<u64> {
    flood(to, format!("{CHUNKED}{start}").as_bytes(), 100_000, LIMIT, |_| piece.to_vec()).await?.was_closed()
}

/// Asks over some connections and reads nothing for two seconds.
async fn unread(to: SocketAddr, connections: u64, requests: String) -> Result<u64> {
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(to).await.context("connect")?;
        // What doesn't fit into the sockets' buffers waits; that the proxy stops reading is the point.
        let _ = tokio::time::timeout(Duration::from_millis(200), stream.write_all(requests.as_bytes())).await;
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(connections)
}
