//! A client that speaks HTTP/2: one task for the connection, one for each stream.

use super::{
    Link,
    exchange::{self, Exchange, Left},
    h2_heads,
    local::{self, Local},
    respond::Responder,
    trace::Trace,
};
use crate::{
    io::{Alarm, Prefixed},
    log::Flag,
    message::Source,
    worker::{Worker, now},
};
use bytes::Bytes;
use h2::{
    RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::Request;
use std::{cell::Cell, rc::Rc};

/// Streams that a client may reset before we have looked at them, and that we may reset for its errors, before the
/// connection is closed (CVE-2023-44487 and its kin).
const MOST_RESETS: usize = 20;
/// Response bytes that one connection may have waiting.
const MOST_WAITING: usize = 256 << 10;

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, link: Link, io: Prefixed) {
    let http = &link.http;
    let alarm = worker.timer.alarm();
    alarm.set(http.request_headers_timeout.or(http.idle_timeout).map(|timeout| now() + timeout));
    let handshake = Builder::new()
        .initial_window_size(http.initial_stream_window)
        .initial_connection_window_size(http.initial_connection_window)
        .max_concurrent_streams(http.max_concurrent_streams)
        .max_header_list_size(u32::try_from(http.max_request_headers_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(Some(MOST_RESETS))
        .max_send_buffer_size(MOST_WAITING)
        .handshake::<_, Bytes>(io);
    if let Ok(Ok(connection)) = alarm.guard(handshake).await {
        streams(&worker, Rc::new(link), &alarm, connection).await;
    }
}

async fn streams(worker: &Rc<Worker>, link: Rc<Link>, alarm: &Alarm, mut connection: Connection<Prefixed, Bytes>) {
    let open = Rc::new(Cell::new(0usize));
    let mut leaving = false;
    loop {
        if !leaving && link.is_leaving(worker) {
            connection.graceful_shutdown();
            leaving = true;
        }
        let idle = link.http.idle_timeout.map(|idle| now() + idle);
        // Every connection counts as idle for a drain: it is told to leave, and ends with its last stream.
        if leaving {
            alarm.set(idle)
        } else {
            alarm.set_idle(idle)
        }
        match alarm.guard(connection.accept()).await {
            Ok(Some(Ok((request, respond)))) => {
                open.set(open.get() + 1);
                let (worker, link, open) = (worker.clone(), link.clone(), open.clone());
                let tasks = worker.tasks.clone();
                // Boxed: a task is moved about before and after it runs, and this one is large.
                tasks.spawn_local("stream", |_| {
                    Box::pin(async move {
                        stream(&worker, &link, request, respond).await;
                        open.set(open.get() - 1);
                    })
                });
            }
            Ok(_) => return,
            Err(_) if !leaving && link.is_leaving(worker) => {}
            // Woken because some other listener went.
            Err(_) if idle.is_none_or(|deadline| now() < deadline) => {}
            Err(_) if open.get() == 0 && leaving => return,
            Err(_) if open.get() == 0 => {
                connection.graceful_shutdown();
                leaving = true;
            }
            Err(_) => {}
        }
    }
}

async fn stream(worker: &Rc<Worker>, link: &Link, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let started = now();
    let alarm = worker.timer.alarm();
    let mut scratch = worker.lend();
    let (parts, body) = request.into_parts();
    let read = h2_heads::read_request(&parts, &link.http, &mut scratch.head);
    let mut source = Source::h2(body, *read.as_ref().unwrap_or(&None));
    let to_head = scratch.head.method() == "HEAD";
    let mut responder = Responder::H2 { respond, to_head, started: false };
    let scratch_ref = &mut *scratch;
    let mut x = Exchange {
        worker,
        link,
        alarm: &alarm,
        head: &mut scratch_ref.head,
        reply: &mut scratch_ref.reply,
        back: &mut scratch_ref.back,
        out: &mut scratch_ref.forward,
        started,
        upgrade: false,
        expects_continue: false,
        left: Left::default(),
    };
    match read {
        // A response that was cut off resets the stream when its handles are dropped.
        Ok(_) => drop(exchange::run(&mut x, &mut source, &mut responder).await),
        Err(refusal) => {
            let mut trace = Trace::new(started);
            trace.flags.set(Flag::DownstreamProtocolError);
            trace.details = format!("http2.invalid_header: {refusal}").into();
            let local = Local::new(refusal.status());
            local::answer(&mut x, &mut trace, &mut source, &mut responder, local).await;
            trace.tell(&x);
        }
    }
    worker.give_back(scratch);
}
