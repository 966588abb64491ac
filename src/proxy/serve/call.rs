//! Requests of our own to a cluster: copies of clients' requests, questions to authorisation services.

use super::{line::Line, talk::Failed};
use crate::{
    config::{Cluster, Discovery},
    h1::Length,
    head::{Fields, Head, Known},
    message::{Piece, Source, SourceError},
    upstream::Active,
    worker::{Scratch, Worker, now},
};
use bytes::Bytes;
use http::HeaderMap;

/// What came back.
pub(super) struct Called {
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

/// What becomes of the body of an answer.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// It is read, so that the connection can be used again, and dropped.
    Drop,
    /// It is kept; one that is larger than this is an error.
    Keep(usize),
}

/// Sends a request and reads the whole answer. Without a limit of its own: the caller has one.
pub(super) async fn call(
    worker: &Worker,
    cluster: &Cluster,
    head: &Head,
    body: Bytes,
    keep: Body,
) -> Result<Called, Failed> {
    let endpoints = match &cluster.spec.discovery {
        Discovery::Endpoints => cluster.endpoints.clone(),
        Discovery::Dns { .. } => worker.names.endpoints(cluster).await,
    };
    let group = worker.clusters.group(cluster, &endpoints);
    let target = Active::new(group.pick(|| worker.random(), None).ok_or(Failed::NoEndpoint)?.clone());
    let mut head = head.clone();
    if !body.is_empty() || head.fields().get_known(Known::ContentLength).is_some() {
        let mut digits = itoa::Buffer::new();
        head.fields_mut().set("content-length", digits.format(body.len()).as_bytes());
    }
    let mut scratch = worker.lend();
    let mut pooled = target.checkout();
    loop {
        let line = match pooled.take() {
            Some(connection) => Line::H1(connection),
            None => Line::open(&target, &group.spec, worker, head.version()).await.map_err(Failed::Connect)?,
        };
        match over(&line, &head, body.clone(), keep, &mut scratch).await {
            // The backend closed an idle connection just as we used it.
            Err(Failed::Reset { stale: true }) => {}
            Err(failed) => return Err(failed),
            Ok((called, keep_alive)) => {
                if let (Line::H1(connection), true) = (line, keep_alive && scratch.back.is_empty()) {
                    target.give_back(connection, now());
                }
                worker.give_back(scratch);
                return Ok(called);
            }
        }
    }
}

async fn over(
    line: &Line,
    head: &Head,
    body: Bytes,
    keep: Body,
    scratch: &mut Scratch,
) -> Result<(Called, bool), Failed> {
    let broken = |_| Failed::Reset { stale: line.is_used() };
    let Scratch { forward, back, reply, .. } = scratch;
    let (mut sink, inbound) = line.start(head, Length::Exact(body.len() as u64), false, forward)?;
    if !body.is_empty() {
        sink.write(Piece::Owned(body)).await.map_err(broken)?;
    }
    sink.end(None).await.map_err(broken)?;
    let answer = inbound.head(back, reply, head.method() == "HEAD").await?;
    let mut called =
        Called { status: reply.status, fields: std::mem::take(&mut reply.fields), body: Vec::new(), trailers: None };
    let (mut source, keep_alive) = answer.body(line, back);
    let read = read(&mut source, keep, &mut called).await;
    source.release();
    drop(source);
    read?;
    Ok((called, keep_alive))
}

async fn read(source: &mut Source<'_>, keep: Body, called: &mut Called) -> Result<(), Failed> {
    let cut = |error: SourceError| Failed::Protocol(error.to_string());
    loop {
        if let Some(piece) = source.piece().map_err(cut)? {
            if let Body::Keep(most) = keep {
                if called.body.len() + piece.len() > most {
                    return Err(Failed::Protocol(format!("the answer has more than {most} bytes")));
                }
                called.body.extend_from_slice(&piece);
            }
        } else if source.is_done() {
            called.trailers = source.trailers().await.map_err(cut)?;
            return Ok(());
        } else {
            source.fill().await.map_err(cut)?;
        }
    }
}
