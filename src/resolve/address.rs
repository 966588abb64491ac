//! Addresses that a Gateway asks for, held against those that its proxies are reached at.

use crate::{Inputs, Settings, gateway::GatewayShape, settings::Reach, status::Fault};
use engine::{Engine, Input, Table, View};
use model::ObjectKey;
use std::{net::IpAddr, sync::Arc};

/// What a Gateway gets of what it asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addresses {
    /// `(type, value)`, in the order of the spec.
    pub(crate) usable: Vec<(&'static str, Arc<str>)>,
    /// The first that it doesn't get: its listeners serve, but not there.
    pub(crate) fault: Option<Fault>,
}

/// Services that a Gateway names by `spec.addresses` of type Hostname: somebody else runs its proxies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manual {
    /// Those of its own namespace.
    pub(crate) services: Vec<ObjectKey>,
}

impl Manual {
    /// None if no host is named, and so the proxies are ours to run.
    pub(crate) fn of(gateway: &ObjectKey, spec: &api::GatewaySpec, settings: &Settings) -> Option<Self> {
        let hosts = spec.addresses.iter().filter(|address| address.kind == "Hostname");
        let hosts: Vec<_> = hosts.filter_map(|address| address.value.as_deref()).collect();
        let services = hosts.iter().filter_map(|host| service(host, gateway, settings)).collect();
        (!hosts.is_empty()).then_some(Self { services })
    }
}

/// The Service of the Gateway's namespace that a host names: `<name>.<namespace>.svc.<domain>` or a beginning of it.
/// Whoever may make Gateways in one namespace is not to command the proxies of another.
fn service(host: &str, gateway: &ObjectKey, settings: &Settings) -> Option<ObjectKey> {
    let (name, rest) = host.split_once('.').unwrap_or((host, ""));
    let (namespace, domain) = rest.split_once('.').unwrap_or((rest, ""));
    let full = format!("svc.{}", settings.cluster_domain);
    let is_ours = (namespace.is_empty() || *namespace == *gateway.namespace)
        && ["", "svc", &full].contains(&domain.trim_end_matches('.'));
    (is_ours && !name.is_empty()).then(|| ObjectKey::new(gateway.namespace.clone(), name))
}

/// The first address of a type that we have none of.
pub(crate) fn unsupported(spec: &api::GatewaySpec) -> Option<Fault> {
    let known = ["IPAddress", "Hostname"];
    let (index, address) = spec.addresses.iter().enumerate().find(|(_, address)| !known.contains(&&*address.kind))?;
    let what = format!("spec.addresses[{index}].type: wanted IPAddress or Hostname, saw {:?}", address.kind);
    Some(Fault::new("UnsupportedAddress", what))
}

/// What a Service says of how it is reached.
#[derive(Clone, Debug, PartialEq)]
struct Reached {
    /// The Gateway that it was made for, by its label.
    gateway: Option<Arc<str>>,
    /// What a load balancer has given, in its order; else the name that it has in the cluster.
    addresses: Vec<(&'static str, Arc<str>)>,
}

pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    shapes: Table<ObjectKey, GatewayShape>,
    settings: &Arc<Settings>,
) -> Table<ObjectKey, Addresses> {
    // Services by themselves: few are any Gateway's, and a row for each would hold much for nothing.
    let (settings, gateways, services) = (settings.clone(), inputs.gateways, inputs.services);
    engine.derive("gateway addresses", &shapes, move |view, key, rows| {
        let Some(gateway) = view.get(&gateways, key) else { return Vec::new() };
        let addresses = |shape: &Arc<GatewayShape>| {
            let (known, place) = match &settings.reach {
                Reach::At(known) => {
                    let known = known.iter().map(|address| ("IPAddress", address.to_string().into())).collect();
                    (known, "the proxies".to_owned())
                }
                Reach::ByService => of_services(view, key, shape, services, &settings.cluster_domain),
            };
            resolve(&gateway.spec, &Known { addresses: known, place, reach: &settings.reach })
        };
        rows.iter().map(|shape| (key.clone(), addresses(shape))).collect()
    })
}

/// The addresses of a Gateway's Services, and what to call these.
fn of_services(
    view: &View,
    key: &ObjectKey,
    shape: &GatewayShape,
    services: Input<ObjectKey, api::Service>,
    domain: &str,
) -> (Vec<(&'static str, Arc<str>)>, String) {
    let own = [ObjectKey::new(key.namespace.clone(), shape.wishes.name.clone())];
    let (names, is_manual) = match &shape.wishes.manual {
        Some(manual) => (&manual.services[..], true),
        None => (&own[..], false),
    };
    let mut addresses: Vec<(&'static str, Arc<str>)> = Vec::new();
    let reached = |name: &ObjectKey| view.get(&services, name).map(|service| reached(name, &service, domain));
    for service in names.iter().filter_map(reached) {
        let is_its = is_manual || service.gateway.as_ref() == Some(&crate::infrastructure::label(&key.name));
        for address in service.addresses.iter().filter(|_| is_its) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
    }
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let place = match names.is_empty() {
        true => format!("no Service of namespace {} is named, and so", key.namespace),
        false => format!("Service {}", names.join(", ")),
    };
    (addresses, place)
}

fn reached(key: &ObjectKey, service: &api::Service, domain: &str) -> Reached {
    let labels = service.metadata.labels.as_ref();
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
    let given = ingress.unwrap_or_default().iter().filter_map(|given| match (&given.ip, &given.hostname) {
        (Some(ip), _) => Some(("IPAddress", (&**ip).into())),
        (None, Some(hostname)) => Some(("Hostname", (&**hostname).into())),
        (None, None) => None,
    });
    let addresses = match kind {
        Some("LoadBalancer") => given.collect(),
        _ => vec![("Hostname", format!("{}.{}.svc.{domain}", key.name, key.namespace).into())],
    };
    Reached { gateway: labels.and_then(|labels| labels.get(GATEWAY_NAME)).map(|name| (&**name).into()), addresses }
}

/// What the proxies of a Gateway are reached at.
struct Known<'a> {
    addresses: Vec<(&'static str, Arc<str>)>,
    /// Who says so.
    place: String,
    reach: &'a Reach,
}

impl Known<'_> {
    fn all(&self) -> String {
        let all: Vec<_> = self.addresses.iter().map(|(_, value)| &**value).collect();
        match (all.is_empty(), self.reach) {
            (true, Reach::At(_)) => "no address is known".to_owned(),
            (true, Reach::ByService) => format!("{} has no address", self.place),
            (false, Reach::At(_)) => format!("{} have {}", self.place, all.join(", ")),
            (false, Reach::ByService) => format!("{} has {}", self.place, all.join(", ")),
        }
    }
}

fn resolve(spec: &api::GatewaySpec, known: &Known) -> Addresses {
    let mut addresses = Addresses::default();
    if spec.addresses.is_empty() && *known.reach == Reach::ByService {
        addresses.usable.clone_from(&known.addresses);
        addresses.fault = known.addresses.is_empty().then(|| Fault::new("AddressNotAssigned", known.all()));
    }
    for (index, address) in spec.addresses.iter().enumerate() {
        match one(address, known) {
            Ok(usable) => {
                let new: Vec<_> = usable.into_iter().filter(|one| !addresses.usable.contains(one)).collect();
                addresses.usable.extend(new);
            }
            Err((reason, why)) => {
                addresses.fault.get_or_insert_with(|| Fault::new(reason, format!("spec.addresses[{index}]{why}")));
            }
        }
    }
    addresses
}

type Usable = Vec<(&'static str, Arc<str>)>;

fn one(address: &api::GatewaySpecAddress, known: &Known) -> Result<Usable, (&'static str, String)> {
    let wanted = address.value.as_deref().filter(|value| !value.is_empty());
    let is_ip = address.kind == "IPAddress";
    let found: Usable = match (wanted, is_ip, known.reach) {
        // The host names a Service: all that this one is reached at.
        (Some(_), false, Reach::ByService) => known.addresses.clone(),
        (Some(wanted), true, _) => {
            let same = |value: &str| value.parse::<IpAddr>().is_ok_and(|value| wanted.parse() == Ok(value));
            known.addresses.iter().filter(|(kind, value)| *kind == "IPAddress" && same(value)).cloned().collect()
        }
        (None, _, _) => known.addresses.iter().find(|(kind, _)| *kind == address.kind).cloned().into_iter().collect(),
        (Some(_), false, Reach::At(_)) => Vec::new(),
    };
    match (wanted, &*address.kind) {
        _ if !found.is_empty() => Ok(found),
        (None, kind) => Err(("AddressNotAssigned", format!(": wanted any {kind}; {}", known.all()))),
        (Some(value), kind) => Err((
            "AddressNotUsable",
            format!(".value: {kind} {value:?} leads to no proxy of this Gateway; {}", known.all()),
        )),
    }
}
