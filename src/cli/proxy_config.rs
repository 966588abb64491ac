//! `windlass proxy-config`

mod clusters;
mod dump;
mod endpoints;
mod listeners;
mod routes;
mod secrets;

use crate::{cluster::Flags, fetch::fetch, output};
use clap::{Args, ValueEnum};
use dump::Dump;
use serde_json::Value;
use std::net::SocketAddr;

/// Shows what a proxy has been told, from the /config_dump of its admin page: stock Envoy's or windlass-proxy's.
#[derive(Args)]
pub struct ProxyConfig {
    /// What to show.
    #[arg(value_name = "WHAT")]
    what: What,
    /// A proxy in a cluster, whose admin page is asked by a forwarded port: POD[.NAMESPACE], deploy/NAME or gateway/NAME.
    #[arg(value_name = "POD", conflicts_with = "admin")]
    pod: Option<String>,
    /// The admin page of a proxy that isn't in a cluster.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
    #[command(flatten)]
    cluster: Flags,
    /// A table for people, or the resources themselves for machines.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    #[value(alias = "listeners", alias = "l")]
    Listener,
    #[value(alias = "routes", alias = "r")]
    Route,
    #[value(alias = "clusters", alias = "c")]
    Cluster,
    #[value(alias = "endpoints", alias = "ep")]
    Endpoint,
    #[value(alias = "secrets", alias = "s")]
    Secret,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
    Yaml,
}

/// Titles of the columns, and what makes a table of the dump.
type Columns = (&'static [&'static str], fn(&Dump) -> Vec<Vec<String>>);

impl What {
    const EACH: [What; 5] = [What::Cluster, What::Listener, What::Route, What::Endpoint, What::Secret];

    fn columns(self) -> Columns {
        match self {
            What::Listener => (&["ADDRESSES", "PORT", "MATCH", "DESTINATION"], listeners::rows),
            What::Route => (&["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"], routes::rows),
            What::Cluster => {
                (&["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"], clusters::rows)
            }
            What::Endpoint => (&["NAME", "STATUS", "LOCALITY", "CLUSTER"], endpoints::rows),
            What::Secret | What::All => (
                &["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"],
                secrets::rows,
            ),
        }
    }

    fn resources(self, dump: &Dump) -> Vec<Value> {
        match self {
            What::Listener => dump.listeners(),
            What::Route => dump.routes(),
            What::Cluster => dump.clusters(),
            What::Endpoint => dump.endpoints(),
            What::Secret => dump.secrets(),
            What::All => Self::EACH.into_iter().flat_map(|what| what.resources(dump)).collect(),
        }
    }
}

/// The port of a proxy's admin page in its pod.
const ADMIN: u16 = 15_000;
/// What is asked for there.
const DUMP: &str = "/config_dump?include_eds";

impl ProxyConfig {
    pub fn main(self) -> anyhow::Result<()> {
        let (dump, whose) = match &self.pod {
            Some(pod) => {
                let (runtime, cluster) = self.cluster.open()?;
                runtime.block_on(async {
                    let pod = cluster.pod(pod).await?;
                    anyhow::Ok((cluster.page(&pod, ADMIN, DUMP).await?, format!("pod {pod}")))
                })?
            }
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                (runtime.block_on(fetch(self.admin, DUMP))?, format!("http://{}/config_dump", self.admin))
            }
        };
        let dump = serde_json::from_slice(&dump);
        let dump = dump.map_err(|error| anyhow::anyhow!("{whose}: wanted a JSON dump, saw something else: {error}"))?;
        output::print(&show(self.what, self.output, &Dump::new(dump))?)
    }
}

fn show(what: What, form: Form, dump: &Dump) -> anyhow::Result<String> {
    let format = match form {
        Form::Json => output::Format::Json,
        Form::Yaml => output::Format::Yaml,
        Form::Table => {
            let each: &[What] = if what == What::All { &What::EACH } else { &[what] };
            let table = |what: &What| {
                let (head, rows) = what.columns();
                output::table(head, &rows(dump))
            };
            return Ok(each.iter().map(table).collect::<Vec<_>>().join("\n"));
        }
    };
    output::text(format, &what.resources(dump))
}

#[cfg(test)]
mod tests;
