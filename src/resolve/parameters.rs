//! `spec.infrastructure.parametersRef`: a ConfigMap of the Gateway's namespace, whose keys are laid over what is made.

use crate::{Inputs, status::Fault};
use engine::View;
use model::{ObjectKey, Overlay};
use std::{collections::BTreeMap, sync::Arc};

/// JSON objects by what they are for.
pub(crate) type Overlays = BTreeMap<Overlay, Arc<str>>;

/// What a Gateway wants laid over, or why it can't be read.
pub(crate) fn read(
    view: &View,
    inputs: &Inputs,
    gateway: &ObjectKey,
    spec: &api::GatewaySpec,
) -> Result<Overlays, Fault> {
    let Some(reference) =
        spec.infrastructure.as_ref().and_then(|infrastructure| infrastructure.parameters_ref.as_ref())
    else {
        return Ok(Overlays::new());
    };
    let invalid = |why: &str| {
        let (kind, name) = (&reference.kind, &reference.name);
        Fault::new("InvalidParameters", format!("spec.infrastructure.parametersRef: {kind} {name} {why}"))
    };
    if (&*reference.group, &*reference.kind) != ("", "ConfigMap") {
        return Err(invalid("is not known"));
    }
    let map = target(gateway, spec).and_then(|key| view.get(&inputs.config_maps, &key));
    let map = map.ok_or_else(|| invalid("does not exist"))?;
    let mut overlays = Overlays::new();
    for (name, text) in map.data.iter().flatten() {
        let known = Overlay::ALL.into_iter().find(|overlay| overlay.key() == name);
        let known = known.ok_or_else(|| {
            let wanted: Vec<_> = Overlay::ALL.iter().map(|overlay| overlay.key()).collect();
            invalid(&format!("has data[{name:?}]; wanted {}", wanted.join(", ")))
        })?;
        match api::manifest::value(text) {
            Ok(Some(value)) if value.is_object() => {
                overlays.insert(known, value.to_string().into());
            }
            Ok(_) => return Err(invalid(&format!("data[{name:?}]: wanted an object in YAML, saw something else"))),
            Err(why) => return Err(invalid(&format!("data[{name:?}]: {why}"))),
        }
    }
    Ok(overlays)
}

/// The ConfigMap that a Gateway names.
pub(crate) fn target(gateway: &ObjectKey, spec: &api::GatewaySpec) -> Option<ObjectKey> {
    let reference = spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    let is_map = (&*reference.group, &*reference.kind) == ("", "ConfigMap");
    is_map.then(|| ObjectKey::new(gateway.namespace.clone(), &*reference.name))
}
