//! `windlass proxy-status`: which proxies are connected, and whether they have what they are to have.

use crate::{
    cluster::Flags,
    control_plane::{ask, ask_one},
    output::{self, Format},
};
use anyhow::ensure;
use clap::Args;
use serde_json::Value;
use std::net::SocketAddr;

/// Shows the proxies that are connected to the control plane, and whether they have acknowledged what they were sent.
///
/// Every replica of the control plane in the cluster is asked, by a forwarded port.
#[derive(Args)]
pub struct ProxyStatus {
    /// One proxy alone: what it was sent of each type, and what it refuses.
    #[arg(value_name = "POD[.NAMESPACE]")]
    pod: Option<String>,
    /// Ask the control plane whose admin page is there, as `windlass run` has it, in place of a cluster's.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    cluster: Flags,
    /// Print for machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Titles of the columns, and the types of resources in them.
const TYPES: [(&str, &[&str]); 6] = [
    ("CDS", &["cluster"]),
    ("LDS", &["listener"]),
    ("EDS", &["endpoint"]),
    // Our proxy gets virtual hosts as resources of their own.
    ("RDS", &["route", "virtualhost"]),
    ("ECDS", &["extensionconfig"]),
    ("SDS", &["secret"]),
];

impl ProxyStatus {
    pub fn main(self) -> anyhow::Result<()> {
        let said = match self.admin {
            Some(admin) => vec![ask_one(admin, "/debug/syncz")?],
            None => ask(&self.cluster, &["/debug/syncz"])?.into_iter().flatten().collect(),
        };
        let mut proxies = Vec::new();
        for replica in said {
            proxies.extend(replica.proxies()?);
        }
        proxies.sort_by_key(|proxy| [name(proxy).to_owned(), text(proxy, "connection").to_owned()]);
        if let Some(pod) = &self.pod {
            let is_meant =
                |proxy: &Value| name(proxy) == pod || name(proxy).rsplit_once('.').is_some_and(|(one, _)| one == pod);
            proxies.retain(is_meant);
            ensure!(!proxies.is_empty(), "no proxy {pod} is connected to the control plane");
        }
        output::print(&match (self.output, &self.pod) {
            (Some(format), _) => output::text(format, &proxies)?,
            (None, None) => table(&proxies),
            (None, Some(_)) => proxies.iter().map(details).collect::<Vec<_>>().join("\n"),
        })
    }
}

fn name(proxy: &Value) -> &str {
    text(proxy, "proxy")
}

fn text<'a>(proxy: &'a Value, field: &str) -> &'a str {
    proxy[field].as_str().unwrap_or_default()
}

fn table(proxies: &[Value]) -> String {
    let titles = ["NAME", "CLUSTER"].into_iter().chain(TYPES.iter().map(|(title, _)| *title));
    let titles: Vec<&str> = titles.chain(["ISTIOD", "VERSION"]).collect();
    let row = |proxy: &Value| {
        let states = TYPES.iter().map(|(_, types)| states(proxy, types).to_owned());
        let front = ["proxy", "cluster_id"].map(|field| text(proxy, field).to_owned());
        let back = ["istiod", "proxy_version"].map(|field| text(proxy, field).to_owned());
        front.into_iter().chain(states).chain(back).collect()
    };
    output::table(&titles, &proxies.iter().map(row).collect::<Vec<_>>())
}

/// The worst of several types.
fn states(proxy: &Value, types: &[&str]) -> &'static str {
    types
        .iter()
        .map(|short| state(proxy, short))
        .max_by_key(|state| RANK.iter().position(|one| one == state))
        .unwrap_or(RANK[0])
}

/// From nothing to the worst.
const RANK: [&str; 5] = ["NOT SENT", "SYNCED", "STALE", "STALE (Never Acknowledged)", "ERROR"];

fn state(proxy: &Value, short: &str) -> &'static str {
    let [sent, acked] = ["sent", "acked"].map(|what| text(proxy, &format!("{short}_{what}")));
    match (sent, acked) {
        ("", _) => "NOT SENT",
        _ if !resource(proxy, short)["lastError"].is_null() && !parked(proxy, short).is_empty() => "ERROR",
        (sent, acked) if sent == acked => "SYNCED",
        (_, "") => "STALE (Never Acknowledged)",
        _ => "STALE",
    }
}

/// What is said of a type; the names of types end with what they are called in short.
fn resource<'a>(proxy: &'a Value, short: &str) -> &'a Value {
    let of = |(name, _): &(&String, &Value)| {
        let name = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let known = match &*name {
            "clusterloadassignment" => "endpoint",
            "routeconfiguration" => "route",
            "typedextensionconfig" => "extensionconfig",
            other => other,
        };
        known == short
    };
    let resources = proxy["resources"].as_object();
    resources.and_then(|all| all.iter().find(of)).map_or(&Value::Null, |(_, resource)| resource)
}

fn parked<'a>(proxy: &'a Value, short: &str) -> Vec<&'a str> {
    let parked = resource(proxy, short)["parked"].as_array();
    parked.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// One proxy, type by type.
fn details(proxy: &Value) -> String {
    let mut text = format!(
        "{} ({}), connected to {}\n\n",
        name(proxy),
        self::text(proxy, "proxy_version"),
        self::text(proxy, "istiod")
    );
    let rows: Vec<Vec<String>> = TYPES
        .iter()
        .flat_map(|(title, types)| types.iter().map(move |short| (title, short)))
        .map(|(title, short)| {
            let said = resource(proxy, short)["lastError"].as_str().filter(|_| state(proxy, short) == "ERROR");
            let parked = parked(proxy, short);
            let refused = said.map(|said| format!("{}: {said}", parked.join(", "))).unwrap_or_default();
            vec![(*title).to_owned(), (*short).to_owned(), state(proxy, short).to_owned(), refused]
        })
        .collect();
    text += &output::table(&["TYPE", "RESOURCES", "STATUS", "REFUSED"], &rows);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn proxy() -> Value {
        json!({
            "proxy": "web-1.shop", "cluster_id": "Kubernetes", "istiod": "istiod-a", "proxy_version": "windlass-proxy 0.1.0",
            "cluster_sent": "3", "cluster_acked": "3", "listener_sent": "4", "listener_acked": "",
            "route_sent": "5", "route_acked": "5", "virtualhost_sent": "7", "virtualhost_acked": "6",
            "endpoint_sent": "2", "endpoint_acked": "2",
            "resources": {"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment":
                {"lastError": "no such locality", "parked": ["outbound|80||a.shop.svc.cluster.local"]}},
        })
    }

    #[test]
    fn a_proxy_is_as_well_as_its_worst_type() {
        let wanted = "\
NAME         CLUSTER      CDS      LDS                          EDS     RDS     ECDS       SDS        ISTIOD     VERSION
web-1.shop   Kubernetes   SYNCED   STALE (Never Acknowledged)   ERROR   STALE   NOT SENT   NOT SENT   istiod-a   windlass-proxy 0.1.0
";
        assert_eq!(table(&[proxy()]), wanted);
    }

    #[test]
    fn what_is_refused_is_named() {
        let text = details(&proxy());
        assert!(
            text.contains("ERROR") && text.contains("outbound|80||a.shop.svc.cluster.local: no such locality"),
            "{text}"
        );
    }
}
