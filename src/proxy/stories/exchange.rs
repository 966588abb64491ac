//! Requests and responses, one by one.

use super::{
    backend::{Backend, ok, read_request},
    client::{Client, get},
    config::{Setup, cluster, host, listener, manager, millis, to},
};
use proto::{
    TypeUrl,
    envoy::{envoy::config::route::v3::RetryPolicy, google::protobuf::UInt32Value},
};
use std::{
    io::{Read, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

fn code(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[test]
fn a_connection_carries_requests_one_after_the_other_and_so_does_the_one_behind() {
    let backend = Backend::saying("hello");
    let (_setup, address) = Setup::forward(&[backend.address], |_| {});
    let mut client = Client::new(address);
    for path in ["/a", "/b?c=d", "/x/../y"] {
        let answer = client.send(&format!("GET {path} HTTP/1.1\r\nHost: A.test\r\n\r\n")).answer();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    }
    // Two at once: the answers come in order.
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..3 {
        assert_eq!(code(&client.answer()), "200");
    }
    let lines: Vec<String> =
        backend.requests().iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    let wanted =
        ["GET /a", "GET /b?c=d", "GET /y", "GET /1", "POST /2", "GET /3"].map(|line| format!("{line} HTTP/1.1"));
    assert_eq!(lines, wanted);
    assert!(backend.requests()[4].ends_with("\r\n\r\nhi"));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn heads_are_cleaned_and_marked() {
    let backend = Backend::new(|_| {
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Own: 2\r\nContent-Length: 0\r\n\r\n".into()
    });
    let (_setup, address) = Setup::forward(&[backend.address], |_| {});
    let answer = Client::new(address)
        .send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nX-Envoy-Retry-On: 5xx\r\nTE: gzip\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Keep: 1\r\n\r\n")
        .rest();
    let request = backend.requests().remove(0);
    for gone in ["connection", "x-mine", "x-envoy", "te:", "https"] {
        assert!(!request.contains(gone), "{gone} in {request}");
    }
    for there in [
        "host: a.test\r\n",
        "x-keep: 1\r\n",
        "x-forwarded-for: 9.9.9.9,127.0.0.1\r\n",
        "x-forwarded-proto: http\r\n",
        "x-request-id: ",
    ] {
        assert!(request.contains(there), "{there} not in {request}");
    }
    for gone in ["x-hop", "keep-alive"] {
        assert!(!answer.contains(gone), "{gone} in {answer}");
    }
    assert!(answer.contains("x-own: 2\r\n") && answer.contains("connection: close\r\n"), "{answer}");
}

#[test]
fn bodies_go_through_whatever_their_form() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
    let backend = Backend::new(move |request| match request.lines().next().unwrap() {
        "GET /chunked HTTP/1.1" => chunked.into(),
        "GET /close HTTP/1.1" => "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end".into(),
        "HEAD /head HTTP/1.1" => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".into(),
        "GET /interim HTTP/1.1" => format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{}", ok("late")),
        _ => ok("echo"),
    });
    let (_setup, address) = Setup::forward(&[backend.address], |_| {});
    let mut client = Client::new(address);
    let answer = client.send("GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "{answer}");
    // Without a length the client gets chunks, and keeps its connection.
    let answer = client.send("GET /close HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert!(answer.contains("d\r\nuntil the end\r\n"), "{answer}");
    let answer = client.send("GET /interim HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert!(answer.ends_with("late"), "{answer}");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwi");
    let answer = client.send("ki\r\n0\r\n\r\n").answer();
    assert_eq!(code(&answer), "200");
    let request = backend.requests().pop().unwrap();
    assert!(request.contains("transfer-encoding: chunked") && request.contains("\r\n\r\n"), "{request}");
    let data: String = request.split("\r\n\r\n").nth(1).unwrap().split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(data, "wiki");
    let answer = client.send("HEAD /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").rest();
    assert!(answer.contains("content-length: 1000\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_client_that_asks_whether_to_go_on_is_told() {
    let backend = Backend::saying("done");
    let (_setup, address) = Setup::forward(&[backend.address], |_| {});
    let mut client = Client::new(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.answer().starts_with("HTTP/1.1 100 Continue"));
    assert!(client.send("hi").answer().ends_with("done"));
    assert!(!backend.requests()[0].contains("expect"));
}

#[test]
fn a_request_that_is_none_is_refused_and_the_connection_closed() {
    let backend = Backend::saying("never");
    let (setup, address) = Setup::forward(&[backend.address], |_| {});
    for (request, status) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\n\r\n", "426"),
    ] {
        let answer = Client::new(address).send(request).rest();
        assert_eq!(code(&answer), status, "{request:?}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(70_000));
    assert_eq!(code(&Client::new(address).send(&long).rest()), "431");
    assert!(backend.requests().is_empty());
    assert!(setup.log.lock().unwrap().iter().all(|line| line.contains("DPE")), "{:?}", setup.log);
    // A body that turns out to be none.
    let answer =
        Client::new(address).send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").rest();
    assert_eq!(code(&answer), "400");
}

#[test]
fn what_no_backend_answers_we_answer() {
    let silent = Backend::new(|_| String::new());
    let nonsense = Backend::new(|_| "SSH-2.0 hello\r\n\r\n".into());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut setup = Setup::new();
    for (name, backends) in
        [("none", vec![]), ("gone", vec![gone]), ("silent", vec![silent.address]), ("nonsense", vec![nonsense.address])]
    {
        setup.set(TypeUrl::Cluster, name, &cluster(name, &backends));
    }
    let routes = ["none", "gone", "silent", "nonsense", "missing"].map(|name| to(&format!("/{name}"), name, |_| {}));
    setup.set(TypeUrl::Listener, "http", &listener("http", manager(vec![host("a.test", routes.into())])));
    assert!(setup.apply().is_empty());
    let address = setup.plane.address("http").unwrap();
    for (path, status, log) in [
        ("/none", "503", "503 UH no_healthy_upstream"),
        ("/gone", "503", "503 UF upstream_reset_before_response_started{remote_connection_failure}"),
        ("/silent", "503", "503 UC upstream_reset_before_response_started{connection_termination}"),
        ("/nonsense", "502", "502 UPE upstream_reset_before_response_started{protocol_error}"),
        ("/missing", "500", "500 NC cluster_not_found"),
        ("/other", "404", "404 NR route_not_found"),
    ] {
        assert_eq!(code(&get(address, path)), status, "{path}");
        assert_eq!(setup.log.lock().unwrap().pop().as_deref(), Some(log), "{path}");
    }
}

#[test]
fn a_request_that_takes_too_long_is_answered_504() {
    let backend = Backend::raw(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (setup, address) = Setup::forward(&[backend.address], |action| action.timeout = millis(100));
    let answer = get(address, "/");
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.ends_with("upstream request timeout"), "{answer}");
    assert_eq!(setup.log.lock().unwrap()[..], ["504 UT upstream_response_timeout"]);
}

#[test]
fn a_try_that_fails_is_tried_elsewhere() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let backend = Backend::saying("there");
    let count = AtomicUsize::new(0);
    let moody = Backend::new(move |_| match count.fetch_add(1, Ordering::SeqCst) % 3 {
        0 => "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno".into(),
        1 => String::new(),
        _ => ok("yes"),
    });
    let retry = |action: &mut proto::envoy::envoy::config::route::v3::RouteAction| {
        action.retry_policy = Some(RetryPolicy {
            retry_on: "5xx,connect-failure,reset".into(),
            num_retries: Some(UInt32Value { value: 3 }),
            ..Default::default()
        });
    };
    let (_setup, address) = Setup::forward(&[gone, backend.address], retry);
    for _ in 0..20 {
        assert!(get(address, "/").ends_with("there"));
    }
    let (_setup, address) = Setup::forward(&[moody.address], retry);
    assert!(get(address, "/").ends_with("yes"));
    assert_eq!(moody.requests().len(), 3);
}

#[test]
fn a_pooled_connection_that_the_backend_closed_costs_nobody_a_request() {
    let backend = Backend::raw(|mut stream, seen| {
        // One answer, and the next request is met with a closed door.
        if let Some(request) = read_request(&mut stream, &mut Vec::new()) {
            seen.requests.lock().unwrap().push(request);
            let _ = stream.write_all(ok("once").as_bytes());
            let mut one = [0];
            let _ = stream.peek(&mut one);
        }
    });
    let (_setup, address) = Setup::forward(&[backend.address], |_| {});
    let mut client = Client::new(address);
    for _ in 0..5 {
        assert!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().ends_with("once"));
    }
    assert_eq!(backend.connections(), 5);
}

#[test]
fn a_change_of_protocol_is_a_tunnel() {
    let backend = Backend::raw(|mut stream, seen| {
        let request = read_request(&mut stream, &mut Vec::new()).unwrap();
        seen.requests.lock().unwrap().push(request);
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
            .unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        text.reverse();
        stream.write_all(&text).unwrap();
    });
    let (_setup, address) = Setup::forward(&[backend.address], |_| {});
    let mut client = Client::new(address);
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nabc",
    );
    let head = client.answer();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert_eq!(client.bytes(2), "hi");
    client.send("def");
    client.finish();
    assert_eq!(client.rest(), "fedcba");
    let request = &backend.requests()[0];
    assert!(request.contains("upgrade: websocket\r\n") && request.contains("connection: upgrade\r\n"), "{request}");
}

#[test]
fn an_answer_may_come_before_the_request_is_complete() {
    let backend = Backend::raw(|mut stream, _| {
        let mut bytes = [0; 1024];
        let _ = stream.read(&mut bytes);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (_setup, address) = Setup::forward(&[backend.address], |_| {});
    let answer = Client::new(address).send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nstart").rest();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("no"), "{answer}");
}

#[test]
fn a_mirrored_request_goes_to_both_with_its_body() {
    let (backend, copy) = (Backend::saying("original"), Backend::saying("copy"));
    let mut setup = Setup::new();
    setup.set(TypeUrl::Cluster, "backend", &cluster("backend", &[backend.address]));
    setup.set(TypeUrl::Cluster, "copy", &cluster("copy", &[copy.address]));
    let route = to("/", "backend", |action| {
        action.request_mirror_policies.push(
            proto::envoy::envoy::config::route::v3::route_action::RequestMirrorPolicy {
                cluster: "copy".into(),
                ..Default::default()
            },
        );
    });
    setup.set(TypeUrl::Listener, "http", &listener("http", manager(vec![host("*", vec![route])])));
    assert!(setup.apply().is_empty());
    let mut client = Client::new(setup.plane.address("http").unwrap());
    client.send("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    assert!(client.answer().ends_with("original"));
    let end = std::time::Instant::now() + super::client::PATIENCE;
    while copy.requests().is_empty() {
        assert!(std::time::Instant::now() < end, "no copy came");
        std::thread::yield_now();
    }
    let request = copy.requests().remove(0);
    assert!(
        request.starts_with("POST /x HTTP/1.1\r\nhost: a.test-shadow\r\n") && request.ends_with("body"),
        "{request}"
    );
}
