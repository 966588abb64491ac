//! Istio's MeshConfig (`istio.mesh.v1alpha1.MeshConfig`), as far as it means anything here: `data.mesh` of ConfigMap
//! `istio` in the root namespace.

use crate::{Duration, manifest};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;

/// A service outside of the proxy that it may be told to ask; one of each name.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshProvider {
    /// How it is named by policies.
    pub name: String,
    /// What it is, or what is wrong with it.
    pub kind: Result<MeshProviderKind, String>,
}

/// What a provider is.
#[derive(Clone, Debug, PartialEq)]
pub enum MeshProviderKind {
    /// Decides about requests, asked by HTTP.
    Http(Box<HttpAuthProvider>),
    /// Decides about requests, asked by gRPC (`envoy.service.auth.v3.Authorization`).
    Grpc(GrpcAuthProvider),
    /// Something else than an authorization service.
    Other,
}

/// `EnvoyExternalAuthorizationHttpProvider`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpAuthProvider {
    /// `[<namespace>/]<hostname>`
    pub service: String,
    /// Of the Service.
    pub port: u16,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Stands before the request's path.
    pub path_prefix: String,
    /// An error lets the request pass.
    pub fail_open: bool,
    /// A changed request is routed anew.
    pub clear_route_cache: bool,
    /// The code of the answer after an error.
    pub status_on_error: String,
    /// `includeRequestHeadersInCheck` by its old name.
    pub include_headers_in_check: Vec<String>,
    /// Request headers that it sees besides those that it always does.
    pub include_request_headers_in_check: Vec<String>,
    /// Headers that it gets from nobody but us.
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// What it sees of the body.
    pub include_request_body_in_check: Option<AuthRequestBody>,
    /// Headers of its answer that go into the request.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// Headers of its denial that the client sees; empty is all.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// Headers of its consent that the client sees.
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// `EnvoyExternalAuthorizationGrpcProvider`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcAuthProvider {
    /// `[<namespace>/]<hostname>`
    pub service: String,
    /// Of the Service.
    pub port: u16,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// An error lets the request pass.
    pub fail_open: bool,
    /// A changed request is routed anew.
    pub clear_route_cache: bool,
    /// The code of the answer after an error.
    pub status_on_error: String,
    /// What it sees of the body.
    pub include_request_body_in_check: Option<AuthRequestBody>,
}

/// `EnvoyExternalAuthorizationRequestBody`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthRequestBody {
    /// Bytes.
    pub max_request_bytes: u32,
    /// A longer body is cut off; else it is refused.
    pub allow_partial_message: bool,
    /// As bytes, not as text.
    pub pack_as_bytes: bool,
}

/// The `extensionProviders` of a MeshConfig in YAML, in their order.
///
/// # Errors
/// A text that is no MeshConfig: what was wanted, and where. A provider that can't be read is an error of its own.
pub fn extension_providers(text: &str) -> Result<Vec<MeshProvider>, String> {
    let Some(tree) = manifest::value(text)? else { return Ok(Vec::new()) };
    let Value::Object(mut fields) = tree else { return Err("wanted fields of a MeshConfig".into()) };
    match fields.remove("extensionProviders") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) => all.into_iter().enumerate().map(|(index, one)| provider(index, one)).collect(),
        Some(_) => Err("extensionProviders: wanted a list".into()),
    }
}

fn provider(index: usize, written: Value) -> Result<MeshProvider, String> {
    let at = format!("extensionProviders[{index}]");
    let Value::Object(mut fields) = written else { return Err(format!("{at}: wanted fields")) };
    let Some(Value::String(name)) = fields.remove("name") else { return Err(format!("{at}.name: wanted a text")) };
    let kind = match (fields.remove("envoyExtAuthzHttp"), fields.remove("envoyExtAuthzGrpc")) {
        (Some(http), None) => {
            read(&at, "envoyExtAuthzHttp", http).map(|provider| MeshProviderKind::Http(Box::new(provider)))
        }
        (None, Some(grpc)) => read(&at, "envoyExtAuthzGrpc", grpc).map(MeshProviderKind::Grpc),
        (None, None) => Ok(MeshProviderKind::Other),
        (Some(_), Some(_)) => Err(format!("{at}: is of two kinds")),
    };
    Ok(MeshProvider { name, kind })
}

fn read<T: DeserializeOwned>(at: &str, field: &str, value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().to_string() {
        path if path == "." => format!("{at}.{field}: {}", error.inner()),
        path => format!("{at}.{field}.{path}: {}", error.inner()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_provider_costs_only_itself() {
        let text = "defaultConfig: {}\nextensionProviders:\n- {name: a, envoyExtAuthzHttp: {service: a, port: none}}\n\
                    - {name: b, zipkin: {}}\n- {name: c, envoyExtAuthzGrpc: {service: c, port: 9000, timeout: 5s}}\n";
        let all = extension_providers(text).unwrap();
        let wrong = all[0].kind.as_ref().unwrap_err();
        assert!(wrong.starts_with("extensionProviders[0].envoyExtAuthzHttp.port: "), "{wrong}");
        assert_eq!(all[1].kind, Ok(MeshProviderKind::Other));
        let Ok(MeshProviderKind::Grpc(grpc)) = &all[2].kind else { panic!("{:?}", all[2]) };
        assert_eq!((&*grpc.service, grpc.port), ("c", 9000));
        assert!(extension_providers("extensionProviders: 1").is_err());
        assert_eq!(extension_providers(""), Ok(Vec::new()));
    }
}
