//! Certificate authorities in ConfigMaps: read, and checked to be what both data planes can trust.

use crate::{Inputs, certificate::pem_error, wanted::Unreadable};
use api::ConfigMap;
use engine::{Engine, Table};
use model::ObjectKey;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::Arc;

/// The tables of authorities.
#[derive(Clone, Copy)]
pub(crate) struct Authorities {
    /// Certificates in PEM.
    pub(crate) usable: Table<ObjectKey, Arc<[u8]>>,
    /// For every ConfigMap that is known what is wrong with it as a set of authorities. Apart, so that a new content reaches nothing
    /// but itself.
    pub(crate) verdicts: Table<ObjectKey, Option<String>>,
}

/// Where a ConfigMap holds authorities, by the words of Gateway API.
const KEY: &str = "ca.crt";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, unreadable: &Unreadable) -> Authorities {
    let read = engine.derive("config maps read", &inputs.config_maps, |_, key, rows| {
        rows.iter().map(|map| (key.clone(), read(map))).collect()
    });
    let verdicts = engine.derive("authority verdicts", &read, |_, key, rows| {
        rows.iter().map(|read| (key.clone(), read.as_ref().as_ref().err().cloned())).collect()
    });
    Authorities {
        usable: engine.derive("authorities", &read, |_, key, rows| {
            rows.iter().filter_map(|read| read.as_ref().as_ref().ok()).map(|pem| (key.clone(), pem.clone())).collect()
        }),
        verdicts: engine.union("all authority verdicts", &[verdicts, unreadable.config_maps]),
    }
}

/// The certificates of authorities, or a sentence on why there is none.
fn read(map: &ConfigMap) -> Result<Arc<[u8]>, String> {
    let text = map.data.as_ref().and_then(|data| data.get(KEY)).map(String::as_str);
    let text = text.ok_or_else(|| format!("has no data[{KEY:?}]"))?;
    let all = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let count = all.map_err(|why| format!("data[{KEY:?}] is no PEM: {}", pem_error(&why)))?.len();
    if count == 0 {
        return Err(format!("data[{KEY:?}] holds no certificate in PEM ({BEGIN})"));
    }
    // Other sections stay out: Envoy would read a revocation list, and want one of every authority from then on.
    let mut usable = String::new();
    for section in sections(text).filter(|section| is_authority(section)) {
        usable += section;
        usable.push('\n');
    }
    match usable.is_empty() {
        true => Err(format!("data[{KEY:?}] holds no valid X.509 certificate")),
        false => Ok(usable.into_bytes().into()),
    }
}

/// The certificates of a PEM text, each with its markers.
fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(|(start, _)| {
        let end = text[start..].find(END)?;
        Some(&text[start..start + end + END.len()])
    })
}

/// Whether rustls, the stricter of the two, can take it for an authority.
fn is_authority(section: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(section.as_bytes());
    certificate.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}
