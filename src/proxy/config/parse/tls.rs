//! TLS contexts, both directions.

use super::{
    at::{At, Fault, flag, take},
    listener::ads,
    matcher,
};
use crate::config::{Name, StringMatch, SubjectName, Tls, TlsVersion, UpstreamTls};
use proto::envoy::envoy::{
    config::core::v3::{TransportSocket, transport_socket},
    extensions::transport_sockets::{
        raw_buffer::v3::RawBuffer,
        tls::v3::{
            CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
            SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext,
            certificate_validation_context::TrustChainVerification,
            common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
            subject_alt_name_matcher::SanType,
            tls_parameters::TlsProtocol,
        },
    },
};

/// How TLS ends at a filter chain; none for cleartext.
pub(super) fn downstream(at: &At<'_>, socket: TransportSocket) -> Result<Option<Tls>, Fault> {
    let Some(context) = context::<DownstreamTlsContext>(at, socket)? else { return Ok(None) };
    let at = &at.field("typed_config");
    // Tickets and staples are rustls's business; resumption may be switched off by any server at any time.
    take!(at, context => DownstreamTlsContext { common_tls_context, require_client_certificate }
        moot {
            disable_stateful_session_resumption, session_timeout, ocsp_staple_policy, prefer_client_ciphers,
            full_scan_certs_on_sni_mismatch, session_ticket_keys_type,
        }
        refuse { require_sni });
    let common = common(at, common_tls_context.unwrap_or_default())?;
    let require_client_certificate = flag(require_client_certificate).unwrap_or(false);
    if common.certificates.is_empty() {
        return at.field("common_tls_context").field("tls_certificate_sds_secret_configs").fail("wanted a certificate");
    }
    if require_client_certificate && common.roots.is_none() {
        return at.field("require_client_certificate").fail("wanted a validation context that says whom to trust");
    }
    if !common.names.is_empty() {
        return at.field("common_tls_context").fail("this proxy doesn't match names of client certificates");
    }
    let Common { certificates, alpn, min, max, roots, accept_untrusted, .. } = common;
    if accept_untrusted && require_client_certificate {
        let what = "a certificate that is required but need not be valid is not supported";
        return at.field("require_client_certificate").fail(what);
    }
    Ok(Some(Tls { certificates, alpn, min, max, client_roots: roots, require_client_certificate, accept_untrusted }))
}

/// TLS towards a backend; none for cleartext.
pub(super) fn upstream(at: &At<'_>, socket: TransportSocket) -> Result<Option<UpstreamTls>, Fault> {
    let Some(context) = context::<UpstreamTlsContext>(at, socket)? else { return Ok(None) };
    let at = &at.field("typed_config");
    take!(at, context => UpstreamTlsContext { common_tls_context, sni }
        moot { max_session_keys, enforce_rsa_key_usage, allow_renegotiation }
        refuse { auto_host_sni, auto_sni_san_validation });
    let common = common(at, common_tls_context.unwrap_or_default())?;
    let Some(roots) = common.roots else {
        return at.field("common_tls_context").fail("wanted a validation context that says whom to trust");
    };
    if common.accept_untrusted {
        return at.field("common_tls_context").fail("a backend's certificate must be verified");
    }
    if common.certificates.len() > 1 {
        return at.field("common_tls_context").fail("wanted one certificate at most");
    }
    Ok(Some(UpstreamTls {
        sni: (!sni.is_empty()).then(|| at.name(&sni)),
        roots,
        certificate: common.certificates.into_iter().next(),
        names: common.names,
        alpn: common.alpn,
        min: common.min,
        max: common.max,
    }))
}

fn context<M: prost::Message + Default + prost::Name>(
    at: &At<'_>,
    socket: TransportSocket,
) -> Result<Option<M>, Fault> {
    take!(at, socket => TransportSocket { config_type } moot { name } refuse {});
    let at = at.field("typed_config");
    match config_type {
        Some(transport_socket::ConfigType::TypedConfig(any))
            if any.type_url == <RawBuffer as prost::Name>::type_url() =>
        {
            Ok(None)
        }
        Some(transport_socket::ConfigType::TypedConfig(any)) => at.unpack(&any).map(Some),
        None => at.fail("wanted a TLS context"),
    }
}

struct Common {
    certificates: Box<[Name]>,
    alpn: Box<[Box<[u8]>]>,
    min: TlsVersion,
    max: TlsVersion,
    roots: Option<Name>,
    names: Box<[SubjectName]>,
    accept_untrusted: bool,
}

fn common(at: &At<'_>, context: CommonTlsContext) -> Result<Common, Fault> {
    let at = &at.field("common_tls_context");
    take!(at, context => CommonTlsContext {
        tls_params, tls_certificate_sds_secret_configs, alpn_protocols, validation_context_type,
    }
    moot {}
    refuse {
        tls_certificates, tls_certificate_provider_instance, custom_tls_certificate_selector,
        tls_certificate_certificate_provider, tls_certificate_certificate_provider_instance, custom_handshaker,
        key_log,
    });
    let (min, max) = versions(&at.field("tls_params"), tls_params.unwrap_or_default())?;
    let at_certificates = at.field("tls_certificate_sds_secret_configs");
    let certificates = tls_certificate_sds_secret_configs.into_iter().enumerate();
    let certificates = certificates.map(|(index, sds)| secret_name(&at_certificates.index(index), sds));
    let Validation { roots, names, accept_untrusted } = validation(at, validation_context_type)?;
    Ok(Common {
        certificates: certificates.collect::<Result<_, _>>()?,
        alpn: alpn_protocols.into_iter().map(|name| name.into_bytes().into()).collect(),
        min,
        max,
        roots,
        names,
        accept_untrusted,
    })
}

/// rustls has safe suites, curves and signatures only, and no way to weaken them: lists of them are refused.
fn versions(at: &At<'_>, parameters: TlsParameters) -> Result<(TlsVersion, TlsVersion), Fault> {
    take!(at, parameters => TlsParameters { tls_minimum_protocol_version, tls_maximum_protocol_version } moot {}
        refuse { cipher_suites, ecdh_curves, signature_algorithms, compliance_policies });
    let version = |field, value: i32, absent| match TlsProtocol::try_from(value) {
        Ok(TlsProtocol::TlsAuto) => Ok(absent),
        Ok(TlsProtocol::TlSv12) => Ok(TlsVersion::Tls12),
        Ok(TlsProtocol::TlSv13) => Ok(TlsVersion::Tls13),
        _ => at.field(field).fail("wanted TLSv1_2 or TLSv1_3"),
    };
    let min = version("tls_minimum_protocol_version", tls_minimum_protocol_version, TlsVersion::Tls12)?;
    let max = version("tls_maximum_protocol_version", tls_maximum_protocol_version, TlsVersion::Tls13)?;
    if min > max { at.fail("the minimum is above the maximum") } else { Ok((min, max)) }
}

#[derive(Default)]
struct Validation {
    roots: Option<Name>,
    names: Box<[SubjectName]>,
    accept_untrusted: bool,
}

/// Whose certificates are trusted, and which names they must have.
fn validation(at: &At<'_>, kind: Option<ValidationContextType>) -> Result<Validation, Fault> {
    match kind {
        None => Ok(Validation::default()),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(sds)) => {
            let roots = secret_name(&at.field("validation_context_sds_secret_config"), sds)?;
            Ok(Validation { roots: Some(roots), ..Default::default() })
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let at = at.field("combined_validation_context");
            take!(at, combined => CombinedCertificateValidationContext {
                    default_validation_context, validation_context_sds_secret_config,
                }
                moot {}
                refuse { validation_context_certificate_provider, validation_context_certificate_provider_instance });
            let wanted = default_validation_context.unwrap_or_default();
            let (names, accept_untrusted) = names(&at.field("default_validation_context"), wanted)?;
            let sds = at.want("validation_context_sds_secret_config", validation_context_sds_secret_config)?;
            let roots = Some(secret_name(&at.field("validation_context_sds_secret_config"), sds)?);
            Ok(Validation { roots, names, accept_untrusted })
        }
        Some(_) => at.field("validation_context_type").fail("wanted roots by SDS"),
    }
}

/// Names that are wanted, and whether a certificate need not be trusted.
fn names(at: &At<'_>, context: CertificateValidationContext) -> Result<(Box<[SubjectName]>, bool), Fault> {
    take!(at, context => CertificateValidationContext { match_typed_subject_alt_names, trust_chain_verification }
    moot { suppress_client_ca_list }
    refuse {
        match_subject_alt_names,
        trusted_ca, ca_certificate_provider_instance, system_root_certs, watched_directory,
        verify_certificate_spki, verify_certificate_hash, require_signed_certificate_timestamp, crl,
        allow_expired_certificate, custom_validator_config, only_verify_leaf_cert_crl,
        max_verify_depth,
    });
    let field = at.field("match_typed_subject_alt_names");
    let names = match_typed_subject_alt_names.into_iter().enumerate();
    let names = names.map(|(index, name)| subject_name(&field.index(index), name)).collect::<Result<_, _>>()?;
    match TrustChainVerification::try_from(trust_chain_verification) {
        Ok(TrustChainVerification::VerifyTrustChain) => Ok((names, false)),
        Ok(TrustChainVerification::AcceptUntrusted) => Ok((names, true)),
        Err(_) => at.field("trust_chain_verification").fail("unknown value"),
    }
}

/// Exact names only: a pattern for names of certificates is refused.
fn subject_name(at: &At<'_>, matcher: SubjectAltNameMatcher) -> Result<SubjectName, Fault> {
    take!(at, matcher => SubjectAltNameMatcher { san_type, matcher } moot {} refuse { oid });
    let name = match matcher::string(&at.field("matcher"), at.want("matcher", matcher)?)? {
        StringMatch::Exact(name, false) => name,
        _ => return at.field("matcher").fail("wanted an exact name"),
    };
    match SanType::try_from(san_type) {
        Ok(SanType::Dns) => Ok(SubjectName::Dns(at.name(&name.to_ascii_lowercase()))),
        Ok(SanType::Uri) => Ok(SubjectName::Uri(name)),
        _ => at.field("san_type").fail("wanted DNS or URI"),
    }
}

fn secret_name(at: &At<'_>, sds: SdsSecretConfig) -> Result<Name, Fault> {
    take!(at, sds => SdsSecretConfig { name, sds_config } moot {} refuse {});
    ads(&at.field("sds_config"), sds_config)?;
    if name.is_empty() { at.field("name").fail("wanted a name, saw none") } else { Ok(at.name(&name)) }
}
