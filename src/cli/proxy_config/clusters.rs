//! Clusters.

use super::dump::{Dump, service_name, text};

pub fn rows(dump: &Dump) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = dump.clusters().iter().map(row).collect();
    rows.sort();
    rows
}

fn row(cluster: &serde_json::Value) -> Vec<String> {
    let name = text(&cluster["name"]);
    let kind = text(&cluster["type"]);
    let kind = if kind.is_empty() { text(&cluster["cluster_type"]["name"]) } else { kind };
    let kind = if kind.is_empty() { "STATIC" } else { kind };
    let [direction, port, subset, host] = service_name(name).unwrap_or(["-", "-", "-", name]);
    let subset = if subset.is_empty() { "-" } else { subset };
    [host, port, subset, direction, kind, ""].map(str::to_owned).into()
}
