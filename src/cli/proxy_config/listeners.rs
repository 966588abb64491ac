//! Listeners: a row for each filter chain.

use super::dump::{Dump, address, items, service_name, text};
use serde_json::Value;

pub fn rows(dump: &Dump) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for listener in dump.listeners() {
        let (host, port) = address(&listener["address"]);
        let default = &listener["default_filter_chain"];
        let chains = items(&listener["filter_chains"]).iter().chain((!default.is_null()).then_some(default));
        for chain in chains {
            rows.push(vec![host.clone(), port.clone(), matched(&chain["filter_chain_match"]), destination(chain)]);
        }
    }
    // By port as a number, then as in the listener: the order is what decides.
    rows.sort_by_key(|row| row[1].parse::<u16>().unwrap_or_default());
    rows
}

fn matched(matched: &Value) -> String {
    let list = |name: &str| items(&matched[name]).iter().map(text).collect::<Vec<_>>().join(",");
    let parts = [
        ("Trans", text(&matched["transport_protocol"]).to_owned()),
        ("App", list("application_protocols")),
        ("SNI", list("server_names")),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    if parts.is_empty() { "ALL".to_owned() } else { parts.join("; ") }
}

fn destination(chain: &Value) -> String {
    for filter in items(&chain["filters"]) {
        let config = &filter["typed_config"];
        match text(&config["@type"]).rsplit('.').next() {
            Some("HttpConnectionManager") if !config["rds"].is_null() => {
                return format!("Route: {}", text(&config["rds"]["route_config_name"]));
            }
            Some("HttpConnectionManager") => return format!("Inline Route: {}", text(&config["route_config"]["name"])),
            Some("TcpProxy") => {
                let cluster = text(&config["cluster"]);
                return match service_name(cluster) {
                    Some([_, port, _, host]) => format!("Cluster: {host}:{port}"),
                    None => format!("Cluster: {cluster}"),
                };
            }
            _ => {}
        }
    }
    "Non-HTTP/Non-TCP".to_owned()
}
