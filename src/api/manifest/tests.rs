use super::*;

/// The ids of the objects and the lines of the problems, as text.
fn check(text: &str, objects: &[&str], problems: &[&str]) {
    let manifest = read("f.yaml", text);
    let ids: Vec<_> =
        manifest.objects.iter().map(|located| format!("{}:{}", located.line, located.object.id())).collect();
    assert_eq!(ids, objects, "{:#?}", manifest.problems);
    let said: Vec<_> = manifest.problems.iter().map(Problem::to_string).collect();
    assert_eq!(said, problems);
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n";

#[test]
fn documents_are_cut_and_counted() {
    let text = format!("# comment\n%YAML 1.2\n---\n{SERVICE}---\n\n---\n# nothing\n---\n{SERVICE}");
    check(&text, &["4:Service default/a", "13:Service default/a"], &[]);
}

#[test]
fn a_broken_document_costs_only_itself() {
    let text = format!(
        "a: [\n---\n{SERVICE}---\n- 1\n---\nkind: Service\n---\napiVersion: v1\nkind: Service\nmetadata: {{}}\nspec: {{ports: [{{port: 80}}]}}\n"
    );
    check(
        &text,
        &["3:Service default/a"],
        &[
            "f.yaml:2:1: this is no YAML: while parsing a node, did not find expected node content",
            "f.yaml:8:1: wanted an object with apiVersion and kind, saw something else",
            "f.yaml:10:1: wanted text in apiVersion, it is missing",
            "f.yaml:14:1: Service default/: metadata.name: wanted a DNS label that starts with a letter (a-z, 0-9 and '-', up to 63, RFC 1035), saw \"\"",
        ],
    );
}

#[test]
fn lists_hold_objects() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: n}\n- {apiVersion: v1, kind: Widget, metadata: {name: w}}\n---\napiVersion: v1\nkind: NamespaceList\nitems:\n- metadata: {name: m}\n";
    check(
        text,
        &["4:Namespace n", "12:Namespace m"],
        &["f.yaml:7:3: Widget default/w: v1 Widget is not a kind that Windlass reads: left alone"],
    );
}

#[test]
fn json_is_read() {
    let text = "{\n  \"apiVersion\": \"v1\", \"kind\": \"List\",\n  \"items\": [\n    {\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"n\"}}\n  ]\n}\n";
    check(text, &["4:Namespace n"], &[]);
}

#[test]
fn a_type_error_names_field_and_line() {
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: n}\nspec:\n  rules:\n  - matches:\n    - path:\n        type: Prefix\n";
    check(
        text,
        &[],
        &[
            "f.yaml:8:9: HTTPRoute n/r: spec.rules[0].matches[0].path.type: wanted one of `Exact`, `PathPrefix`, `RegularExpression`, saw `Prefix`",
        ],
    );
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  rules:\n  - backendRefs:\n    - {name: a, port: '80'}\n";
    check(
        text,
        &[],
        &[
            "f.yaml:7:17: HTTPRoute default/r: spec.rules[0].backendRefs[0].port: wanted a whole number from 0 to 65535, saw string \"80\"",
        ],
    );
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: c\n  listeners:\n  - {name: a, protocol: HTTP}\n";
    check(text, &[], &["f.yaml:7:5: Gateway default/g: spec.listeners[0]: wanted a field `port`, it is missing"]);
}

#[test]
fn an_unknown_field_is_a_warning() {
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  rules:\n  - backendRefs: [{name: a, port: 80, wieght: 2}]\n";
    check(
        text,
        &["1:HTTPRoute default/r"],
        &["f.yaml:6:39: HTTPRoute default/r: spec.rules[0].backendRefs[0].wieght: no such field in this kind: ignored"],
    );
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {action: DENY, rules: [{to: [{operation: {path: [/a]}}]}]}\n";
    check(
        text,
        &[],
        &["f.yaml:4:49: AuthorizationPolicy default/p: spec.rules[0].to[0].operation.path: no such field in this kind"],
    );
}

#[test]
fn defaults_are_those_of_the_api_server() {
    let text = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  parentRefs: [{name: g}]\n  rules:\n  - backendRefs: [{name: a, port: 80}]\n    filters: null\n";
    let manifest = read("f", text);
    let Object::HttpRoute(route) = &manifest.objects[0].object else { panic!("{manifest:?}") };
    let spec = serde_json::to_value(&route.spec).unwrap();
    let wanted = serde_json::json!({
        "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}],
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"group": "", "kind": "Service", "name": "a", "port": 80, "weight": 1}],
        }],
    });
    assert_eq!(spec, wanted);
}

#[test]
fn string_data_becomes_data() {
    let manifest =
        read("f", "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: b}, data: {c: Yg==}}");
    let Object::Secret(secret) = &manifest.objects[0].object else { panic!("{manifest:?}") };
    let data = secret.data.as_ref().unwrap();
    assert_eq!((data["a"].0.as_slice(), data["c"].0.as_slice()), (&b"b"[..], &b"b"[..]));
}

#[test]
fn a_version_that_we_do_not_read_is_an_error() {
    check(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: r}\n",
        &[],
        &["f.yaml:1:1: HTTPRoute default/r: apiVersion: wanted version v1 or v1beta1 of HTTPRoute, saw v1alpha2"],
    );
}
