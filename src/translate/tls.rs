//! TLS contexts towards backends, and the authorities that vouch for peers.

use crate::wire;
use model::{AppProtocol, CertificateKey, Clients, Originate, Shown, SubjectName, Trust, TrustKey};
use prost::{Message, Name};
use proto::{
    Resource,
    envoy::envoy::{
        config::core::v3::{DataSource, TransportSocket, data_source::Specifier, transport_socket},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, SdsSecretConfig, Secret, SubjectAltNameMatcher,
            TlsParameters, UpstreamTlsContext,
            certificate_validation_context::TrustChainVerification,
            common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
            secret::Type,
            subject_alt_name_matcher::SanType,
            tls_parameters::TlsProtocol,
        },
        r#type::matcher::v3::string_matcher::MatchPattern,
    },
};

/// Where a machine keeps the authorities that its owner trusts. windlass-proxy knows the other usual places, too.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// TLS 1.2 and 1.3, in Envoy's own choice of ciphers.
pub(crate) fn parameters() -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..Default::default()
    }
}

/// A secret that comes on the stream that this names it on.
pub(crate) fn sds(name: impl ToString) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_string(), sds_config: Some(wire::ads()) }
}

/// The transport socket of a TLS context.
pub(crate) fn socket<M: Message + Name>(context: &M) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(wire::any(context))),
    }
}

/// Authorities by SDS, with what else is wanted of the peer's certificate.
pub(crate) fn validation(trust: &TrustKey, wanted: CertificateValidationContext) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(wanted),
        validation_context_sds_secret_config: Some(sds(trust)),
        ..Default::default()
    })
}

/// TLS towards a backend; `of_gateway` is the certificate that a Gateway shows to those that have none of their own.
pub(crate) fn upstream(
    originate: &Originate,
    protocol: AppProtocol,
    of_gateway: Option<&CertificateKey>,
) -> TransportSocket {
    let shown = match &originate.shown {
        Shown::OfGateway => of_gateway,
        Shown::Own(certificate) => Some(certificate),
        Shown::Nothing => None,
    };
    let wanted = CertificateValidationContext {
        match_typed_subject_alt_names: originate.names.iter().map(subject_name).collect(),
        ..Default::default()
    };
    let alpn = match protocol {
        AppProtocol::Http1 => Some("http/1.1"),
        AppProtocol::H2c => Some("h2"),
        AppProtocol::Opaque => None,
    };
    socket(&UpstreamTlsContext {
        sni: originate.server_name.to_string(),
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(parameters()),
            tls_certificate_sds_secret_configs: shown.into_iter().map(sds).collect(),
            alpn_protocols: alpn.into_iter().map(str::to_owned).collect(),
            validation_context_type: Some(validation(&originate.trust, wanted)),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// How clients are checked. One whose certificate need not be valid is not refused for it: policies look at verified
/// certificates only.
pub(crate) fn of_clients(clients: &Clients) -> ValidationContextType {
    let wanted = CertificateValidationContext {
        trust_chain_verification: match clients.required {
            true => TrustChainVerification::VerifyTrustChain,
            false => TrustChainVerification::AcceptUntrusted,
        }
        .into(),
        ..Default::default()
    };
    validation(&clients.trust, wanted)
}

fn subject_name(name: &SubjectName) -> SubjectAltNameMatcher {
    let (kind, name) = match name {
        SubjectName::Dns(name) => (SanType::Dns, name),
        SubjectName::Uri(name) => (SanType::Uri, name),
    };
    SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(wire::string(MatchPattern::Exact(name.to_string()))),
        ..Default::default()
    }
}

/// A set of authorities.
pub(crate) fn trust(key: &TrustKey, trust: &Trust) -> Resource {
    let specifier = match trust {
        Trust::Roots(pem) => Specifier::InlineBytes(pem.to_vec()),
        Trust::System => Specifier::Filename(SYSTEM_AUTHORITIES.to_owned()),
    };
    let context = CertificateValidationContext {
        trusted_ca: Some(DataSource { specifier: Some(specifier), ..Default::default() }),
        ..Default::default()
    };
    Resource::encode(&Secret { name: key.to_string(), r#type: Some(Type::ValidationContext(context)) })
}
