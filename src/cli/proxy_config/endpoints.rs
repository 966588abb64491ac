//! Endpoints.

use super::dump::{Dump, address, items, text};
use serde_json::Value;

pub fn rows(dump: &Dump) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = dump.endpoints().iter().flat_map(of_cluster).collect();
    rows.sort();
    rows
}

fn of_cluster(assignment: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for locality in items(&assignment["endpoints"]) {
        let parts = ["region", "zone", "sub_zone"].map(|part| text(&locality["locality"][part]));
        let place = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        for endpoint in items(&locality["lb_endpoints"]) {
            let (host, port) = address(&endpoint["endpoint"]["address"]);
            let status = match text(&endpoint["health_status"]) {
                "" | "UNKNOWN" => "HEALTHY",
                status => status,
            };
            let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            rows.push(vec![name, status.to_owned(), place.clone(), text(&assignment["cluster_name"]).to_owned()]);
        }
    }
    rows
}
