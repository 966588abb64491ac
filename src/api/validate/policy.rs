//! AuthorizationPolicy: the rules of its CRD. What a policy means, and that a broken one fails closed, is decided in
//! `resolve`, since a cluster can hold objects that Istio's webhook would refuse.

use super::Check;
use crate::{AuthorizationPolicySpec, PolicyTargetReference, RequestAuthenticationSpec, Source, WorkloadSelector};

pub fn policy(check: &mut Check, spec: &AuthorizationPolicySpec) {
    check.field("spec", |check| {
        attachment(check, spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs);
        check.each("rules", &spec.rules, 0..=512, |check, rule| {
            let sources = rule.from.as_deref().unwrap_or_default();
            check.each("from", sources, 0..=512, |check, from| {
                if let Some(found) = &from.source {
                    check.field("source", |check| source(check, found));
                }
            });
        });
    });
}

/// RequestAuthentication: the rules of its CRD.
pub fn authentication(check: &mut Check, spec: &RequestAuthenticationSpec) {
    check.field("spec", |check| {
        attachment(check, spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs);
        check.each("jwtRules", &spec.jwt_rules, 0..=4096, |check, rule| {
            check.field("issuer", |check| check.hold(!rule.issuer.is_empty(), "wanted an issuer, it is empty"));
            if let Some(uri) = rule.jwks_uri.as_deref().filter(|uri| !uri.is_empty()) {
                let known = uri.starts_with("https://") || uri.starts_with("http://");
                check.field("jwksUri", |check| check.hold(known, "wanted a URI of scheme http or https"));
            }
            check.each("audiences", &rule.audiences, 0..=4096, |check, audience| {
                check.hold(!audience.is_empty(), "wanted an audience, it is empty");
            });
        });
    });
}

/// What an object of Istio's applies to.
fn attachment(
    check: &mut Check,
    selector: Option<&WorkloadSelector>,
    target: Option<&PolicyTargetReference>,
    targets: &[PolicyTargetReference],
) {
    if let Some(selector) = selector {
        check.field("selector", |check| {
            check.field("matchLabels", |check| {
                for key in selector.match_labels.keys() {
                    let plain = !key.is_empty() && !key.contains('*');
                    check.field(key, |check| check.hold(plain, "wanted a label key that is not empty and has no '*'"));
                }
            });
        });
    }
    if let Some(target) = target {
        check.field("targetRef", |check| target_ref(check, target));
    }
    check.each("targetRefs", targets, 0..=16, target_ref);
    let ways = [selector.is_some(), target.is_some(), !targets.is_empty()];
    let count = ways.into_iter().filter(|given| *given).count();
    check.hold(count <= 1, "wanted only one of selector, targetRef and targetRefs");
}

fn target_ref(check: &mut Check, target: &PolicyTargetReference) {
    let own = target.namespace.as_deref().unwrap_or_default().is_empty();
    check.field("namespace", |check| check.hold(own, "wanted no namespace: a policy applies only within its own"));
    check.field("name", |check| check.hold((1..=253).contains(&target.name.len()), "wanted 1 to 253 characters"));
    check.field("kind", |check| check.hold((1..=63).contains(&target.kind.len()), "wanted 1 to 63 characters"));
    check.field("group", |check| check.hold(target.group.len() <= 253, "wanted up to 253 characters"));
}

fn source(check: &mut Check, source: &Source) {
    let accounts = !source.service_accounts.is_empty() || !source.not_service_accounts.is_empty();
    let others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    let both = accounts && others.iter().any(|values| !values.is_empty());
    check.hold(!both, "wanted serviceAccounts or principals and namespaces, saw both");
    for (field, values) in
        [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)]
    {
        check.each(field, values, 0..=16, |check, account| {
            check.hold((1..=320).contains(&account.len()), "wanted 1 to 320 characters");
        });
    }
}
