//! Objects that are wrong, each with what must be said of it, what must hold meanwhile, and its fix.

use super::bench::Case;
use anyhow::Result;
use tests::{http::Call, objects, tls};

fn host(name: &str) -> Call {
    Call::get(name, "/")
}

fn route(name: &str) -> String {
    objects::route(name, &format!("{name}.example"), &[("a", 1)])
}

/// A route for `<name>.example` whose only rule is this, in YAML's flow style.
fn rule(name: &str, rule: &str) -> String {
    route(name)
        .replace("  rules:\n  - backendRefs: [{name: a, port: 80, weight: 1}]\n", &format!("  rules: [{rule}]\n"))
}

/// A policy for the Gateway, with this after `targetRefs`.
fn policy(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: default}}\nspec:\n  \
         targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: gw}}]\n{rest}"
    )
}

/// A case of one file that holds something bad first and a route for `<name>.example` afterwards.
fn case(name: &'static str, bad: String, says: &[&'static str], good: String, healed: &str) -> Case {
    Case {
        name,
        before: Vec::new(),
        established: Vec::new(),
        file: "case.yaml",
        bad,
        says: says.to_vec(),
        meanwhile: Vec::new(),
        fix: ("case.yaml", good),
        healed: vec![(host(healed), 200)],
    }
}

/// All of them.
pub fn all() -> Result<Vec<Case>> {
    Ok([text(), backends(), routes(), secrets()?, policies()].into_iter().flatten().collect())
}

/// What is no YAML, or no object that we know.
fn text() -> Vec<Case> {
    let broken = "---\nkind: HTTPRoute\nmetadata: {name: x\nspec: [\n";
    let mut beside = case(
        "a broken document beside a good one",
        format!("{}{broken}", route("beside")),
        &["case.yaml"],
        route("beside"),
        "beside.example",
    );
    beside.meanwhile = vec![(host("beside.example"), 200)];

    let mut spoilt = case(
        "an edit that breaks a file keeps what it held",
        format!("{}  oops: [", route("spoilt")),
        &["case.yaml"],
        route("spoilt").replace("spoilt.example", "mended.example"),
        "mended.example",
    );
    spoilt.before = vec![("case.yaml", route("spoilt"))];
    spoilt.established = vec![(host("spoilt.example"), 200)];
    spoilt.meanwhile = vec![(host("spoilt.example"), 200)];
    spoilt.healed.push((host("spoilt.example"), 404));

    let mut twice = case(
        "one name twice",
        route("twice").replace("twice.example", "second.example"),
        &["case.yaml", "twice"],
        route("second"),
        "second.example",
    );
    twice.before = vec![("a-first.yaml", route("twice"))];
    twice.established = vec![(host("twice.example"), 200)];
    twice.meanwhile = vec![(host("twice.example"), 200), (host("second.example"), 404)];
    twice.healed.push((host("twice.example"), 200));
    vec![
        case("no YAML", "apiVersion: [v1\n".into(), &["case.yaml", "\"line\":"], route("yaml"), "yaml.example"),
        beside,
        spoilt,
        twice,
        case(
            "an unknown kind",
            route("kind").replace("kind: HTTPRoute", "kind: HTTPRooot"),
            &["case.yaml", "HTTPRooot"],
            route("kind"),
            "kind.example",
        ),
        case(
            "no kind at all",
            "metadata: {name: x}\n".into(),
            &["case.yaml", "apiVersion"],
            route("kindless"),
            "kindless.example",
        ),
        case(
            "a list of things that are no objects",
            "apiVersion: v1\nkind: List\nitems: [1, null, {kind: List, items: [[]]}]\n".into(),
            &["case.yaml"],
            route("list"),
            "list.example",
        ),
    ]
}

/// Routes whose backends are not to be had: they answer 500 meanwhile.
fn backends() -> Vec<Case> {
    let mut nowhere = case(
        "a route to nowhere",
        rule("nowhere", "{backendRefs: [{name: missing, port: 80}]}"),
        &["HTTPRoute default/nowhere", "ResolvedRefs=False BackendNotFound", "missing"],
        rule("nowhere", "{backendRefs: [{name: a, port: 80}]}"),
        "nowhere.example",
    );
    nowhere.meanwhile = vec![(host("nowhere.example"), 500)];
    let mut foreign = case(
        "a backend of another namespace without a grant",
        rule("foreign", "{backendRefs: [{name: a, namespace: other, port: 80}]}"),
        &["HTTPRoute default/foreign", "ResolvedRefs=False RefNotPermitted"],
        rule("foreign", "{backendRefs: [{name: a, port: 80}]}"),
        "foreign.example",
    );
    foreign.meanwhile = vec![(host("foreign.example"), 500)];
    let mut kind = case(
        "a backend of a kind that is none",
        rule("gizmo", "{backendRefs: [{group: example.com, kind: Gizmo, name: a, port: 80}]}"),
        &["HTTPRoute default/gizmo", "ResolvedRefs=False InvalidKind"],
        rule("gizmo", "{backendRefs: [{name: a, port: 80}]}"),
        "gizmo.example",
    );
    kind.meanwhile = vec![(host("gizmo.example"), 500)];
    vec![nowhere, foreign, kind]
}

/// Routes that the schema or the specification calls wrong.
fn routes() -> Vec<Case> {
    vec![
        case(
            "a port that is a word",
            rule("schema", "{backendRefs: [{name: a, port: eighty}]}"),
            &["case.yaml", "\"field\":\"spec.rules[0].backendRefs[0].port\"", "\"name\":\"schema\""],
            route("schema"),
            "schema.example",
        ),
        case(
            "a path that does not begin with a slash",
            rule("path", "{matches: [{path: {value: nope}}], backendRefs: [{name: a, port: 80}]}"),
            &["path", "nope"],
            route("path"),
            "path.example",
        ),
        case(
            "a regular expression that is none",
            rule(
                "regex",
                "{matches: [{path: {type: RegularExpression, value: \"/(\"}}], backendRefs: [{name: a, port: 80}]}",
            ),
            &["regex", "/("],
            route("regex"),
            "regex.example",
        ),
        case(
            "a regular expression that would not fit into memory",
            rule(
                "bomb",
                "{matches: [{path: {type: RegularExpression, value: \"/((a{1000}){1000}){1000}\"}}], \
                 backendRefs: [{name: a, port: 80}]}",
            ),
            &["bomb", "{1000}"],
            route("bomb"),
            "bomb.example",
        ),
        case(
            "a Gateway that is not there",
            route("lost").replace("parentRefs: [{name: gw}]", "parentRefs: [{name: gw, sectionName: nope}]"),
            &["HTTPRoute default/lost", "Accepted=False NoMatchingParent"],
            route("lost"),
            "lost.example",
        ),
    ]
}

/// Certificates of an HTTPS listener.
fn secrets() -> Result<Vec<Case>> {
    let gateway = format!(
        "{}  - {{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}\n",
        objects::GATEWAY
    );
    let (one, two) = (tls::certificate(&["good.example".into()])?, tls::certificate(&["good.example".into()])?);
    let good = objects::secret("cert", &one);
    let garbage = tls::Certificate { chain: "garbage".into(), key: "garbage".into() };
    let mismatch = tls::Certificate { chain: one.chain.clone(), key: two.key };
    let no_block = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: cert, namespace: default}\n";
    let secure = |name, bad: Option<String>, says: &[&'static str]| {
        let mut before = vec![("all.yaml", gateway.clone())];
        before.extend(bad.is_none().then(|| ("case.yaml", String::new())));
        Case {
            before,
            says: [&["Gateway default/gw", "ResolvedRefs=False InvalidCertificateRef"], says].concat(),
            healed: vec![(Call::get("good.example", "/").over_tls("good.example"), 200)],
            ..case(name, bad.unwrap_or_default(), &[], good.clone(), "good.example")
        }
    };
    let mut swapped =
        secure("a good certificate is replaced by garbage", Some(objects::secret("cert", &garbage)), &["cert"]);
    swapped.before.push(("case.yaml", good.clone()));
    swapped.established = swapped.healed.clone();
    Ok(vec![
        secure("a Secret that is missing", None, &["cert"]),
        secure("a Secret of garbage", Some(objects::secret("cert", &garbage)), &["cert"]),
        secure("a key of another certificate", Some(objects::secret("cert", &mismatch)), &["cert", "key"]),
        secure("a Secret without data", Some(no_block.into()), &["cert"]),
        secure("a Secret that is not Base64", Some(format!("{no_block}data: {{tls.crt: \"???\"}}\n")), &["cert"]),
        swapped,
    ])
}

/// Policies: what can't be understood must never let more through.
fn policies() -> Vec<Case> {
    let deny = |rules: &str| policy("deny", &format!("  action: DENY\n  rules: {rules}\n"));
    let secret = Call::get("good.example", "/secret");
    let good = deny("[{to: [{operation: {paths: [/secret]}}]}]");
    let keeps = |name, bad: String, says: &[&'static str]| Case {
        before: vec![("case.yaml", good.clone())],
        established: vec![(secret.clone(), 403)],
        meanwhile: vec![(secret.clone(), 403)],
        healed: vec![(secret.clone(), 403)],
        ..case(name, bad, says, good.clone(), "good.example")
    };
    vec![
        keeps(
            "a policy with a field that is none keeps the last one in force",
            deny("[{to: [{operation: {pathes: [/secret]}}]}]"),
            &["case.yaml", "pathes"],
        ),
        keeps(
            "a policy with an action that is none keeps the last one in force",
            good.replace("action: DENY", "action: DENNY"),
            &["case.yaml", "DENNY"],
        ),
        keeps(
            "a policy whose file breaks keeps the last one in force",
            good.replace("rules: [", "rules: [["),
            &["case.yaml"],
        ),
    ]
}
