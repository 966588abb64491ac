//! Resources and statuses as text: all that was set, nothing that wasn't, as short as it stays readable.

use crate::{case::Case, case::type_name, pipeline::Results};
use api::Problem;
use model::{ListenerStatus, ObjectRef, ParentStatus, Status};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use proto::{Resource, TypeUrl};
use serde_json::Value;
use std::{fmt::Write, path::PathBuf, process::Command};

/// Knows Envoy's messages by name, so that everything in a resource is shown, `Any` included.
pub struct Renderer {
    pool: DescriptorPool,
}

/// What our resources are made of; what they import comes with them.
const ROOTS: &[&str] = &[
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/ext_authz/v3/ext_authz.proto",
    "envoy/extensions/filters/http/filter_chain/v3/filter_chain.proto",
    "envoy/extensions/filters/http/jwt_authn/v3/config.proto",
    "envoy/extensions/filters/http/rbac/v3/rbac.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/http/stateful_session/v3/stateful_session.proto",
    "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/rbac/v3/rbac.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/filters/udp/udp_proxy/v3/route.proto",
    "envoy/extensions/filters/udp/udp_proxy/v3/udp_proxy.proto",
    "envoy/extensions/http/stateful_session/cookie/v3/cookie.proto",
    "envoy/extensions/http/stateful_session/header/v3/header.proto",
    "envoy/extensions/matching/common_inputs/network/v3/network_inputs.proto",
    "envoy/extensions/path/match/uri_template/v3/uri_template_match.proto",
    "envoy/extensions/rbac/principals/mtls_authenticated/v3/mtls_authenticated.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
];

impl Renderer {
    pub fn new() -> Self {
        let protos = envoy_protos();
        let includes = ["data-plane-api", "googleapis", "protoc-gen-validate", "xds", "cel-spec", "client_model"];
        let set = protox::compile(ROOTS, includes.map(|directory| protos.join(directory)))
            .unwrap_or_else(|why| panic!("the protos of envoy-types: {why}"));
        let pool = DescriptorPool::from_file_descriptor_set(set).unwrap_or_else(|why| panic!("{why}"));
        Self { pool }
    }

    pub fn render(&self, case: &Case, problems: &[Problem], results: &Results) -> Result<String, String> {
        let mut out = String::new();
        for problem in problems {
            line(&mut out, 0, &format!("problem {problem}"));
        }
        for (key, resource) in results.resources.iter().filter(|(key, _)| case.shows(key.type_url)) {
            line(&mut out, 0, &format!("{} {} {}", key.scope, type_name(key.type_url), key.name));
            block(&mut out, 1, &case.without_hidden(without_secrets(self.value(key.type_url, resource)?)));
        }
        for (gateway, infrastructure) in results.infrastructures.iter().filter(|_| case.shows_made("")) {
            if infrastructure.is_held {
                line(&mut out, 0, &format!("what stands for Gateway {gateway} stays"));
                continue;
            }
            for manifest in control::deploy::render(gateway, infrastructure, &control::deploy::Settings::default()) {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (kind, name) = (text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
                if case.shows_made(&kind) {
                    line(&mut out, 0, &format!("manifest {kind} {name} of Gateway {gateway}"));
                    block(&mut out, 1, &case.without_hidden(manifest));
                }
            }
        }
        for (object, status) in results.statuses.iter().filter(|_| case.statuses) {
            write_status(&mut out, object, status);
        }
        if case.statuses {
            for ((namespace, account), gateways) in &results.accounts {
                let names: Vec<_> = gateways.iter().map(ToString::to_string).collect();
                line(&mut out, 0, &format!("service account {namespace}/{account} is Gateway {}", names.join(", ")));
            }
        }
        Ok(out)
    }

    /// A resource as the JSON of its message.
    pub fn value(&self, type_url: TypeUrl, resource: &Resource) -> Result<Value, String> {
        let name = type_url.as_str().trim_start_matches("type.googleapis.com/");
        let descriptor = self.pool.get_message_by_name(name).ok_or(format!("{name} is not among the protos"))?;
        let message = DynamicMessage::decode(descriptor, resource.body.clone()).map_err(|why| why.to_string())?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        let value = message.serialize_with_options(serde_json::value::Serializer, &options);
        value.map_err(|why| format!("{name} (is a type missing in ROOTS?): {why}"))
    }
}

/// Where cargo keeps the sources of envoy-types: they come with the protos.
fn envoy_protos() -> PathBuf {
    // Only packages for this platform are sure to be on this machine.
    let version = output("RUSTC", "rustc", &["-vV"]);
    let platform = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc -vV names its host");
    let metadata = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", platform];
    let metadata: Value = serde_json::from_str(&output("CARGO", "cargo", &metadata)).expect("cargo prints JSON");
    let package =
        metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == "envoy-types");
    let manifest = package.and_then(|package| package["manifest_path"].as_str()).expect("we depend on envoy-types");
    PathBuf::from(manifest).with_file_name("proto")
}

/// What a program of the toolchain prints; `variable` names it where cargo runs us.
fn output(variable: &str, program: &str, arguments: &[&str]) -> String {
    let program = std::env::var(variable).unwrap_or_else(|_| program.into());
    let mut command = Command::new(&program);
    let out = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let out = out.unwrap_or_else(|why| panic!("{program}: {why}"));
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Certificates and keys are long; their length tells them apart well enough.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let shorten = |(name, value): (String, Value)| match (&*name, &value) {
                ("inline_bytes", Value::String(text)) => {
                    (name, format!("({} characters of base64)", text.len()).into())
                }
                _ => (name, without_secrets(value)),
            };
            Value::Object(fields.into_iter().map(shorten).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

const WIDTH: usize = 118;

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{}{text}", "  ".repeat(depth));
}

/// A value as YAML: on one line where it fits, else a line for each field.
fn block(out: &mut String, depth: usize, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if !fits(out, depth, &format!("{name}: "), value) {
                    line(out, depth, &format!("{name}:"));
                    block(out, depth + 1, value);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if !fits(out, depth, "- ", item) {
                    let start = out.len();
                    block(out, depth + 1, item);
                    // The dash takes the place of the first line's last indentation.
                    let dash = start + 2 * depth;
                    out.replace_range(dash..dash + 2, "- ");
                }
            }
        }
        scalar => line(out, depth, &flow(scalar)),
    }
}

/// Writes a value behind its head if the line isn't too long, or can't be broken.
fn fits(out: &mut String, depth: usize, head: &str, value: &Value) -> bool {
    let text = format!("{head}{}", flow(value));
    let fits = !matches!(value, Value::Object(_) | Value::Array(_)) || 2 * depth + text.len() <= WIDTH;
    if fits {
        line(out, depth, &text);
    }
    fits
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether a text is as clear without quotes.
fn is_plain(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./|~:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_word) && text.parse::<f64>().is_err() && !["true", "false"].contains(&text)
}

fn write_status(out: &mut String, object: &ObjectRef, status: &Status) {
    line(out, 0, &format!("status {object} of generation {}", status.observed_generation));
    for condition in &status.conditions {
        line(out, 1, &condition.to_string());
    }
    if let Some(count) = status.attached_listener_sets {
        line(out, 1, &format!("attachedListenerSets {count}"));
    }
    for listener in &status.listeners {
        write_listener(out, listener);
    }
    for parent in &status.parents {
        write_parent(out, "parent", parent);
    }
    for ancestor in &status.ancestors {
        write_parent(out, "ancestor", ancestor);
    }
    for (kind, value) in &status.addresses {
        line(out, 1, &format!("address {kind} {value}"));
    }
}

fn write_listener(out: &mut String, listener: &ListenerStatus) {
    let kinds: Vec<_> = listener.supported_kinds.iter().map(|(_, kind)| *kind).collect();
    let (name, count) = (&listener.name, listener.attached_routes);
    line(out, 1, &format!("listener {name}: attachedRoutes {count}, supportedKinds [{}]", kinds.join(", ")));
    for condition in &listener.conditions {
        line(out, 2, &condition.to_string());
    }
}

fn write_parent(out: &mut String, word: &str, parent: &ParentStatus) {
    let mut text = format!("{word} {} {}", parent.kind.1, parent.parent);
    if *parent.controller != *resolve::CONTROLLER {
        let _ = write!(text, " (controller {})", parent.controller);
    }
    if !parent.explicit_namespace {
        text += " (namespace not written)";
    }
    if let Some(section) = &parent.section {
        let _ = write!(text, ", section {section}");
    }
    if let Some(port) = parent.port {
        let _ = write!(text, ", port {port}");
    }
    line(out, 1, &text);
    for condition in &parent.conditions {
        line(out, 2, &condition.to_string());
    }
}
