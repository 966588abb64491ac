//! Copies of requests, sent elsewhere; their answers are dropped.
//!
//! Bounded: a copy carries a body of up to [`MOST_BODY`] bytes (a request with a larger one is not copied), and a
//! worker has at most [`MOST_COPIES`] under way; more are dropped.

use super::{
    call::{Body, call},
    exchange::Exchange,
};
use crate::{
    config::{Cluster, Config, Forward, Mirror},
    head::Head,
    worker::Worker,
};
use bytes::Bytes;
use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

const MOST_BODY: usize = 64 << 10;
const MOST_COPIES: usize = 256;

/// How long a copy may take where the route has no timeout.
const PATIENCE: Duration = Duration::from_secs(15);

/// The copies of a request that wait for its body.
pub(super) struct Mirrors(RefCell<Option<Box<Waiting>>>);

struct Waiting {
    to: Vec<Copy>,
    head: Head,
    body: Vec<u8>,
    timeout: Duration,
}

struct Copy {
    cluster: Arc<Cluster>,
    keep_host: bool,
}

impl Mirrors {
    /// Draws which copies there are to be of a request, whose head has its final form.
    pub(super) fn draw(config: &Config, x: &Exchange<'_>, to: &Forward) -> Self {
        let drawn = |mirror: &&Mirror| x.worker.random() % 1_000_000 < u64::from(mirror.per_million);
        if to.mirrors.is_empty() {
            return Self(RefCell::new(None));
        }
        let copy = |mirror: &Mirror| {
            let cluster = config.cluster(&mirror.cluster)?.clone();
            Some(Copy { cluster, keep_host: mirror.keep_host })
        };
        let to_clusters: Vec<Copy> = to.mirrors.iter().filter(drawn).filter_map(copy).collect();
        let timeout = to.timeout.unwrap_or(PATIENCE);
        let waiting = Waiting { to: to_clusters, head: x.head.clone(), body: Vec::new(), timeout };
        Self(RefCell::new(Some(Box::new(waiting)).filter(|waiting| !waiting.to.is_empty())))
    }

    /// A piece of the request's body passes by.
    pub(super) fn see(&self, piece: &[u8]) {
        let mut waiting = self.0.borrow_mut();
        if let Some(copies) = &mut *waiting {
            copies.body.extend_from_slice(piece);
            if copies.body.len() > MOST_BODY {
                *waiting = None;
            }
        }
    }

    /// The body is sent once more.
    pub(super) fn restart(&self) {
        if let Some(copies) = &mut *self.0.borrow_mut() {
            copies.body.clear();
        }
    }

    /// The request is complete: the copies go out.
    pub(super) fn send(&self, worker: &Rc<Worker>) {
        let Some(waiting) = self.0.borrow_mut().take() else { return };
        let Waiting { to, head, body, timeout } = *waiting;
        let body = Bytes::from(body);
        for copy in to {
            let Some(permit) = worker.mirrors.take(MOST_COPIES) else { return };
            let (mut head, body, owned) = (head.clone(), body.clone(), worker.clone());
            if !copy.keep_host {
                let host = format!("{}-shadow", head.authority());
                head.set_authority(&host);
            }
            worker.tasks.spawn_local("mirror", move |_| async move {
                let _permit = permit;
                // Nobody waits for the answer, or for an error.
                let _ = tokio::time::timeout(timeout, call(&owned, &copy.cluster, &head, body, Body::Drop)).await;
            });
        }
    }
}
