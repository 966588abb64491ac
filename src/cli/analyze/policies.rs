//! Policies that do nothing, or more than somebody may have meant.

use super::finding::{Finding, Level};
use crate::{offline::World, path::field};
use api::{AuthorizationPolicyAction, Object, ObjectId};
use proto::TypeUrl;

/// Policies of every kind are found by what they have in common: they select something.
pub fn findings(world: &World) -> Vec<Finding> {
    world.objects.iter().flat_map(|(id, object)| of_policy(world, id, object)).collect()
}

fn of_policy(world: &World, id: &ObjectId, object: &Object) -> Option<Finding> {
    let Object::AuthorizationPolicy(policy) = object else { return None };
    let spec = &policy.spec;
    let new =
        |level, code, path: &str, message: &str| Some(Finding::new(world, level, code, id, &field(path), message));
    match spec.action {
        AuthorizationPolicyAction::Deny if spec.rules.is_empty() => {
            return new(
                Level::Warning,
                "PolicyMatchesNothing",
                "spec",
                "a DENY policy without rules matches no request",
            );
        }
        AuthorizationPolicyAction::Allow if spec.rules.is_empty() => {
            let message = "an ALLOW policy without rules allows nothing: what it selects denies every request";
            return new(Level::Note, "AllowsNothing", "spec", message);
        }
        _ => {}
    }
    // Whether workloads other than Gateways are selected can't be seen from here, so this is no more than a note.
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    (selects && !is_enforced(world, id)).then(|| {
        let message = format!("selects no Gateway of {}", world.origin);
        Finding::new(world, Level::Note, "PolicyUnattached", id, &field("spec.selector"), message)
    })
}

/// Whether any Gateway's proxies get a rule of the policy.
fn is_enforced(world: &World, id: &ObjectId) -> bool {
    let wanted = format!("ns[{}]-policy[{}]-rule", id.namespace, id.name);
    let mut extensions = world.resources.iter().filter(|(key, _)| key.type_url == TypeUrl::Extension);
    extensions.any(|(_, resource)| resource.body.windows(wanted.len()).any(|part| part == wanted.as_bytes()))
}
