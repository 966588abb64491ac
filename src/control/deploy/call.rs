//! The calls to the API server.

use super::{
    plan::{Place, Step, owner},
    render::{MANAGED, kind, managed_by},
};
use crate::write::MANAGER;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions},
};
use model::{ObjectKey, Overlay};
use serde_json::Value;
use std::sync::Arc;

/// Why something could not be made.
#[derive(Debug)]
pub enum CallError {
    /// Something stands there that isn't ours.
    Foreign(Place),
    /// The API server says no, or nothing.
    Server(Place, kube::Error),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign((overlay, key)) => write!(
                f,
                "{} {key} exists and was not made for this Gateway: it is left alone; remove it, or name what is made \
                 for this Gateway by the annotation gateway.istio.io/name-override",
                kind(*overlay).1
            ),
            Self::Server((overlay, key), error) => {
                write!(f, "{} {key} could not be applied: {error}", kind(*overlay).1)
            }
        }
    }
}

/// How the API server names a kind.
pub fn resource(overlay: Overlay) -> ApiResource {
    let (api_version, kind) = kind(overlay);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn api(client: &Client, (overlay, key): &Place) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &key.namespace, &resource(*overlay))
}

/// Takes one step; says what stands there now.
pub async fn take(client: &Client, step: Step) -> Result<(Place, Option<Arc<Value>>), CallError> {
    match step {
        Step::Apply { place, manifest, uid } => {
            let applied = apply(client, &place, manifest, uid).await?;
            Ok((place, Some(applied)))
        }
        Step::Delete { place, uid } => {
            let only = Preconditions { uid: Some(uid), resource_version: None };
            let parameters = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
            match api(client, &place).delete(&place.1.name, &parameters).await {
                Ok(_) => Ok((place, None)),
                Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok((place, None)),
                Err(error) => Err(CallError::Server(place, error)),
            }
        }
    }
}

async fn apply(
    client: &Client,
    place: &Place,
    mut manifest: Value,
    uid: Option<String>,
) -> Result<Arc<Value>, CallError> {
    let api = api(client, place);
    let server = |error| CallError::Server(place.clone(), error);
    let uid = match uid {
        Some(uid) => Some(uid),
        None => match api.get_opt(&place.1.name).await.map_err(server)? {
            None => None,
            Some(known) => Some(own(&known, &manifest).ok_or_else(|| CallError::Foreign(place.clone()))?),
        },
    };
    // What stands there must be what we saw: with its uid the API server refuses all else.
    if let Some(uid) = uid {
        manifest["metadata"]["uid"] = uid.into();
    }
    let parameters = PatchParams::apply(MANAGER).force();
    let applied = api.patch(&place.1.name, &parameters, &Patch::Apply(&manifest)).await.map_err(server)?;
    Ok(Arc::new(serde_json::to_value(applied).unwrap_or_default()))
}

/// The uid of an object that was made for the same Gateway, if that is what it is.
fn own(known: &DynamicObject, manifest: &Value) -> Option<String> {
    let known_uid = known.metadata.uid.clone()?;
    let labels = known.metadata.labels.as_ref()?;
    let is_managed = manifest["metadata"]["labels"][MANAGED] == *labels.get(MANAGED)?;
    let known = serde_json::to_value(known).ok()?;
    (is_managed && owner(&known)? == owner(manifest)?).then_some(known_uid)
}

/// Whether a Gateway for which nothing is to be made is one that somebody else's proxies serve now, so that ours go. One
/// that is gone takes them along; one whose class we don't find keeps them, for that may be a mistake.
pub async fn is_given_up(client: &Client, gateway: &ObjectKey, uid: &str, ours: &[Arc<str>]) -> bool {
    let gateway_api =
        |kind: &str| ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind));
    let gateways: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &gateway.namespace, &gateway_api("Gateway"));
    let Ok(Some(found)) = gateways.get_opt(&gateway.name).await else { return false };
    if found.metadata.uid.as_deref() != Some(uid) {
        return false;
    }
    let classes: Api<DynamicObject> = Api::all_with(client.clone(), &gateway_api("GatewayClass"));
    let class = found.data["spec"]["gatewayClassName"].as_str().unwrap_or_default();
    let Ok(Some(class)) = classes.get_opt(class).await else { return false };
    let controller = class.data["spec"]["controllerName"].as_str().unwrap_or_default();
    let addresses = found.data["spec"]["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_manual = addresses.iter().any(|address| address["type"] == "Hostname" && address["value"].is_string());
    is_manual || ours.iter().all(|ours| **ours != *controller)
}

/// The label selector of all that we make.
pub fn selector(controllers: &[Arc<str>]) -> String {
    let names: Vec<_> = controllers.iter().map(|controller| managed_by(controller)).collect();
    format!("{MANAGED} in ({})", names.join(","))
}

/// What is to be done for a Gateway.
pub struct Turn {
    /// Which.
    pub gateway: ObjectKey,
    /// Nothing is to be made for it: the uid of the Gateway for which something was.
    pub abandoned: Option<String>,
    /// In order.
    pub steps: Vec<Step>,
}

/// What a turn came to.
pub struct Done {
    /// For which Gateway.
    pub gateway: ObjectKey,
    /// What stands there now.
    pub standing: Vec<(Place, Option<Arc<Value>>)>,
    /// Why not everything does.
    pub error: Option<CallError>,
}

/// Takes a Gateway's steps in their order, up to one that fails.
pub async fn run(client: Client, turn: Turn, ours: Arc<[Arc<str>]>) -> Done {
    let mut done = Done { gateway: turn.gateway, standing: Vec::new(), error: None };
    if let Some(uid) = &turn.abandoned
        && !is_given_up(&client, &done.gateway, uid, &ours).await
    {
        return done;
    }
    for step in turn.steps {
        match take(&client, step).await {
            Ok(standing) => done.standing.push(standing),
            Err(error) => {
                done.error = Some(error);
                break;
            }
        }
    }
    done
}
