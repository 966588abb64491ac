//! Answers of our own.

use super::{
    exchange::{End, Exchange},
    grpc, prepare,
    respond::Responder,
    trace::Trace,
};
use crate::{
    config::RouteTable,
    filter::edit_response,
    h1::Length,
    head::Fields,
    message::{Piece, Source},
    route::{Selected, is_grpc},
    worker::now,
};

/// An answer of our own.
pub(super) struct Local<'a> {
    status: u16,
    body: &'a [u8],
    location: Option<&'a str>,
    edits: Option<(&'a RouteTable, Selected<'a>)>,
    fields: Option<&'a Fields>,
    plain: bool,
}

impl<'a> Local<'a> {
    /// An answer with that code, and nothing else.
    pub(super) fn new(status: u16) -> Self {
        Self { status, body: b"", location: None, edits: None, fields: None, plain: false }
    }

    /// With a text.
    pub(super) fn text(self, text: &'a str) -> Self {
        self.body(text.as_bytes())
    }

    /// With a body.
    pub(super) fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// With `location`.
    pub(super) fn location(mut self, location: &'a str) -> Self {
        self.location = Some(location);
        self
    }

    /// As it is, also to a call of gRPC.
    pub(super) fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// With the edits of a route.
    pub(super) fn edited(mut self, table: &'a RouteTable, selected: Selected<'a>) -> Self {
        self.edits = Some((table, selected));
        self
    }

    /// With these fields; what describes the body stays ours, but for its type.
    pub(super) fn fields(mut self, fields: &'a Fields) -> Self {
        self.fields = Some(fields);
        self
    }
}

/// Answers a request ourselves.
pub(super) async fn answer(
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
    local: Local<'_>,
) -> End {
    let to_call = !local.plain && is_grpc(x.head.fields());
    let (status, body) = if to_call { (200, &b""[..]) } else { (local.status, local.body) };
    trace.status = status;
    // A body that nobody will read: what has arrived is dropped, for the rest the connection is closed.
    while let Ok(Some(_)) = source.piece() {}
    if !source.is_done() || x.link.is_leaving(x.worker) {
        responder.close_after();
    }
    let reply = &mut *x.reply;
    reply.clear();
    reply.status = status;
    if let Some(location) = local.location {
        reply.fields.append("location", location.as_bytes());
    }
    for (name, value) in local.fields.into_iter().flat_map(Fields::iter) {
        reply.fields.append(name, value);
    }
    // Codes that never have a body have no length either (RFC 9110 8.6).
    if !matches!(status, 100..200 | 204 | 304) {
        let mut digits = itoa::Buffer::new();
        if !body.is_empty() {
            reply.fields.append("content-length", digits.format(body.len()).as_bytes());
            if !reply.fields.contains("content-type") {
                reply.fields.append("content-type", b"text/plain");
            }
        } else if responder.is_h1() {
            reply.fields.append("content-length", b"0");
        }
    }
    if let Some((table, selected)) = local.edits {
        edit_response(table, selected, None, &mut reply.fields);
    }
    if to_call {
        let text = if x.head.method() == "HEAD" { b"" } else { local.body };
        grpc::answer(reply, local.status, text);
    }
    if let Some(after) = &x.left.after {
        after.apply(&mut reply.fields);
    }
    prepare::response(reply, x.link, x.worker);
    x.alarm.set(Some(now() + std::time::Duration::from_secs(60)));
    let write = async {
        let length = Length::Exact(body.len() as u64);
        let mut sink = responder.head(x.reply, length)?;
        sink.without_trailers(length);
        if !body.is_empty() {
            sink.write(Piece::Lent(body)).await?;
            trace.sent += body.len() as u64;
        }
        sink.end(None).await
    };
    match x.alarm.guard(write).await {
        Ok(Ok(())) => End::Complete,
        _ => End::Broken,
    }
}
