//! Routes that nothing serves because nobody is named who could, and Gateways that are somebody else's.

use super::{
    finding::{Finding, Level},
    verdicts::item,
};
use crate::{offline::World, path::field};
use api::{GATEWAY_GROUP, Object, ObjectId};
use serde_json::Value;

/// Routes without a parent, and parents that don't exist. What resolution says of parents that do is a verdict.
pub fn findings(world: &World) -> Vec<Finding> {
    let routes = world.objects.iter().filter(|(id, _)| id.kind.ends_with("Route"));
    let routes = routes.flat_map(|(id, object)| of_route(world, id, &object.to_json().unwrap_or_default()));
    routes.chain(world.objects.values().filter_map(|object| of_gateway(world, object))).collect()
}

/// A Gateway that isn't ours is left alone, and so is what hangs on it: somebody might take that for "all is well".
fn of_gateway(world: &World, object: &Object) -> Option<Finding> {
    let Object::Gateway(gateway) = object else { return None };
    let id = object.id();
    if world.status(&id).is_some() {
        return None;
    }
    let class = &*gateway.spec.gateway_class_name;
    let class_id = ObjectId { kind: "GatewayClass".into(), namespace: "".into(), name: class.into() };
    let (level, message) = match world.objects.contains_key(&class_id) {
        true => (Level::Note, format!("GatewayClass {class} has another controller: left alone")),
        false => {
            let message =
                format!("GatewayClass {class} is not {}: left alone, with all its routes", world.origin.within());
            (Level::Warning, message)
        }
    };
    Some(Finding::new(world, level, "ClassNotFound", &id, &field("spec.gatewayClassName"), message))
}

fn of_route(world: &World, route: &ObjectId, json: &Value) -> Vec<Finding> {
    let parents = json["spec"]["parentRefs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if parents.is_empty() {
        let message = "names no parent: nothing serves this route";
        return vec![Finding::new(world, Level::Warning, "NoParent", route, &field("spec"), message)];
    }
    let missing = parents.iter().enumerate().filter_map(|(index, reference)| {
        let text = |name: &str| reference[name].as_str();
        // Other parents, such as the Services of a mesh, are not ours to judge.
        let kind = text("kind").unwrap_or("Gateway");
        if text("group").is_some_and(|group| group != GATEWAY_GROUP) || !matches!(kind, "Gateway" | "ListenerSet") {
            return None;
        }
        let parent = ObjectId {
            kind: kind.into(),
            namespace: text("namespace").unwrap_or(&route.namespace).into(),
            name: text("name")?.into(),
        };
        // One that the door refused is complained of there.
        let refused = world.problems.iter().any(|problem| problem.object.as_ref() == Some(&parent));
        (!world.objects.contains_key(&parent) && !refused).then(|| {
            let message = format!("{parent} is not {}", world.origin.within());
            Finding::new(world, Level::Warning, "ParentNotFound", route, &item("parentRefs", index), message)
        })
    });
    missing.collect()
}
