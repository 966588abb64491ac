//! One try: a line to an endpoint, the request out, the response in and on to the client, within its deadlines.

use super::{
    Link,
    exchange::{After, End, Exchange, Left},
    forward::Plan,
    line::Line,
    prepare,
    respond::Responder,
    trace::Trace,
    tunnel::tunnel,
};
use crate::{
    config::{RetryPolicy, Upstream},
    filter::edit_response,
    h1::{BodyError, strip_hop_by_hop},
    head::{Head, Reply},
    io::Alarm,
    log::Flag,
    message::{CopyError, Source, SourceError, copy},
    upstream::{Active, ConnectError, Retry},
    worker::{Worker, now},
};
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Why a try gave the client nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// No endpoint may be used.
    NoEndpoint,
    /// No connection.
    Connect(ConnectError),
    /// The backend closed the connection before its head was complete. Stale: it had been used before, and no byte of
    /// a response came.
    Reset { stale: bool },
    /// The backend reset the stream; refused: before it looked at it.
    RemoteReset { refused: bool },
    /// What the backend sent is no HTTP.
    Protocol(String),
    /// The time for one try.
    AttemptTimeout,
    /// The time of the route.
    Timeout,
    /// The request did not arrive in time.
    Late,
    /// Nothing moved.
    Idle,
    /// The code is to be tried again.
    Status,
    /// The client's body is malformed or was cut off.
    BadBody,
    /// The client went away.
    ClientGone,
}

impl Failed {
    /// What an error of an HTTP/2 stream to a backend means.
    pub(super) fn h2(error: h2::Error) -> Self {
        match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) => Failed::RemoteReset { refused: true },
            _ if error.is_io() => Failed::Reset { stale: false },
            _ if error.is_remote() => Failed::RemoteReset { refused: false },
            _ => Failed::Protocol(error.to_string()),
        }
    }

    /// Whether the policy asks for another try.
    pub(super) fn is_retried(&self, retry: &RetryPolicy) -> bool {
        let on = &retry.on;
        match self {
            Failed::Connect(_) => on.connect_failure || on.server_error || on.gateway_error,
            Failed::RemoteReset { refused: true } if on.refused_stream => true,
            Failed::Reset { .. } | Failed::RemoteReset { .. } | Failed::Protocol(_) | Failed::AttemptTimeout => {
                on.server_error || on.gateway_error || on.reset
            }
            Failed::Status => true,
            _ => false,
        }
    }

    pub(super) fn of_client(error: &SourceError) -> Self {
        match error {
            SourceError::Body(BodyError::Chunk) => Failed::BadBody,
            _ => Failed::ClientGone,
        }
    }
}

/// Whether the policy asks for another try because of the response's code.
fn is_retried_status(retry: &RetryPolicy, reply: &Reply) -> bool {
    let (on, status) = (&retry.on, reply.status);
    let grpc = || {
        let text = std::str::from_utf8(reply.fields.get("grpc-status")?).ok()?;
        text.parse().ok().filter(|&code: &u32| code < 32)
    };
    (on.server_error && status >= 500)
        || (on.gateway_error && matches!(status, 502..=504))
        || (on.retriable_4xx && status == 409)
        || (on.status_codes && retry.status_codes.contains(&status))
        || (on.grpc != 0 && grpc().is_some_and(|code| on.grpc & (1 << code) != 0))
}

/// Whether a request may be sent once more although a backend may have seen it (RFC 9110 9.2.2).
fn may_replay(head: &Head) -> bool {
    matches!(head.method(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
}

/// The tries of a request, with its deadlines.
pub(super) struct Talk<'p, 'c> {
    plan: &'p Plan<'c>,
    /// The route's deadline, once the request is complete.
    deadline: Cell<Option<Instant>>,
    /// Until then the request must be complete.
    arrival: Cell<Option<Instant>>,
    /// This try's, until the head of a response.
    attempt: Cell<Option<Instant>>,
    /// What the alarm was set to.
    armed: Cell<Option<Instant>>,
    idle: Option<Duration>,
    /// What this try takes of the cluster's budget of retries.
    retry: Cell<Option<Retry<'c>>>,
}

/// How a line was left.
enum Ended {
    /// The response is complete; the line may be used again, or not.
    Complete { reusable: bool },
    /// The response was cut off.
    Broken,
    /// Both ends have agreed on another protocol.
    Upgraded,
}

impl<'p, 'c> Talk<'p, 'c> {
    pub(super) fn new(x: &Exchange<'_>, plan: &'p Plan<'c>) -> Self {
        let idle = plan.to.idle_timeout.or(x.link.http.stream_idle_timeout).filter(|idle| !idle.is_zero());
        let arrival = x.link.http.request_timeout.map(|timeout| x.started + timeout);
        let (deadline, attempt, armed) = Default::default();
        Self { plan, deadline, arrival: Cell::new(arrival), attempt, armed, idle, retry: Cell::default() }
    }

    /// One try on that endpoint. `last`: whatever the backend answers goes to the client.
    pub(super) async fn attempt(
        &self,
        x: &mut Exchange<'_>,
        trace: &mut Trace<'_>,
        target: &Active,
        last: bool,
        source: &mut Source<'_>,
        responder: &mut Responder<'_>,
    ) -> Result<End, Failed> {
        let spec = &self.plan.group.spec;
        self.attempt.set(None);
        if source.is_done() {
            self.request_complete();
        }
        self.armed.set(None);
        self.arm(x.alarm);
        let mut pooled = if spec.upstream == Upstream::Http2 { None } else { target.checkout() };
        loop {
            let line = match pooled.take() {
                Some(connection) => Line::H1(connection),
                None => {
                    let open = Line::open(target, spec, x.worker, x.head.version());
                    self.guard(x.alarm, open).await?.map_err(Failed::Connect)?
                }
            };
            trace.upstream_local = line.local();
            match self.over(x, trace, &line, last, source, responder).await {
                // The backend closed an idle connection just as we used it: once more, on a new one.
                Err(Failed::Reset { stale: true }) if may_replay(x.head) && source.is_untouched() => {}
                Err(failed) => return Err(failed),
                Ok(Ended::Broken) => return Ok(End::Broken),
                Ok(Ended::Upgraded) => return Ok(tunnel(x, trace, &line, self.idle, source, responder).await),
                Ok(Ended::Complete { reusable }) => {
                    if let (Line::H1(connection), true) = (line, reusable) {
                        target.give_back(connection, now());
                    }
                    return Ok(End::Complete);
                }
            }
        }
    }

    /// One try on that line.
    async fn over(
        &self,
        x: &mut Exchange<'_>,
        trace: &mut Trace<'_>,
        line: &Line,
        last: bool,
        source: &mut Source<'_>,
        responder: &mut Responder<'_>,
    ) -> Result<Ended, Failed> {
        if x.expects_continue && !source.is_done() {
            responder.proceed().await.map_err(|_| Failed::ClientGone)?;
            x.expects_continue = false;
        }
        let pumping = Pumping::new(self, x, source);
        let (mut sink, inbound) = line.start(x.head, source.length(), x.upgrade, x.out)?;
        let to_head = x.head.method() == "HEAD";
        if pumping.done.get() {
            // Nothing to pump: one write, then the answer.
            sink.flush().await.map_err(|_| Failed::Reset { stale: line.is_used() })?;
        }
        let mut pump = pin!(copy(source, &mut sink, |piece| pumping.moved(piece)));
        let answer = {
            let (mut head, mut gone) = (pin!(inbound.head(x.back, x.reply, to_head)), pin!(responder.gone()));
            let race = poll_fn(|cx| {
                if let Err(failed) = pumping.poll(cx, pump.as_mut()) {
                    return Poll::Ready(Err(failed));
                }
                if let Poll::Ready(head) = head.as_mut().poll(cx) {
                    return Poll::Ready(head);
                }
                if pumping.done.get() && gone.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Failed::ClientGone));
                }
                Poll::Pending
            });
            x.alarm.guard(race).await.unwrap_or_else(|_| Err(self.expired()))
        };
        pumping.tell(trace);
        let answer = answer?;
        let answered = now();
        trace.answered = Some(answered);
        self.check(trace, x.reply, last || !pumping.can_replay(), x.upgrade && responder.is_h1())?;
        let upgraded = x.reply.status == 101;
        self.attempt.set(None);
        self.touch(x.alarm, answered);
        self.edit_reply(x.reply, &mut x.left, trace.upstream, (x.link, x.worker));
        trace.status = x.reply.status;
        trace.details = "via_upstream".into();
        let (mut body, keep_alive) = answer.body(line, x.back);
        if x.link.is_leaving(x.worker) {
            responder.close_after();
        }
        let Ok(mut out) = responder.head(x.reply, body.length()) else { return Ok(Ended::Broken) };
        out.expect(&body);
        if upgraded {
            return Ok(if out.flush().await.is_ok() { Ended::Upgraded } else { Ended::Broken });
        }
        let copied = {
            let mut copying = pin!(copy(&mut body, &mut out, |piece| {
                trace.sent += piece.len() as u64;
                self.touch(x.alarm, now());
            }));
            let race = poll_fn(|cx| match pumping.poll(cx, pump.as_mut()) {
                Err(failed) => Poll::Ready(Err(Cut::Failed(failed))),
                Ok(()) => copying.as_mut().poll(cx).map_err(Cut::Copy),
            });
            x.alarm.guard(race).await.unwrap_or_else(|_| Err(Cut::Failed(self.expired())))
        };
        body.release();
        drop(body);
        pumping.tell(trace);
        if let Err(cut) = copied {
            cut.note(trace);
            return Ok(Ended::Broken);
        }
        // A byte behind the response would be taken for the next one.
        let reusable = keep_alive && pumping.done.get() && !pumping.broken.get() && x.back.is_empty();
        Ok(Ended::Complete { reusable })
    }

    /// Whether the head of a response is for the client.
    fn check(&self, trace: &mut Trace<'_>, reply: &Reply, last: bool, upgrade: bool) -> Result<(), Failed> {
        if !last && self.plan.retry.is_some_and(|retry| is_retried_status(retry, reply)) {
            if self.may_retry() {
                return Err(Failed::Status);
            }
            trace.flags.set(Flag::UpstreamOverflow);
        }
        self.retry.set(None);
        if reply.status == 101 && !upgrade {
            return Err(Failed::Protocol("101 without a request to upgrade".into()));
        }
        Ok(())
    }

    fn edit_reply(
        &self,
        reply: &mut Reply,
        left: &mut Left,
        chosen: Option<SocketAddr>,
        (link, worker): (&Link, &Worker),
    ) {
        strip_hop_by_hop(&mut reply.fields, reply.status == 101, |_| false);
        let plan = self.plan;
        edit_response(plan.table, plan.selected, Some(plan.weighted), &mut reply.fields);
        let Left { after, session } = left;
        if let (Some(session), Some(chosen)) = (session, chosen) {
            session.tell(chosen, after.get_or_insert_with(Box::<After>::default));
        }
        if let Some(after) = after {
            after.apply(&mut reply.fields);
        }
        prepare::response(reply, link, worker);
    }

    /// Whether the cluster's budget lets it try again. That try counts from now on, until the head of its response; the
    /// one before is over.
    pub(super) fn may_retry(&self) -> bool {
        self.retry.set(None);
        let Some(retries) = self.plan.retries else { return true };
        let taken = retries.take();
        let may = taken.is_some();
        self.retry.set(taken);
        may
    }

    /// A try is over: its time counts no more.
    pub(super) fn rest(&self, alarm: &Alarm) {
        self.attempt.set(None);
        self.arm(alarm);
    }

    /// Waits for something that comes before the request is sent.
    pub(super) async fn guard<T>(&self, alarm: &Alarm, future: impl Future<Output = T>) -> Result<T, Failed> {
        alarm.guard(future).await.map_err(|_| self.expired())
    }

    /// The request is complete: from now on the time of the route and of the try count.
    fn request_complete(&self) {
        self.arrival.set(None);
        let now = now();
        if self.deadline.get().is_none() {
            self.deadline.set(self.plan.to.timeout.map(|timeout| now + timeout));
        }
        self.attempt.set(self.plan.retry.and_then(|retry| retry.per_try_timeout).map(|timeout| now + timeout));
    }

    fn arm(&self, alarm: &Alarm) {
        self.touch(alarm, now());
    }

    /// Something moved: the idle time starts again.
    fn touch(&self, alarm: &Alarm, now: Instant) {
        let idle = self.idle.map(|idle| now + idle);
        let first = [idle, self.deadline.get(), self.attempt.get(), self.arrival.get()].into_iter().flatten().min();
        // Between two waits of the worker nothing moves, the clock included.
        if first.is_none() || self.armed.replace(first) != first {
            alarm.set(first);
        }
    }

    /// Which deadline it was.
    fn expired(&self) -> Failed {
        // Not the worker's reading: it may be older than the deadline.
        let now = Instant::now();
        let passed = |deadline: &Cell<Option<Instant>>| deadline.get().is_some_and(|deadline| deadline <= now);
        match () {
            () if passed(&self.deadline) => Failed::Timeout,
            () if passed(&self.attempt) => Failed::AttemptTimeout,
            () if passed(&self.arrival) => Failed::Late,
            () => Failed::Idle,
        }
    }
}

/// The request's body on its way, beside the response.
struct Pumping<'t, 'p, 'c> {
    talk: &'t Talk<'p, 'c>,
    alarm: &'t Alarm,
    worker: &'t Rc<Worker>,
    /// Nothing is left to send, or nobody to send it to.
    done: Cell<bool>,
    /// The backend stopped reading; it may have answered all the same.
    broken: Cell<bool>,
    received: Cell<u64>,
    /// How much of the body can be sent once more.
    kept: usize,
    complete: Cell<Option<Instant>>,
}

impl<'t, 'p, 'c> Pumping<'t, 'p, 'c> {
    fn new(talk: &'t Talk<'p, 'c>, x: &Exchange<'t>, source: &Source<'_>) -> Self {
        Self {
            talk,
            alarm: x.alarm,
            worker: x.worker,
            done: Cell::new(source.is_done()),
            broken: Cell::new(false),
            received: Cell::new(0),
            kept: source.kept(),
            complete: Cell::new(None),
        }
    }

    /// Whether all that was sent of the body can be sent once more.
    fn can_replay(&self) -> bool {
        self.received.get() <= self.kept as u64
    }

    fn moved(&self, piece: &[u8]) {
        self.received.set(self.received.get() + piece.len() as u64);
        self.talk.plan.mirrors.see(piece);
        self.talk.touch(self.alarm, now());
    }

    fn poll(
        &self,
        cx: &mut Context<'_>,
        pump: Pin<&mut impl Future<Output = Result<(), CopyError>>>,
    ) -> Result<(), Failed> {
        if self.done.get() {
            return Ok(());
        }
        match pump.poll(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => {
                self.complete.set(Some(now()));
                self.talk.request_complete();
                self.talk.arm(self.alarm);
                self.talk.plan.mirrors.send(self.worker);
            }
            Poll::Ready(Err(CopyError::Sink(_))) => self.broken.set(true),
            Poll::Ready(Err(CopyError::Source(error))) => return Err(Failed::of_client(&error)),
        }
        self.done.set(true);
        Ok(())
    }

    fn tell(&self, trace: &mut Trace<'_>) {
        trace.received = self.received.get();
        trace.request_read = self.complete.get().or(trace.request_read);
    }
}

/// Why a response was cut off.
enum Cut {
    Copy(CopyError),
    Failed(Failed),
}

impl Cut {
    fn note(&self, trace: &mut Trace<'_>) {
        let (flag, details) = match self {
            Cut::Copy(CopyError::Source(SourceError::Body(BodyError::Chunk))) => {
                (Flag::UpstreamProtocolError, "upstream_reset_after_response_started{protocol_error}")
            }
            Cut::Copy(CopyError::Source(SourceError::H2(_))) => {
                (Flag::UpstreamRemoteReset, "upstream_reset_after_response_started{remote_reset}")
            }
            Cut::Copy(CopyError::Source(_)) => {
                (Flag::UpstreamConnectionTermination, "upstream_reset_after_response_started{connection_termination}")
            }
            Cut::Failed(Failed::Timeout) => (Flag::UpstreamRequestTimeout, "response_timeout"),
            Cut::Failed(Failed::Idle) => (Flag::StreamIdleTimeout, "stream_idle_timeout"),
            Cut::Failed(Failed::BadBody) => (Flag::DownstreamProtocolError, "http1.codec_error"),
            Cut::Copy(CopyError::Sink(_)) | Cut::Failed(_) => {
                (Flag::DownstreamConnectionTermination, "downstream_remote_disconnect")
            }
        };
        trace.flags.set(flag);
        trace.details = details.into();
    }
}
