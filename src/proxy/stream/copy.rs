//! Bytes both ways. What is read is written at once from a buffer that the worker's thread has once; a connection keeps
//! only what its other side didn't take, so that an idle one holds nothing.

use crate::{
    io::Io,
    log::Flag,
    worker::{Worker, now},
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::ReadBuf;

/// The most that is read at a time, and so the most that waits in one direction. What is read is to be written while the
/// nearest cache still has it: twice as much costs a third more a byte.
const PIECE: usize = 32 << 10;

thread_local! {
    static PIECES: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// How a connection ended.
pub(super) struct Ended {
    /// From the client.
    pub(super) received: u64,
    /// To the client.
    pub(super) sent: u64,
    /// What broke it; none if both sides ended.
    pub(super) flag: Option<Flag>,
}

/// One direction.
#[derive(Default)]
struct Half {
    /// What was read and not taken yet.
    rest: Vec<u8>,
    done: usize,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Open,
    /// The other end has sent all.
    Ended,
    /// It was told so.
    Closed,
}

/// Which end of a direction broke.
enum Broken {
    Reading,
    Writing,
}

impl Half {
    /// Moves what can be moved. Ready when the direction has ended. `last`: the other one has ended, so that the
    /// connection is closed next, which tells as much.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&Io, &Io),
        last: bool,
        moved: impl Fn(usize),
    ) -> Poll<Result<(), Broken>> {
        loop {
            ready!(self.poll_rest(cx, to)).map_err(|_| Broken::Writing)?;
            match self.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Ended if last && to.is_plain() => self.state = State::Closed,
                State::Ended => {
                    // One who has gone doesn't need to be told.
                    let _ = ready!(to.poll_shutdown(cx));
                    self.state = State::Closed;
                }
                State::Open => {
                    let count = ready!(self.poll_piece(cx, from, to))?;
                    moved(count);
                    if count == 0 {
                        self.state = State::Ended;
                    }
                }
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Reads a piece and writes what goes at once; 0 is the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>, from: &Io, to: &Io) -> Poll<Result<usize, Broken>> {
        PIECES.with_borrow_mut(|piece| {
            let mut into = ReadBuf::new(piece);
            ready!(from.poll_read_into(cx, &mut into)).map_err(|_| Broken::Reading)?;
            let read = into.filled();
            let mut written = 0;
            while written < read.len() {
                match to.poll_write(cx, &read[written..]) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Broken::Writing)),
                    Poll::Ready(Ok(count)) => written += count,
                    Poll::Pending => break,
                }
            }
            self.rest.extend_from_slice(&read[written..]);
            Poll::Ready(Ok(read.len()))
        })
    }

    /// Writes what is left, and flushes what TLS holds back.
    fn poll_rest(&mut self, cx: &mut Context<'_>, to: &Io) -> Poll<io::Result<()>> {
        while self.done < self.rest.len() {
            match ready!(to.poll_write(cx, &self.rest[self.done..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.done += count,
            }
        }
        (self.rest, self.done) = (Vec::new(), 0);
        to.poll_flush(cx)
    }
}

/// Copies until both sides have ended, one has broken, or nothing has moved for `idle`.
pub(super) async fn both(worker: &Worker, client: &Io, backend: &Io, idle: Option<Duration>) -> Ended {
    let alarm = worker.timer.alarm();
    let touch = || alarm.set(idle.map(|idle| now() + idle));
    touch();
    let (received, sent) = (Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<u64>, count: usize| {
        cell.set(cell.get() + count as u64);
        touch();
    };
    let (mut up, mut down) = (Half::default(), Half::default());
    let copied = alarm.guard(poll_fn(|cx| {
        let up_ended = up.poll(cx, (client, backend), down.is_closed(), |moved| count(&received, moved));
        let down_ended = down.poll(cx, (backend, client), up.is_closed(), |moved| count(&sent, moved));
        // Whose end broke: the client reads what goes down and writes what goes up.
        match (up_ended, down_ended) {
            (Poll::Ready(Err(Broken::Reading)), _) | (_, Poll::Ready(Err(Broken::Writing))) => {
                Poll::Ready(Some(Flag::DownstreamConnectionTermination))
            }
            (Poll::Ready(Err(Broken::Writing)), _) | (_, Poll::Ready(Err(Broken::Reading))) => {
                Poll::Ready(Some(Flag::UpstreamConnectionTermination))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }));
    let flag = match copied.await {
        Ok(flag) => {
            // Who hears of a break from one side is to hear of it on the other.
            if flag.is_some() {
                client.abort();
                backend.abort();
            }
            flag
        }
        Err(_) => Some(Flag::StreamIdleTimeout),
    };
    Ended { received: received.get(), sent: sent.get(), flag }
}
