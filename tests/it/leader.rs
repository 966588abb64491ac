//! What one replica does for all, against a real API server and its etcd: statuses, and what Gateways' proxies run as.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};
use tests::{
    http::{Call, call},
    kube::{ApiServer, Control},
    objects,
    place::{Place, program},
    process::{Process, eventually},
};

/// How long anything may take on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn cluster(place: &Place) -> Result<ApiServer> {
    let server = ApiServer::start(place).await?;
    server.install_crds(&[])?;
    server.kubectl(&["create", "namespace", "istio-system"], "")?;
    Ok(server)
}

fn gateway(server: &ApiServer) -> Result<Value> {
    server.get("gateways.gateway.networking.k8s.io", "default", "gw")
}

fn route(server: &ApiServer, name: &str) -> Result<Value> {
    server.get("httproutes.gateway.networking.k8s.io", "default", name)
}

/// The condition of that type.
fn condition(conditions: &Value, kind: &str) -> Value {
    conditions.as_array().into_iter().flatten().find(|one| one["type"] == kind).cloned().unwrap_or_default()
}

async fn programmed(server: &ApiServer, status: &str, reason: &str) -> Result<Value> {
    eventually(&format!("Programmed={status} ({reason})"), LIMIT, async || {
        let seen = condition(&gateway(server)?["status"]["conditions"], "Programmed");
        ensure!((&seen["status"], &seen["reason"]) == (&status.into(), &reason.into()), "{seen}");
        Ok(seen)
    })
    .await
}

/// Gives the Gateway's Service an address, as a load balancer does.
async fn balance(server: &ApiServer) -> Result<()> {
    let patch = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.9"}]}}}"#;
    let arguments = ["patch", "service", "gw-windlass", "--subresource=status", "--type=merge", "-p", patch];
    eventually("the Service", LIMIT, async || server.kubectl(&arguments, "").map(drop)).await
}

fn proxy(place: &Place, control: &Control) -> Result<Process> {
    let arguments = format!(
        "--gateway default/gw --plaintext --control {} --admin {} --bind {}",
        control.at(15_010),
        place.control(15_000),
        place.address(9)
    );
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    Process::start("windlass-proxy", &program("windlass-proxy")?, &arguments, &place.make("logs")?)
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn statuses_are_written_once_and_only_ours() -> Result<()> {
    let place = Place::take()?;
    let server = cluster(&place).await?;
    server.apply(objects::GATEWAY)?;
    server.apply(&objects::route("web", "web.example", &[("a", 1)]))?;
    let foreign = json!({"controllerName": "example.com/other", "parentRef": {"name": "elsewhere"}, "conditions": [{
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let patch = json!({"status": {"parents": [foreign]}}).to_string();
    server.kubectl(&["patch", "httproute", "web", "--subresource=status", "--type=merge", "-p", &patch], "")?;
    let control = Control::start(&place, 1, &server.admin(), &[])?;
    balance(&server).await?;
    let _proxy = proxy(&place, &control)?;
    programmed(&server, "True", "Programmed").await?;
    let parents = eventually("the route's status", LIMIT, async || {
        let parents = route(&server, "web")?["status"]["parents"].clone();
        ensure!(parents.as_array().is_some_and(|parents| parents.len() == 2), "{parents}");
        Ok(parents)
    })
    .await?;
    // The API server fills in group and kind.
    ensure!(parents[0]["controllerName"] == "example.com/other", "{parents}");
    ensure!(parents[0]["conditions"] == foreign["conditions"], "{parents}");
    ensure!(parents[1]["controllerName"] == "windlass.io/gateway-controller", "{parents}");
    ensure!(gateway(&server)?["status"]["listeners"][0]["attachedRoutes"] == 1);
    ensure!(gateway(&server)?["status"]["addresses"] == json!([{"type": "IPAddress", "value": "192.0.2.9"}]));

    // Nothing happens: nothing is written.
    let versions = || -> Result<Vec<String>> {
        let places =
            [("gateway", "gw"), ("httproute", "web"), ("service", "gw-windlass"), ("deployment", "gw-windlass")];
        let mut versions = places.iter().map(|(kind, name)| server.get(kind, "default", name).map(|one| version(&one)));
        versions.by_ref().collect()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = versions()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    ensure!(versions()? == before, "written while idle: {before:?} became {:?}", versions()?);

    // A change of the route reaches its own status, and leaves the other entry and the Gateway's conditions alone.
    let accepted = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    server.apply(&objects::route("web", "other.example", &[("a", 1)]))?;
    eventually("the new generation", LIMIT, async || {
        let parents = route(&server, "web")?["status"]["parents"].clone();
        ensure!(condition(&parents[1]["conditions"], "Accepted")["observedGeneration"] == 2, "{parents}");
        ensure!(parents[0]["conditions"] == foreign["conditions"], "{parents}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let now = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    ensure!(now == accepted, "{now}");
    Ok(())
}

#[tokio::test]
async fn who_rewrites_our_status_is_opposed_once_a_second() -> Result<()> {
    let place = Place::take()?;
    let server = cluster(&place).await?;
    server.apply(objects::GATEWAY)?;
    let _control = Control::start(&place, 1, &server.admin(), &[])?;
    programmed(&server, "False", "AddressNotAssigned").await?;
    let hostile = r#"{"status":{"conditions":[]}}"#;
    let began = Instant::now();
    let (mut rewritten, mut opposed) = (0, 0);
    while began.elapsed() < Duration::from_secs(8) {
        if gateway(&server)?["status"]["conditions"].as_array().is_some_and(|conditions| !conditions.is_empty()) {
            opposed += 1;
            server.kubectl(&["patch", "gateway", "gw", "--subresource=status", "--type=merge", "-p", hostile], "")?;
            rewritten += 1;
        }
    }
    let seconds = began.elapsed().as_secs();
    eprintln!("rewritten {rewritten} times in {seconds} s, opposed {opposed} times");
    // The first was written before.
    ensure!(opposed - 1 <= seconds + 1, "{opposed} writes in {seconds} s");
    ensure!(opposed > 2, "it gave up");
    programmed(&server, "False", "AddressNotAssigned").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_made_is_kept_right_and_what_is_not_ours_is_left_alone() -> Result<()> {
    let place = Place::take()?;
    let server = cluster(&place).await?;
    let theirs = "apiVersion: v1\nkind: Service\nmetadata: {name: gw-windlass, namespace: default}\n\
                  spec: {ports: [{port: 1234}]}\n";
    server.apply(theirs)?;
    server.apply(objects::GATEWAY)?;
    let before = server.get("service", "default", "gw-windlass")?;
    let _control = Control::start(&place, 1, &server.admin(), &[])?;
    let told = programmed(&server, "False", "NoResources").await?;
    ensure!(told["message"].as_str().is_some_and(|text| text.contains("was not made for this Gateway")), "{told}");
    ensure!(version(&server.get("service", "default", "gw-windlass")?) == version(&before), "it was touched");

    server.delete(theirs)?;
    let ours = |service: &Value| service["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"] == "gw";
    let is_there = async || {
        let service = server.get("service", "default", "gw-windlass")?;
        ensure!(ours(&service), "{service}");
        server.get("deployment", "default", "gw-windlass")?;
        server.get("poddisruptionbudget", "default", "gw-windlass").map(drop)
    };
    eventually("ours", LIMIT, is_there).await?;
    for kind in ["service", "deployment", "serviceaccount", "poddisruptionbudget"] {
        server.kubectl(&["delete", kind, "gw-windlass", "--wait=false"], "")?;
        let back = async || server.get(kind, "default", "gw-windlass").map(drop);
        eventually(kind, LIMIT, back).await?;
    }

    // A listener more is a port of the Service more; the pods are not touched.
    let template = server.get("deployment", "default", "gw-windlass")?["spec"]["template"].clone();
    server.apply(&objects::GATEWAY.replace(
        "protocol: HTTP}",
        "protocol: HTTP}\n  - {name: more, port: 8080, protocol: HTTP}\n  - {name: udp, port: 80, protocol: UDP}",
    ))?;
    eventually("the ports", LIMIT, async || {
        let service = server.get("service", "default", "gw-windlass")?;
        let ports = service["spec"]["ports"].as_array().context("ports")?;
        let seen: Vec<_> = ports.iter().map(|port| format!("{}/{}", port["port"], port["protocol"])).collect();
        ensure!(seen == ["15021/\"TCP\"", "80/\"TCP\"", "80/\"UDP\"", "8080/\"TCP\""], "{seen:?}");
        Ok(())
    })
    .await?;
    ensure!(server.get("deployment", "default", "gw-windlass")?["spec"]["template"] == template);

    // Somebody else runs the proxies from now on: ours go.
    let manual = "spec:\n  addresses: [{type: Hostname, value: edge}]\n";
    server.apply(&objects::GATEWAY.replace("spec:\n  gatewayClassName", &format!("{manual}  gatewayClassName")))?;
    eventually("ours are gone", LIMIT, async || {
        ensure!(server.get("deployment", "default", "gw-windlass").is_err(), "the Deployment is there");
        ensure!(server.get("service", "default", "gw-windlass").is_err(), "the Service is there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn another_replica_takes_over() -> Result<()> {
    let place = Place::take()?;
    let server = cluster(&place).await?;
    server.apply(objects::GATEWAY)?;
    let mut first = Control::start(&place, 1, &server.admin(), &[])?;
    programmed(&server, "False", "AddressNotAssigned").await?;
    let second = Control::start(&place, 2, &server.admin(), &[])?;
    balance(&server).await?;
    // The proxy knows only the one that doesn't lead.
    let _proxy = eventually("a proxy", LIMIT, async || {
        call(second.at(15_014), &Call::get("localhost", "/ready")).await?;
        proxy(&place, &second)
    })
    .await?;
    programmed(&server, "True", "Programmed").await?;
    let before = condition(&gateway(&server)?["status"]["conditions"], "Programmed");

    first.process.stop("KILL", Duration::from_secs(5)).await;
    let began = Instant::now();
    server.apply(&objects::route("web", "web.example", &[("a", 1)]))?;
    eventually("the route's status", LIMIT, async || {
        let route = route(&server, "web")?;
        ensure!(route["status"]["parents"].as_array().is_some_and(|parents| !parents.is_empty()), "{route}");
        Ok(())
    })
    .await?;
    eprintln!("another leads {:?} after the leader was killed", began.elapsed());
    let lease = server.get("lease", "istio-system", "windlass-leader")?;
    ensure!(lease["spec"]["holderIdentity"] == "control-2", "{lease}");
    let after = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    ensure!(after == before, "{after}");
    Ok(())
}

#[tokio::test]
async fn stock_envoy_serves_in_the_same_place() -> Result<()> {
    let place = Place::take()?;
    let server = cluster(&place).await?;
    server.apply(&objects::GATEWAY.replace("gateway-controller", "envoy-gateway-controller"))?;
    let control = Control::start(&place, 1, &server.admin(), &[])?;
    balance(&server).await?;
    let arguments =
        server.get("deployment", "default", "gw-windlass")?["spec"]["template"]["spec"]["containers"][0]["args"]
            .clone();
    ensure!(arguments[0] == "envoy", "{arguments}");

    // As its pod would run it, with a token of the control plane's own in place of a Kubernetes one.
    let identity = model::Identity {
        trust_domain: model::TrustDomain::default(),
        namespace: "default".into(),
        service_account: "gw-windlass".into(),
    };
    let control_data = place.make("control-1")?;
    let tokens = eventually("the control plane's secret", LIMIT, async || {
        ensure!(control_data.join("token.key").exists() && control_data.join("root-cert.pem").exists(), "not there");
        Ok(ca::BootstrapTokens::open(&control_data)?)
    })
    .await?;
    let data = place.make("envoy")?;
    std::fs::write(data.join("token"), tokens.issue(&identity, SystemTime::now() + LIMIT))?;
    let (health, metrics, admin) = (place.control(15_021), place.control(15_020), place.control(15_000));
    let arguments = format!(
        "envoy --envoy {} --gateway default/gw --service-account gw-windlass --control {} --control-name \
         istiod.istio-system.svc --token-file {} --root-cert {} --data {} --health {health} --metrics {metrics} \
         --admin {admin} --concurrency 1 --drain 5",
        tests::place::envoy()?.display(),
        control.at(15_012),
        data.join("token").display(),
        control_data.join("root-cert.pem").display(),
        data.display(),
    );
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let logs = place.make("logs")?;
    let mut envoy = Process::start("envoy", &program("windlass-proxy")?, &arguments, &logs)?;
    let status = async |address, path: &str| Ok(call(address, &Call::get("localhost", path)).await?.status);
    eventually("Envoy is ready", LIMIT, async || {
        let seen: Result<u16> = status(health, "/healthz/ready").await;
        ensure!(seen? == 200, "{}", envoy.tail());
        Ok(())
    })
    .await?;
    programmed(&server, "True", "Programmed").await?;
    let stats = call(metrics, &Call::get("localhost", "/stats/prometheus")).await?;
    ensure!(String::from_utf8_lossy(&stats.body).contains("envoy_server_live"), "no metrics of Envoy");
    ensure!(envoy.stop("TERM", Duration::from_secs(10)).await, "it doesn't drain: {}", envoy.tail());
    Ok(())
}
