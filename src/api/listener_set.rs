//! ListenerSet: listeners that others add to a Gateway.

use crate::{Listener, ObjectMeta};
use serde::{Deserialize, Serialize};

/// `gateway.networking.k8s.io` ListenerSet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerSet {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ListenerSetSpec,
}

/// Spec of a [`ListenerSet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway that gets the listeners.
    pub parent_ref: ParentGatewayReference,
    /// 1 to 64, names differ.
    pub listeners: Vec<Listener>,
}

/// A reference to the Gateway of a [`ListenerSet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentGatewayReference {
    /// API group.
    #[serde(default = "gateway_group")]
    pub group: String,
    /// Kind.
    #[serde(default = "gateway_kind")]
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; absent is that of the ListenerSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

fn gateway_group() -> String {
    crate::GATEWAY_GROUP.into()
}

fn gateway_kind() -> String {
    "Gateway".into()
}
