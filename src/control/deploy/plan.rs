//! What is to be done so that what stands is what is wanted; pure.

use super::render::{MANIFEST, Settings, kind, render};
use model::{Infrastructure, ObjectKey, Overlay};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Which object of those that we make: its kind, then namespace and name.
pub type Place = (Overlay, ObjectKey);

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// To be made as it is here.
    Apply {
        /// Where.
        place: Place,
        /// What.
        manifest: Value,
        /// The uid of what stands there and is ours; none if nothing was seen there.
        uid: Option<String>,
    },
    /// To be removed.
    Delete {
        /// Where.
        place: Place,
        /// Nothing else that may stand there by now.
        uid: String,
    },
}

/// The steps for one Gateway, by what was made for it and stands there. Nothing is wanted: all of it goes.
pub fn plan(
    gateway: &ObjectKey,
    wanted: Option<&Infrastructure>,
    standing: &BTreeMap<Place, Arc<Value>>,
    settings: &Settings,
) -> Vec<Step> {
    if wanted.is_some_and(|wanted| wanted.is_held) {
        return Vec::new();
    }
    let manifests: BTreeMap<usize, (Place, Value)> = wanted
        .map(|wanted| render(gateway, wanted, settings))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|manifest| Some((place(&manifest)?, manifest)))
        .enumerate()
        .collect();
    let mut steps = Vec::new();
    for (place, manifest) in manifests.values() {
        let known = standing.get(place);
        // What was made for another Gateway of this name is about to go with that one.
        let known = known.filter(|known| owner(known).is_some_and(|(_, uid)| Some(uid) == owner_uid(manifest)));
        if known.is_none_or(|known| !covers(known, manifest)) {
            let uid = known.map(|known| text(&known["metadata"]["uid"]));
            steps.push(Step::Apply { place: place.clone(), manifest: manifest.clone(), uid });
        }
    }
    let is_wanted = |place: &Place| manifests.values().any(|(wanted, _)| wanted == place);
    let of_this = |known: &Value| wanted.is_none_or(|wanted| owner(known).is_some_and(|(_, uid)| uid == &*wanted.uid));
    for (place, known) in standing.iter().filter(|(place, known)| !is_wanted(place) && of_this(known)) {
        steps.push(Step::Delete { place: place.clone(), uid: text(&known["metadata"]["uid"]) });
    }
    steps
}

/// The Gateway that an object was made for, and that Gateway's uid.
pub fn owner(object: &Value) -> Option<(ObjectKey, &str)> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["kind"] == "Gateway")?;
    let namespace = object["metadata"]["namespace"].as_str()?;
    Some((ObjectKey::new(namespace, owner["name"].as_str()?), owner["uid"].as_str()?))
}

fn owner_uid(manifest: &Value) -> Option<&str> {
    manifest["metadata"]["ownerReferences"][0]["uid"].as_str()
}

fn place(manifest: &Value) -> Option<Place> {
    let overlay = Overlay::ALL.into_iter().find(|overlay| manifest["kind"] == kind(*overlay).1)?;
    let text = |name: &str| manifest["metadata"][name].as_str();
    Some((overlay, ObjectKey::new(text("namespace")?, text("name")?)))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether what stands has everything that is wanted; what it has besides are defaults, and what others say. What was
/// wanted once and is not now is noticed by the hash in the annotation [`MANIFEST`].
fn covers(standing: &Value, wanted: &Value) -> bool {
    debug_assert!(wanted["metadata"]["annotations"][MANIFEST].is_string());
    has(standing, wanted)
}

fn has(standing: &Value, wanted: &Value) -> bool {
    match (standing, wanted) {
        (Value::Object(standing), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| has(standing.get(name).unwrap_or(&Value::Null), wanted))
        }
        // Somebody may have added owners, containers or ports of his own.
        (Value::Array(standing), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| standing.iter().any(|standing| has(standing, wanted)))
        }
        // An API server leaves out what is empty.
        (Value::Null, Value::Object(wanted)) => wanted.values().all(|wanted| has(&Value::Null, wanted)),
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (Value::Null, Value::Bool(wanted)) => !wanted,
        (standing, wanted) => standing == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{DataPlane, Exposure, Protocol, ServedPort};

    fn wanted() -> Infrastructure {
        Infrastructure {
            uid: "u1".into(),
            class: "windlass".into(),
            controller: "windlass.io/gateway-controller".into(),
            data_plane: DataPlane::Windlass,
            name: "gw-windlass".into(),
            account: "gw-windlass".into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            exposure: Exposure::LoadBalancer,
            ports: vec![ServedPort { port: 80, is_udp: false, protocol: Protocol::Http }],
            addresses: Vec::new(),
            overlays: BTreeMap::new(),
            is_held: false,
        }
    }

    fn gateway() -> ObjectKey {
        ObjectKey::new("shop", "gw")
    }

    fn steps(wanted: Option<&Infrastructure>, standing: &BTreeMap<Place, Arc<Value>>) -> Vec<String> {
        let steps = plan(&gateway(), wanted, standing, &Settings::default());
        let shown = |step: &Step| match step {
            Step::Apply { place: (overlay, key), uid, .. } => format!("apply {overlay:?} {key} over {uid:?}"),
            Step::Delete { place: (overlay, key), uid } => format!("delete {overlay:?} {key} of {uid}"),
        };
        steps.iter().map(shown).collect()
    }

    /// As an API server would keep it, with defaults.
    fn applied(wanted: &Infrastructure) -> BTreeMap<Place, Arc<Value>> {
        let manifests = render(&gateway(), wanted, &Settings::default()).into_iter();
        let stand = |mut manifest: Value| {
            manifest["metadata"]["uid"] = "x".into();
            manifest["spec"]["default"] = "yes".into();
            (place(&manifest).unwrap(), Arc::new(manifest))
        };
        manifests.map(stand).collect()
    }

    #[test]
    fn what_is_missing_is_made_and_what_stands_is_left_alone() {
        let wanted = wanted();
        assert_eq!(steps(Some(&wanted), &BTreeMap::new()).len(), 4);
        assert!(steps(Some(&wanted), &applied(&wanted)).is_empty());
    }

    #[test]
    fn a_port_changes_the_service_alone() {
        let mut wanted = wanted();
        let standing = applied(&wanted);
        wanted.ports.push(ServedPort { port: 443, is_udp: false, protocol: Protocol::Https });
        assert_eq!(steps(Some(&wanted), &standing), ["apply Service shop/gw-windlass over Some(\"x\")"]);
        let standing = applied(&wanted);
        wanted.ports.remove(0);
        assert_eq!(steps(Some(&wanted), &standing), ["apply Service shop/gw-windlass over Some(\"x\")"]);
    }

    #[test]
    fn what_somebody_changed_is_put_right() {
        let wanted = wanted();
        let mut standing = applied(&wanted);
        let place = (Overlay::Service, ObjectKey::new("shop", "gw-windlass"));
        let mut changed = Value::clone(&standing[&place]);
        changed["spec"]["selector"] = Value::Null;
        standing.insert(place, changed.into());
        assert_eq!(steps(Some(&wanted), &standing), ["apply Service shop/gw-windlass over Some(\"x\")"]);
    }

    #[test]
    fn what_is_wanted_no_more_goes_and_what_is_held_stays() {
        let mut wanted = wanted();
        let standing = applied(&wanted);
        assert_eq!(steps(None, &standing).len(), 4);
        wanted.name = "front".into();
        wanted.account = "front".into();
        let seen = steps(Some(&wanted), &standing);
        assert_eq!(seen.iter().filter(|step| step.starts_with("delete")).count(), 4);
        assert_eq!(seen.iter().filter(|step| step.starts_with("apply")).count(), 4);
        wanted.is_held = true;
        assert!(steps(Some(&wanted), &standing).is_empty());
    }

    #[test]
    fn what_belonged_to_a_gateway_of_the_same_name_is_not_taken_over() {
        let mut wanted = wanted();
        let standing = applied(&wanted);
        wanted.uid = "u2".into();
        let seen = steps(Some(&wanted), &standing);
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|step| step.ends_with("over None")), "{seen:?}");
    }
}
