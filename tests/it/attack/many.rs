//! Many connections that do little, or nothing.

use super::{Attack, wire::LIMIT};
use anyhow::{Context, Result, ensure};
use futures::{FutureExt, future::try_join_all};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

pub fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "10,000 idle connections",
            run: |to| idle(to.plain).boxed(),
            most_mib: 100.0,
            most_requests: 5.0,
        },
        Attack {
            name: "500 heads, a byte at a time",
            run: |to| slow(to.plain, b"GET / HTTP/1.1\r\nHost: good.example\r\nx-slow: ", b"x", true).boxed(),
            most_mib: 64.0,
            most_requests: 500.0,
        },
        Attack {
            name: "500 bodies, a byte at a time",
            run: |to| {
                slow(to.plain, b"POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: 100000\r\n\r\n", b"x", false)
                    .boxed()
            },
            most_mib: 64.0,
            most_requests: 500.0,
        },
        Attack {
            name: "500 handshakes that never end",
            // The record says 512 bytes of ClientHello, and they never come.
            run: |to| slow(to.tls, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"", true).boxed(),
            most_mib: 64.0,
            most_requests: 500.0,
        },
        Attack {
            name: "1,000 connections of garbage to TLS",
            run: |to| garbage(to.tls).boxed(),
            most_mib: 8.0,
            most_requests: 50.0,
        },
    ]
}

/// Each has had its answer, and stays.
async fn idle(to: SocketAddr) -> Result<u64> {
    let mut open = Vec::new();
    for _ in 0..100 {
        let more = (0..100).map(|_| async {
            let mut stream = TcpStream::connect(to).await.context("connect")?;
            stream.write_all(b"HEAD / HTTP/1.1\r\nHost: nobody.example\r\n\r\n").await?;
            let mut answer = [0; 512];
            let count = timeout(LIMIT, stream.read(&mut answer)).await.context("no answer")??;
            ensure!(answer[..count].starts_with(b"HTTP/1.1 404"), "{}", answer[..count].escape_ascii());
            Ok::<_, anyhow::Error>(stream)
        });
        open.extend(try_join_all(more).await?);
    }
    sleep(Duration::from_millis(500)).await;
    Ok(open.len() as u64)
}

/// 500 connections that start and then send `piece` every 100 ms: for 5 s, or until the proxy has closed all of them.
async fn slow(to: SocketAddr, start: &'static [u8], piece: &'static [u8], must_end: bool) -> Result<u64> {
    let patience = if must_end { LIMIT } else { Duration::from_secs(5) };
    let clients = (0..500).map(|_| async move {
        let (mut from, mut into) = TcpStream::connect(to).await.context("connect")?.into_split();
        into.write_all(start).await?;
        let drip = async {
            while into.write_all(piece).await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let mut answer = Vec::new();
        let ended = tokio::select! {
            ended = timeout(patience, from.read_to_end(&mut answer)) => ended.is_ok(),
            () = drip => true,
        };
        ensure!(ended == must_end, "closed: {ended}");
        Ok::<_, anyhow::Error>(())
    });
    try_join_all(clients).await.map(|clients| clients.len() as u64)
}

async fn garbage(to: SocketAddr) -> Result<u64> {
    for round in 0..20u32 {
        let clients = (0..50u32).map(|client| async move {
            let number = round * 50 + client;
            let mut stream = TcpStream::connect(to).await.context("connect")?;
            let mut bytes = [0x16, 3, 1, 0, 64].to_vec();
            bytes.extend((0..64u32).map(|at| (at.wrapping_mul(number) >> 3) as u8));
            stream.write_all(&bytes).await?;
            let end = timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await;
            // Closed or reset, either will do.
            end.map(drop).context("the proxy keeps the connection")
        });
        try_join_all(clients).await?;
    }
    Ok(1000)
}
