//! XBackend: a host outside of the cluster as a backend, and how it is spoken to (GEP-4894).

use crate::{BackendTlsPolicyValidation, ObjectMeta, SecretObjectReference};
use serde::{Deserialize, Serialize};

/// `gateway.networking.x-k8s.io` XBackend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct XBackend {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackendSpec,
}

/// Spec of a [`XBackend`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// What kind of backend it is.
    #[serde(rename = "type")]
    pub kind: BackendType,
    /// The host of an `ExternalHostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_hostname: Option<ExternalHostname>,
    /// The port to connect to.
    pub port: BackendPort,
    /// What it speaks; absent is what the route is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<BackendProtocol>,
    /// TLS towards it; absent is clear text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}

/// A kind of backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendType {
    /// A host name that DNS knows.
    ExternalHostname,
}

/// A host outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalHostname {
    /// Its name; no address.
    pub hostname: String,
}

/// The port of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendPort {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendProtocol {
    /// Bytes.
    #[serde(rename = "TCP")]
    Tcp,
    /// HTTP in the version of the implementation's choice.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/2.
    #[serde(rename = "HTTP2")]
    Http2,
    /// HTTP/1.1.
    #[serde(rename = "HTTP11")]
    Http11,
    /// HTTP/2 without TLS.
    #[serde(rename = "H2C")]
    H2c,
    /// Model Context Protocol.
    #[serde(rename = "MCP")]
    Mcp,
}

/// TLS towards a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// Who shows a certificate.
    pub mode: BackendTlsMode,
    /// The certificate that the backend is shown, with [`BackendTlsMode::ClientAndServer`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// How the backend is checked; absent is by its host name, against the authorities of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<BackendTlsPolicyValidation>,
}

/// Who shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendTlsMode {
    /// Nobody: clear text.
    None,
    /// The backend.
    ServerOnly,
    /// Both.
    ClientAndServer,
}
