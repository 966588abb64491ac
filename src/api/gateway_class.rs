//! GatewayClass: which controller minds which Gateways.

use crate::{ObjectMeta, ParametersReference};
use serde::{Deserialize, Serialize};

/// `gateway.networking.k8s.io` GatewayClass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatewayClass {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: GatewayClassSpec,
}

/// Spec of a [`GatewayClass`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// `domain/path` of the controller.
    pub controller_name: String,
    /// Parameters for the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
