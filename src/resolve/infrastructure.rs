//! What is to be made in the cluster for each Gateway, and the names that it gets.

use crate::{
    Settings,
    address::Manual,
    gateway::{GatewayShape, ListenerShape},
    parameters::Overlays,
    settings::Reach,
};
use engine::{Engine, Table};
use model::{Exposure, Infrastructure, ObjectKey, Protocol, ServedPort};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// What a Gateway says of its infrastructure, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wishes {
    pub(crate) uid: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) account: Arc<str>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) exposure: Exposure,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) overlays: Overlays,
    /// Whether somebody else runs the proxies.
    pub(crate) manual: Option<Manual>,
}

/// Annotations of a Gateway, by the names that Istio's users know.
const NAME: &str = "gateway.istio.io/name-override";
const ACCOUNT: &str = "gateway.istio.io/service-account";
const SERVICE_TYPE: &str = "networking.istio.io/service-type";

impl Wishes {
    pub(crate) fn read(key: &ObjectKey, gateway: &api::Gateway, overlays: Overlays, settings: &Settings) -> Self {
        let (metadata, spec) = (&gateway.metadata, &gateway.spec);
        let annotation = |name: &str| Some(metadata.annotations.as_ref()?.get(name)?.trim());
        let said = |name: &str| annotation(name).filter(|value| !value.is_empty());
        let manual = match settings.reach {
            Reach::ByService => Manual::of(key, spec, settings),
            Reach::At(_) => None,
        };
        let name = match said(NAME) {
            Some(name) => label(name),
            None => label(&format!("{}-{}", key.name, spec.gateway_class_name)),
        };
        let served_by = manual.as_ref().and_then(|manual| manual.services.first());
        let account = said(ACCOUNT).map(Arc::from).or_else(|| served_by.map(|service| service.name.clone()));
        let infrastructure = spec.infrastructure.clone().unwrap_or_default();
        Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            account: account.unwrap_or_else(|| name.clone()),
            name,
            labels: infrastructure.labels,
            annotations: infrastructure.annotations,
            exposure: match said(SERVICE_TYPE) {
                Some("ClusterIP") => Exposure::ClusterIp,
                Some("NodePort") => Exposure::NodePort,
                _ => Exposure::LoadBalancer,
            },
            addresses: spec.addresses.iter().filter_map(|address| address.value.as_deref()?.parse().ok()).collect(),
            overlays,
            manual,
        }
    }
}

pub(crate) fn declare(
    engine: &mut Engine,
    shapes: Table<ObjectKey, GatewayShape>,
    settings: &Arc<Settings>,
) -> Table<ObjectKey, Infrastructure> {
    let settings = settings.clone();
    engine.derive("infrastructures", &shapes, move |_, key, rows| {
        let wanted = |shape: &&Arc<GatewayShape>| shape.wishes.manual.is_none() && settings.reach == Reach::ByService;
        rows.iter().filter(wanted).map(|shape| (key.clone(), infrastructure(shape))).collect()
    })
}

fn infrastructure(shape: &GatewayShape) -> Infrastructure {
    let wishes = &shape.wishes;
    Infrastructure {
        uid: wishes.uid.clone(),
        class: shape.class.clone(),
        controller: shape.controller.clone(),
        data_plane: shape.data_plane,
        name: wishes.name.clone(),
        account: wishes.account.clone(),
        labels: wishes.labels.clone(),
        annotations: wishes.annotations.clone(),
        exposure: wishes.exposure,
        ports: ports(&shape.listeners),
        addresses: wishes.addresses.clone(),
        overlays: wishes.overlays.clone(),
        is_held: shape.fault.is_some(),
    }
}

/// One for each number and transport. A listener whose certificates are missing counts: they may come.
fn ports(listeners: &[ListenerShape]) -> Vec<ServedPort> {
    let mut ports = BTreeMap::new();
    for listener in listeners.iter().filter(|listener| listener.fault.is_none()) {
        let Some(protocol) = listener.protocol else { continue };
        let is_udp = protocol == Protocol::Udp;
        ports.entry((listener.port, is_udp)).or_insert(ServedPort { port: listener.port, is_udp, protocol });
    }
    ports.into_values().collect()
}

/// The longest name of a Service, and value of a label.
const LONGEST: usize = 63;

/// A name as it can be a Service's: itself, unless it is too long or has dots; then a part of it and a hash of all.
pub fn label(name: &str) -> Arc<str> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    let is_inner = |byte: u8| is_letter(byte) || byte.is_ascii_digit() || byte == b'-';
    let is_fine = name.len() <= LONGEST
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(is_inner)
        && !name.ends_with('-');
    if is_fine {
        return name.into();
    }
    let plain = |letter: char| if letter.is_ascii_lowercase() || letter.is_ascii_digit() { letter } else { '-' };
    let start = if name.bytes().next().is_some_and(is_letter) { "" } else { "gw-" };
    let part: String = start.chars().chain(name.chars().map(plain)).take(LONGEST - 9).collect();
    format!("{}-{:08x}", part.trim_end_matches('-'), fnv(name.as_bytes())).into()
}

/// FNV-1a: it only has to be the same for ever.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_service() {
        assert_eq!(&*label("web-windlass"), "web-windlass");
        assert_eq!(&*label("web.shop-windlass"), "web-shop-windlass-fefa8637");
        assert_eq!(&*label("1a-windlass"), "gw-1a-windlass-afb72aa1");
        let long = label(&"a".repeat(100));
        assert_eq!(long.len(), LONGEST);
        assert_ne!(long, label(&"a".repeat(101)));
    }
}
