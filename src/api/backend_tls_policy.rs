//! BackendTLSPolicy: TLS from the Gateway to a Service.

use crate::{LocalObjectReference, ObjectMeta};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `gateway.networking.k8s.io` BackendTLSPolicy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendTlsPolicy {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackendTlsPolicySpec,
}

/// Spec of a [`BackendTlsPolicy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// 1 to 16, all different.
    pub target_refs: Vec<SectionTargetReference>,
    /// How the backend is checked.
    pub validation: BackendTlsPolicyValidation,
    /// Implementation's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A policy's reference to an object of its namespace, or to a section of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SectionTargetReference {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Of a Service the name of a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// How a backend is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicyValidation {
    /// Who may have issued its certificate.
    #[serde(default, rename = "caCertificateRefs", skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// A set of authorities by name, in place of references: `System`.
    #[serde(rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<String>,
    /// The server name that is sent; also the name that its certificate must have, unless others are given.
    pub hostname: String,
    /// Names of which its certificate must have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubjectAltName {
    /// Which of the fields is meant.
    #[serde(rename = "type")]
    pub kind: SubjectAltNameType,
    /// A DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// A URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// A kind of name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SubjectAltNameType {
    /// DNS name.
    Hostname,
    /// URI.
    #[serde(rename = "URI")]
    Uri,
}
