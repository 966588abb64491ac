//! RequestAuthentication: whose tokens are believed.

use crate::{ObjectMeta, PolicyTargetReference, WorkloadSelector};
use serde::{Deserialize, Serialize};

/// `security.istio.io` RequestAuthentication; v1 and v1beta1 are the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestAuthentication {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub spec: RequestAuthenticationSpec,
}

/// Spec of a [`RequestAuthentication`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, schemars(extend("x-kubernetes-validations" = crate::definition::attachment())))]
pub struct RequestAuthenticationSpec {
    /// Workloads that it applies to; absent, and no targets, is all of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// The old, single form of `target_refs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<PolicyTargetReference>,
    /// Objects that it applies to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(max = 16)))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Issuers, each with its keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(max = 4096)))]
    pub jwt_rules: Vec<JwtRule>,
}

/// An issuer, its keys, and where its tokens are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, schemars(transform = crate::definition::keys))]
pub struct JwtRule {
    /// `iss` of its tokens.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub issuer: String,
    /// Any of these must be in `aud`; none is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(inner(length(min = 1))))]
    pub audiences: Vec<String>,
    /// Where its keys are.
    #[serde(skip_serializing_if = "Option::is_none", alias = "jwks_uri")]
    #[cfg_attr(test, schemars(length(min = 1, max = 2048), extend("x-kubernetes-validations" = crate::definition::url())))]
    pub jwks_uri: Option<String>,
    /// Its keys, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// Headers with tokens. Without headers, parameters and cookies: `Authorization: Bearer` and `access_token`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters with tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(inner(length(min = 1))))]
    pub from_params: Vec<String>,
    /// Cookies with tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(inner(length(min = 1))))]
    pub from_cookies: Vec<String>,
    /// A header towards the backend that gets the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_payload_to_header: Option<String>,
    /// Headers towards the backend that get claims.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// Whether the backend gets the token.
    pub forward_original_token: bool,
    /// How long fetching the keys may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("x-kubernetes-validations" = crate::definition::duration())))]
    pub timeout: Option<String>,
    /// Claims that are lists, separated by blanks, beside `scope` and `permission`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(max = 64), inner(length(min = 1))))]
    pub space_delimited_claims: Vec<String>,
    /// Whether there must be a token.
    pub presence: JwtPresence,
}

/// Whether there must be a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum JwtPresence {
    /// Requests without one pass; policies decide what they may do.
    #[default]
    Optional,
    /// Requests without one are refused.
    Required,
}

/// A header with tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[cfg_attr(test, schemars(extend("required" = ["name"])))]
pub struct JwtHeader {
    /// Its name.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub name: String,
    /// What stands before the token.
    pub prefix: String,
}

/// A header towards the backend that gets a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[cfg_attr(test, schemars(extend("required" = ["header", "claim"])))]
pub struct ClaimToHeader {
    /// Its name.
    #[cfg_attr(test, schemars(length(min = 1), regex(pattern = "^[-_A-Za-z0-9]+$")))]
    pub header: String,
    /// The claim; a dot leads into it.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub claim: String,
}
