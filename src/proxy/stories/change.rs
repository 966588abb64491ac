//! Changes under way: listeners, endpoints, drain.

use super::{
    backend::{Backend, ok, read_request},
    client::{Client, PATIENCE, get},
    config::{Setup, at, cluster, host, listener, manager, seconds, to},
};
use proto::TypeUrl;
use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc},
};

fn drain(setup: Setup) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(setup.plane.drain(PATIENCE))
}

#[test]
fn listeners_come_and_go_without_harm_to_others() {
    let backend = Backend::saying("hello");
    let (mut setup, address) = Setup::forward(&[backend.address], |_| {});
    let mut old = Client::new(address);
    assert!(old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().ends_with("hello"));
    let second = || listener("second", manager(vec![host("*", vec![to("/", "backend", |_| {})])]));
    setup.set(TypeUrl::Listener, "second", &second());
    assert!(setup.apply().is_empty());
    let other = setup.plane.address("second").unwrap();
    assert!(get(other, "/").ends_with("hello"));
    let mut idle = Client::new(other);
    assert!(idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().ends_with("hello"));
    setup.remove(TypeUrl::Listener, "second");
    assert!(setup.apply().is_empty());
    assert_eq!(setup.plane.address("second"), None);
    assert_eq!(idle.rest(), "", "a connection of the listener that went ends");
    // Workers close in their own time.
    let end = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(other).is_ok() {
        assert!(std::time::Instant::now() < end, "still open");
        std::thread::yield_now();
    }
    assert!(old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().ends_with("hello"));
}

#[test]
fn a_port_in_use_is_said_and_tried_again() {
    let backend = Backend::saying("hello");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (mut setup, first) = Setup::forward(&[backend.address], |_| {});
    let second = listener("second", manager(vec![host("*", vec![to("/", "backend", |_| {})])]));
    setup.set(TypeUrl::Listener, "second", &at(second, address));
    let errors: Vec<String> = setup.apply().iter().map(ToString::to_string).collect();
    assert_eq!(errors, [format!("can't listen on {address}: Address already in use (os error 98)")]);
    assert!(get(first, "/").ends_with("hello"));
    drop(taken);
    assert!(setup.apply().is_empty());
    assert!(get(address, "/").ends_with("hello"));
}

#[test]
fn endpoints_move_under_a_connection() {
    let (one, two) = (Backend::saying("one"), Backend::saying("two"));
    let (mut setup, address) = Setup::forward(&[one.address], |_| {});
    let mut client = Client::new(address);
    assert!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().ends_with("one"));
    setup.set(TypeUrl::Cluster, "backend", &cluster("backend", &[two.address]));
    assert!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().ends_with("two"));
    setup.set(TypeUrl::Cluster, "backend", &cluster("backend", &[]));
    assert!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().starts_with("HTTP/1.1 503 "));
}

#[test]
fn load_goes_to_all_endpoints() {
    let backends: Vec<Backend> = (0..3).map(|_| Backend::saying("x")).collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let (_setup, address) = Setup::forward(&addresses, |_| {});
    let mut client = Client::new(address);
    for _ in 0..300 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    }
    // By chance fewer than 40 of 300 in a third: less than once in 10^13.
    assert!(backends.iter().all(|backend| backend.requests().len() >= 40));
}

#[test]
fn a_drain_says_goodbye_and_finishes_requests() {
    let (asked, wait) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let backend = Backend::raw(move |mut stream, _| {
        if read_request(&mut stream, &mut Vec::new()).is_some() {
            asked.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            stream.write_all(ok("late").as_bytes()).unwrap();
        }
    });
    let mut setup = Setup::new();
    setup.set(TypeUrl::Cluster, "backend", &cluster("backend", &[backend.address]));
    let mut quick = manager(vec![host("*", vec![to("/late", "backend", |_| {})])]);
    quick.drain_timeout = seconds(3);
    setup.set(TypeUrl::Listener, "http", &listener("http", quick));
    assert!(setup.apply().is_empty());
    let address = setup.plane.address("http").unwrap();
    let [mut kept, mut silent, mut busy] = std::array::from_fn(|_| Client::new(address));
    let unknown = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for client in [&mut kept, &mut silent] {
        assert!(client.send(unknown).answer().starts_with("HTTP/1.1 404 "));
    }
    busy.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    wait.recv_timeout(PATIENCE).unwrap();
    let draining = base::tasks::thread("drain", move || drain(setup)).unwrap();
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    let last = kept.send(unknown).rest();
    assert!(last.starts_with("HTTP/1.1 404 ") && last.contains("connection: close"), "{last}");
    assert_eq!(silent.rest(), "", "a connection without requests is closed");
    go.send(()).unwrap();
    let answer = busy.rest();
    assert!(answer.contains("connection: close") && answer.ends_with("late"), "{answer}");
    assert!(draining.join().unwrap(), "all ended in time");
}

#[test]
fn a_slow_head_is_not_waited_for() {
    let backend = Backend::saying("never");
    let mut setup = Setup::new();
    setup.set(TypeUrl::Cluster, "backend", &cluster("backend", &[backend.address]));
    let mut slow = manager(vec![host("*", vec![to("/", "backend", |_| {})])]);
    slow.request_headers_timeout = seconds(1);
    setup.set(TypeUrl::Listener, "http", &listener("http", slow));
    assert!(setup.apply().is_empty());
    let mut client = Client::new(setup.plane.address("http").unwrap());
    client.send("GET / HTTP/1.1\r\nHost:");
    let rest = client.rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408 "), "{rest}");
    assert!(backend.requests().is_empty());
}
