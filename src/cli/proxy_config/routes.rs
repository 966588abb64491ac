//! Routes: a row for each route of each virtual host.

use super::dump::{Dump, items, text};
use serde_json::Value;

/// How many domains are told before the rest is counted.
const DOMAINS: usize = 2;

pub fn rows(dump: &Dump) -> Vec<Vec<String>> {
    let mut configs = dump.routes();
    configs.sort_by(|a, b| text(&a["name"]).cmp(text(&b["name"])));
    let mut rows = Vec::new();
    for config in &configs {
        for host in items(&config["virtual_hosts"]) {
            let row = |matched: String, route: &Value| {
                let names = [text(&config["name"]), text(&host["name"])].map(str::to_owned);
                let [name, virtual_host] = names;
                vec![name, virtual_host, domains(&host["domains"]), matched, origin(route)]
            };
            let routes = items(&host["routes"]);
            rows.extend(routes.iter().map(|route| row(matched(&route["match"]), route)));
            if routes.is_empty() {
                rows.push(row("404".to_owned(), &Value::Null));
            }
        }
    }
    rows
}

fn domains(domains: &Value) -> String {
    let domains: Vec<&str> = items(domains).iter().map(text).collect();
    match domains.len() {
        0..=DOMAINS => domains.join(", "),
        count => format!("{} + {} more...", domains[..DOMAINS].join(", "), count - DOMAINS),
    }
}

fn matched(matched: &Value) -> String {
    let fields = [("path", ""), ("prefix", "*"), ("path_separated_prefix", "/*")];
    let path =
        fields.into_iter().find_map(|(field, after)| matched[field].as_str().map(|path| format!("{path}{after}")));
    let path = path.or_else(|| matched["safe_regex"]["regex"].as_str().map(|regex| format!("regex {regex}")));
    let mut parts = vec![path.unwrap_or_default()];
    for (field, what) in [("headers", "header"), ("query_parameters", "query")] {
        parts.extend(items(&matched[field]).iter().map(|part| format!("{what} {}", text(&part["name"]))));
    }
    parts.join("; ")
}

/// The object that a route was made from; its name is `<ns>/<name>/<rule>/<match>`.
fn origin(route: &Value) -> String {
    let parts: Vec<&str> = text(&route["name"]).split('/').collect();
    match parts.as_slice() {
        [namespace, name, ..] => format!("{name}.{namespace}"),
        _ => String::new(),
    }
}
