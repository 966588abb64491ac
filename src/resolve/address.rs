//! Addresses that a Gateway asks for, held against those that its proxies are reached at.

use crate::{Settings, status::Fault};
use std::sync::Arc;

/// What a Gateway gets of what it asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addresses {
    /// `(type, value)`, in the order of the spec.
    pub(crate) usable: Vec<(&'static str, Arc<str>)>,
    /// The first that it doesn't get: its listeners serve, but not there.
    pub(crate) fault: Option<Fault>,
}

/// The first address of a type that we have none of.
pub(crate) fn unsupported(spec: &api::GatewaySpec) -> Option<Fault> {
    let known = ["IPAddress", "Hostname"];
    let (index, address) = spec.addresses.iter().enumerate().find(|(_, address)| !known.contains(&&*address.kind))?;
    let what = format!("spec.addresses[{index}].type: wanted IPAddress or Hostname, saw {:?}", address.kind);
    Some(Fault::new("UnsupportedAddress", what))
}

pub(crate) fn resolve(spec: &api::GatewaySpec, settings: &Settings) -> Addresses {
    let mut addresses = Addresses::default();
    for (index, address) in spec.addresses.iter().enumerate() {
        match one(address, settings) {
            Ok(usable) if addresses.usable.contains(&usable) => {}
            Ok(usable) => addresses.usable.push(usable),
            Err((reason, why)) => {
                addresses.fault.get_or_insert_with(|| Fault::new(reason, format!("spec.addresses[{index}]{why}")));
            }
        }
    }
    addresses
}

fn one(
    address: &api::GatewaySpecAddress,
    settings: &Settings,
) -> Result<(&'static str, Arc<str>), (&'static str, String)> {
    let known = || {
        let all: Vec<_> = settings.addresses.iter().map(ToString::to_string).collect();
        if all.is_empty() { "no address is known".to_owned() } else { format!("the proxies have {}", all.join(", ")) }
    };
    let wanted = address.value.as_deref().filter(|value| !value.is_empty());
    let found = settings.addresses.iter().find(|known| wanted.is_none_or(|wanted| wanted.parse() == Ok(**known)));
    match (&*address.kind, wanted, found) {
        ("IPAddress", _, Some(found)) => Ok(("IPAddress", found.to_string().into())),
        (kind, None, _) => Err(("AddressNotAssigned", format!(": wanted any {kind}; {}", known()))),
        (kind, Some(value), _) => Err((
            "AddressNotUsable",
            format!(".value: {kind} {value:?} leads to no proxy of this Gateway; {}", known()),
        )),
    }
}
