//! A worker's thread.

use super::{Observers, accept::accept};
use crate::{
    config::Name,
    stream::serve_datagrams,
    worker::{Outer, Worker, waited},
};
use base::tasks::Tasks;
use rustc_hash::FxHashMap;
use std::{
    io,
    net::{TcpListener, UdpSocket},
    rc::Rc,
    time::Duration,
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// What a worker is told.
pub(super) enum Command {
    /// Accept on this socket for the listener of that name.
    Open(Name, TcpListener),
    /// Serve the datagrams on this socket for the listener of that name.
    OpenDatagrams(Name, UdpSocket),
    /// Accept no more for that listener.
    Close(Name),
    /// Accept no more at all, and end within that time.
    Drain(Duration),
}

/// A running worker.
pub(super) struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    ended: oneshot::Receiver<bool>,
}

/// How often idle connections to backends are looked at.
const SWEEP: Duration = Duration::from_secs(5);

impl Handle {
    pub(super) fn start(id: usize, outer: Outer, observers: Observers) -> io::Result<Self> {
        // A thread that can't make its runtime says so before anybody relies on it.
        let (commands, inbox) = mpsc::unbounded_channel();
        let (started, has_started) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        base::tasks::thread(format!("worker-{id}"), move || {
            let runtime = match Builder::new_current_thread()
                .enable_all()
                .on_thread_unpark(waited)
                .build_local(LocalOptions::default())
            {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(()));
            let all = runtime.block_on(run(outer, observers(id), inbox));
            // Nobody may be left to hear it.
            let _ = end.send(all);
        })?;
        has_started.recv().map_err(io::Error::other)??;
        Ok(Self { commands, ended })
    }

    pub(super) fn send(&self, command: Command) {
        // A worker that has ended needs no command.
        let _ = self.commands.send(command);
    }

    pub(super) async fn ended(self) -> bool {
        self.ended.await.unwrap_or(false)
    }
}

async fn run(
    outer: Outer,
    observer: Box<dyn crate::worker::Observer>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) -> bool {
    let tasks = Tasks::default();
    let housekeeping = Tasks::default();
    let worker = Rc::new(Worker::new(outer, tasks.clone(), observer));
    let timer = worker.timer.clone();
    housekeeping.spawn_local("timer", |_| async move { timer.drive().await });
    let sweeper = worker.clone();
    housekeeping.spawn_local("sweep of idle connections", |_| async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            let config = sweeper.config();
            sweeper.clusters.sweep(|name| config.clusters.contains_key(name));
        }
    });
    let mut listeners: FxHashMap<Name, JoinHandle<()>> = FxHashMap::default();
    // The sender is dropped without a drain if the plane is: nothing to wait for then.
    let mut limit = Duration::ZERO;
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Open(name, socket) => match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    let task = tasks.spawn_local("listener", |_| accept(worker.clone(), name.clone(), socket));
                    if let Some(old) = listeners.insert(name, task) {
                        old.abort();
                    }
                }
                Err(error) => tracing::error!(listener = %name, %error, "a worker can't use a socket"),
            },
            Command::OpenDatagrams(name, socket) => match tokio::net::UdpSocket::from_std(socket) {
                Ok(socket) => {
                    let serve = serve_datagrams(worker.clone(), name.clone(), socket);
                    let task = tasks.spawn_local("datagrams", |_| serve);
                    if let Some(old) = listeners.insert(name, task) {
                        old.abort();
                    }
                }
                Err(error) => tracing::error!(listener = %name, %error, "a worker can't use a socket"),
            },
            Command::Close(name) => {
                if let Some(task) = listeners.remove(&name) {
                    task.abort();
                }
                worker.listener_gone();
            }
            Command::Drain(time) => {
                limit = time;
                break;
            }
        }
    }
    listeners.into_values().for_each(|task| task.abort());
    worker.drain();
    tasks.end(limit).await
}
