//! EDS.

use super::{
    at::{At, Fault, number, take},
    listener::{host_and_port, socket_address_of},
};
use crate::config::{Endpoint, Endpoints, Health, Locality, Name};
use proto::envoy::envoy::config::{
    core::v3::{self as core, HealthStatus},
    endpoint::v3::{
        self as pb, ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, cluster_load_assignment, lb_endpoint,
    },
};
use std::sync::Arc;

pub(super) fn endpoints(at: &At<'_>, name: &Name, message: ClusterLoadAssignment) -> Result<Endpoints, Fault> {
    match message.cluster_name == **name {
        true => assignment(at, message),
        false => at.field("cluster_name").fail(format!("wanted {name:?}, saw {:?}", message.cluster_name)),
    }
}

/// Endpoints with addresses.
pub(super) fn assignment(at: &At<'_>, message: ClusterLoadAssignment) -> Result<Endpoints, Fault> {
    let mut list = Vec::new();
    for_each(at, message, |at, endpoint, shared| {
        let (address, rest) = endpoint;
        // TCP or UDP: the listener knows which.
        let protocol = match &address.address {
            Some(core::address::Address::SocketAddress(socket)) => socket.protocol.clamp(0, 1),
            _ => 0,
        };
        let address = socket_address_of(at, address, protocol)?;
        let Shared { priority, locality_weight, locality } = shared;
        let (priority, locality_weight, locality) = (*priority, *locality_weight, locality.clone());
        list.push(Endpoint { address, health: rest.0, weight: rest.1, priority, locality_weight, locality });
        Ok(())
    })?;
    list.sort_by_key(|endpoint| endpoint.priority);
    Ok(Endpoints { list: list.into() })
}

/// Names to resolve, with their ports.
pub(super) fn hosts(at: &At<'_>, message: ClusterLoadAssignment) -> Result<Box<[(Name, u16)]>, Fault> {
    let mut hosts = Vec::new();
    for_each(at, message, |at, (address, _), _| {
        let (host, port) = host_and_port(at, address)?;
        hosts.push((at.name(&host), port));
        Ok(())
    })?;
    Ok(hosts.into())
}

/// What the endpoints of one locality share.
struct Shared {
    priority: u32,
    locality_weight: Option<u32>,
    locality: Option<Arc<Locality>>,
}

type One = (core::Address, (Health, u32));

fn for_each(
    at: &At<'_>,
    message: ClusterLoadAssignment,
    mut each: impl FnMut(&At<'_>, One, &Shared) -> Result<(), Fault>,
) -> Result<(), Fault> {
    take!(at, message => ClusterLoadAssignment { endpoints, policy } moot { cluster_name } refuse { named_endpoints });
    if let Some(policy) = policy {
        let at = at.field("policy");
        // More endpoints than are needed are a matter of priorities' overflow, which this proxy does at 140 %.
        take!(at, policy => cluster_load_assignment::Policy {}
            moot { overprovisioning_factor, weighted_priority_health } refuse { drop_overloads, endpoint_stale_after });
    }
    let at_localities = at.field("endpoints");
    for (index, group) in endpoints.into_iter().enumerate() {
        let at = at_localities.index(index);
        take!(at, group => LocalityLbEndpoints { locality, lb_endpoints, load_balancing_weight, priority }
            moot { metadata, proximity } refuse { lb_config });
        let shared = Shared {
            priority,
            locality_weight: number(load_balancing_weight),
            locality: locality.map(|core::Locality { region, zone, sub_zone }| {
                Arc::new(Locality { parts: [at.name(&region), at.name(&zone), at.name(&sub_zone)] })
            }),
        };
        let at_endpoints = at.field("lb_endpoints");
        for (index, endpoint) in lb_endpoints.into_iter().enumerate() {
            let at = at_endpoints.index(index);
            let one = lb_endpoint(&at, endpoint)?;
            each(&at.field("endpoint").field("address"), one, &shared)?;
        }
    }
    Ok(())
}

fn lb_endpoint(at: &At<'_>, message: LbEndpoint) -> Result<One, Fault> {
    // Metadata chooses transport sockets and subsets; clusters that have those are refused.
    take!(at, message => LbEndpoint { health_status, load_balancing_weight, host_identifier } moot { metadata } refuse {});
    let health = match HealthStatus::try_from(health_status) {
        Ok(HealthStatus::Unknown | HealthStatus::Healthy | HealthStatus::Degraded) => Health::Healthy,
        Ok(HealthStatus::Unhealthy | HealthStatus::Timeout) => Health::Unhealthy,
        Ok(HealthStatus::Draining) => Health::Draining,
        Err(_) => return at.field("health_status").fail(format!("unknown value {health_status}")),
    };
    let weight = match number(load_balancing_weight).unwrap_or(1) {
        0 => return at.field("load_balancing_weight").fail("wanted one or more, saw 0"),
        weight => weight,
    };
    let Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)) = host_identifier else {
        return at.field("host_identifier").fail("wanted endpoint");
    };
    let at = at.field("endpoint");
    take!(at, endpoint => pb::Endpoint { address } moot { health_check_config, hostname, observability_name }
        refuse { additional_addresses });
    Ok((at.want("address", address)?, (health, weight)))
}
