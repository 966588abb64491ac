//! The manifests of a Gateway's proxies; pure.

use super::overlay;
use crate::cluster::bundle::CONFIG_MAP;
use model::{DataPlane, Exposure, Infrastructure, ObjectKey, Overlay, Protocol, ServedPort};
use proto::Resource;
use serde_json::{Map, Value, json};

/// What an installation decides for all proxies.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image of the proxies.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: String,
    /// The control plane, as pods reach it.
    pub control: String,
    /// The trust domain of their identities.
    pub trust_domain: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            image: concat!("windlass/windlass-proxy:", env!("CARGO_PKG_VERSION")).into(),
            pull_policy: "IfNotPresent".into(),
            control: "istiod.istio-system.svc:15012".into(),
            trust_domain: "cluster.local".into(),
        }
    }
}

/// Label of what is ours; its value is the controller.
pub const MANAGED: &str = "gateway.istio.io/managed";
/// Label with the name of the Gateway.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Annotation with a hash of what was wanted, so that a field that is wanted no more is noticed.
pub const MANIFEST: &str = "windlass.io/manifest";

const CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
/// Where the proxy keeps what outlives its restart.
const DATA: &str = "/var/lib/windlass";
/// An identity that is nobody on the node.
const USER: u32 = 1337;
/// Readiness and liveness.
const HEALTH: u16 = 15021;
/// Metrics.
const METRICS: u16 = 15020;
/// Seconds for requests under way, and for everybody to hear that this pod is leaving.
const DRAIN: u32 = 45;
const FAREWELL: u32 = 5;

/// The manifests, in the order in which they are to be applied; none while the Gateway is held.
pub fn render(gateway: &ObjectKey, wanted: &Infrastructure, settings: &Settings) -> Vec<Value> {
    let render = Render { gateway, wanted, settings };
    let mut manifests = Vec::new();
    // An account of another name is somebody else's.
    if wanted.account == wanted.name {
        manifests.push(render.finish(Overlay::ServiceAccount, json!({"automountServiceAccountToken": false})));
    }
    manifests.extend([
        render.finish(Overlay::Service, json!({"spec": render.service()})),
        render.finish(Overlay::Deployment, json!({"spec": render.deployment()})),
        render.finish(Overlay::PodDisruptionBudget, json!({"spec": render.budget()})),
    ]);
    if wanted.overlays.contains_key(&Overlay::HorizontalPodAutoscaler) {
        let spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": &*wanted.name}});
        manifests.push(render.finish(Overlay::HorizontalPodAutoscaler, json!({"spec": spec})));
    }
    manifests
}

/// `apiVersion` and `kind` of what is made.
pub fn kind(overlay: Overlay) -> (&'static str, &'static str) {
    match overlay {
        Overlay::Deployment => ("apps/v1", "Deployment"),
        Overlay::Service => ("v1", "Service"),
        Overlay::ServiceAccount => ("v1", "ServiceAccount"),
        Overlay::PodDisruptionBudget => ("policy/v1", "PodDisruptionBudget"),
        Overlay::HorizontalPodAutoscaler => ("autoscaling/v2", "HorizontalPodAutoscaler"),
    }
}

/// The value of [`MANAGED`] for a controller: a label has no slash.
pub fn managed_by(controller: &str) -> String {
    controller.replace('/', "-")
}

struct Render<'a> {
    gateway: &'a ObjectKey,
    wanted: &'a Infrastructure,
    settings: &'a Settings,
}

impl Render<'_> {
    /// Lays the overlay over an object, and puts on top what makes it ours.
    fn finish(&self, overlay: Overlay, mut object: Value) -> Value {
        let mut labels: Map<String, Value> = strings(&self.wanted.labels);
        let mut annotations: Map<String, Value> = strings(&self.wanted.annotations);
        if overlay == Overlay::Service && !self.wanted.addresses.is_empty() {
            let all: Vec<_> = self.wanted.addresses.iter().map(ToString::to_string).collect();
            annotations.insert("metallb.io/loadBalancerIPs".into(), all.join(",").into());
        }
        object["metadata"] = json!({"labels": labels, "annotations": annotations});
        let over = self.wanted.overlays.get(&overlay).and_then(|over| serde_json::from_str::<Value>(over).ok());
        if let Some(over) = over {
            overlay::merge(&mut object, &over);
        }
        let (api_version, kind) = kind(overlay);
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        labels = fields(&object["metadata"]["labels"]);
        labels.extend(self.own_labels());
        annotations = fields(&object["metadata"]["annotations"]);
        let (namespace, owner) = (&*self.gateway.namespace, self.owner());
        object["metadata"] =
            json!({"name": &*self.wanted.name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]});
        annotations.insert(MANIFEST.into(), hash(&object, &annotations).into());
        object["metadata"]["annotations"] = annotations.into();
        object
    }

    fn owner(&self) -> Value {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "name": &*self.gateway.name,
            "uid": &*self.wanted.uid,
        })
    }

    fn own_labels(&self) -> Map<String, Value> {
        let own = json!({
            GATEWAY_NAME: &*resolve::label(&self.gateway.name),
            CLASS_NAME: &*self.wanted.class,
            MANAGED: managed_by(&self.wanted.controller),
        });
        fields(&own)
    }

    /// What finds the pods; a Deployment's can never change.
    fn selector(&self) -> Value {
        json!({GATEWAY_NAME: &*resolve::label(&self.gateway.name)})
    }

    fn service(&self) -> Value {
        let status = json!({"name": "status-port", "port": HEALTH, "protocol": "TCP", "targetPort": HEALTH});
        let ports = std::iter::once(status).chain(self.wanted.ports.iter().map(service_port));
        let mut spec = json!({
            "type": match self.wanted.exposure {
                Exposure::LoadBalancer => "LoadBalancer",
                Exposure::NodePort => "NodePort",
                Exposure::ClusterIp => "ClusterIP",
            },
            "selector": self.selector(),
            "ports": ports.collect::<Vec<_>>(),
            "ipFamilyPolicy": "PreferDualStack",
        });
        if let Some(address) = self.wanted.addresses.first().filter(|_| self.wanted.exposure == Exposure::LoadBalancer)
        {
            spec["loadBalancerIP"] = address.to_string().into();
        }
        spec
    }

    fn deployment(&self) -> Value {
        let mut labels = strings(&self.wanted.labels);
        labels.extend(self.own_labels());
        labels.extend(fields(&json!({
            "istio.io/dataplane-mode": "none",
            "sidecar.istio.io/inject": "false",
            "service.istio.io/canonical-name": &*self.wanted.name,
            "service.istio.io/canonical-revision": "latest",
        })));
        let mut annotations = fields(&json!({
            "prometheus.io/scrape": "true",
            "prometheus.io/port": METRICS.to_string(),
            "prometheus.io/path": "/stats/prometheus",
        }));
        annotations.extend(strings(&self.wanted.annotations));
        json!({
            "selector": {"matchLabels": self.selector()},
            // One more before one less: a single replica is never none.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": self.pod()},
        })
    }

    /// Nothing in here depends on listeners: a change of theirs must not restart pods.
    fn pod(&self) -> Value {
        json!({
            "serviceAccountName": &*self.wanted.account,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": DRAIN + FAREWELL + 10,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
            "containers": [self.container()],
            "volumes": [
                {"name": "token", "projected": {"sources": [{"serviceAccountToken": {
                    "audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token",
                }}]}},
                {"name": "root", "configMap": {"name": CONFIG_MAP}},
                {"name": "data", "emptyDir": {}},
            ],
        })
    }

    fn container(&self) -> Value {
        let probe = |path: &str| json!({"path": path, "port": HEALTH, "scheme": "HTTP"});
        let (name, memory) = match self.wanted.data_plane {
            DataPlane::Windlass => ("windlass-proxy", "32Mi"),
            DataPlane::Envoy => ("envoy", "96Mi"),
        };
        let mut container = json!({
            "name": name,
            "image": self.settings.image,
            "imagePullPolicy": self.settings.pull_policy,
            "args": self.arguments(),
            "ports": [
                {"name": "metrics", "containerPort": METRICS, "protocol": "TCP"},
                {"name": "status-port", "containerPort": HEALTH, "protocol": "TCP"},
            ],
            "readinessProbe": {"httpGet": probe("/healthz/ready"), "periodSeconds": 2, "failureThreshold": 3},
            "livenessProbe": {"httpGet": probe("/healthz/live"), "periodSeconds": 10, "failureThreshold": 6},
            // Connections keep coming until everybody has heard that this pod is leaving.
            "lifecycle": {"preStop": {"sleep": {"seconds": FAREWELL}}},
            "resources": {"requests": {"cpu": "10m", "memory": memory}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "privileged": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "token", "mountPath": "/var/run/secrets/tokens", "readOnly": true},
                {"name": "root", "mountPath": "/var/run/secrets/istio", "readOnly": true},
                {"name": "data", "mountPath": DATA},
            ],
        });
        if self.wanted.data_plane == DataPlane::Envoy {
            let addresses = json!({"fieldRef": {"fieldPath": "status.podIPs"}});
            container["env"] = json!([{"name": "POD_IPS", "valueFrom": addresses}]);
        }
        container
    }

    fn arguments(&self) -> Vec<String> {
        let Settings { control, trust_domain, .. } = self.settings;
        let mut arguments = match self.wanted.data_plane {
            DataPlane::Windlass => Vec::new(),
            // From there it connects to backends, and not from the loopback, where its admin page is.
            DataPlane::Envoy => vec!["envoy".to_owned(), "--source=$(POD_IPS)".to_owned()],
        };
        arguments.extend([
            format!("--gateway={}", self.gateway),
            format!("--service-account={}", self.wanted.account),
            format!("--control={control}"),
            format!("--trust-domain={trust_domain}"),
            format!("--data={DATA}"),
            format!("--health=0.0.0.0:{HEALTH}"),
            format!("--metrics=0.0.0.0:{METRICS}"),
            format!("--drain={DRAIN}"),
            "--log-format=json".to_owned(),
        ]);
        arguments
    }

    /// One at a time: with a single replica it may go, since another one comes first.
    fn budget(&self) -> Value {
        json!({"maxUnavailable": 1, "selector": {"matchLabels": self.selector()}})
    }
}

fn service_port(port: &ServedPort) -> Value {
    let (name, app_protocol) = match port.protocol {
        Protocol::Http => ("http", Some("http")),
        Protocol::Https => ("https", Some("https")),
        Protocol::Tls => ("tls", Some("tls")),
        Protocol::Tcp => ("tcp", Some("tcp")),
        Protocol::Udp => ("udp", None),
    };
    let number = port.port;
    let protocol = if port.is_udp { "UDP" } else { "TCP" };
    let mut entry =
        json!({"name": format!("{name}-{number}"), "port": number, "protocol": protocol, "targetPort": number});
    if let Some(app_protocol) = app_protocol {
        entry["appProtocol"] = app_protocol.into();
    }
    entry
}

fn strings(map: &std::collections::BTreeMap<String, String>) -> Map<String, Value> {
    map.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn hash(object: &Value, annotations: &Map<String, Value>) -> String {
    let text = format!("{object}{}", Value::Object(annotations.clone()));
    Resource::from_bytes(text.into_bytes().into()).version_text()
}
