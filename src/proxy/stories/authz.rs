//! Requests that a service must let pass, and bodies that are read more than once.

use super::{
    backend::{Backend, ok},
    client::Client,
    config::{Setup, any, cluster, host, listener, manager, seconds, to},
};
use proto::{
    TypeUrl,
    envoy::envoy::{
        config::{
            core::v3::{HttpUri, TypedExtensionConfig, http_uri::HttpUpstreamType},
            route::v3::RetryPolicy,
        },
        extensions::filters::{
            http::{
                ext_authz::v3::{AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz::Services},
                filter_chain::v3::{FilterChain, FilterChainConfig, FilterChainConfigPerRoute},
            },
            network::http_connection_manager::v3::{HttpFilter, http_filter::ConfigType},
        },
        r#type::matcher::v3::{ListStringMatcher, StringMatcher, string_matcher::MatchPattern},
    },
};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Everything goes to `backend` after `auth` was asked about it.
fn asking(auth: Option<SocketAddr>, backend: SocketAddr) -> (Setup, SocketAddr) {
    let names = |prefix: &str| ListStringMatcher {
        patterns: vec![StringMatcher {
            match_pattern: Some(MatchPattern::Prefix(prefix.into())),
            ..Default::default()
        }],
    };
    let authz = ExtAuthz {
        services: Some(Services::HttpService(HttpService {
            server_uri: Some(HttpUri {
                uri: "http://auth".into(),
                timeout: seconds(20),
                http_upstream_type: Some(HttpUpstreamType::Cluster("auth".into())),
            }),
            path_prefix: "/check".into(),
            authorization_response: Some(AuthorizationResponse {
                allowed_upstream_headers: Some(names("x-")),
                ..Default::default()
            }),
            ..Default::default()
        })),
        transport_api_version: 2,
        allowed_headers: Some(names("x-ask")),
        with_request_body: Some(BufferSettings {
            max_request_bytes: 4,
            allow_partial_message: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    let step = TypedExtensionConfig { name: "auth".into(), typed_config: Some(any(&authz)) };
    let chain = FilterChainConfigPerRoute { filter_chain: Some(FilterChain { filters: vec![step] }) };
    let name = "envoy.filters.http.filter_chain";
    let mut route = to("/", "backend", |_| {});
    route.typed_per_filter_config.insert(name.into(), any(&chain));
    let mut manager = manager(vec![host("*", vec![route])]);
    let config_type = Some(ConfigType::TypedConfig(any(&FilterChainConfig::default())));
    manager.http_filters.insert(0, HttpFilter { name: name.into(), config_type, ..Default::default() });
    let mut setup = Setup::new();
    setup.set(TypeUrl::Cluster, "backend", &cluster("backend", &[backend]));
    if let Some(auth) = auth {
        setup.set(TypeUrl::Cluster, "auth", &cluster("auth", &[auth]));
    }
    setup.set(TypeUrl::Listener, "http", &listener("http", manager));
    assert!(setup.apply().is_empty());
    let address = setup.plane.address("http").unwrap();
    (setup, address)
}

#[test]
fn a_service_decides_and_what_goes_wrong_denies() {
    let auth = Backend::new(|request| match request.split_once("x-ask: ").map_or("", |(_, rest)| &rest[..3]) {
        "yes" => "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n".into(),
        "oh!" => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".into(),
        _ => "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno".into(),
    });
    let backend = Backend::saying("hello");
    let (_setup, address) = asking(Some(auth.address), backend.address);
    let mut client = Client::new(address);
    let mut ask = |ask: &str| {
        client
            .send(&format!(
                "POST /p?q HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nx-user: me\r\nContent-Length: 6\r\n\r\nabcdef"
            ))
            .answer()
    };
    let passed = ask("yes");
    assert!(passed.starts_with("HTTP/1.1 200") && passed.ends_with("hello"), "{passed}");
    let denied = ask("no!");
    assert!(denied.starts_with("HTTP/1.1 401") && denied.contains("www-authenticate: Basic"), "{denied}");
    assert!(denied.ends_with("\r\n\r\nno"), "{denied}");
    assert!(ask("oh!").starts_with("HTTP/1.1 403"));
    let question = auth.requests().remove(0);
    assert!(question.starts_with("POST /check/p?q HTTP/1.1\r\nhost: a\r\n"), "{question}");
    assert!(question.contains("partial-body: true") && !question.contains("x-user"), "{question}");
    assert!(question.ends_with("\r\n\r\nabcd"), "{question}");
    let [request] = &backend.requests()[..] else { panic!("one request was let through") };
    assert!(request.contains("x-user: ann\r\n") && request.ends_with("\r\n\r\nabcdef"), "{request}");
}

#[test]
fn a_service_that_is_not_there_denies() {
    let backend = Backend::saying("hello");
    let (setup, address) = asking(None, backend.address);
    assert!(super::client::get(address, "/").starts_with("HTTP/1.1 403"));
    assert_eq!(setup.log.lock().unwrap()[..], ["403 UAEX ext_authz_error"]);
    assert!(backend.requests().is_empty());
}

#[test]
fn a_body_that_fits_is_sent_once_more_and_a_larger_one_is_not() {
    let count = AtomicUsize::new(0);
    let backend = Backend::new(move |_| match count.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".into(),
        _ => ok("now"),
    });
    let (_setup, address) = Setup::forward(&[backend.address], |action| {
        action.retry_policy = Some(RetryPolicy {
            retry_on: "retriable-status-codes".into(),
            retriable_status_codes: vec![503],
            ..Default::default()
        });
    });
    for (size, code) in [(10usize, "200"), (60_000, "200"), (200_000, "503")] {
        let body = "x".repeat(size);
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n{body}");
        let answer = Client::new(address).send(&request).rest();
        assert_eq!(&answer[9..12], code, "{size} bytes");
    }
    let sizes: Vec<_> = backend.requests().iter().map(|one| one.split_once("\r\n\r\n").unwrap().1.len()).collect();
    assert_eq!(sizes, [10, 10, 60_000, 60_000, 200_000]);
}
