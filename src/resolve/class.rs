//! GatewayClasses: which ones are ours.

use crate::{Inputs, Settings, status::Fault};
use engine::{Engine, Table};
use model::ObjectKey;
use std::sync::Arc;

/// Our classes by name, with what is wrong with them.
pub(crate) type Classes = Table<ObjectKey, Class>;

/// A GatewayClass whose `controllerName` is ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Class {
    pub(crate) fault: Option<Fault>,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, settings: &Arc<Settings>) -> Classes {
    let settings = settings.clone();
    engine.derive("classes", &inputs.gateway_classes, move |_, key, rows| {
        let ours = rows.iter().filter(|class| *class.spec.controller_name == *settings.controller);
        ours.map(|class| (key.clone(), Class { fault: fault(&class.spec) })).collect()
    })
}

fn fault(spec: &api::GatewayClassSpec) -> Option<Fault> {
    spec.parameters_ref.as_ref().map(|parameters| {
        Fault::new(
            "InvalidParameters",
            format!("spec.parametersRef: {} {} is not known; remove it", parameters.kind, parameters.name),
        )
    })
}
