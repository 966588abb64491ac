//! A client that speaks HTTP/1: one request after the other.

use super::{
    Link,
    exchange::{self, End, Exchange, Left},
    local::{self, Local},
    respond::Responder,
    trace::Trace,
};
use crate::{
    h1::{self, Limits, Refusal, Scan},
    head::Version,
    io::{Alarm, Io},
    log::Flag,
    message::Source,
    worker::{Scratch, Worker, now},
};
use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};
use tokio::time::Instant;

/// How long a client may go on sending what nobody reads, so that it can read our last answer; and how much of it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// What becomes of the connection.
enum Next {
    /// Another request may come.
    Keep,
    /// Our last answer has been written; the client may still be sending.
    Linger,
    /// Nothing more is to be said.
    Close,
}

/// What a client sends first that speaks HTTP/2 without asking (RFC 9113 3.4); no request of HTTP/1 starts so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// After so long without a request a connection gives up all that a request needs.
const REST: Duration = Duration::from_secs(5);

/// Serves a connection to its end; gives it back if the client speaks HTTP/2 and may, with what was read.
pub(super) async fn serve(worker: &Rc<Worker>, link: &Link, io: Io, may_switch: bool) -> Option<(Io, Box<Scratch>)> {
    let alarm = worker.timer.alarm();
    let (mut since, mut is_first) = (now(), true);
    loop {
        let Idle::Request(mut scratch) = idle(worker, link, &io, &alarm, since, None).await else { return None };
        if may_switch && is_first && is_preface(&io, link, &alarm, &mut scratch).await {
            return Some((io, scratch));
        }
        is_first = false;
        // Boxed: an idle connection holds no room for it.
        since = Box::pin(requests(worker, link, &io, &alarm, scratch)).await?;
    }
}

/// Answers requests for as long as they come; says since when there has been none, if the connection still stands.
async fn requests(
    worker: &Rc<Worker>,
    link: &Link,
    io: &Io,
    alarm: &Alarm,
    mut scratch: Box<Scratch>,
) -> Option<Instant> {
    loop {
        match request(worker, link, io, alarm, &mut scratch).await {
            Next::Keep if scratch.input.is_empty() => {
                worker.give_back(scratch);
                let since = now();
                match idle(worker, link, io, alarm, since, Some(REST)).await {
                    Idle::Request(next) => scratch = next,
                    Idle::Rest => return Some(since),
                    Idle::Ended => return None,
                }
            }
            Next::Keep => scratch.reset(),
            Next::Close => break,
            Next::Linger => {
                linger(io, alarm, &mut scratch).await;
                break;
            }
        }
    }
    worker.give_back(scratch);
    None
}

/// Whether the connection starts with the preface of HTTP/2. Reads on only while it may be one.
async fn is_preface(io: &Io, link: &Link, alarm: &Alarm, scratch: &mut Scratch) -> bool {
    loop {
        let data = scratch.input.data();
        let length = data.len().min(PREFACE.len());
        if data[..length] != PREFACE[..length] || length == PREFACE.len() {
            return length == PREFACE.len() && data.starts_with(PREFACE);
        }
        let http = &link.http;
        alarm.set(http.request_headers_timeout.or(http.idle_timeout).map(|timeout| now() + timeout));
        match alarm.guard(io.read(&mut scratch.input)).await {
            Ok(Ok(1..)) => {}
            // The reader of requests meets the same end.
            _ => return false,
        }
    }
}

/// How a wait for a request ended.
enum Idle {
    /// With its first bytes.
    Request(Box<Scratch>),
    /// Not at all: the time to rest has come.
    Rest,
    /// With the connection.
    Ended,
}

/// Waits for the first bytes of a request, since then and no longer than `rest`. The connection holds no buffer meanwhile.
///
/// A connection that is to end isn't closed under a client that may be sending at this moment: its next request is
/// answered, and the answer says that it was the last. Only who sends none for the drain's time is closed.
async fn idle(worker: &Worker, link: &Link, io: &Io, alarm: &Alarm, since: Instant, rest: Option<Duration>) -> Idle {
    let deadline = link.http.idle_timeout.map(|idle| since + idle);
    let rest = rest.map(|rest| since + rest);
    let mut farewell = None;
    loop {
        if farewell.is_none() && link.is_leaving(worker) {
            farewell = Some(now() + link.http.drain_timeout);
        }
        let passed = |end: Option<Instant>| end.is_some_and(|end| end <= now());
        if passed(deadline) || passed(farewell) {
            return Idle::Ended;
        }
        if passed(rest) {
            return Idle::Rest;
        }
        // Whoever is idle is woken when a listener goes, whether it is its own or not.
        alarm.set_idle([deadline, rest, farewell].into_iter().flatten().min());
        match alarm.guard(first_bytes(worker, io)).await {
            Ok(Some(first)) => return Idle::Request(first),
            Ok(None) => return Idle::Ended,
            Err(_) => {}
        }
    }
}

async fn first_bytes(worker: &Worker, io: &Io) -> Option<Box<Scratch>> {
    poll_fn(|cx| {
        let mut scratch = worker.lend();
        match io.poll_read(cx, &mut scratch.input) {
            Poll::Ready(Ok(1..)) => Poll::Ready(Some(scratch)),
            Poll::Ready(_) => {
                worker.give_back(scratch);
                Poll::Ready(None)
            }
            Poll::Pending => {
                worker.give_back(scratch);
                Poll::Pending
            }
        }
    })
    .await
}

/// Reads one request and answers it.
async fn request(worker: &Rc<Worker>, link: &Link, io: &Io, alarm: &Alarm, scratch: &mut Scratch) -> Next {
    let http = &link.http;
    let started = now();
    let limits = Limits {
        bytes: http.max_request_headers_bytes,
        fields: http.max_headers,
        http10: http.accept_http_10,
        normalize: http.normalize,
    };
    let mut armed = false;
    let mut scan = Scan::default();
    let request = loop {
        // Empty lines before a request are passed over (RFC 9112 2.2).
        while scratch.input.data().starts_with(b"\r\n") {
            scratch.input.consume(2);
            scan = Scan::default();
        }
        match h1::parse_request(scratch.input.data(), &mut scan, &limits, &mut scratch.head) {
            Ok(Some(request)) => break request,
            Err(refusal) => return refuse(worker, link, io, alarm, scratch, started, refusal).await,
            Ok(None) => {}
        }
        if !armed {
            let timeout = http.request_headers_timeout.or(http.idle_timeout);
            alarm.set(timeout.map(|timeout| started + timeout));
            armed = true;
        }
        match alarm.guard(io.read(&mut scratch.input)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return Next::Close,
            Err(_) => return refuse(worker, link, io, alarm, scratch, started, Refusal::Timeout).await,
        }
    };
    let Scratch { head, reply, input, back, out, forward } = scratch;
    input.consume(request.consumed);
    let mut source = Source::h1(io, input, request.length);
    let mut responder = Responder::H1 {
        io,
        out,
        version: head.version(),
        keep_alive: request.keep_alive,
        to_head: head.method() == "HEAD",
        started: false,
    };
    let (upgrade, expects_continue) = (request.upgrade, request.expects_continue);
    let mut x = Exchange {
        worker,
        link,
        alarm,
        head,
        reply,
        back,
        out: forward,
        started,
        upgrade,
        expects_continue,
        left: Left::default(),
    };
    let end = exchange::run(&mut x, &mut source, &mut responder).await;
    source.release();
    match (end, responder.keeps()) {
        (End::Broken, _) => {
            // The client must not take what it got for the whole.
            if responder.has_started() {
                io.abort();
            }
            Next::Close
        }
        (End::Complete, true) if source.is_done() => Next::Keep,
        (End::Complete, _) => Next::Linger,
    }
}

/// Answers a request that is none.
async fn refuse(
    worker: &Rc<Worker>,
    link: &Link,
    io: &Io,
    alarm: &Alarm,
    scratch: &mut Scratch,
    started: Instant,
    refusal: Refusal,
) -> Next {
    let Scratch { head, reply, input: _, back, out, forward } = scratch;
    let mut responder =
        Responder::H1 { io, out, version: Version::Http11, keep_alive: false, to_head: false, started: false };
    let mut x = Exchange {
        worker,
        link,
        alarm,
        head,
        reply,
        back,
        out: forward,
        started,
        upgrade: false,
        expects_continue: false,
        left: Left::default(),
    };
    let mut trace = Trace::new(started);
    trace.details = format!("http1.codec_error: {refusal}").into();
    let status = refusal.status();
    let local = match &refusal {
        Refusal::Redirect(path) => Local::new(status).location(path),
        _ => {
            trace.flags.set(Flag::DownstreamProtocolError);
            Local::new(status).text(match status {
                400 => "Bad Request",
                408 => "Request Timeout",
                431 => "Request Header Fields Too Large",
                501 => "Not Implemented",
                _ => "Upgrade Required",
            })
        }
    };
    local::answer(&mut x, &mut trace, &mut Source::Empty, &mut responder, local).await;
    trace.tell(&x);
    Next::Linger
}

/// Reads on for a while after the last answer: closing with unread bytes would reset the connection, and the client
/// might lose the answer.
async fn linger(io: &Io, alarm: &Alarm, scratch: &mut Scratch) {
    alarm.set(Some(now() + LINGER));
    let drain = async {
        io.shutdown().await?;
        let mut left = LINGER_BYTES;
        loop {
            scratch.input.clear();
            match io.read(&mut scratch.input).await? {
                0 => break,
                count if count > left => break,
                count => left -= count,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Whatever happens, the connection is dropped next.
    let _ = alarm.guard(drain).await;
}
