use super::*;
use proto::{Resource, ResourceKey};

fn feedback(board: &Board, client: &str, outcome: Outcome) {
    board.observe(Feedback { scope: Scope::gateway("n", "g"), client: client.into(), outcome });
}

fn shown(board: &Board) -> String {
    let status = board.statuses(|| ()).0.into_values().next().unwrap();
    status.conditions[0].to_string()
}

#[test]
fn programmed_waits_for_every_proxy_and_tells_refusals() {
    let publisher = Publisher::default();
    let board = Board::new(publisher.clone(), Metrics::default(), Objects::default());
    let publish = |bytes: &'static [u8]| {
        let key = ResourceKey { scope: Scope::gateway("n", "g"), type_url: TypeUrl::Cluster, name: "c".into() };
        publisher.publish(vec![(key, Some(Resource::from_bytes(bytes.into())))])
    };
    let first = publish(b"1");
    let unknown =
        Condition { kind: "Programmed", verdict: Verdict { holds: None, reason: "Pending", message: String::new() } };
    let gateway = Some(ObjectKey::new("n", "g"));
    let verdict = Status { observed_generation: 1, gateway, conditions: vec![unknown], ..Status::default() };
    board.decide(vec![(ObjectRef::new("Gateway", ObjectKey::new("n", "g")), Some(Arc::new(verdict)))], || ());
    assert_eq!(shown(&board), "Programmed=False (Pending): no proxy of this Gateway is connected");

    feedback(&board, "a", Outcome::Connected);
    feedback(&board, "b", Outcome::Connected);
    feedback(&board, "a", Outcome::Acked { generation: first });
    assert_eq!(shown(&board), "Programmed=False (Pending): 1 of 2 proxies have not acknowledged it yet");
    feedback(&board, "b", Outcome::Acked { generation: first });
    assert_eq!(shown(&board), "Programmed=True (Programmed)");

    let second = publish(b"2");
    assert_eq!(shown(&board), "Programmed=False (Pending): 2 of 2 proxies have not acknowledged it yet");
    let (type_url, name) = (TypeUrl::Cluster, Arc::<str>::from("c"));
    let (version, error) = ("v".to_owned(), "no such field".to_owned());
    feedback(&board, "a", Outcome::Nacked { type_url, name: name.clone(), version, error, may_pass: false });
    feedback(&board, "b", Outcome::Acked { generation: second });
    assert_eq!(shown(&board), "Programmed=False (Invalid): a refuses Cluster c: no such field");

    let third = publish(b"3");
    feedback(&board, "a", Outcome::Recovered { type_url, name });
    feedback(&board, "a", Outcome::Acked { generation: third });
    feedback(&board, "b", Outcome::Disconnected);
    assert_eq!(shown(&board), "Programmed=True (Programmed)");
    feedback(&board, "a", Outcome::Disconnected);
    assert_eq!(shown(&board), "Programmed=False (Pending): no proxy of this Gateway is connected");
}

#[test]
fn proxies_of_other_replicas_count() {
    let publisher = Publisher::default();
    let key = ResourceKey { scope: Scope::gateway("n", "g"), type_url: TypeUrl::Cluster, name: "c".into() };
    let bytes: &'static [u8] = b"1";
    let published = publisher.publish(vec![(key, Some(Resource::from_bytes(bytes.into())))]);
    let (leader, other) = (
        Board::new(publisher.clone(), Metrics::default(), Objects::default()),
        Board::new(publisher, Metrics::default(), Objects::default()),
    );
    let decide = |generation: i64| {
        for board in [&leader, &other] {
            let waits = Condition::unknown("Programmed", "Pending", "");
            let gateway = Some(ObjectKey::new("n", "g"));
            let verdict =
                Status { observed_generation: generation, gateway, conditions: vec![waits], ..Status::default() };
            board.decide(vec![(ObjectRef::new("Gateway", ObjectKey::new("n", "g")), Some(Arc::new(verdict)))], || ());
        }
    };
    let tell = || leader.hear(BTreeMap::from([("b".to_owned(), Arc::new(other.words()))]));
    decide(1);
    tell();
    assert_eq!(shown(&leader), "Programmed=False (Pending): no proxy of this Gateway is connected");
    feedback(&other, "p", Outcome::Connected);
    feedback(&other, "p", Outcome::Acked { generation: published });
    tell();
    assert_eq!(shown(&leader), "Programmed=True (Programmed)");
    // What it told before the Gateway changed is not about the change.
    decide(2);
    assert_eq!(shown(&leader), "Programmed=False (Pending): 1 of 1 proxies have not acknowledged it yet");
    let (type_url, name, version) = (TypeUrl::Cluster, Arc::<str>::from("c"), String::new());
    feedback(&other, "p", Outcome::Nacked { type_url, name, version, error: "no such field".into(), may_pass: false });
    tell();
    assert_eq!(shown(&leader), "Programmed=False (Invalid): replica b refuses Cluster c: no such field");
    feedback(&other, "p", Outcome::Disconnected);
    tell();
    assert_eq!(shown(&leader), "Programmed=False (Pending): no proxy of this Gateway is connected");
}
