//! The data plane as a whole: workers, and the listeners that they share by SO_REUSEPORT.

mod accept;
mod bind;
mod names;
mod ports;
mod run;

pub use bind::BindError;
pub(crate) use names::Names;
pub(crate) use ports::Ports;

use crate::{
    config::{Listener, Name, Shared},
    tls::Settings,
    worker::{Observer, Outer},
};
use run::{Command, Handle};
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

/// Makes the observer of each worker, on that worker's thread.
pub type Observers = Arc<dyn Fn(usize) -> Box<dyn Observer> + Send + Sync>;

/// How a data plane is run.
#[derive(Clone)]
pub struct Options {
    /// Workers; each has a thread.
    pub workers: usize,
    /// Who is told of requests.
    pub observers: Observers,
    /// Where the proxy's own admin pages are: no backend is there.
    pub admin: Option<SocketAddr>,
}

/// Workers and listeners.
pub struct Plane {
    config: Shared,
    ports: Ports,
    workers: Vec<Handle>,
    bound: BTreeMap<Name, Bound>,
}

/// An open listener.
struct Bound {
    /// As the configuration says; port 0 is any.
    wanted: SocketAddr,
    /// As the system says.
    address: SocketAddr,
}

impl Plane {
    /// Starts the workers. They serve what `config` holds at each moment; listeners follow at [`Plane::apply`].
    ///
    /// # Errors
    /// If the system refuses a thread or a runtime.
    pub fn start(options: Options, config: Shared) -> io::Result<Self> {
        let outer = Outer {
            config: config.clone(),
            tls: Arc::new(Settings::new(config.clone())),
            names: Names::start(config.clone())?,
            admin: options.admin,
        };
        let count = options.workers.max(1);
        let workers = (0..count)
            .map(|id| Handle::start(id, outer.clone(), options.observers.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self { config, ports: Ports::new(count), workers, bound: BTreeMap::new() })
    }

    /// Where addresses can be taken for listeners that are not in force yet.
    pub(crate) fn ports(&self) -> Ports {
        self.ports.clone()
    }

    /// Brings the open listeners in line with the configuration: new ones are opened, those that are gone are closed
    /// while their connections drain, the others are left alone. Those that can't be opened are returned; the next
    /// call tries again.
    pub fn apply(&mut self) -> Vec<(Name, BindError)> {
        let config = self.config.load();
        let gone: Vec<Name> = self
            .bound
            .iter()
            .filter(|(name, bound)| config.listeners.get(*name).is_none_or(|new| new.address != bound.wanted))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.bound.remove(&name);
            self.ports.closed(&name);
            self.workers.iter().for_each(|worker| worker.send(Command::Close(name.clone())));
        }
        let new: Vec<&Arc<Listener>> =
            config.listeners.values().filter(|listener| !self.bound.contains_key(&listener.name)).collect();
        new.into_iter()
            .filter_map(|listener| {
                let error = self.open(listener).err()?;
                Some((listener.name.clone(), error))
            })
            .collect()
    }

    fn open(&mut self, listener: &Listener) -> Result<(), BindError> {
        let name = &listener.name;
        let address = if listener.udp.is_some() {
            let (address, sockets) = bind::datagrams(listener.address, self.workers.len())?;
            let commands = sockets.into_iter().map(|socket| Command::OpenDatagrams(name.clone(), socket));
            self.workers.iter().zip(commands).for_each(|(worker, command)| worker.send(command));
            address
        } else {
            let bound = self.ports.open(name, listener.address)?;
            let address = bound.address;
            let sockets = bound.listen().inspect_err(|_| self.ports.closed(name))?;
            let commands = sockets.into_iter().map(|socket| Command::Open(name.clone(), socket));
            self.workers.iter().zip(commands).for_each(|(worker, command)| worker.send(command));
            address
        };
        self.bound.insert(listener.name.clone(), Bound { wanted: listener.address, address });
        Ok(())
    }

    /// The address of an open listener: its port is the one that the system chose where the configuration says 0.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.bound.get(listener).map(|bound| bound.address)
    }

    /// The addresses of all open listeners.
    pub fn addresses(&self) -> impl Iterator<Item = (&Name, SocketAddr)> {
        self.bound.iter().map(|(name, bound)| (name, bound.address))
    }

    /// Stops accepting, lets requests under way end, and closes what is left after `limit`. Says whether all ended in
    /// time.
    pub async fn drain(self, limit: Duration) -> bool {
        self.workers.iter().for_each(|worker| worker.send(Command::Drain(limit)));
        let mut all = true;
        for worker in self.workers {
            all &= worker.ended().await;
        }
        all
    }
}
