//! Services that routes send requests to and that have nobody to answer them.

use super::finding::{Finding, Level};
use crate::{
    offline::{Origin, World},
    path::field,
    service::service,
};
use api::{Object, ObjectId};
use prost::Message;
use proto::{TypeUrl, envoy::envoy::config::endpoint::v3::ClusterLoadAssignment};
use std::collections::BTreeSet;

/// Services whose endpoints are empty. Those of a Service with a selector come from the cluster: that they aren't in
/// the files means nothing.
pub fn findings(world: &World) -> Vec<Finding> {
    let empty = world.resources.iter().filter(|(key, resource)| {
        key.type_url == TypeUrl::Endpoints
            && ClusterLoadAssignment::decode(resource.body.clone())
                .is_ok_and(|all| all.endpoints.iter().flat_map(|group| &group.lb_endpoints).next().is_none())
    });
    let services: BTreeSet<ObjectId> = empty.filter_map(|(key, _)| service(&key.name)).map(|(id, _)| id).collect();
    services.iter().filter_map(|id| of_service(world, id)).collect()
}

fn of_service(world: &World, id: &ObjectId) -> Option<Finding> {
    let Object::Service(service) = world.objects.get(id)? else { return None };
    let mut slices = world.objects.values().filter(|object| match object {
        Object::EndpointSlice(slice) => {
            let of = slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
            of.map(String::as_str) == Some(&id.name) && slice.metadata.namespace == service.metadata.namespace
        }
        _ => false,
    });
    let has_slices = slices.next().is_some();
    let selects =
        service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|labels| !labels.is_empty());
    let message = match (has_slices, selects) {
        (true, _) => "routes send requests here, and none of its endpoints is ready",
        (false, false) => "routes send requests here, and it has neither a selector nor an EndpointSlice",
        (false, true) if world.origin == Origin::Files => return None,
        (false, true) => "routes send requests here, and no EndpointSlice names anybody: nothing matches its selector",
    };
    Some(Finding::new(world, Level::Warning, "NoEndpoints", id, &field("spec"), message))
}
