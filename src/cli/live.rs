//! What the commands that explain start from in a cluster: the objects that its API server has, resolved and translated
//! as its control plane does it, alone or with files laid over them.

use crate::{
    cluster::{self, Cluster, refusal},
    offline::{Assume, Files, World},
};
use api::{Object, ObjectId};
use clap::Args;
use control::source::{
    Answer,
    cluster::once::{self, Standing},
};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};
use kube::Api;
use std::{cell::RefCell, collections::BTreeMap, path::PathBuf, sync::Arc};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Whether a cluster is asked, and which.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Source {
    /// Ask a cluster, and lay the files over what it has. Without files it is always asked.
    #[arg(short = 'k', long)]
    use_kube: bool,
    #[command(flatten)]
    pub cluster: cluster::Flags,
}

impl Source {
    /// Whether a cluster is asked.
    pub fn is_live(&self, paths: &[PathBuf]) -> bool {
        paths.is_empty() || self.use_kube || self.cluster.is_given()
    }

    /// Files, or a cluster, or both.
    ///
    /// # Errors
    /// If a path can't be read at all, or the cluster can't be asked.
    pub fn read(&self, paths: &[PathBuf], assume: &Assume) -> anyhow::Result<World> {
        match self.is_live(paths) {
            true => Live::read(&self.cluster)?.world(paths),
            false => World::read(paths, assume),
        }
    }
}

/// The objects of a cluster at one moment.
pub struct Live {
    runtime: tokio::runtime::Runtime,
    cluster: Cluster,
    /// What was read.
    pub standing: Standing,
    /// What the control plane resolves and translates with.
    pub settings: (resolve::Settings, translate::Settings),
    /// What is odd about the cluster.
    pub notes: Vec<String>,
    named: RefCell<BTreeMap<ObjectId, Answer>>,
}

impl Live {
    /// Reads what may be read.
    ///
    /// # Errors
    /// If the API server can't be asked.
    pub fn read(flags: &cluster::Flags) -> anyhow::Result<Self> {
        let (runtime, cluster) = flags.open()?;
        let standing = runtime.block_on(once::read(&cluster.client, &cluster.namespace, &cluster.revision));
        let standing = standing.map_err(|error| cluster.fault(&error, "list", "objects", None))?;
        let (settings, note) = runtime.block_on(settings(&cluster));
        let mut notes: Vec<String> = standing.refused.iter().map(refusal).collect();
        notes.extend(note);
        Ok(Self { runtime, cluster, standing, settings, notes, named: RefCell::default() })
    }

    /// The cluster as it would be with these files applied.
    ///
    /// # Errors
    /// If a path can't be read at all, or the cluster can't be asked any more.
    pub fn world(&self, paths: &[PathBuf]) -> anyhow::Result<World> {
        World::of(Files::read(paths)?, Some(self), None)
    }

    /// Whether an object is another revision's business.
    pub fn is_elsewhere(&self, object: &Object) -> bool {
        matches!(object, Object::Gateway(gateway) if !self.cluster.revision.minds(&gateway.metadata))
    }

    /// What came of an object that something refers to. It is asked for once.
    ///
    /// # Errors
    /// If the cluster can't be asked any more.
    pub fn named(&self, id: &ObjectId) -> anyhow::Result<Answer> {
        if let Some(answer) = self.named.borrow().get(id) {
            return Ok(answer.clone());
        }
        let answer = self.runtime.block_on(once::read_named(&self.cluster.client, id));
        let answer = answer.map_err(|error| self.cluster.fault(&error, "get", &id.kind, Some(&id.namespace)))?;
        self.named.borrow_mut().insert(id.clone(), answer.clone());
        Ok(answer)
    }
}

/// What the control plane was started with; what it has by default, and why, if that can't be told.
async fn settings(cluster: &Cluster) -> ((resolve::Settings, translate::Settings), Option<String>) {
    let (namespace, control) = (&cluster.istio_namespace, cluster.control());
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let why = match api.get_opt(&control).await {
        Ok(Some(deployment)) => match control::flags::settings(&arguments(deployment)) {
            Ok(settings) => return (settings, None),
            Err(_) => format!("Deployment {namespace}/{control} is not Windlass'"),
        },
        Ok(None) => format!("there is no Deployment {control} in namespace {namespace}"),
        Err(error) => cluster.fault(&error, "get", "deployments.apps", Some(namespace)).to_string(),
    };
    let arguments = [format!("--root-namespace={namespace}")];
    let settings = control::flags::settings(&arguments).unwrap_or_default();
    (settings, Some(format!("{why}: the control plane's settings are taken to be the usual ones")))
}

fn arguments(deployment: Deployment) -> Vec<String> {
    let pod = deployment.spec.and_then(|spec| spec.template.spec);
    pod.and_then(|pod| pod.containers.into_iter().next()?.args).unwrap_or_default()
}

/// An object of a file in the place of one that stands, as far as `kubectl apply` would have it: labels and annotations
/// that the file doesn't have stay, and so does what Kubernetes says of the object.
pub fn lay_over(standing: Option<&Object>, mut object: Object) -> Object {
    let Some(standing) = standing else {
        object.metadata_mut().creation_timestamp = now();
        return object;
    };
    let (there, here) = (standing.metadata(), object.metadata_mut());
    for (there, here) in [(&there.labels, &mut here.labels), (&there.annotations, &mut here.annotations)] {
        for (name, value) in there.iter().flatten() {
            here.get_or_insert_default().entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    here.uid.clone_from(&there.uid);
    here.generation = there.generation;
    here.creation_timestamp.clone_from(&there.creation_timestamp);
    if let (Object::Service(here), Object::Service(there)) = (&mut object, standing) {
        Arc::make_mut(here).status.clone_from(&there.status);
    }
    object
}

/// Objects that are created now are the youngest; in files without a cluster none has an age.
fn now() -> Option<Time> {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).ok()?;
    serde_json::from_value(now.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Object {
        let mut manifest = api::manifest::read("test", &format!("apiVersion: v1\nkind: Service\n{text}"));
        manifest.objects.pop().expect("a Service").object
    }

    #[test]
    fn a_file_replaces_what_it_says_and_leaves_the_rest() {
        let standing = service(
            "metadata: {name: a, uid: u, generation: 4, labels: {a: '1', b: '1'}}\nspec: {ports: [{port: 1}]}\n\
             status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}",
        );
        let file = || service("metadata: {name: a, labels: {b: '2', c: '2'}}\nspec: {ports: [{port: 2}]}");
        let laid = lay_over(Some(&standing), file()).to_json().unwrap();
        assert_eq!(laid["metadata"]["labels"], serde_json::json!({"a": "1", "b": "2", "c": "2"}));
        assert_eq!((&laid["metadata"]["uid"], &laid["metadata"]["generation"]), (&"u".into(), &4.into()));
        assert_eq!(laid["spec"]["ports"][0]["port"], 2);
        assert_eq!(laid["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.1");
        let new = lay_over(None, file());
        assert!(new.metadata().creation_timestamp.is_some(), "what is new is younger than what stands");
    }
}
