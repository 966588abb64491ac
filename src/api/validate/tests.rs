use crate::manifest;

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n";
const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\n";

/// Reads a head with a spec and compares the problems, without file and object.
fn check(head: &str, spec: &str, wanted: &[&str]) {
    let found = manifest::read("f", &format!("{head}{spec}")).problems;
    let said: Vec<_> = found.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    assert_eq!(said, wanted, "{spec}");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn http_routes() {
    for (spec, wanted) in [
        ("{}", vec![]),
        ("{rules: []}", vec!["spec.rules: wanted 1 to 16 items, saw 0"]),
        (
            "{hostnames: ['*.a.test', 'A.test', '1.2.3.4']}",
            vec![
                "spec.hostnames[1]: wanted a host name (a-z, 0-9, '-' and '.', up to 253; '*.' may stand before it) and no IP address, saw \"A.test\"",
                "spec.hostnames[2]: wanted a host name (a-z, 0-9, '-' and '.', up to 253; '*.' may stand before it) and no IP address, saw \"1.2.3.4\"",
            ],
        ),
        (
            "{rules: [{matches: [{path: {value: a}}]}]}",
            vec!["spec.rules[0].matches[0].path.value: wanted a path that starts with '/', saw \"a\""],
        ),
        (
            "{rules: [{matches: [{path: {value: /a//b/..}}]}]}",
            vec![
                "spec.rules[0].matches[0].path.value: wanted no \"//\" in a path, saw \"/a//b/..\"",
                "spec.rules[0].matches[0].path.value: wanted no \"/..\" at the end of a path, saw \"/a//b/..\"",
            ],
        ),
        ("{rules: [{matches: [{path: {type: RegularExpression, value: '[a'}}]}]}", vec![]),
        (
            "{rules: [{matches: [{headers: [{name: a, value: x}, {name: a, value: y}]}]}]}",
            vec!["spec.rules[0].matches[0].headers[1]: wanted names of headers that differ, saw the same as in item 0"],
        ),
        (
            "{rules: [{backendRefs: [{name: a}]}]}",
            vec!["spec.rules[0].backendRefs[0]: wanted a port in a reference to a Service, it is missing"],
        ),
        (
            "{rules: [{backendRefs: [{name: a, port: 80, weight: 1000001}]}]}",
            vec!["spec.rules[0].backendRefs[0].weight: wanted 0 to 1000000, saw 1000001"],
        ),
        (
            "{rules: [{filters: [{type: RequestRedirect, urlRewrite: {}}]}]}",
            vec![
                "spec.rules[0].filters[0]: wanted requestRedirect in a filter of type RequestRedirect, it is missing",
                "spec.rules[0].filters[0]: wanted no urlRewrite in a filter of type RequestRedirect",
            ],
        ),
        (
            "{rules: [{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 300}}], backendRefs: [{name: a, port: 80}]}]}",
            vec![
                "spec.rules[0].filters[0].requestRedirect.statusCode: wanted 301, 302, 303, 307 or 308, saw 300",
                "spec.rules[0].filters: wanted no RequestRedirect together with backendRefs",
            ],
        ),
        (
            "{rules: [{filters: [{type: URLRewrite, urlRewrite: {}}, {type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]}]}",
            vec![
                "spec.rules[0].filters[1].urlRewrite.path: wanted replaceFullPath with this type, it is missing",
                "spec.rules[0].filters: wanted at most one filter of type URLRewrite, saw 2",
            ],
        ),
        (
            "{rules: [{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}]}",
            vec!["spec.rules[0].matches: wanted exactly one PathPrefix match with replacePrefixMatch"],
        ),
        (
            "{rules: [{timeouts: {request: 1s, backendRequest: 2s}}]}",
            vec!["spec.rules[0].timeouts: wanted a backendRequest timeout up to that of request, 1s, saw 2s"],
        ),
        ("{rules: [{timeouts: {request: 0s, backendRequest: 2s}}]}", vec![]),
        (
            "{rules: [{timeouts: {request: fast}}]}",
            vec![
                "spec.rules[0].timeouts.request: wanted a duration such as 10s, 500ms or 1h30m (GEP-2257), saw \"fast\"",
            ],
        ),
        (
            "{rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 101}}]}]}",
            vec!["spec.rules[0].filters[0].requestMirror.percent: wanted 0 to 100, saw 101"],
        ),
        (
            "{parentRefs: [{name: g}, {name: g, sectionName: a}]}",
            vec!["spec.parentRefs: wanted a sectionName in items 0 and 1: they refer to the same parent"],
        ),
        (
            "{parentRefs: [{name: g, sectionName: a}, {name: g, sectionName: a}]}",
            vec!["spec.parentRefs: wanted sectionNames that differ in items 0 and 1: they refer to the same parent"],
        ),
        (
            "{rules: [{filters: [{type: CORS, cors: {allowOrigins: ['https://*.a.test:8080', 'a.test']}}]}]}",
            vec![
                "spec.rules[0].filters[0].cors.allowOrigins[1]: wanted * or http(s)://<host>[:<port>], saw \"a.test\"",
            ],
        ),
    ] {
        check(ROUTE, &format!("spec: {spec}\n"), &wanted);
    }
}

#[test]
fn counts_are_bounded() {
    let matches = vec!["{}"; 65].join(",");
    check(
        ROUTE,
        &format!("spec: {{rules: [{{matches: [{matches}]}}]}}\n"),
        &["spec.rules[0].matches: wanted 0 to 64 items, saw 65"],
    );
    let rule = format!("{{matches: [{}]}}", vec!["{}"; 64].join(","));
    check(
        ROUTE,
        &format!("spec: {{rules: [{}]}}\n", [rule.as_str(); 3].join(",")),
        &["spec.rules: wanted at most 128 matches in all rules, saw 192"],
    );
    let rules = vec!["{}"; 17].join(",");
    check(ROUTE, &format!("spec: {{rules: [{rules}]}}\n"), &["spec.rules: wanted 1 to 16 items, saw 17"]);
}

#[test]
fn gateways() {
    for (listeners, wanted) in [
        ("{name: a, port: 80, protocol: HTTP}", vec![]),
        ("", vec!["spec.listeners: wanted 1 to 64 items, saw 0"]),
        ("{name: a, port: 0, protocol: HTTP}", vec!["spec.listeners[0].port: wanted a port from 1 to 65535, saw 0"]),
        (
            "{name: a, port: 80, protocol: HTTP}, {name: a, port: 81, protocol: HTTP}",
            vec!["spec.listeners[1]: wanted names of listeners that differ, saw the same as in item 0"],
        ),
        (
            "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}",
            vec![
                "spec.listeners[1]: wanted combinations of port, protocol and hostname that differ, saw the same as in item 0",
            ],
        ),
        (
            "{name: a, port: 80, protocol: HTTP, tls: {options: {a: b}}}",
            vec!["spec.listeners[0].tls: wanted no tls with protocol HTTP"],
        ),
        (
            "{name: a, port: 443, protocol: HTTPS, tls: {}}",
            vec!["spec.listeners[0].tls: wanted certificateRefs or options with mode Terminate, both are missing"],
        ),
        (
            "{name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}",
            vec!["spec.listeners[0].tls.mode: wanted Terminate with protocol HTTPS, saw \"Passthrough\""],
        ),
        (
            "{name: a, port: 443, protocol: TLS}",
            vec!["spec.listeners[0]: wanted tls with its mode for protocol TLS, it is missing"],
        ),
        (
            "{name: a, port: 80, protocol: TCP, hostname: a.test}",
            vec!["spec.listeners[0].hostname: wanted no hostname with protocol TCP"],
        ),
        (
            "{name: a, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: None}}}",
            vec!["spec.listeners[0].allowedRoutes.namespaces.from: wanted All, Selector or Same, saw \"None\""],
        ),
        (
            "{name: a, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: a, operator: In}]}}}}",
            vec![
                "spec.listeners[0].allowedRoutes.namespaces.selector.matchExpressions[0].values: wanted at least one value, saw none",
            ],
        ),
    ] {
        check(GATEWAY, &format!("spec: {{gatewayClassName: c, listeners: [{listeners}]}}\n"), &wanted);
    }
}

#[test]
fn core_kinds() {
    for (head, body, wanted) in [
        (
            "{apiVersion: v1, kind: Service, metadata: {name: 1a}",
            "spec: {ports: [{port: 80}]}}",
            vec![
                "metadata.name: wanted a DNS label that starts with a letter (a-z, 0-9 and '-', up to 63, RFC 1035), saw \"1a\"",
            ],
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}",
            "spec: {ports: [{port: 80}, {port: 81}]}}",
            vec![
                "spec.ports[0].name: wanted a DNS label (a-z, 0-9 and '-', up to 63, RFC 1123), saw \"\"",
                "spec.ports[1].name: wanted a DNS label (a-z, 0-9 and '-', up to 63, RFC 1123), saw \"\"",
                "spec.ports[1]: wanted names of ports that differ, saw the same as in item 0",
            ],
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}",
            "spec: {type: ExternalName, externalName: a.test}}",
            vec![],
        ),
        (
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}",
            "addressType: IPv4, endpoints: [{addresses: [a]}]}",
            vec!["endpoints[0].addresses[0]: wanted an IPv4 address, saw \"a\""],
        ),
        (
            "{apiVersion: v1, kind: Secret, metadata: {name: a}",
            "type: kubernetes.io/tls, data: {tls.crt: YQ==}}",
            vec!["data: wanted a key \"tls.key\" in a Secret of type kubernetes.io/tls, it is missing"],
        ),
        (
            "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: a}",
            "spec: {controllerName: a}}",
            vec!["spec.controllerName: wanted a controller name such as example.com/gateway-controller, saw \"a\""],
        ),
        (
            "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: a}",
            "spec: {from: [], to: [{group: '', kind: Service}]}}",
            vec!["spec.from: wanted 1 to 16 items, saw 0"],
        ),
        (
            "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}",
            "spec: {targetRef: {kind: Gateway, name: g, namespace: x}}}",
            vec!["spec.targetRef.namespace: wanted no namespace: a policy applies only within its own"],
        ),
        (
            "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}",
            "spec: {rules: [{from: [{source: {serviceAccounts: [a], principals: [b]}}]}]}}",
            vec!["spec.rules[0].from[0].source: wanted serviceAccounts or principals and namespaces, saw both"],
        ),
    ] {
        check(head, &format!(", {body}\n"), &wanted);
    }
}

#[test]
fn xbackends() {
    let head = "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackend, metadata: {name: a}";
    let host = "type: ExternalHostname, externalHostname: {hostname: a.example}, port: {port: 443, name: ''}";
    for good in [
        "tls: {mode: None}",
        "protocol: H2C, tls: {mode: ServerOnly, validation: {hostname: b.example, wellKnownCACertificates: System}}",
        "protocol: MCP, tls: {mode: ClientAndServer, clientCertificateRef: {name: a, namespace: b}}",
    ] {
        check(head, &format!(", spec: {{{host}, {good}}}}}\n"), &[]);
    }
    let bad = "type: ExternalHostname, externalHostname: {hostname: A.example}, port: {port: 0, name: A},
        tls: {mode: ServerOnly, clientCertificateRef: {name: a, namespace: B}, validation: {hostname: '*.a'}}";
    let wanted = [
        "spec.externalHostname.hostname: wanted a host name without wildcard or port (a-z, 0-9, '-' and '.', up to 253), saw \"A.example\"",
        "spec.port.name: wanted a DNS label (a-z, 0-9 and '-', up to 63, RFC 1123), saw \"A\"",
        "spec.port.port: wanted a port from 1 to 65535, saw 0",
        "spec.tls: wanted no clientCertificateRef with another mode than ClientAndServer",
        "spec.tls.clientCertificateRef.namespace: wanted a DNS label (a-z, 0-9 and '-', up to 63, RFC 1123), saw \"B\"",
        "spec.tls.validation: wanted either caCertificateRefs or wellKnownCACertificates, saw neither",
        "spec.tls.validation.hostname: wanted a host name without wildcard or port (a-z, 0-9, '-' and '.', up to 253), saw \"*.a\"",
    ];
    check(head, &format!(", spec: {{{bad}}}}}\n"), &wanted);
    let bad = "type: ExternalHostname, port: {port: 1}, tls: {mode: ClientAndServer}";
    let wanted = [
        "spec: wanted externalHostname with type ExternalHostname, it is missing",
        "spec.tls: wanted clientCertificateRef with mode ClientAndServer, it is missing",
    ];
    check(head, &format!(", spec: {{{bad}}}}}\n"), &wanted);
    let inside = "type: ExternalHostname, externalHostname: {hostname: a.b.svc.cluster.local}, port: {port: 1}";
    let wanted = "spec.externalHostname.hostname: wanted a host outside of the cluster, saw \"a.b.svc.cluster.local\"";
    check(head, &format!(", spec: {{{inside}}}}}\n"), &[wanted]);
}

#[test]
fn backend_traffic_policies() {
    let head = "{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {name: a}";
    let good = "targetRefs: [{group: '', kind: Service, name: a}], retryConstraint: {}, sessionPersistence: {}";
    check(head, &format!(", spec: {{{good}}}}}\n"), &[]);
    let bad = "targetRefs: [{group: '', kind: Service, name: a}, {group: '', kind: Service, name: a}],
        retryConstraint: {budget: {percent: 101, interval: 1ms}, minRetryRate: {count: 0, interval: 0s}},
        sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}";
    let wanted = [
        "spec.targetRefs[1]: wanted targets that differ, saw the same as in item 0",
        "spec.retryConstraint.budget.percent: wanted 0 to 100, saw 101",
        "spec.retryConstraint.budget.interval: wanted one second to one hour, saw 1ms",
        "spec.retryConstraint.minRetryRate.count: wanted 1 to 1000000, saw 0",
        "spec.retryConstraint.minRetryRate.interval: wanted more than nothing and at most one hour, saw 0s",
        "spec.sessionPersistence: wanted an absoluteTimeout with lifetimeType Permanent, it is missing",
    ];
    check(head, &format!(", spec: {{{bad}}}}}\n"), &wanted);
}
