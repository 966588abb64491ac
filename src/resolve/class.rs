//! GatewayClasses: which ones are ours.

use crate::{Inputs, Settings, status::Fault};
use engine::{Engine, Table};
use model::{DataPlane, ObjectKey};
use std::sync::Arc;

/// Our classes by name, with what is wrong with them.
pub(crate) type Classes = Table<ObjectKey, Class>;

/// A GatewayClass whose `controllerName` is ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Class {
    pub(crate) controller: Arc<str>,
    /// What serves its Gateways.
    pub(crate) data_plane: DataPlane,
    pub(crate) fault: Option<Fault>,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, settings: &Arc<Settings>) -> Classes {
    let settings = settings.clone();
    engine.derive("classes", &inputs.gateway_classes, move |_, key, rows| {
        let class = |class: &Arc<api::GatewayClass>| {
            let (controller, data_plane) = settings.controllers.get_key_value(&*class.spec.controller_name)?;
            let class = Class { controller: controller.clone(), data_plane: *data_plane, fault: fault(&class.spec) };
            Some((key.clone(), class))
        };
        rows.iter().filter_map(class).collect()
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
