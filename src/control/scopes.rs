//! Which proxy may see which Gateway's resources.

use arc_swap::ArcSwapOption;
use model::{Identity, ObjectKey};
use proto::{
    Scope,
    ads::{Node, value::Kind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tonic::Status;
use xds::server::Authorize;

/// Namespace and service account.
pub type Account = (Arc<str>, Arc<str>);

/// The service accounts of the Gateways' proxies; unknown until everything was read once. Cloning shares it.
#[derive(Clone, Default)]
pub struct Accounts(Arc<ArcSwapOption<Known>>);

type Known = BTreeMap<Account, BTreeSet<ObjectKey>>;

impl Accounts {
    /// Takes new states of accounts; one without Gateways is nobody's. Only one caller at a time.
    pub(crate) fn change(&self, changes: impl Iterator<Item = (Account, BTreeSet<ObjectKey>)>) {
        let known = self.0.load_full();
        let mut changes = changes.peekable();
        if known.is_some() && changes.peek().is_none() {
            return;
        }
        let mut accounts = known.map(Arc::unwrap_or_clone).unwrap_or_default();
        for (account, gateways) in changes {
            match gateways.is_empty() {
                true => accounts.remove(&account),
                false => accounts.insert(account, gateways),
            };
        }
        self.0.store(Some(Arc::new(accounts)));
    }

    /// The Gateways of ours, each with its proxies' account.
    pub fn gateways(&self) -> BTreeMap<ObjectKey, Account> {
        let accounts = self.0.load_full().unwrap_or_default();
        let each =
            accounts.iter().flat_map(|(account, gateways)| gateways.iter().map(move |gateway| (gateway, account)));
        each.map(|(gateway, account)| (gateway.clone(), account.clone())).collect()
    }
}

/// Who is known by a certificate or a token sees the Gateway that it belongs to, whatever its node says; a node that
/// says something else is refused. Who has come through the port without TLS, and so is nobody, sees the Gateway that
/// its node names: whoever can reach that port can see all.
pub struct Scopes(pub Accounts);

impl Authorize for Scopes {
    fn scope(&self, peer: Option<&str>, node: &Node) -> Result<Scope, Status> {
        let wanted = metadata_gateway(node);
        let gateway = match (peer, wanted) {
            (Some(peer), wanted) => self.of_identity(peer, node, wanted)?,
            (None, Some(wanted)) => wanted,
            (None, None) => {
                let message = "wanted node metadata GATEWAY: \"<namespace>/<name>\", it is missing";
                return Err(Status::invalid_argument(message));
            }
        };
        Ok(Scope::gateway(&gateway.namespace, &gateway.name))
    }
}

impl Scopes {
    fn of_identity(&self, peer: &str, node: &Node, wanted: Option<ObjectKey>) -> Result<ObjectKey, Status> {
        let identity: Identity = peer.parse().map_err(|error| Status::unauthenticated(format!("{error}")))?;
        if let Some(namespace) = node_namespace(&node.id).filter(|namespace| *namespace != &*identity.namespace) {
            let (id, namespace) = (short(&node.id), short(namespace));
            let message = format!("node {id:?} says namespace {namespace:?}, its certificate is of {identity}");
            return Err(Status::permission_denied(message));
        }
        let Some(accounts) = self.0.0.load_full() else {
            return Err(Status::unavailable("the configuration is being read: try again"));
        };
        let gateways = accounts.get(&(identity.namespace.clone(), identity.service_account.clone()));
        let mut gateways = gateways.into_iter().flatten();
        match wanted {
            Some(wanted) => gateways.find(|gateway| **gateway == wanted).cloned().ok_or_else(|| {
                Status::permission_denied(format!("{identity} is not of Gateway {}", short(&wanted.to_string())))
            }),
            None => match (gateways.next(), gateways.next()) {
                (Some(only), None) => Ok(only.clone()),
                (None, _) => {
                    Err(Status::permission_denied(format!("{identity} is of no Gateway that is programmed here")))
                }
                (Some(_), Some(_)) => Err(Status::permission_denied(format!(
                    "{identity} is of several Gateways: wanted node metadata GATEWAY"
                ))),
            },
        }
    }
}

/// `GATEWAY: "ns/name"` of a node's metadata.
fn metadata_gateway(node: &Node) -> Option<ObjectKey> {
    match node.metadata.as_ref()?.fields.get("GATEWAY")?.kind.as_ref()? {
        Kind::StringValue(text) => {
            let (namespace, name) = text.split_once('/')?;
            Some(ObjectKey::new(namespace, name))
        }
        _ => None,
    }
}

/// The namespace in `<type>~<ip>~<pod>.<ns>~<ns>.svc.<domain>`.
fn node_namespace(id: &str) -> Option<&str> {
    let mut parts = id.split('~').skip(2);
    let (pod, domain) = (parts.next()?, parts.next()?);
    let of_domain = domain.split('.').next().filter(|namespace| !namespace.is_empty());
    of_domain.or_else(|| pod.rsplit_once('.').map(|(_, namespace)| namespace))
}

/// Foreign text, cut for a message.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ads::{Struct, Value};
    use tonic::Code;

    const G: &str = "spiffe://cluster.local/ns/n/sa/g-c";

    fn node(id: &str, gateway: Option<&str>) -> Node {
        let value = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
        let fields = gateway.map(|gateway| ("GATEWAY".to_owned(), value(gateway))).into_iter().collect();
        Node { id: id.into(), metadata: Some(Struct { fields }), ..Node::default() }
    }

    #[test]
    fn a_proxy_sees_what_its_certificate_says() {
        let accounts = Accounts::default();
        let key = |name: &str| ObjectKey::new("n", name);
        let known = [
            (("n".into(), "g-c".into()), BTreeSet::from([key("g")])),
            (("n".into(), "a-b-c".into()), BTreeSet::from([key("a"), key("a-b")])),
        ];
        accounts.change(known.into_iter());
        assert_eq!(accounts.gateways().get(&key("g")), Some(&("n".into(), "g-c".into())));
        let authorize = Scopes(accounts);
        assert_eq!(Scopes(Accounts::default()).scope(Some(G), &node("", None)).unwrap_err().code(), Code::Unavailable);
        let (g, ab) = (G, "spiffe://cluster.local/ns/n/sa/a-b-c");
        let id = "router~127.0.0.1~g.n~n.svc.cluster.local";
        for (peer, node, wanted) in [
            (Some(g), node(id, None), Ok("gateway/n/g")),
            (Some(g), node(id, Some("n/g")), Ok("gateway/n/g")),
            (Some(g), node("whatever", None), Ok("gateway/n/g")),
            (Some(g), node(id, Some("n/other")), Err("is not of Gateway n/other")),
            (Some(g), node("router~127.0.0.1~g.x~x.svc.cluster.local", None), Err("says namespace \"x\"")),
            (Some(ab), node(id, None), Err("is of several Gateways")),
            (Some(ab), node(id, Some("n/a-b")), Ok("gateway/n/a-b")),
            (Some("spiffe://cluster.local/ns/n/sa/x"), node(id, None), Err("is of no Gateway")),
            (Some("nonsense"), node(id, None), Err("saw \"nonsense\"")),
            (None, node(id, Some("n/g")), Ok("gateway/n/g")),
            (None, node(id, None), Err("wanted node metadata GATEWAY")),
        ] {
            let found = authorize.scope(peer, &node);
            match (found, wanted) {
                (Ok(scope), Ok(wanted)) => assert_eq!(&*scope.0, wanted),
                (Err(status), Err(wanted)) => assert!(status.message().contains(wanted), "{status}"),
                (found, wanted) => panic!("{peer:?} {node:?}: {found:?}, wanted {wanted:?}"),
            }
        }
    }
}
