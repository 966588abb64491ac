//! The backend of connections and datagrams, and their clients: programs of their own, pinned apart from the proxies.

use crate::table::percentile;
use anyhow::{Context, Result, bail};
use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket, tcp},
    runtime::Builder,
};

/// How many clients there are at once: of connections, and of datagrams.
pub const CLIENTS: usize = 16;
pub const SESSIONS: usize = 500;
/// What is sent and comes back.
const MESSAGE: usize = 64;
/// What is written at a time in bulk.
const PIECE: usize = 256 << 10;
/// The first words of a server that speaks first.
const GREETING: &[u8] = b"220 ready\r\n";
/// A datagram that has no answer by then is lost.
const LOST: Duration = Duration::from_millis(500);

/// The backend: echoes on the first port, greets and reads on the second, echoes datagrams on the third.
pub fn serve(arguments: &[String]) -> Result<()> {
    let addresses: Vec<SocketAddr> = arguments.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [echo, greets, datagrams] = addresses[..] else { bail!("serve ECHO GREETS DATAGRAMS") };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (echo, greets) = (TcpListener::bind(echo).await?, TcpListener::bind(greets).await?);
        let datagrams = UdpSocket::bind(datagrams).await?;
        println!("{{\"ready\": true}}");
        let echo = accept(echo, async |mut read, mut write| drop(tokio::io::copy(&mut read, &mut write).await));
        let greets = accept(greets, async |mut read, mut write| {
            let mut piece = vec![0; PIECE];
            if write.write_all(GREETING).await.is_ok() {
                while read.read(&mut piece).await.is_ok_and(|count| count > 0) {}
            }
        });
        tokio::try_join!(echo, greets, answer(datagrams)).map(drop)
    })
}

async fn accept<F: Future<Output = ()> + 'static>(
    listener: TcpListener,
    serve: impl Fn(tcp::OwnedReadHalf, tcp::OwnedWriteHalf) -> F,
) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        tokio::task::spawn_local(serve(read, write));
    }
}

async fn answer(socket: UdpSocket) -> Result<()> {
    let mut datagram = [0; 2048];
    loop {
        // Whoever has gone hears nothing, and his refusal is nobody else's.
        if let Ok((count, from)) = socket.recv_from(&mut datagram).await {
            let _ = socket.send_to(&datagram[..count], from).await;
        }
    }
}

/// A client program: prints its figures.
pub fn generate(what: &str, to: SocketAddr, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    match what {
        "exchanges" => println!("{}", exchanges(to, end)?),
        "bulk" => println!("{}", bulk(to, end)?),
        "datagrams" => println!("{}", datagrams(to, end)?),
        "greetings" => {
            let times = greetings(to, end)?;
            println!("{} {}", percentile(&times, 50.0), percentile(&times, 99.0));
        }
        other => bail!("nothing is called {other}: exchanges, bulk, datagrams or greetings"),
    }
    Ok(())
}

/// Connections, each with one message that comes back, closed by the client.
fn exchanges(to: SocketAddr, end: Instant) -> Result<u64> {
    let client = async || {
        let (mut count, mut answer) = (0, Vec::new());
        while Instant::now() < end {
            let mut stream = tokio::net::TcpStream::connect(to).await?;
            stream.write_all(&[b'x'; MESSAGE]).await?;
            answer.resize(MESSAGE, 0);
            stream.read_exact(&mut answer).await.context("no answer")?;
            stream.shutdown().await?;
            anyhow::ensure!(stream.read(&mut answer).await? == 0, "more than was sent");
            count += 1;
        }
        Ok(count)
    };
    at_once(CLIENTS, client)
}

/// Bytes over one connection.
fn bulk(to: SocketAddr, end: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(to)?;
    let (piece, mut count) = (vec![b'x'; PIECE], 0);
    while Instant::now() < end {
        stream.write_all(&piece)?;
        count += PIECE as u64;
    }
    Ok(count)
}

/// Milliseconds from the connection until a server that speaks first is heard, one after the other.
fn greetings(to: SocketAddr, end: Instant) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let mut stream = TcpStream::connect(to)?;
        let mut words = [0; GREETING.len()];
        stream.read_exact(&mut words)?;
        anyhow::ensure!(words == GREETING, "other words");
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        // Many that close at once would be measured, not one that opens.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(times)
}

/// Datagrams that came back, by clients that have one on its way each.
fn datagrams(to: SocketAddr, end: Instant) -> Result<u64> {
    let any = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let client = async || {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        let (mut count, mut answer) = (0, [0; MESSAGE]);
        while Instant::now() < end {
            socket.send(&[b'x'; MESSAGE]).await?;
            if let Ok(received) = tokio::time::timeout(LOST, socket.recv(&mut answer)).await {
                received?;
                count += 1;
            }
        }
        Ok(count)
    };
    at_once(SESSIONS, client)
}

fn at_once(clients: usize, client: impl AsyncFn() -> Result<u64>) -> Result<u64> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let counts = runtime.block_on(futures::future::try_join_all((0..clients).map(|_| client())))?;
    Ok(counts.iter().sum())
}
