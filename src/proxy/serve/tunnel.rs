//! Bytes both ways after a change of protocol (WebSocket).

use super::{
    exchange::{End, Exchange},
    line::Line,
    respond::Responder,
    trace::Trace,
};
use crate::{
    h1::Length,
    message::{Sink, Source, copy},
    worker::now,
};
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

/// Copies until both ends have closed, one has broken, or nothing has moved for `idle`.
pub(super) async fn tunnel(
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    line: &Line,
    idle: Option<Duration>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
) -> End {
    let (Line::H1(connection), Responder::H1 { io: client, out, .. }) = (line, responder) else { return End::Broken };
    let backend = &connection.io;
    source.open_end();
    x.out.clear();
    let mut answers = Source::h1(backend, x.back, Length::Close);
    let (mut to_backend, mut to_client) =
        (Sink::h1(backend, x.out, Length::Close), Sink::h1(client, out, Length::Close));
    let (received, sent) = (Cell::new(trace.received), Cell::new(trace.sent));
    let touch = || x.alarm.set(idle.map(|idle| now() + idle));
    touch();
    let count = |cell: &Cell<u64>, count: usize| {
        cell.set(cell.get() + count as u64);
        touch();
    };
    let mut up = pin!(async {
        let copied = copy(source, &mut to_backend, |piece| count(&received, piece.len())).await;
        copied.is_ok() && backend.shutdown().await.is_ok()
    });
    let mut down = pin!(async {
        let copied = copy(&mut answers, &mut to_client, |piece| count(&sent, piece.len())).await;
        copied.is_ok() && client.shutdown().await.is_ok()
    });
    let (mut up_done, mut down_done) = (false, false);
    let both = poll_fn(|cx| {
        for (done, half) in [
            (&mut up_done, up.as_mut() as std::pin::Pin<&mut dyn Future<Output = bool>>),
            (&mut down_done, down.as_mut()),
        ] {
            if !*done {
                match half.poll(cx) {
                    Poll::Ready(true) => *done = true,
                    Poll::Ready(false) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
        }
        if up_done && down_done { Poll::Ready(()) } else { Poll::Pending }
    });
    // However it ends, the connection is used up.
    let _ = x.alarm.guard(both).await;
    (trace.received, trace.sent) = (received.get(), sent.get());
    End::Broken
}
