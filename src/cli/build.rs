//! Compiles what is known of Envoy's messages, so that `windlass diff` can name their fields: the .proto files come with
//! envoy-types. And puts the Helm charts into the program, for `windlass install`.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What resources are made of; what they import comes with them. A message that isn't here is shown by its size.
const ROOTS: &[&str] = &[
    "config/cluster/v3/cluster.proto",
    "config/core/v3/extension.proto",
    "config/endpoint/v3/endpoint.proto",
    "config/listener/v3/listener.proto",
    "config/route/v3/route.proto",
    "extensions/access_loggers/file/v3/file.proto",
    "extensions/access_loggers/stream/v3/stream.proto",
    "extensions/filters/http/cors/v3/cors.proto",
    "extensions/filters/http/ext_authz/v3/ext_authz.proto",
    "extensions/filters/http/header_mutation/v3/header_mutation.proto",
    "extensions/filters/http/jwt_authn/v3/config.proto",
    "extensions/filters/http/rbac/v3/rbac.proto",
    "extensions/filters/http/router/v3/router.proto",
    "extensions/filters/http/set_filter_state/v3/set_filter_state.proto",
    "extensions/filters/http/stateful_session/v3/stateful_session.proto",
    "extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto",
    "extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "extensions/filters/network/rbac/v3/rbac.proto",
    "extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "extensions/filters/udp/udp_proxy/v3/udp_proxy.proto",
    "extensions/http/stateful_session/cookie/v3/cookie.proto",
    "extensions/http/stateful_session/header/v3/header.proto",
    "extensions/matching/common_inputs/network/v3/network_inputs.proto",
    "extensions/path/match/uri_template/v3/uri_template_match.proto",
    "extensions/path/rewrite/uri_template/v3/uri_template_rewrite.proto",
    "extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto",
    "extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "extensions/transport_sockets/tls/v3/tls.proto",
    "extensions/upstreams/http/v3/http_protocol_options.proto",
];

/// Where imports are looked for.
const INCLUDES: [&str; 6] = ["data-plane-api", "googleapis", "protoc-gen-validate", "xds", "cel-spec", "client_model"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let protos = envoy_protos()?;
    let roots = ROOTS.iter().map(|root| format!("envoy/{root}"));
    let present = roots.filter(|root| protos.join("data-plane-api").join(root).exists());
    let mut set = protox::compile(present, INCLUDES.map(|directory| protos.join(directory)))?;
    // Comments and places are half of it.
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out.join("envoy.bin"), prost::Message::encode_to_vec(&set))?;
    Ok(fs::write(out.join("charts.rs"), charts()?)?)
}

/// The files of all charts as Rust: their names below `charts/`, and their texts.
fn charts() -> Result<String, Box<dyn Error>> {
    let home = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../charts").canonicalize()?;
    let mut entries = String::new();
    for chart in ["base", "control", "gateway"] {
        println!("cargo::rerun-if-changed={}", home.join(chart).display());
        let mut files = Vec::new();
        walk(&home.join(chart), &mut files)?;
        files.sort();
        for file in files {
            entries += &format!("    ({:?}, include_str!({file:?})),\n", file.strip_prefix(&home)?);
        }
    }
    Ok(format!("/// Names and texts.\npub const FILES: &[(&str, &str)] = &[\n{entries}];\n"))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Where cargo keeps the sources of envoy-types.
fn envoy_protos() -> Result<PathBuf, Box<dyn Error>> {
    let platform = std::env::var("HOST")?;
    let metadata = ["metadata", "--format-version=1", "--offline", "--filter-platform", &platform];
    let output = Command::new(std::env::var("CARGO")?).args(metadata).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.find(|package| package["name"] == "envoy-types").ok_or("we depend on envoy-types")?;
    let manifest = package["manifest_path"].as_str().ok_or("a package has a manifest")?;
    Ok(PathBuf::from(manifest).with_file_name("proto"))
}
