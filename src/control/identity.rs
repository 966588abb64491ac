//! Who this control plane is and whom it believes: its authority, and who verifies tokens.

use crate::{
    StartError,
    cluster::{Cluster, bundle, root, tokens::Reviewer},
    start::Source,
};
use base::{metrics::Metrics, tasks::Tasks};
use ca::{BootstrapTokens, Ca, Name, TokenVerifier};
use model::TrustDomain;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The authority and the tokens.
pub struct Identity {
    /// Signs certificates.
    pub ca: Arc<Ca>,
    /// Verifies tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Makes tokens, where nobody else does.
    pub tokens: Option<Arc<BootstrapTokens>>,
    /// Service accounts of this namespace may see debug pages from elsewhere.
    pub operators: Arc<str>,
}

impl Identity {
    /// Without a cluster all of it is kept in a directory. In a cluster the API server verifies tokens, the root is kept in
    /// a Secret unless one is plugged in, and the trust bundle goes into every namespace.
    pub async fn open(
        source: &Source,
        data: &Path,
        plug_in: Option<PathBuf>,
        trust_domain: TrustDomain,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let open = |options| {
            let ca = metrics.register(|registry| Ca::open(options, registry));
            ca.map(Arc::new).map_err(StartError::Ca)
        };
        let Source::Cluster { cluster, .. } = source else {
            let tokens = Arc::new(BootstrapTokens::open(data).map_err(StartError::Tokens)?);
            let ca = open(ca::Options { plug_in, ..ca::Options::new(data) })?;
            return Ok(Self { ca, verifier: tokens.clone(), tokens: Some(tokens), operators: "istio-system".into() });
        };
        let organization = trust_domain.as_str().to_owned();
        let plug_in = plug_in.filter(|directory| is_filled(directory));
        let kept = match &plug_in {
            Some(_) => None,
            None => Some(
                root::open(cluster, &organization)
                    .await
                    .map_err(|error| StartError::Ca(ca::OpenError::Roots(error)))?,
            ),
        };
        let names = names(cluster);
        let ca = open(ca::Options { plug_in, kept: kept.clone(), organization, names, ..ca::Options::new("") })?;
        if let Some(kept) = kept {
            let (cluster, ca) = (cluster.clone(), ca.clone());
            tasks.spawn("root", |drain| root::follow(cluster, kept, ca, drain));
        }
        tasks.spawn("trust bundles", |drain| bundle::follow(cluster.clone(), ca.clone(), drain));
        let verifier = Arc::new(Reviewer::new(cluster, trust_domain));
        Ok(Self { ca, verifier, tokens: None, operators: cluster.namespace.clone() })
    }
}

/// Whether somebody has put an authority there: a Secret that may be absent is mounted as an empty directory.
fn is_filled(directory: &Path) -> bool {
    ["ca-cert.pem", "tls.crt"].iter().any(|file| directory.join(file).exists())
}

/// What our Service is called.
fn names(cluster: &Cluster) -> Vec<Name> {
    let own = cluster.revision.own("istiod");
    let mut services = vec![&*own, "istiod", "istio-pilot", "windlass-control"];
    services.dedup();
    let mut names: Vec<Name> = services
        .iter()
        .flat_map(|service| {
            let short = format!("{service}.{}", cluster.namespace);
            [short.clone(), format!("{short}.svc")]
        })
        .map(Name::Dns)
        .collect();
    names.push(Name::Dns("localhost".into()));
    names
}
