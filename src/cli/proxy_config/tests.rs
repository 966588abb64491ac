use super::*;
use serde_json::json;

/// What stock Envoy 1.40 prints, cut to what the tables show.
fn dump() -> Dump {
    let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let manager = |routes: &str| {
        json!([{"typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "rds": {"route_config_name": routes},
        }}])
    };
    Dump::new(json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
         "static_clusters": [{"cluster": {"name": "xds-grpc", "type": "STATIC"}}],
         "dynamic_active_clusters": [{"cluster": {"name": "outbound|80||web.default.svc.cluster.local", "type": "EDS"}}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs": [
            {"endpoint_config": {"cluster_name": "outbound|80||web.default.svc.cluster.local", "endpoints": [
                {"locality": {"zone": "z"}, "lb_endpoints": [
                    {"endpoint": {"address": address(8081)}, "health_status": "UNHEALTHY"},
                    {"endpoint": {"address": address(8080)}}]}]}}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [
            {"name": "warming", "warming_state": {}},
            {"active_state": {"listener": {"name": "0.0.0.0_443", "address": address(10443), "filter_chains": [
                {"filter_chain_match": {"server_names": ["*.a.test"]}, "filters": manager("https.443.a.gw.default")}]}}},
            {"active_state": {"listener": {"name": "0.0.0.0_80", "address": address(10080), "filter_chains": [
                {"filters": manager("http.80")}]}}}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [
            {"route_config": {"name": "http.80", "virtual_hosts": [
                {"name": "http.80/a.test", "domains": ["a.test"], "routes": [
                    {"name": "default/web/0/0", "match": {"path": "/x", "headers": [{"name": "h"}]}},
                    {"name": "default/web/1/0", "match": {"prefix": "/"}}]},
                {"name": "http.80/b.test", "domains": ["b.test", "c", "d"]}]}}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump", "dynamic_warming_secrets": [
            {"name": "kubernetes-gateway://default/cert", "secret": {"tls_certificate": {}}}]},
    ]}))
}

#[test]
fn tables_have_the_columns_of_istioctl() {
    let wanted = "\
SERVICE FQDN                    PORT   SUBSET   DIRECTION   TYPE     DESTINATION RULE
web.default.svc.cluster.local   80     -        outbound    EDS
xds-grpc                        -      -        -           STATIC

ADDRESSES   PORT    MATCH           DESTINATION
127.0.0.1   10080   ALL             Route: http.80
127.0.0.1   10443   SNI: *.a.test   Route: https.443.a.gw.default

NAME      VHOST NAME       DOMAINS                 MATCH          VIRTUAL SERVICE
http.80   http.80/a.test   a.test                  /x; header h   web.default
http.80   http.80/a.test   a.test                  /*             web.default
http.80   http.80/b.test   b.test, c + 1 more...   404

NAME             STATUS      LOCALITY   CLUSTER
127.0.0.1:8080   HEALTHY     z          outbound|80||web.default.svc.cluster.local
127.0.0.1:8081   UNHEALTHY   z          outbound|80||web.default.svc.cluster.local

RESOURCE NAME                       TYPE         STATUS    VALID CERT   SERIAL NUMBER   NOT AFTER   NOT BEFORE
kubernetes-gateway://default/cert   Cert Chain   WARMING
";
    assert_eq!(show(What::All, Form::Table, &dump()).unwrap(), wanted);
}

#[test]
fn machines_get_the_resources() {
    let shown: serde_json::Value = serde_json::from_str(&show(What::Cluster, Form::Json, &dump()).unwrap()).unwrap();
    assert_eq!(shown[1]["name"], "outbound|80||web.default.svc.cluster.local");
}

#[test]
fn something_else_is_an_empty_table() {
    let shown = show(What::Route, Form::Table, &Dump::new(json!([1]))).unwrap();
    assert_eq!(shown, "NAME   VHOST NAME   DOMAINS   MATCH   VIRTUAL SERVICE\n");
}
