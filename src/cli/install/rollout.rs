//! Waiting for the control plane's pods, telling what keeps them.

use crate::{cluster::Cluster, output};
use anyhow::bail;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, PodStatus},
};
use kube::{Api, ResourceExt, api::ListParams};
use std::time::{Duration, Instant};

/// How much is told of what keeps a pod.
const LONGEST: usize = 200;
/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// Waits until every replica of the newest version is ready. Each line that says how things are is printed once.
///
/// # Errors
/// If that takes too long, with what keeps the pods.
pub async fn wait(cluster: &Cluster, limit: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    let mut told = String::new();
    loop {
        let (is_ready, state) = look(cluster).await?;
        if state != told {
            output::print(&format!("  {state}\n"))?;
            told = state;
        }
        if is_ready {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("the control plane isn't ready after {} s: {told}; what was installed stays", limit.as_secs());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn look(cluster: &Cluster) -> anyhow::Result<(bool, String)> {
    let namespace = &cluster.istio_namespace;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let deployment = deployments.get(&cluster.control()).await;
    let deployment = deployment.map_err(|error| cluster.fault(&error, "get", "deployments.apps", Some(namespace)))?;
    let (wanted, ready) = replicas(&deployment);
    let mut text = format!("{ready} of {wanted} replicas are ready");
    if ready < wanted {
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
        let pods = pods.list(&ListParams::default().labels(&cluster.selector_of_control())).await;
        let pods = pods.map_err(|error| cluster.fault(&error, "list", "pods", Some(namespace)))?;
        // One says enough: what keeps several is nearly always the same.
        let kept = pods.iter().find_map(|pod| Some(format!("{}: {}", pod.name_any(), keeps(pod.status.as_ref()?)?)));
        text.extend(kept.map(|kept| format!("; {kept}")));
    }
    Ok((ready >= wanted, text))
}

/// How many replicas are wanted, and how many of them are of the newest version and ready.
fn replicas(deployment: &Deployment) -> (i32, i32) {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    // What the status says is of an older generation until its controller has seen this one.
    if status.observed_generation < deployment.metadata.generation {
        return (wanted, 0);
    }
    let updated = status.updated_replicas.unwrap_or_default();
    let old = status.replicas.unwrap_or_default() - updated;
    (wanted, updated.min(status.available_replicas.unwrap_or_default() - old).max(0))
}

/// What keeps a pod from being ready.
fn keeps(status: &PodStatus) -> Option<String> {
    let containers = status.container_statuses.iter().flatten();
    let mut waiting = containers.filter_map(|one| one.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting.find(|waiting| waiting.reason.as_deref() != Some("ContainerCreating")) {
        let text =
            |text: &Option<String>| text.as_deref().unwrap_or_default().chars().take(LONGEST).collect::<String>();
        return Some(format!("{} {}", text(&waiting.reason), text(&waiting.message)).trim().to_owned());
    }
    let unscheduled =
        |one: &&k8s_openapi::api::core::v1::PodCondition| one.type_ == "PodScheduled" && one.status == "False";
    status.conditions.iter().flatten().find(unscheduled)?.message.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(status: serde_json::Value) -> Deployment {
        let whole = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": status});
        serde_json::from_value(whole).expect("a Deployment")
    }

    #[test]
    fn only_replicas_of_the_newest_version_count() {
        for (status, ready) in [
            (json!({}), 0),
            (json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}), 0),
            (json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}), 0),
            (json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}), 1),
            (json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}), 2),
        ] {
            assert_eq!(replicas(&deployment(status.clone())), (2, ready), "{status}");
        }
    }

    #[test]
    fn what_keeps_a_pod_is_said() {
        let status = |value| serde_json::from_value::<PodStatus>(value).expect("a status");
        let waiting = json!({"containerStatuses": [{"image": "", "imageID": "", "name": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]});
        assert_eq!(keeps(&status(waiting)).as_deref(), Some("ErrImagePull not found"));
        let nowhere = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no nodes"}]});
        assert_eq!(keeps(&status(nowhere)).as_deref(), Some("no nodes"));
        assert_eq!(keeps(&status(json!({}))), None);
    }
}
