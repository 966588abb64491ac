//! TLS that ends at a listener.

use super::{
    backend::Backend,
    config::{Setup, any, chain, cluster, host, listener, manager, to},
    http2,
};
use proto::{
    TypeUrl,
    envoy::envoy::{
        config::{
            core::v3::{
                AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, TransportSocket, config_source,
                data_source, transport_socket,
            },
            listener::v3::{FilterChain, FilterChainMatch, ListenerFilter, listener_filter},
        },
        extensions::{
            filters::listener::tls_inspector::v3::TlsInspector,
            transport_sockets::tls::v3::{
                CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret, TlsCertificate, secret,
            },
        },
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate for a name, as a secret; and what a client must trust.
fn certificate(secret: &str, name: &str) -> (Secret, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let inline = |text: String| {
        Some(DataSource { specifier: Some(data_source::Specifier::InlineString(text)), ..Default::default() })
    };
    let certificate = TlsCertificate {
        certificate_chain: inline(made.cert.pem()),
        private_key: inline(made.signing_key.serialize_pem()),
        ..Default::default()
    };
    let secret = Secret { name: secret.into(), r#type: Some(secret::Type::TlsCertificate(certificate)) };
    (secret, made.cert.der().clone())
}

fn encrypted(server_name: &str, secret: &str, backend: &str) -> FilterChain {
    let config = ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    };
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: vec!["h2".into(), "http/1.1".into()],
            tls_certificate_sds_secret_configs: vec![SdsSecretConfig { name: secret.into(), sds_config: Some(config) }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut chain = chain(&manager(vec![host("*", vec![to("/", backend, |_| {})])]));
    chain.name = server_name.into();
    chain.filter_chain_match = Some(FilterChainMatch { server_names: vec![server_name.into()], ..Default::default() });
    chain.transport_socket = Some(TransportSocket {
        name: "tls".into(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(&context))),
    });
    chain
}

async fn connect(
    address: SocketAddr,
    name: &str,
    root: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

async fn get(mut stream: TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn the_server_name_decides_and_certificates_change_under_way() {
    let (exact, wild) = (Backend::saying("exact"), Backend::saying("wild"));
    let mut setup = Setup::new();
    setup.set(TypeUrl::Cluster, "exact", &cluster("exact", &[exact.address]));
    setup.set(TypeUrl::Cluster, "wild", &cluster("wild", &[wild.address]));
    let mut both = listener("https", manager(vec![]));
    both.filter_chains = vec![encrypted("a.test", "one", "exact"), encrypted("*.b.test", "two", "wild")];
    both.listener_filters = vec![ListenerFilter {
        name: "inspector".into(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any(&TlsInspector::default()))),
        ..Default::default()
    }];
    setup.set(TypeUrl::Listener, "https", &both);
    let (one, one_root) = certificate("one", "a.test");
    let (two, two_root) = certificate("two", "x.b.test");
    setup.set(TypeUrl::Secret, "one", &one);
    setup.set(TypeUrl::Secret, "two", &two);
    assert!(setup.apply().is_empty());
    let address = setup.plane.address("https").unwrap();

    let http = &["http/1.1"];
    let old = connect(address, "A.test", &one_root, http).await.unwrap();
    assert!(get(connect(address, "a.test", &one_root, http).await.unwrap()).await.ends_with("exact"));
    assert!(get(connect(address, "x.b.test", &two_root, &[]).await.unwrap()).await.ends_with("wild"));
    let negotiated = connect(address, "a.test", &one_root, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(negotiated.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(http2::get(negotiated, "https://a.test/").await.1.ends_with("exact"));
    // A client that offers nothing that we speak goes without.
    let unknown = connect(address, "a.test", &one_root, &["other"]).await.unwrap();
    assert_eq!(unknown.get_ref().1.alpn_protocol(), None);
    connect(address, "b.test", &two_root, http).await.unwrap_err();

    let (new, new_root) = certificate("one", "a.test");
    setup.set(TypeUrl::Secret, "one", &new);
    connect(address, "a.test", &one_root, http).await.unwrap_err();
    assert!(get(connect(address, "a.test", &new_root, http).await.unwrap()).await.ends_with("exact"));
    assert!(get(old).await.ends_with("exact"), "who was there before stays");
}
