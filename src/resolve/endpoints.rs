//! Endpoints: the addresses behind the ports of Services.

use crate::{
    Inputs,
    service::{Port, Services, Transport},
};
use engine::{Engine, Rows, Table};
use model::{Endpoint, Endpoints, Health, ObjectKey};
use std::{net::IpAddr, sync::Arc};

/// What matters of an EndpointSlice: one that is only relabelled changes nothing.
#[derive(Clone, Debug, PartialEq)]
struct Slice {
    addresses: Vec<Address>,
    /// Name, number and transport.
    ports: Vec<(Arc<str>, u16, Transport)>,
}

/// One address of a slice.
#[derive(Clone, Debug, PartialEq)]
struct Address {
    address: IpAddr,
    state: State,
    zone: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// It ends, and still serves.
    Ending,
    Unready,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, services: &Services) -> Table<Arc<str>, Endpoints> {
    let slices = engine.derive("slices of services", &inputs.endpoint_slices, |_, key, rows| {
        rows.iter().filter_map(|slice| slice_of(key, slice)).collect()
    });
    engine.derive("endpoints", &services.shapes, move |view, key, rows| {
        let mut endpoints = Vec::new();
        for shape in rows.iter().filter(|shape| shape.has_endpoints()) {
            let slices = view.rows(&slices, key);
            let of = |port: &Port| (port.cluster.clone(), endpoints_of(port, &slices));
            endpoints.extend(shape.ports.iter().map(of));
        }
        endpoints
    })
}

fn slice_of(key: &ObjectKey, slice: &api::EndpointSlice) -> Option<(ObjectKey, Slice)> {
    let service = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
    // FQDN is the one type that doesn't hold addresses.
    if !matches!(&*slice.address_type, "IPv4" | "IPv6") {
        return None;
    }
    let port = |port: &api::EndpointPort| {
        let number = u16::try_from(port.port?).ok().filter(|number| *number > 0)?;
        let name = port.name.as_deref().unwrap_or_default().into();
        Some((name, number, Transport::parse(port.protocol.as_deref())))
    };
    let mut ports: Vec<_> = slice.ports.iter().flatten().filter_map(port).collect();
    let mut addresses: Vec<_> = slice.endpoints.iter().flatten().flat_map(addresses).collect();
    ports.shrink_to_fit();
    addresses.shrink_to_fit();
    Some((ObjectKey::new(key.namespace.clone(), &**service), Slice { addresses, ports }))
}

fn endpoints_of(port: &Port, slices: &Rows<Slice>) -> Endpoints {
    let found = || {
        slices.iter().flat_map(|slice| {
            let ports =
                slice.ports.iter().filter(|(name, _, transport)| (name, transport) == (&port.name, &port.transport));
            ports.flat_map(|(_, number, _)| slice.addresses.iter().map(|address| (address, *number)))
        })
    };
    let any_ready = found().any(|(address, _)| address.state == State::Ready);
    let endpoint = |(found, port): (&Address, u16)| {
        let health = match found.state {
            State::Ready => Health::Healthy,
            // Kubernetes sends traffic to pods that end while there are no others (KEP-1669).
            State::Ending if !any_ready => Health::Healthy,
            State::Ending => return None,
            State::Unready => Health::Unhealthy,
        };
        Some(Endpoint { address: found.address, port, health, zone: found.zone.clone() })
    };
    let mut endpoints: Vec<_> = found().filter_map(endpoint).collect();
    // Of two slices that name one address, while a pod moves between them, the better news counts.
    endpoints.sort_unstable_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    endpoints.dedup_by(|later, first| place(later) == place(first));
    endpoints.shrink_to_fit();
    Endpoints(endpoints)
}

fn place(endpoint: &Endpoint) -> (IpAddr, u16) {
    (endpoint.address, endpoint.port)
}

fn addresses(endpoint: &api::Endpoint) -> Vec<Address> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    // `ready` and `serving` that are unknown count as true, `terminating` as false (EndpointConditions).
    let ready = conditions.ready.unwrap_or(true);
    let state = match (ready, conditions.terminating.unwrap_or(false)) {
        (true, _) => State::Ready,
        (false, true) if conditions.serving.unwrap_or(true) => State::Ending,
        (false, true) => return Vec::new(),
        (false, false) => State::Unready,
    };
    let zone: Option<Arc<str>> = endpoint.zone.as_deref().map(Arc::from);
    let addresses = endpoint.addresses.iter().filter_map(|text| text.parse().ok());
    addresses.map(|address| Address { address, state, zone: zone.clone() }).collect()
}
