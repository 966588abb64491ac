//! The proxies of this process: one for each Gateway, each joining like any other, over mTLS with a bootstrap token.

use control::Control;
use model::{Identity, ObjectKey, TrustDomain};
use proto::{Scope, TypeUrl};
use proxy::{Proxy, certs};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use xds::View;

/// How long a bootstrap token is good. The certificates that follow are renewed without it; it is shown again only if
/// they were lost.
const TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long statuses are waited for before they are told as they are.
const SETTLE: Duration = Duration::from_secs(2);

/// A port of a Gateway.
pub struct Listener {
    /// Which Gateway's.
    pub gateway: ObjectKey,
    /// The port that the Gateway names.
    pub port: u16,
    /// Where it is served; none as long as it is not open.
    pub address: Option<SocketAddr>,
}

/// The running proxies.
pub struct Running {
    data: PathBuf,
    proxies: BTreeMap<ObjectKey, Proxy>,
    /// Gateways whose proxy could not be started: why.
    pub failed: BTreeMap<ObjectKey, String>,
    control: SocketAddr,
}

impl Running {
    pub fn new(control: &Control, data: PathBuf) -> Self {
        Self { data, proxies: BTreeMap::new(), failed: BTreeMap::new(), control: control.xds }
    }

    /// Starts proxies of new Gateways and drains those of Gateways that are gone.
    pub async fn follow(&mut self, control: &Control) {
        let wanted = control.accounts.gateways();
        let gone: Vec<ObjectKey> =
            self.proxies.keys().filter(|gateway| !wanted.contains_key(*gateway)).cloned().collect();
        for gateway in gone {
            if let Some(proxy) = self.proxies.remove(&gateway) {
                // Its Gateway is gone: there is nothing to wait for.
                proxy.drain(Duration::ZERO).await;
            }
        }
        self.failed.retain(|gateway, _| wanted.contains_key(gateway));
        for (gateway, (namespace, service_account)) in wanted {
            if self.proxies.contains_key(&gateway) {
                continue;
            }
            let identity = Identity { trust_domain: TrustDomain::default(), namespace, service_account };
            match Proxy::start(self.options(control, &gateway, identity)).await {
                Ok(proxy) => {
                    self.failed.remove(&gateway);
                    self.proxies.insert(gateway, proxy);
                }
                Err(error) => {
                    self.failed.insert(gateway, error.to_string());
                }
            }
        }
    }

    fn options(&self, control: &Control, gateway: &ObjectKey, identity: Identity) -> proxy::Options {
        let data = self.data.join("proxy").join(&*gateway.namespace).join(&*gateway.name);
        let token = control.tokens.as_ref().map(|tokens| tokens.issue(&identity, SystemTime::now() + TOKEN_LIFE));
        let certs = certs::Options {
            ca_address: self.control.to_string(),
            server_name: "istiod.istio-system.svc".into(),
            identity,
            roots: control.ca.root_cert_path().to_owned(),
            token: token.map(certs::Token::Text),
            dir: Some(data.join("certificate")),
            ttl: Duration::ZERO,
            clock: Arc::new(SystemTime::now),
        };
        proxy::Options {
            gateway: gateway.clone(),
            control: proxy::Control::Mtls(self.control.to_string(), Box::new(certs)),
            // The control plane is in this process: what it said last time is older than what it says now.
            data: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            bind: None,
            admin: Some((Ipv4Addr::LOCALHOST, 0).into()),
            health: None,
            metrics: None,
        }
    }

    /// Waits until the proxies have what is published, for a while: what is told then is true for longer than a blink.
    pub async fn settle(&self, control: &Control) {
        let settled = async {
            let mut changes = control.board.changes();
            while control.board.is_pending() || self.listeners(control).any(|listener| listener.address.is_none()) {
                // The sender lives as long as the board. A listener that opens changes no status: look again soon.
                let _ = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
            }
        };
        let _ = tokio::time::timeout(SETTLE, settled).await;
    }

    /// Waits until a listener of a proxy is opened or closed.
    pub async fn changed(&self) {
        let changes = self.proxies.values().map(|proxy| {
            let mut addresses = proxy.addresses();
            addresses.mark_unchanged();
            Box::pin(async move { addresses.changed().await })
        });
        match changes.collect::<Vec<_>>() {
            none if none.is_empty() => std::future::pending().await,
            // One that ended has no listeners any more, which is a change too.
            changes => drop(futures::future::select_all(changes).await),
        }
    }

    /// The listeners of every Gateway, open or not.
    pub fn listeners(&self, control: &Control) -> impl Iterator<Item = Listener> {
        self.proxies.iter().flat_map(|(gateway, proxy)| {
            let open = proxy.addresses().borrow().clone();
            let scope = Scope::gateway(&gateway.namespace, &gateway.name);
            let wanted = control.publisher.snapshot(&scope, View::VirtualHosts);
            let listener = |entry: &Arc<xds::Entry>| Listener {
                gateway: gateway.clone(),
                port: entry.name.rsplit('_').next().and_then(|port| port.parse().ok()).unwrap_or_default(),
                address: open.iter().find(|(name, _)| ***name == *entry.name).map(|(_, address)| *address),
            };
            wanted.resources(TypeUrl::Listener).map(listener).collect::<Vec<_>>()
        })
    }

    /// The admin pages of the proxies.
    pub fn admin_pages(&self) -> impl Iterator<Item = (&ObjectKey, SocketAddr)> {
        self.proxies.iter().filter_map(|(gateway, proxy)| Some((gateway, proxy.admin()?)))
    }

    /// Drains all proxies side by side.
    pub async fn drain(self, limit: Duration) {
        futures::future::join_all(self.proxies.into_values().map(|proxy| proxy.drain(limit))).await;
    }
}
