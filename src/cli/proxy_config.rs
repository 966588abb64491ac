//! `windlass proxy-config`

mod clusters;
mod dump;
mod endpoints;
mod fetch;
mod listeners;
mod routes;
mod secrets;

use crate::output;
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
    /// The proxy's admin page.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
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

impl ProxyConfig {
    pub fn main(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let dump = runtime.block_on(fetch::fetch(self.admin, "/config_dump?include_eds"))?;
        let dump = Dump::new(serde_json::from_slice(&dump).map_err(|error| {
            anyhow::anyhow!("wanted a JSON dump from http://{}/config_dump, saw something else: {error}", self.admin)
        })?);
        output::print(&self.show(&dump)?)
    }

    fn show(&self, dump: &Dump) -> anyhow::Result<String> {
        let format = match self.output {
            Form::Json => output::Format::Json,
            Form::Yaml => output::Format::Yaml,
            Form::Table => {
                let each: &[What] = if self.what == What::All { &What::EACH } else { &[self.what] };
                let tables: Vec<String> = each
                    .iter()
                    .map(|what| {
                        let (head, rows) = what.columns();
                        output::table(head, &rows(dump))
                    })
                    .collect();
                return Ok(tables.join("\n"));
            }
        };
        output::text(format, &self.what.resources(dump))
    }
}

#[cfg(test)]
mod tests;
