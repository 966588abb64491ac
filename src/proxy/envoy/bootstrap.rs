//! The bootstrap itself: a node, the control plane's cluster, everything else by delta ADS.

use model::ObjectKey;
use serde_json::{Value, json};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// How Envoy reaches the control plane.
pub enum Server {
    /// Without TLS, at `host:port`.
    Plaintext(String),
    /// With TLS on both sides.
    Tls {
        /// `host:port`.
        address: String,
        /// The name in its certificate.
        name: String,
        /// Where `certificate.json` and `roots.json` are, which name the files.
        directory: PathBuf,
    },
}

/// Where Envoy's admin page is.
pub enum Admin<'a> {
    /// At an address: whoever can connect is let in, and so are Envoy's own connections to what it takes for backends.
    Address(SocketAddr),
    /// At a socket in the file system. Envoy connects to backends from these addresses, one of a family, or from any.
    Socket(&'a Path, &'a [IpAddr]),
}

/// The bootstrap of one proxy, whose name is the pod's where there are pods: people find it by that.
pub fn bootstrap(gateway: &ObjectKey, proxy: &str, server: &Server, admin: &Admin<'_>) -> Value {
    let ObjectKey { namespace, name } = gateway;
    let ads = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let (admin, sources) = match admin {
        Admin::Address(address) => (socket_address(*address), &[][..]),
        Admin::Socket(path, sources) => (json!({"pipe": {"path": path}}), *sources),
    };
    json!({
        "node": {
            "id": format!("router~127.0.0.1~{proxy}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{name}.{namespace}"),
            "metadata": {"GATEWAY": format!("{namespace}/{name}"), "NAMESPACE": &**namespace},
        },
        "admin": {"address": admin},
        "cluster_manager": bound(sources),
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                // Envoy's own waits grow to 30 s: too long after the control plane's pods were replaced.
                "grpc_services": [{"envoy_grpc": {
                    "cluster_name": "xds-grpc",
                    "retry_policy": {"retry_back_off": {"base_interval": "0.25s", "max_interval": "3s"}},
                }}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {"clusters": [cluster(server)]},
        // By default Envoy refuses regular expressions of more than 100 instructions, and with one of them the whole
        // route table: a long host name in a policy is enough. RE2 has its own bound of memory.
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 1_000_000}}],
        },
    })
}

/// Envoy takes the first of the family that it needs.
fn bound(sources: &[IpAddr]) -> Value {
    let address = |ip: &IpAddr| json!({"address": ip.to_string(), "port_value": 0});
    let Some((first, others)) = sources.split_first() else { return json!({}) };
    let others: Vec<Value> = others.iter().map(|ip| json!({"address": address(ip)})).collect();
    json!({"upstream_bind_config": {"source_address": address(first), "extra_source_addresses": others}})
}

fn cluster(server: &Server) -> Value {
    let (Server::Plaintext(address) | Server::Tls { address, .. }) = server;
    let (kind, endpoint) = match address.parse::<SocketAddr>() {
        Ok(address) => ("STATIC", socket_address(address)),
        Err(_) => {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "15012"));
            let port = port.parse::<u16>().unwrap_or(15012);
            ("STRICT_DNS", json!({"socket_address": {"address": host, "port_value": port}}))
        }
    };
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        // A control plane that is gone without a word is noticed.
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}},
    });
    let mut cluster = json!({
        "name": "xds-grpc",
        "type": kind,
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": endpoint}}]}],
        },
    });
    if let Server::Tls { directory, name, .. } = server {
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": name,
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "tls_certificate_sds_secret_configs": [secret("certificate", directory)],
                    "validation_context_sds_secret_config": secret("roots", directory),
                },
            },
        });
    }
    cluster
}

fn secret(name: &str, directory: &Path) -> Value {
    let path = directory.join(format!("{name}.json"));
    json!({"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": {"path": path}}})
}

/// The files of the certificate and its key.
pub const CHAIN: &str = "cert-chain.pem";
/// See [`CHAIN`].
pub const KEY: &str = "key.pem";

/// What the secrets' files hold, by their names: the certificate with its key, and the roots. Envoy reads what they
/// name again when something is moved into their directories.
pub fn secrets(directory: &Path, roots: &Path, server_name: &str) -> [(&'static str, Value); 2] {
    let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let certificate = json!({
        "certificate_chain": {"filename": directory.join(CHAIN)},
        "private_key": {"filename": directory.join(KEY)},
        "watched_directory": {"path": directory},
    });
    let validation = json!({
        "trusted_ca": {"filename": roots},
        "watched_directory": {"path": roots.parent()},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": server_name}}],
    });
    let file =
        |name: &str, field: &str, value: Value| json!({"resources": [{"@type": kind, "name": name, field: value}]});
    [
        ("certificate.json", file("certificate", "tls_certificate", certificate)),
        ("roots.json", file("roots", "validation_context", validation)),
    ]
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
