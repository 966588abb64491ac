//! A request to a backend: pick a cluster and an endpoint, try, perhaps try again, answer.

use super::{
    exchange::{End, Exchange},
    local::{self, Local},
    mirror::Mirrors,
    respond::Responder,
    talk::{Failed, Talk},
    trace::Trace,
};
use crate::{
    config::{Cluster, Config, Discovery, Forward, HostRewrite, RetryPolicy, RouteTable, WeightedCluster},
    filter::edit_request,
    h1,
    log::Flag,
    message::{CopyError, Kept, Sink, Source, copy},
    route::{Selected, rewrite_path},
    upstream::{Active, Group, Retries, Target},
    worker::now,
};
use std::{rc::Rc, time::Duration};

/// Most of a request's body that is kept for another try, as much as Envoy does.
const MOST_REPLAYED: usize = 64 << 10;

/// What was decided about a request before the first try.
pub(super) struct Plan<'c> {
    pub(super) table: &'c RouteTable,
    pub(super) selected: Selected<'c>,
    pub(super) to: &'c Forward,
    pub(super) weighted: &'c WeightedCluster,
    pub(super) retry: Option<&'c RetryPolicy>,
    /// The retries of the cluster, if there may be only so many.
    pub(super) retries: Option<&'c Retries>,
    pub(super) group: Rc<Group>,
    pub(super) mirrors: Mirrors,
}

/// Forwards a request.
pub(super) async fn forward<'c>(
    config: &'c Config,
    x: &mut Exchange<'_>,
    trace: &mut Trace<'c>,
    (table, selected, to, weighted): (&'c RouteTable, Selected<'c>, &'c Forward, &'c WeightedCluster),
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
) -> End {
    if x.upgrade && !allows_upgrade(x, to) {
        trace.details = "upgrade_failed".into();
        responder.close_after();
        return local::answer(x, trace, source, responder, Local::new(403)).await;
    }
    trace.cluster = Some(&weighted.cluster);
    let Some(cluster) = config.cluster(&weighted.cluster) else {
        trace.flags.set(Flag::NoCluster);
        trace.details = "cluster_not_found".into();
        return local::answer(x, trace, source, responder, Local::new(to.not_found.0)).await;
    };
    let retry = to.retry.as_deref().or(selected.host.retry.as_deref());
    let group = match &cluster.spec.discovery {
        Discovery::Endpoints => x.worker.clusters.group(cluster, &cluster.endpoints),
        Discovery::Dns { .. } => {
            let endpoints = x.worker.names.endpoints(cluster).await;
            x.worker.clusters.group(cluster, &endpoints)
        }
    };
    edit(x, cluster, table, selected, to, weighted);
    if let Some(rehearsal) = &x.worker.rehearsal
        && rehearsal.forwarded(config, x.head, (to, weighted), (cluster, &group))
    {
        // A body that is none is found out while it is sent.
        return match copy(source, &mut Sink::None, |_| {}).await {
            Err(CopyError::Source(error)) => fail(x, trace, source, responder, Failed::of_client(&error)).await,
            _ => local::answer(x, trace, source, responder, Local::new(200).plain()).await,
        };
    }
    let mirrors = Mirrors::draw(config, x, to);
    if source.is_done() {
        mirrors.send(x.worker);
    }
    let retries = cluster.retries.as_deref();
    let plan = Plan { table, selected, to, weighted, retry, retries, group, mirrors };
    match attempts(x, trace, &plan, source, responder).await {
        Ok(end) => end,
        Err(failed) => fail(x, trace, source, responder, failed).await,
    }
}

/// Whether a change of protocol may go on. One to h2c is not a change that we offer: the request is answered as it is.
fn allows_upgrade(x: &mut Exchange<'_>, to: &Forward) -> bool {
    if h1::upgrades_to(x.head, "websocket") {
        return to.websocket.unwrap_or(x.link.http.websocket);
    }
    let ignored = h1::upgrades_to(x.head, "h2c");
    if ignored {
        x.upgrade = false;
        x.head.fields_mut().remove("upgrade");
    }
    ignored
}

/// The route's edits of the request's head.
fn edit(
    x: &mut Exchange<'_>,
    cluster: &Cluster,
    table: &RouteTable,
    selected: Selected<'_>,
    to: &Forward,
    weighted: &WeightedCluster,
) {
    edit_request(table, selected, weighted, x.head.fields_mut());
    if let Some(rewrite) = &to.path {
        let target = rewrite_path(rewrite, &selected.route.matches, x.head.path(), x.head.query());
        if !x.link.http.suppress_envoy_headers {
            let original = x.head.target().to_owned();
            x.head.fields_mut().set("x-envoy-original-path", original.as_bytes());
        }
        x.head.set_target(&target);
    }
    let host = match weighted.host.as_ref().or(to.host.as_ref()) {
        Some(HostRewrite::Literal(host)) => Some(host),
        // Endpoints have names only where DNS found them.
        Some(HostRewrite::Endpoint) => match &cluster.spec.discovery {
            Discovery::Dns { hosts, .. } => hosts.first().map(|(host, _)| host),
            Discovery::Endpoints => None,
        },
        None => None,
    };
    if let Some(host) = host {
        if to.append_forwarded_host {
            let original = x.head.authority().to_owned();
            x.head.fields_mut().append("x-forwarded-host", original.as_bytes());
        }
        x.head.set_authority(host);
    }
}

/// Tries until there is an answer or no try is left.
async fn attempts(
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    plan: &Plan<'_>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
) -> Result<End, Failed> {
    if plan.retry.is_some_and(|retry| retry.on.after_sending()) && !source.is_done() {
        Kept::wrap(source, MOST_REPLAYED);
    }
    let talk = Talk::new(x, plan);
    let mut before: Option<Rc<Target>> = None;
    loop {
        trace.attempts += 1;
        let mine = x
            .left
            .session
            .as_ref()
            .filter(|_| trace.attempts == 1)
            .and_then(|session| plan.group.find(session.wanted?));
        let target =
            mine.or_else(|| plan.group.pick(|| x.worker.random(), before.as_ref())).ok_or(Failed::NoEndpoint)?;
        let active = Active::new(target.clone());
        let _counted = plan.retries.map(Retries::count);
        trace.upstream = Some(active.address);
        if plan.selected.host.attempt_count {
            let count = trace.attempts.to_string();
            x.head.fields_mut().set("x-envoy-attempt-count", count.as_bytes());
        }
        let last = plan.retry.is_none_or(|retry| trace.attempts > retry.retries) || !source.is_untouched();
        let failed = match talk.attempt(x, trace, &active, last, source, responder).await {
            Ok(end) => return Ok(end),
            Err(failed) => failed,
        };
        let Some(retry) = plan.retry.filter(|retry| !last && failed.is_retried(retry) && source.is_untouched()) else {
            if trace.attempts > 1 && plan.retry.is_some_and(|retry| failed.is_retried(retry)) {
                trace.flags.set(Flag::UpstreamRetryLimitExceeded);
            }
            return Err(failed);
        };
        // The head of a response has asked already.
        if !matches!(failed, Failed::Status) && !talk.may_retry() {
            trace.flags.set(Flag::UpstreamOverflow);
            return Err(failed);
        }
        before = Some(target.clone());
        drop(active);
        let pause = pause(retry, trace.attempts, x.worker.random());
        talk.rest(x.alarm);
        talk.guard(x.alarm, tokio::time::sleep(pause)).await?;
        source.rewind();
        plan.mirrors.restart();
    }
}

/// The pause before another try: any up to the base interval, doubled for each try.
fn pause(retry: &RetryPolicy, attempts: u32, random: u64) -> Duration {
    let longest = retry.base_interval.saturating_mul(1 << (attempts - 1).min(16)).min(retry.max_interval);
    longest.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

/// Answers a request that no backend has answered.
async fn fail(
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
    failed: Failed,
) -> End {
    trace.request_read.get_or_insert_with(now);
    let again = if trace.attempts > 1 { "retried and the latest " } else { "" };
    let broken = |reason: &str| {
        format!("upstream connect error or disconnect/reset before headers. {again}reset reason: {reason}")
    };
    let (status, flag, details, text) = match failed {
        Failed::NoEndpoint => {
            (503, Some(Flag::NoHealthyUpstream), "no_healthy_upstream".into(), "no healthy upstream".into())
        }
        Failed::Connect(error) => {
            let reason = error.reason();
            let text = match &error.transport() {
                Some(why) => format!("{}, transport failure reason: {why}", broken(reason)),
                None => broken(reason),
            };
            trace.upstream_failure = Some(error.to_string());
            let details = format!("upstream_reset_before_response_started{{{}}}", reason.replace(' ', "_"));
            (503, Some(Flag::UpstreamConnectionFailure), details, text)
        }
        Failed::Reset { .. } => (
            503,
            Some(Flag::UpstreamConnectionTermination),
            "upstream_reset_before_response_started{connection_termination}".into(),
            broken("connection termination"),
        ),
        Failed::RemoteReset { .. } => (
            503,
            Some(Flag::UpstreamRemoteReset),
            "upstream_reset_before_response_started{remote_reset}".into(),
            broken("remote reset"),
        ),
        Failed::Protocol(why) => {
            trace.upstream_failure = Some(why);
            (
                502,
                Some(Flag::UpstreamProtocolError),
                "upstream_reset_before_response_started{protocol_error}".into(),
                broken("protocol error"),
            )
        }
        Failed::AttemptTimeout => (
            504,
            Some(Flag::UpstreamRequestTimeout),
            "upstream_per_try_timeout".into(),
            "upstream request timeout".into(),
        ),
        Failed::Timeout => (
            504,
            Some(Flag::UpstreamRequestTimeout),
            "upstream_response_timeout".into(),
            "upstream request timeout".into(),
        ),
        Failed::Late => (408, Some(Flag::DurationTimeout), "request_overall_timeout".into(), "request timeout".into()),
        Failed::Idle => (408, Some(Flag::StreamIdleTimeout), "stream_idle_timeout".into(), "stream timeout".into()),
        Failed::Status => (503, None, "via_upstream".into(), String::new()),
        Failed::BadBody => (400, Some(Flag::DownstreamProtocolError), "http1.codec_error".into(), "Bad Request".into()),
        Failed::ClientGone => {
            trace.flags.set(Flag::DownstreamConnectionTermination);
            trace.details = "downstream_remote_disconnect".into();
            return End::Broken;
        }
    };
    flag.into_iter().for_each(|flag| trace.flags.set(flag));
    trace.details = details.into();
    local::answer(x, trace, source, responder, Local::new(status).text(&text)).await
}
