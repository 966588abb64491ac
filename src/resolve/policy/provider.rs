//! The services that CUSTOM policies name: `extensionProviders` of the MeshConfig in the root namespace.

use crate::{
    Inputs, Settings,
    route::filter::is_token,
    service::{ServiceShape, Transport},
    status::quoted,
};
use api::{AuthRequestBody, ConfigMap, MeshProviderKind};
use engine::{Engine, Table, View};
use model::{Authorizer, AuthorizerBody, AuthorizerHttp, AuthorizerProtocol, ObjectKey, ObjectRef, StringMatch};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// ConfigMap and key of the MeshConfig, as Istio has them.
const MESH_CONFIG: (&str, &str) = ("istio", "mesh");
/// How long a service may take if the provider doesn't say: Istio's default.
const TIMEOUT: Duration = Duration::from_secs(600);
/// What is answered after an error if the provider doesn't say.
const FORBIDDEN: u16 = 403;

/// A provider, before its Service is looked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Provider {
    service: ObjectKey,
    port: u16,
    /// Its cluster and authority are those of the Service, once it is found.
    authorizer: Authorizer,
}

/// The providers by name; what is wrong with one stands in its place. Under the empty name: why there is none at all.
pub(super) type Providers = Table<Arc<str>, Result<Provider, String>>;

pub(super) fn declare(engine: &mut Engine, inputs: &Inputs, settings: &Arc<Settings>) -> Providers {
    let settings = settings.clone();
    let home = mesh_config(&settings).key;
    engine.derive("extension providers", &inputs.config_maps, move |_, key, rows| {
        let maps = rows.iter().filter(|_| *key == home);
        maps.flat_map(|map| read(map, &settings)).collect()
    })
}

/// Where the MeshConfig stands.
pub(super) fn mesh_config(settings: &Settings) -> ObjectRef {
    ObjectRef::new("ConfigMap", ObjectKey::new(settings.root_namespace.clone(), MESH_CONFIG.0))
}

/// Whom a Gateway asks whose CUSTOM policies name that provider.
pub(super) fn authorizer(
    view: &View,
    name: &Arc<str>,
    providers: Providers,
    services: Table<ObjectKey, ServiceShape>,
) -> Result<Authorizer, String> {
    let at = format!("spec.provider.name: provider {}", quoted(name));
    let provider = match view.get(&providers, name) {
        Some(provider) => Result::clone(&provider).map_err(|why| format!("{at}: {why}"))?,
        None => match view.get(&providers, &"".into()).as_deref() {
            Some(Err(why)) => return Err(format!("{at}: {why}")),
            _ => return Err(format!("{at} is not among extensionProviders of the MeshConfig")),
        },
    };
    let Provider { service, port: number, authorizer } = provider;
    let shape = view.get(&services, &service).ok_or_else(|| format!("{at}: Service {service} does not exist"))?;
    let port = shape.port(number, Transport::Tcp).filter(|port| port.transport == Transport::Tcp);
    let port = port.ok_or_else(|| format!("{at}: Service {service} has no port {number} in spec.ports"))?;
    let cluster = match authorizer.protocol {
        AuthorizerProtocol::Grpc => port.http2_cluster(),
        AuthorizerProtocol::Http(_) => port.cluster.clone(),
    };
    let host = cluster.rsplit('|').next().unwrap_or_default();
    Ok(Authorizer { authority: format!("{host}:{number}").into(), cluster, ..authorizer })
}

fn read(map: &ConfigMap, settings: &Settings) -> Vec<(Arc<str>, Result<Provider, String>)> {
    let text = map.data.as_ref().and_then(|data| data.get(MESH_CONFIG.1)).map_or("", String::as_str);
    let all = match api::extension_providers(text) {
        Ok(all) => all,
        Err(why) => {
            let (map, key) = MESH_CONFIG;
            let why = format!("ConfigMap {}/{map} has no MeshConfig in data[{key:?}]: {why}", settings.root_namespace);
            return vec![("".into(), Err(why))];
        }
    };
    let mut by_name = BTreeMap::<Arc<str>, Result<Provider, String>>::new();
    for one in all {
        let read = one.kind.and_then(|kind| provider(kind, settings));
        let twice = || Err("stands twice among extensionProviders of the MeshConfig".to_owned());
        by_name.entry(one.name.into()).and_modify(|known| *known = twice()).or_insert(read);
    }
    by_name.into_iter().collect()
}

fn provider(kind: MeshProviderKind, settings: &Settings) -> Result<Provider, String> {
    let (grpc, protocol) = match kind {
        MeshProviderKind::Grpc(grpc) => (grpc, AuthorizerProtocol::Grpc),
        MeshProviderKind::Http(http) => {
            let protocol = AuthorizerProtocol::Http(Box::new(self::http(&http)?));
            (common(*http), protocol)
        }
        MeshProviderKind::Other => return Err("is no authorization service".into()),
    };
    if grpc.clear_route_cache {
        return Err("clearRouteCache: routing anew is not supported".into());
    }
    let authorizer = Authorizer {
        cluster: "".into(),
        authority: "".into(),
        protocol,
        timeout: grpc.timeout.map_or(TIMEOUT, |timeout| timeout.0),
        fail_open: grpc.fail_open,
        status_on_error: code(&grpc.status_on_error)?,
        body: grpc.include_request_body_in_check.map(body).transpose()?,
    };
    Ok(Provider { service: service_key(&grpc.service, settings)?, port: grpc.port, authorizer })
}

/// What both kinds of services have.
fn common(http: api::HttpAuthProvider) -> api::GrpcAuthProvider {
    let api::HttpAuthProvider { service, port, timeout, fail_open, clear_route_cache, status_on_error, .. } = http;
    let include_request_body_in_check = http.include_request_body_in_check;
    api::GrpcAuthProvider {
        service,
        port,
        timeout,
        fail_open,
        clear_route_cache,
        status_on_error,
        include_request_body_in_check,
    }
}

fn http(written: &api::HttpAuthProvider) -> Result<AuthorizerHttp, String> {
    let path = written.path_prefix.trim_end_matches('/');
    if !path.is_empty() && !path.starts_with('/') {
        return Err(format!("pathPrefix: wanted a path that starts with /, saw {}", quoted(path)));
    }
    let seen = [&written.include_headers_in_check[..], &written.include_request_headers_in_check].concat();
    let added = written.include_additional_headers_in_check.iter().map(|(name, value)| {
        let is_plain = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        match is_token(name) && !name.eq_ignore_ascii_case("host") && is_plain {
            true => Ok((name.to_ascii_lowercase().into(), (**value).into())),
            false => Err(format!("includeAdditionalHeadersInCheck: wanted a header, saw {}", quoted(name))),
        }
    });
    Ok(AuthorizerHttp {
        path: path.into(),
        request_headers: names("includeRequestHeadersInCheck", &seen)?,
        added: added.collect::<Result<_, _>>()?,
        to_backend: names("headersToUpstreamOnAllow", &written.headers_to_upstream_on_allow)?,
        on_deny: names("headersToDownstreamOnDeny", &written.headers_to_downstream_on_deny)?,
        on_allow: names("headersToDownstreamOnAllow", &written.headers_to_downstream_on_allow)?,
    })
}

/// Names of headers, each exact, with a star at its start or its end, or a star alone.
fn names(field: &str, names: &[String]) -> Result<Vec<StringMatch>, String> {
    let one = |name: &String| {
        let lower = name.to_ascii_lowercase();
        let (kind, rest): (fn(Arc<str>) -> StringMatch, &str) = match (lower.strip_prefix('*'), lower.strip_suffix('*'))
        {
            (Some(""), _) => return Ok(StringMatch::Present),
            (Some(end), _) => (StringMatch::Suffix, end),
            (None, Some(start)) => (StringMatch::Prefix, start),
            (None, None) => (StringMatch::Exact, &lower),
        };
        // A star is one of a token's letters too.
        match is_token(rest) && !rest.contains('*') {
            true => Ok(kind(rest.into())),
            false => Err(format!("{field}: wanted names of headers, saw {}", quoted(name))),
        }
    };
    names.iter().map(one).collect()
}

fn code(written: &str) -> Result<u16, String> {
    match (written, written.parse()) {
        ("", _) => Ok(FORBIDDEN),
        (_, Ok(code @ 200..=599)) => Ok(code),
        _ => Err(format!("statusOnError: wanted 200 to 599, saw {}", quoted(written))),
    }
}

fn body(written: AuthRequestBody) -> Result<AuthorizerBody, String> {
    let AuthRequestBody { max_request_bytes: most, allow_partial_message: partial, pack_as_bytes: raw } = written;
    match most {
        0 => Err("includeRequestBodyInCheck.maxRequestBytes: wanted at least 1".into()),
        most => Ok(AuthorizerBody { most, partial, raw }),
    }
}

/// The Service that a provider names by `[<namespace>/]<name>.<namespace>.svc[.<domain>]`.
fn service_key(written: &str, settings: &Settings) -> Result<ObjectKey, String> {
    let host = written.rsplit_once('/').map_or(written, |(_, host)| host);
    let short = host.strip_suffix(&*settings.cluster_domain).and_then(|host| host.strip_suffix('.')).unwrap_or(host);
    let parts: Vec<&str> = short.split('.').collect();
    match parts[..] {
        [name, namespace, "svc"] if !name.is_empty() && !namespace.is_empty() => Ok(ObjectKey::new(namespace, name)),
        _ => {
            let domain = &settings.cluster_domain;
            Err(format!("service: wanted a Service as <name>.<namespace>.svc.{domain}, saw {}", quoted(written)))
        }
    }
}
