//! The objects that an API server has at this moment, for who asks once: the same kinds as the watches read, through the
//! same door. What may not be read is said, and the rest is there.

use super::{PAGE, is_by_name, kinds::discover, known};
use crate::{cluster::Revision, source::Answer};
use api::{Kind, Object, ObjectId, Problem};
use futures::{StreamExt, stream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use std::collections::BTreeMap;

/// How many kinds are read at once.
const AT_ONCE: usize = 4;

/// What there is.
#[derive(Debug, Default)]
pub struct Standing {
    /// The objects that the door lets in; Secrets and ConfigMaps are read by name only.
    pub objects: BTreeMap<ObjectId, Object>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
    /// What may not be read.
    pub refused: Vec<Refused>,
    /// Kinds that the API server doesn't have.
    pub absent: Vec<Kind>,
}

/// Something that the API server refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// What was tried, as rules of roles spell it.
    pub verb: &'static str,
    /// `<plural>.<group>`
    pub resource: String,
    /// Where; none is the whole cluster.
    pub namespace: Option<String>,
    /// The API server's words.
    pub message: String,
}

/// Reads everything that a revision minds. What may not be read in the whole cluster is read in one namespace.
///
/// # Errors
/// If the API server can't be asked.
pub async fn read(client: &Client, namespace: &str, revision: &Revision) -> kube::Result<Standing> {
    let found = discover(client).await?;
    let absent = |kind: &Kind| !is_by_name(*kind) && !found.contains_key(kind);
    let absent = Kind::ALL.iter().copied().filter(absent).collect();
    let mut standing = Standing { absent, ..Standing::default() };
    let kinds = found.into_iter().filter(|(kind, _)| !is_by_name(*kind));
    let lists = kinds.map(|(kind, resource)| async move { (kind, list(client, kind, &resource, namespace).await) });
    let mut lists = stream::iter(lists).buffered(AT_ONCE);
    while let Some((kind, list)) = lists.next().await {
        let (objects, refused) = list?;
        standing.refused.extend(refused);
        let is_elsewhere = |one: &DynamicObject| kind == Kind::Gateway && !revision.minds(&one.metadata);
        for object in objects.into_iter().filter(|one| !is_elsewhere(one)) {
            let id = known::id(kind, &object.metadata);
            let (object, problems) = known::read(kind, &id, object);
            standing.objects.extend(object.map(|object| (id, object)));
            standing.problems.extend(problems);
        }
    }
    Ok(standing)
}

/// Reads an object by its name. Who may not is told so in the answer.
///
/// # Errors
/// If the API server can't be asked.
pub async fn read_named(client: &Client, id: &ObjectId) -> kube::Result<Answer> {
    let Some(kind) = Kind::find("", &id.kind) else { return Ok(Answer::Absent) };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", kind.versions()[0], kind.as_str()));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &id.namespace, &resource);
    let object = match api.get_opt(&id.name).await {
        Ok(Some(object)) => object,
        Ok(None) => return Ok(Answer::Absent),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let (plural, namespace) = (&resource.plural, &id.namespace);
            return Ok(Answer::Unreadable(format!("you may not get {plural} in namespace {namespace}")));
        }
        Err(error) => return Err(error),
    };
    Ok(match known::read(kind, id, object) {
        (Some(object), _) => Answer::Found(object),
        (None, problems) => Answer::Unreadable(problems.first().map(Problem::what).unwrap_or_default()),
    })
}

type Listed = (Vec<DynamicObject>, Vec<Refused>);

async fn list(client: &Client, kind: Kind, resource: &ApiResource, namespace: &str) -> kube::Result<Listed> {
    let name = match resource.group.as_str() {
        "" => resource.plural.clone(),
        group => format!("{}.{group}", resource.plural),
    };
    let refused = |namespace: Option<&str>, message: String| Refused {
        verb: "list",
        resource: name.clone(),
        namespace: namespace.map(str::to_owned),
        message,
    };
    let everywhere = match pages(&Api::all_with(client.clone(), resource)).await {
        Err(kube::Error::Api(status)) if status.code == 403 => refused(None, status.message),
        listed => return Ok((listed?, Vec::new())),
    };
    if !kind.is_namespaced() {
        return Ok((Vec::new(), vec![everywhere]));
    }
    match pages(&Api::namespaced_with(client.clone(), namespace, resource)).await {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Ok((Vec::new(), vec![refused(Some(namespace), status.message)]))
        }
        listed => Ok((listed?, vec![everywhere])),
    }
}

/// A list in pages; from the start once more if it grows too old between two of them.
async fn pages(api: &Api<DynamicObject>) -> kube::Result<Vec<DynamicObject>> {
    let (mut objects, mut token, mut is_again) = (Vec::new(), None, false);
    loop {
        let mut params = ListParams::default().limit(PAGE);
        params.continue_token = token.take();
        match api.list(&params).await {
            Ok(page) => {
                objects.extend(page.items);
                token = page.metadata.continue_.filter(|token| !token.is_empty());
                if token.is_none() {
                    return Ok(objects);
                }
            }
            Err(kube::Error::Api(status)) if status.code == 410 && !is_again => {
                objects.clear();
                is_again = true;
            }
            Err(error) => return Err(error),
        }
    }
}
