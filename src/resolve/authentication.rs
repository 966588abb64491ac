//! RequestAuthentications: read strictly, and brought to the Gateways that they hold for.
//!
//! Fail closed. A rule whose issuer or keys can't be had keeps its places and loses its keys, so that no token there is
//! valid. Keys that are of no use in either data plane (symmetric ones, weak ones) are left out here, for both.

mod keys;

use crate::{
    Inputs, Settings,
    gateway::{Gateways, Workload},
    policy::scope::{Reach, Scope},
    status::{Fault, quoted},
};
use engine::{Engine, Table, View};
use model::{Authentication, Condition, JwtRule, ObjectKey, ObjectRef, Status};
use std::{collections::BTreeSet, sync::Arc};

/// The tables of RequestAuthentications.
#[derive(Clone, Copy)]
pub(crate) struct Authentications {
    /// By Gateway, in the order of their keys.
    pub(crate) by_gateway: Table<ObjectKey, Authentication>,
    /// Where keys are to be fetched.
    pub(crate) sources: Table<KeySource, ()>,
    pub(crate) statuses: Table<ObjectRef, Status>,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySource {
    /// At this address.
    Uri(Arc<str>),
    /// Where this issuer's OpenID configuration says.
    Issuer(Arc<str>),
}

/// What fetching keys has come to. A set that was fetched once stays while later fetches fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchedKeys {
    /// A JSON Web Key Set.
    Set(Arc<str>),
    /// Why there is none.
    Failed(Arc<str>),
}

/// An object as read.
#[derive(Clone, Debug, PartialEq)]
struct ReadAuthentication {
    rules: Vec<(JwtRule, Option<KeySource>)>,
    reach: Reach,
    /// Sentences that start with the field.
    problems: Vec<String>,
}

pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    gateways: &Gateways,
    settings: &Arc<Settings>,
) -> Authentications {
    let root = settings.root_namespace.clone();
    let objects = inputs.request_authentications;
    let read = engine.derive("authentications read", &objects, move |_, key, rows| {
        rows.iter().map(|object| (key.clone(), read(key, object, &root))).collect()
    });
    let sources = engine.derive("key sources", &read, |_, _, rows| {
        let sources = rows.iter().flat_map(|one| one.rules.iter().filter_map(|(_, source)| source.clone()));
        sources.map(|source| (source, ())).collect()
    });
    let fetched = *inputs.fetched_keys;
    let with_keys = engine.derive("authentications with keys", &read, move |view, key, rows| {
        let each = rows.iter().map(|one| {
            let rules = one.rules.iter().map(|(rule, source)| with_keys(view, rule, source.as_ref(), fetched).0);
            (key.clone(), Authentication { key: key.clone(), rules: rules.collect() })
        });
        each.collect()
    });
    let by_scope = engine.derive("authentications by scope", &read, |_, key, rows| {
        let scopes = rows.iter().flat_map(|one| one.reach.scopes.iter().cloned());
        scopes.map(|scope| (scope, key.clone())).collect()
    });
    let workloads = gateways.workloads;
    let by_gateway = engine.derive("gateway authentications", &workloads, move |view, key, rows| {
        let of = |workload: &Arc<Workload>| for_gateway(view, key, workload, by_scope, read, with_keys);
        rows.iter().flat_map(of).map(|one| (key.clone(), one)).collect()
    });
    let statuses = engine.derive("authentication statuses", &objects, move |view, key, rows| {
        let Some(one) = view.get(&read, key) else { return Vec::new() };
        let missing = one.reach.targets.iter().find(|(_, target)| !view.contains(&workloads, target));
        let without = one.rules.iter().find_map(|(rule, source)| with_keys_fault(view, rule, source.as_ref(), fetched));
        let status = |object: &Arc<api::RequestAuthentication>| Status {
            observed_generation: object.metadata.generation.unwrap_or_default(),
            conditions: vec![accepted(&one, missing), resolved(without.clone())],
            ..Status::default()
        };
        rows.iter().map(|object| (ObjectRef::new("RequestAuthentication", key.clone()), status(object))).collect()
    });
    Authentications { by_gateway, sources, statuses }
}

fn for_gateway(
    view: &View,
    key: &ObjectKey,
    workload: &Workload,
    by_scope: Table<Scope, ObjectKey>,
    read: Table<ObjectKey, ReadAuthentication>,
    with_keys: Table<ObjectKey, Authentication>,
) -> Vec<Authentication> {
    let scopes = Scope::of(key, workload);
    let named: BTreeSet<ObjectKey> =
        scopes.iter().flat_map(|scope| view.rows(&by_scope, scope)).map(|one| ObjectKey::clone(&one)).collect();
    let covering = named.iter().filter(|one| view.get(&read, one).is_some_and(|one| one.reach.covers(key, workload)));
    let authentications = covering.filter_map(|one| view.get(&with_keys, one));
    authentications.filter(|one| !one.rules.is_empty()).map(|one| Authentication::clone(&one)).collect()
}

type Fetched = Table<KeySource, FetchedKeys>;

/// A rule with its keys, and why it has none.
fn with_keys(view: &View, rule: &JwtRule, source: Option<&KeySource>, fetched: Fetched) -> (JwtRule, Option<String>) {
    let Some(source) = source else { return (rule.clone(), None) };
    let at = match source {
        KeySource::Uri(uri) => quoted(uri),
        KeySource::Issuer(issuer) => format!("the OpenID configuration of {}", quoted(issuer)),
    };
    let (set, why) = match view.get(&fetched, source).as_deref() {
        None => (None, Some("Windlass does not fetch keys yet, write them into jwks".to_owned())),
        Some(FetchedKeys::Failed(why)) => (None, Some(why.to_string())),
        Some(FetchedKeys::Set(text)) => match keys::read(text) {
            Ok(keys) => (Some(keys), None),
            Err(why) => (None, Some(why)),
        },
    };
    let why = why.map(|why| format!("spec.jwtRules[{}]: keys from {at}: {why}; no token is valid", rule.index));
    (JwtRule { keys: set.unwrap_or_else(keys::none), ..rule.clone() }, why)
}

fn with_keys_fault(view: &View, rule: &JwtRule, source: Option<&KeySource>, fetched: Fetched) -> Option<String> {
    with_keys(view, rule, source, fetched).1
}

fn read(key: &ObjectKey, object: &api::RequestAuthentication, root: &Arc<str>) -> ReadAuthentication {
    let spec = &object.spec;
    let mut problems = Vec::new();
    let reach =
        Reach::read(key, spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, root, &mut problems);
    let rules = (0..).zip(&spec.jwt_rules).map(|(index, written)| rule(index, written, &mut problems)).collect();
    ReadAuthentication { rules, reach, problems }
}

fn rule(index: u32, written: &api::JwtRule, problems: &mut Vec<String>) -> (JwtRule, Option<KeySource>) {
    let at = |field: &str| format!("spec.jwtRules[{index}].{field}");
    let before = problems.len();
    if written.issuer.is_empty() {
        problems.push(format!("{}: is empty; no token is valid", at("issuer")));
    }
    for (i, audience) in written.audiences.iter().enumerate().filter(|(_, audience)| audience.is_empty()) {
        problems.push(format!("{}[{i}]: is empty, saw {audience:?}; no token is valid", at("audiences")));
    }
    let (keys, source) = match (&written.jwks, &written.jwks_uri) {
        (Some(text), _) if !text.trim().is_empty() => match keys::read(text) {
            Ok(keys) => (keys, None),
            Err(why) => {
                problems.push(format!("{}: {why}; no token is valid", at("jwks")));
                (keys::none(), None)
            }
        },
        (_, Some(uri)) if !uri.is_empty() => (keys::none(), Some(KeySource::Uri((**uri).into()))),
        _ => (keys::none(), Some(KeySource::Issuer((*written.issuer).into()))),
    };
    let unusable = problems.len() > before;
    let mut name = |field: String, text: &str| -> Option<Arc<str>> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let good = !text.is_empty() && text.bytes().all(is_name) && !text.eq_ignore_ascii_case("host");
        if !good {
            problems.push(format!("{field}: wanted a header name, saw {}; it is left out", quoted(text)));
        }
        good.then(|| text.to_ascii_lowercase().into())
    };
    let headers: Vec<_> = (0..)
        .zip(&written.from_headers)
        .filter_map(|(i, header): (usize, _)| {
            Some((name(format!("{}[{i}].name", at("fromHeaders")), &header.name)?, (*header.prefix).into()))
        })
        .collect();
    let payload_header = written.output_payload_to_header.as_deref();
    let payload_header = payload_header.and_then(|header| name(at("outputPayloadToHeader"), header));
    let claim_headers = (0..)
        .zip(&written.output_claim_to_headers)
        .filter_map(|(i, one): (usize, _)| {
            let header = name(format!("{}[{i}].header", at("outputClaimToHeaders")), &one.header)?;
            (!one.claim.is_empty()).then(|| (header, (*one.claim).into()))
        })
        .collect();
    let texts = |all: &[String]| all.iter().filter(|text| !text.is_empty()).map(|text| (**text).into()).collect();
    let mut space_delimited: BTreeSet<Arc<str>> = ["permission".into(), "scope".into()].into();
    space_delimited.extend(written.space_delimited_claims.iter().map(|claim| Arc::from(&**claim)));
    let rule = JwtRule {
        index,
        issuer: (*written.issuer).into(),
        audiences: written.audiences.iter().map(|audience| (**audience).into()).collect(),
        keys,
        headers,
        parameters: texts(&written.from_params),
        cookies: texts(&written.from_cookies),
        payload_header,
        claim_headers,
        forward: written.forward_original_token,
        space_delimited: space_delimited.into_iter().filter(|claim| !claim.is_empty()).collect(),
        required: written.presence == api::JwtPresence::Required,
    };
    match unusable {
        true => (JwtRule { keys: keys::none(), ..rule }, None),
        false => (rule, source),
    }
}

fn accepted(one: &ReadAuthentication, missing: Option<&(String, ObjectKey)>) -> Condition {
    let fault = match (&*one.problems, missing) {
        ([], None) => return Condition::yes("Accepted", "Accepted"),
        ([], Some((field, target))) => {
            Fault::new("TargetNotFound", format!("{field}: there is no Gateway {target} of ours"))
        }
        (problems, _) => {
            let first: Vec<&str> = problems.iter().take(5).map(String::as_str).collect();
            Fault::new("Invalid", first.join("; "))
        }
    };
    Condition::no("Accepted", fault.reason, fault.message)
}

/// Whether all keys could be had.
fn resolved(without: Option<String>) -> Condition {
    match without {
        None => Condition::yes("ResolvedRefs", "ResolvedRefs"),
        Some(why) => Condition::no("ResolvedRefs", "KeysNotFetched", why),
    }
}
