//! The PROXY protocol, which nobody speaks unasked: annotations name the ports where a Gateway wants it of its clients,
//! and those where a Service wants it of us.

use api::ObjectMeta;
use std::collections::BTreeSet;

/// On a Gateway: connections to these ports start with a header that says whom they are for.
pub(crate) const ACCEPT: &str = "windlass.io/accept-proxy-protocol";
/// On a Service: streams to these ports are sent one, of version 2.
pub(crate) const SEND: &str = "windlass.io/send-proxy-protocol";

/// The ports that an annotation names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Ports {
    #[default]
    None,
    All,
    These(BTreeSet<u16>),
}

impl Ports {
    /// What an object's annotation says. An error tells what is wrong with it.
    pub(crate) fn of(metadata: &ObjectMeta, annotation: &str) -> Result<Self, String> {
        let Some(value) = metadata.annotations.as_ref().and_then(|all| all.get(annotation)) else {
            return Ok(Self::None);
        };
        match value.trim() {
            "true" => Ok(Self::All),
            "false" => Ok(Self::None),
            list => {
                let port = |text: &str| text.trim().parse().ok().filter(|port| *port > 0);
                let ports = list.split(',').map(port).collect::<Option<_>>();
                ports.map(Self::These).ok_or_else(|| {
                    let wanted = "wanted true, false, or ports as in \"25, 587\"";
                    format!("metadata.annotations[{annotation:?}]: {wanted}; saw {value:?}")
                })
            }
        }
    }

    pub(crate) fn has(&self, port: u16) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::These(ports) => ports.contains(&port),
        }
    }
}
