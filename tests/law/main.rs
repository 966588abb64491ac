//! Laws that hold between rooms.
//!
//! Policies: what `translate` emits decides as the policy is written, judged by two interpreters that know nothing of
//! each other: one of `model::Policy` ([`policy`]), one of Envoy's RBAC protos ([`rbac`]). And windlass-proxy's own
//! evaluation decides as the second does.

mod cases;
mod policy;
mod rbac;
mod request;

use engine::{Batch, Engine};
use model::{ObjectKey, Policy};
use proptest::prelude::*;
use proto::TypeUrl;
use request::Request;
use std::{collections::BTreeMap, sync::Arc};
use translate::{Inputs, Settings};

/// The filters of a gateway, in their order.
const FILTERS: [&str; 3] = ["authz.audit", "authz.deny", "authz.allow"];

/// The bytes of the filters of a gateway with these policies.
fn emitted(settings: &Settings, policies: &[Policy]) -> [Vec<u8>; 3] {
    let mut engine = Engine::new();
    let gateways = engine.input("gateways");
    let all = engine.input::<usize, Policy>("policies");
    let gateway = ObjectKey::new("ns", "gw");
    let inputs = Inputs {
        gateways: *gateways,
        listeners: *engine.input("listeners"),
        virtual_hosts: *engine.input("virtual hosts"),
        streams: *engine.input("streams"),
        clusters: *engine.input("clusters"),
        endpoints: *engine.input("endpoints"),
        gateway_clusters: *engine.input("gateway clusters"),
        certificates: *engine.input("certificates"),
        trust: *engine.input("trust"),
        backend_certificates: *engine.input("backend certificates"),
        authentications: *engine.input("authentications"),
        authorizers: *engine.input("authorizers"),
        policies: engine.derive("policies of gateways", &all, {
            let gateway = gateway.clone();
            move |_: &engine::View, _: &usize, rows: &engine::Rows<Policy>| vec![(gateway.clone(), (*rows[0]).clone())]
        }),
    };
    let outputs = translate::declare(&mut engine, settings.clone(), inputs);
    let mut batch = Batch::new();
    batch.set(&gateways, gateway, ());
    for (i, policy) in policies.iter().enumerate() {
        batch.set(&all, i, Arc::new(policy.clone()));
    }
    engine.commit(batch);
    FILTERS.map(|name| {
        let mut found =
            outputs.all(&engine).filter(|(key, _)| key.type_url == TypeUrl::Extension && &*key.name == name);
        found.next().expect("a gateway has all filters").1.body.to_vec()
    })
}

/// The filters as windlass-proxy reads them.
fn compiled(filters: &[Vec<u8>; 3]) -> Vec<Arc<proxy::authz::Rbac>> {
    let context = proxy::config::Context::default();
    let parsed = filters.iter().zip(FILTERS).map(|(body, name)| {
        match proxy::config::parse(&context, TypeUrl::Extension, &name.into(), body) {
            Ok(proxy::config::Parsed::Extension(proxy::config::Step::Rbac(rbac))) => rbac,
            Ok(_) => panic!("{name} is a policy"),
            Err(fault) => panic!("{name}: {fault}"),
        }
    });
    parsed.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_emitted_rbac_decides_as_the_policy_is_written(
        policies in cases::policies(),
        requests in proptest::collection::vec(cases::request(), 6),
        port_offset in prop_oneof![Just(0), Just(10_000)],
    ) {
        let settings = Settings { port_offset, ..Settings::default() };
        let bytes = emitted(&settings, &policies);
        let filters: Vec<_> = bytes.iter().map(|bytes| rbac::decode(bytes)).collect();
        let ours = compiled(&bytes);
        for request in requests {
            let wanted = policy::allows(&policies, &request);
            let bound = Request { port: request.port + port_offset, ..request };
            prop_assert_eq!(filters.iter().all(|filter| rbac::allows(filter, &bound)), wanted, "{:?}", bound);
            prop_assert_eq!(ours.iter().all(|rbac| bound.ask_proxy(rbac).0), wanted, "the proxy on {:?}", bound);
            let wanted = policy::noted(&policies, &Request { port: bound.port - port_offset, ..bound.clone() });
            let noted: BTreeMap<_, _> = filters.iter().filter_map(|filter| rbac::noted(filter, &bound)).collect();
            prop_assert_eq!(&noted, &wanted, "{:?}", bound);
            let notes = ours.iter().filter_map(|rbac| bound.ask_proxy(rbac).1);
            prop_assert_eq!(notes.collect::<BTreeMap<_, _>>(), wanted, "the proxy on {:?}", bound);
        }
    }
}
