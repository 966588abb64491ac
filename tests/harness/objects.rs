//! Kubernetes objects that tests need again and again, as YAML text.

use crate::{
    backend::Backend,
    tls::{Authority, Certificate},
};
use base64::Engine;
use std::{fmt::Write, net::SocketAddr};

/// A Service of that name in `default`, port 80, with these endpoints.
pub fn service(name: &str, app_protocol: Option<&str>, endpoints: &[SocketAddr]) -> String {
    let app = app_protocol.map(|value| format!("\n    appProtocol: {value}")).unwrap_or_default();
    let mut out = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  ports:\n  \
         - name: http\n    port: 80{app}\n"
    );
    // One slice for each endpoint: every endpoint has a port of its own here, and a slice has one port for all.
    for (index, endpoint) in endpoints.iter().enumerate() {
        let _ = write!(
            out,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-{index}\n  \
             namespace: default\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nports:\n\
             - {{name: http, port: {}, protocol: TCP}}\nendpoints:\n- addresses: [\"{}\"]\n  \
             conditions: {{ready: true, serving: true, terminating: false}}\n",
            endpoint.port(),
            endpoint.ip()
        );
    }
    out
}

/// The Service of one backend.
pub fn backend(backend: &Backend) -> String {
    service(&backend.name, None, &[backend.address])
}

/// A TLS Secret in `default`.
pub fn secret(name: &str, certificate: &Certificate) -> String {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\n\
         type: kubernetes.io/tls\ndata:\n  tls.crt: {}\n  tls.key: {}\n",
        encode(&certificate.chain),
        encode(&certificate.key)
    )
}

/// A ConfigMap in `default` with an authority's certificate.
pub fn authority(name: &str, authority: &Authority) -> String {
    let lines: String = authority.pem.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata:\n  \
         ca.crt: |\n{lines}"
    )
}

/// The class, and a Gateway `gw` in `default` with an HTTP listener on port 80.
pub const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: windlass}
spec: {controllerName: windlass.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  gatewayClassName: windlass
  listeners:
  - {name: http, port: 80, protocol: HTTP}
";

/// An HTTPRoute of that name for one host: all paths to these backends by weight.
pub fn route(name: &str, host: &str, backends: &[(&str, u32)]) -> String {
    let refs: Vec<_> =
        backends.iter().map(|(name, weight)| format!("{{name: {name}, port: 80, weight: {weight}}}")).collect();
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: default, creationTimestamp: \"2026-01-01T00:00:00Z\"}}\n\
         spec:\n  parentRefs: [{{name: gw}}]\n  hostnames: [\"{host}\"]\n  rules:\n  - backendRefs: [{}]\n",
        refs.join(", ")
    )
}
