//! Datagrams: a session for each client address, with a socket of its own towards its endpoint.
//!
//! Anyone can send from any address, so sessions are few enough to be no burden: when all are taken, the one that was
//! idle for longest makes room, unless it is in use.

use crate::{
    config::{Discovery, Name, UdpProxy},
    worker::{Worker, now},
};
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use tokio::{net::UdpSocket, task::JoinHandle, time::Instant};

/// Sessions of one listener on one worker.
const MOST: usize = 1024;
/// A session that was in use so recently makes no room for another.
const IN_USE: Duration = Duration::from_secs(5);
/// The longest datagram.
const LONGEST: usize = 64 << 10;
/// A pause after a socket fails.
const PAUSE: Duration = Duration::from_millis(50);

struct Session {
    socket: Rc<UdpSocket>,
    used: Rc<Cell<Instant>>,
    replies: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.replies.abort();
    }
}

type Sessions = Rc<RefCell<FxHashMap<SocketAddr, Session>>>;

/// Serves a listener's datagrams until the task is aborted.
pub(crate) async fn serve(worker: Rc<Worker>, name: Name, socket: UdpSocket) {
    let socket = Rc::new(socket);
    let sessions = Sessions::default();
    let mut datagram = vec![0; LONGEST];
    loop {
        let (count, client) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(listener = %name, %error, "can't receive");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let known = sessions.borrow().get(&client).map(|session| {
            session.used.set(now());
            session.socket.clone()
        });
        let towards = match known {
            Some(towards) => Some(towards),
            None => open(&worker, &name, &socket, &sessions, client).await,
        };
        if let Some(towards) = towards {
            // A datagram may be lost: one that its endpoint refuses is.
            let _ = towards.send(&datagram[..count]).await;
        }
    }
}

/// A new session, if there is room and an endpoint.
async fn open(
    worker: &Rc<Worker>,
    name: &Name,
    listener: &Rc<UdpSocket>,
    sessions: &Sessions,
    client: SocketAddr,
) -> Option<Rc<UdpSocket>> {
    let config = worker.config();
    let udp = config.listeners.get(name)?.udp.clone()?;
    let cluster = config.cluster(&udp.cluster)?;
    if !matches!(cluster.spec.discovery, Discovery::Endpoints) || !make_room(sessions) {
        return None;
    }
    let group = worker.clusters.group(cluster, &cluster.endpoints);
    let address = group.pick(|| worker.random(), None)?.address;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(address).await.ok()?;
    let (socket, used) = (Rc::new(socket), Rc::new(Cell::new(now())));
    let session = (socket.clone(), used.clone(), listener.clone(), sessions.clone());
    let replies = worker.tasks.spawn_local("session of datagrams", |_| replies(session, client, udp));
    sessions.borrow_mut().insert(client, Session { socket: socket.clone(), used, replies });
    Some(socket)
}

fn make_room(sessions: &Sessions) -> bool {
    let mut sessions = sessions.borrow_mut();
    if sessions.len() < MOST {
        return true;
    }
    let oldest = sessions.iter().min_by_key(|(_, session)| session.used.get());
    match oldest.map(|(client, session)| (*client, session.used.get())) {
        Some((client, used)) if used.elapsed() >= IN_USE => sessions.remove(&client).is_some(),
        _ => false,
    }
}

/// Sends what comes back to the client, until nothing has moved for a while.
async fn replies(
    (socket, used, listener, sessions): (Rc<UdpSocket>, Rc<Cell<Instant>>, Rc<UdpSocket>, Sessions),
    client: SocketAddr,
    udp: UdpProxy,
) {
    let mut datagram = vec![0; 2048];
    loop {
        let end = used.get() + udp.idle_timeout;
        match tokio::time::timeout_at(end, socket.readable()).await {
            Err(_) if used.get() + udp.idle_timeout > now() => {}
            Err(_) => break,
            Ok(Err(_)) => break,
            // Nothing there after all, or the endpoint's refusal of one datagram: the next may fare better.
            Ok(Ok(())) => {
                if let Ok(count) = receive(&socket, &mut datagram) {
                    used.set(now());
                    let _ = listener.send_to(&datagram[..count], client).await;
                }
            }
        }
    }
    sessions.borrow_mut().remove(&client);
}

/// Receives a datagram whole: the buffer grows to the longest when one fills it.
fn receive(socket: &UdpSocket, datagram: &mut Vec<u8>) -> std::io::Result<usize> {
    let reference = socket2::SockRef::from(socket);
    if datagram.len() < LONGEST {
        let peeked = socket.try_io(tokio::io::Interest::READABLE, || {
            let mut one = [std::mem::MaybeUninit::uninit(); 2049];
            reference.peek(&mut one)
        })?;
        if peeked > datagram.len() {
            datagram.resize(LONGEST, 0);
        }
    }
    socket.try_recv(datagram)
}
