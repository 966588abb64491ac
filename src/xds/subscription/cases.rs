//! What single rules mean, one case each; the law next door has everything in any order.

use super::{Content, Flavor, Note, Response, Subscription};
use crate::snapshot::Snapshot;
use bytes::Bytes;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Status};
use proto::{Resource, TypeUrl};
use std::sync::Arc;

/// A snapshot of `(type, name, body)` after `before`.
fn snapshot(before: &Snapshot, changes: &[(TypeUrl, &str, &str)]) -> Arc<Snapshot> {
    let mut next = before.clone();
    next.generation += 1;
    for (type_url, name, body) in changes {
        let resource = Resource::from_bytes(Bytes::copy_from_slice(body.as_bytes()));
        next.set(next.generation, *type_url, (*name).into(), Some(resource));
    }
    Arc::new(next)
}

fn delta(subscription: &mut Subscription, type_url: TypeUrl, subscribe: &[&str], nonce: u64) -> Vec<String> {
    let request = DeltaDiscoveryRequest {
        type_url: type_url.to_string(),
        resource_names_subscribe: subscribe.iter().map(|name| (*name).to_owned()).collect(),
        response_nonce: if nonce > 0 { nonce.to_string() } else { String::new() },
        ..Default::default()
    };
    subscription.delta(request).expect("within limits");
    said(subscription.responses())
}

fn sotw(subscription: &mut Subscription, type_url: TypeUrl, names: &[&str], nonce: u64) -> Vec<String> {
    let request = DiscoveryRequest {
        type_url: type_url.to_string(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        response_nonce: if nonce > 0 { nonce.to_string() } else { String::new() },
        ..Default::default()
    };
    subscription.sotw(request).expect("within limits");
    said(subscription.responses())
}

/// Responses as `nonce type names`.
fn said(responses: Vec<Response>) -> Vec<String> {
    let names = |content: Content| match content {
        Content::Some(entries) => entries,
        Content::Whole(published) => published.entries().cloned().collect(),
    };
    let one = |response: Response| {
        let names: Vec<_> = names(response.content).iter().map(|entry| entry.name.to_string()).collect();
        format!("{} {:?} {}", response.nonce, response.type_url, names.join(" "))
    };
    responses.into_iter().map(one).collect()
}

const NOTHING: [&str; 0] = [];
use TypeUrl::{Cluster, Endpoints, Listener};

/// An empty first answer would take a reconnecting client's listeners away.
#[test]
fn the_first_answer_is_whole() {
    let target = snapshot(&Snapshot::default(), &[(Cluster, "c", "1"), (Listener, "l", "1")]);
    let mut stream = Subscription::new(Flavor::Sotw, false, 10, target);
    assert_eq!(sotw(&mut stream, Cluster, &[], 0), ["1 Cluster c"]);
    assert_eq!(sotw(&mut stream, Listener, &[], 0), NOTHING);
    assert_eq!(sotw(&mut stream, Cluster, &[], 1), ["2 Listener l"]);
    assert_eq!(sotw(&mut stream, Listener, &[], 2), NOTHING);
}

/// Envoy acknowledges changed clusters only when they have their endpoints again, for which it doesn't ask in delta.
#[test]
fn changed_clusters_bring_their_endpoints() {
    let first = snapshot(&Snapshot::default(), &[(Cluster, "c", "1"), (Endpoints, "c", "1"), (Endpoints, "d", "1")]);
    for (warms, expected) in [(true, &["3 Cluster c", "4 Endpoints c"][..]), (false, &["3 Cluster c"])] {
        let mut stream = Subscription::new(Flavor::Delta, warms, 10, first.clone());
        assert_eq!(delta(&mut stream, Cluster, &["*"], 0), ["1 Cluster c"]);
        assert_eq!(delta(&mut stream, Endpoints, &["c"], 0), ["2 Endpoints c"]);
        assert_eq!(delta(&mut stream, Cluster, &[], 1), NOTHING);
        assert_eq!(delta(&mut stream, Endpoints, &[], 2), NOTHING);
        stream.publish(snapshot(&first, &[(Cluster, "c", "2")]));
        assert_eq!(said(stream.responses()), expected);
    }
}

/// A cluster that never gets warm holds up nothing for ever, and isn't taken for acknowledged either.
#[test]
fn patience_ends() {
    let target = snapshot(&Snapshot::default(), &[(Cluster, "c", "1"), (Listener, "l", "1")]);
    let mut stream = Subscription::new(Flavor::Delta, true, 10, target);
    assert_eq!(delta(&mut stream, Cluster, &["*"], 0), ["1 Cluster c"]);
    assert_eq!(delta(&mut stream, Listener, &["*"], 0), NOTHING);
    assert_eq!(stream.expecting(), Some(1));
    stream.stop_expecting();
    assert_eq!(said(stream.responses()), ["2 Listener l"]);
    assert_eq!(delta(&mut stream, Listener, &[], 2), NOTHING);
    assert!(!stream.notes().any(|note| matches!(note, Note::Reached(_))));
    assert_eq!(delta(&mut stream, Cluster, &[], 1), NOTHING);
    assert!(stream.notes().any(|note| note == Note::Reached(1)));
}

/// What was refused, removed and published again as it was is offered again before routes that name it.
#[test]
fn what_was_refused_comes_back_before_its_routes() {
    let first = snapshot(&Snapshot::default(), &[(Cluster, "c", "bad")]);
    let mut stream = Subscription::new(Flavor::Delta, false, 10, first.clone());
    assert_eq!(delta(&mut stream, Cluster, &["*"], 0), ["1 Cluster c"]);
    for (type_url, name) in [(Listener, "*"), (TypeUrl::Route, "r"), (TypeUrl::VirtualHost, "*")] {
        delta(&mut stream, type_url, &[name], 0);
    }
    let error = Status { message: "c: bad".into(), ..Default::default() };
    let refusal = DeltaDiscoveryRequest {
        type_url: Cluster.to_string(),
        response_nonce: "1".into(),
        error_detail: Some(error),
        ..Default::default()
    };
    stream.delta(refusal).expect("within limits");
    for (type_url, nonce) in [(Listener, 2), (TypeUrl::Route, 3), (TypeUrl::VirtualHost, 4)] {
        delta(&mut stream, type_url, &[], nonce);
    }
    let mut gone = first.as_ref().clone();
    gone.generation += 1;
    gone.set(gone.generation, Cluster, "c".into(), None);
    stream.publish(Arc::new(gone.clone()));
    assert_eq!(said(stream.responses()), ["5 Cluster "]);
    stream.publish(snapshot(&gone, &[(Cluster, "c", "bad"), (TypeUrl::Route, "r", "names c")]));
    assert_eq!(said(stream.responses()), NOTHING);
    assert_eq!(delta(&mut stream, Cluster, &[], 5), ["6 Cluster c"]);
}

/// Virtual hosts whose listeners are all closed are nobody's: a client that doesn't ask for them has everything.
#[test]
fn what_nothing_leads_to_is_not_waited_for() {
    let (host, table) = ((TypeUrl::VirtualHost, "r/v", "1"), (TypeUrl::Route, "r", "1"));
    for (resources, reached) in
        [(vec![host], true), (vec![host, table], true), (vec![host, table, (Listener, "l", "1")], false)]
    {
        let mut stream = Subscription::new(Flavor::Delta, false, 10, snapshot(&Snapshot::default(), &resources));
        delta(&mut stream, Cluster, &["*"], 0);
        delta(&mut stream, Listener, &["*"], 0);
        delta(&mut stream, Cluster, &[], 1);
        delta(&mut stream, Listener, &[], 2);
        assert_eq!(stream.notes().any(|note| note == Note::Reached(1)), reached, "{resources:?}");
    }
}
