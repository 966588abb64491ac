//! XBackend.

use super::{Check, backend_tls_policy::validation, gateway::secret_reference, name};
use crate::{BackendPort, BackendSpec, BackendTls, BackendTlsMode};

pub fn backend(check: &mut Check, spec: &BackendSpec) {
    check.field("spec", |check| {
        match &spec.external_hostname {
            None => check.fail("wanted externalHostname with type ExternalHostname, it is missing"),
            Some(external) => check.field("externalHostname", |check| hostname(check, &external.hostname)),
        }
        check.field("port", |check| port(check, &spec.port));
        if let Some(written) = &spec.tls {
            check.field("tls", |check| tls(check, written));
        }
    });
}

fn hostname(check: &mut Check, hostname: &str) {
    check.text("hostname", hostname, &name::PRECISE_HOSTNAME);
    check.field("hostname", |check| {
        let outside = !hostname.ends_with(".cluster.local");
        check.hold(outside, format!("wanted a host outside of the cluster, saw {hostname:?}"));
    });
}

fn port(check: &mut Check, port: &BackendPort) {
    check.maybe("name", port.name.as_deref().filter(|name| !name.is_empty()), &name::DNS_LABEL);
    check.port("port", Some(port.port));
}

fn tls(check: &mut Check, tls: &BackendTls) {
    let both = tls.mode == BackendTlsMode::ClientAndServer;
    match &tls.client_certificate_ref {
        None => check.hold(!both, "wanted clientCertificateRef with mode ClientAndServer, it is missing"),
        Some(reference) => {
            check.hold(both, "wanted no clientCertificateRef with another mode than ClientAndServer");
            check.field("clientCertificateRef", |check| secret_reference(check, reference));
        }
    }
    if let Some(written) = &tls.validation {
        check.field("validation", |check| validation(check, written));
    }
}
