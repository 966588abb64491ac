//! The flags of `windlass-control`: a list of parts, each of which owns its own.

use crate::{Options, Source, cluster, deploy, serving};
use clap::Parser;

/// The control plane of Windlass, for a Kubernetes cluster.
///
/// It reads Gateway API's and Istio's objects from the API server, serves xDS and certificates, and ends with SIGTERM.
#[derive(Parser)]
#[command(name = "windlass-control", version = crate::VERSION, max_term_width = 110)]
pub struct Flags {
    /// The API server, and who we are.
    #[command(flatten)]
    pub cluster: cluster::Flags,
    /// Ports and names.
    #[command(flatten)]
    pub serving: serving::Flags,
    /// Gateways' proxies.
    #[command(flatten)]
    pub deploy: deploy::Flags,
}

/// What a control plane with these arguments resolves and translates with.
///
/// # Errors
/// If it would not start with them.
pub fn settings(arguments: &[String]) -> Result<(resolve::Settings, translate::Settings), clap::Error> {
    let program = std::iter::once("windlass-control").chain(arguments.iter().map(String::as_str));
    let nothing = Source::Files { paths: Vec::new(), follow: false };
    let Options { resolve, translate, .. } = Flags::try_parse_from(program)?.serving.options(nothing);
    Ok((resolve, translate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_parts_flags_go_together() {
        Flags::command().debug_assert();
    }

    #[test]
    fn arguments_say_what_is_ours() {
        let arguments = ["--root-namespace=mesh", "--controller=istio.io/gateway-controller=windlass"];
        let (resolve, _) = settings(&arguments.map(str::to_owned)).unwrap();
        assert_eq!(&*resolve.root_namespace, "mesh");
        assert_eq!(resolve.controllers.len(), 1);
        assert!(settings(&["--no-such-flag".to_owned()]).is_err());
    }
}
