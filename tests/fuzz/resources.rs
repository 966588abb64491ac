//! Resources at the proxy's door. The seeds are what our own control plane makes of the differential cases: each of
//! them must be taken as it is.

use control::Graph;
use proto::TypeUrl;
use proxy::config::{Context, parse};
use std::{collections::BTreeSet, path::Path};

/// A resource as one input: the index of its type, the length of its name, the name, the body.
pub fn seeds() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/cases");
    let mut seeds = BTreeSet::new();
    for file in crate::files(&directory) {
        let text = String::from_utf8_lossy(&file).replace("$NET", "127.1.2");
        let Some((_, objects)) = text.split_once("\n---\n") else { continue };
        let mut yaml =
            if objects.contains("kind: Gateway\n") { String::new() } else { tests::objects::GATEWAY.to_owned() };
        for name in ["a", "b", "c", "exact", "long"] {
            yaml += &tests::objects::service(name, None, &[([127, 0, 0, 1], 8080).into()]);
        }
        seeds.extend(translated(&format!("{yaml}---\n{objects}")));
    }
    let refused = seeds.iter().filter_map(|seed| {
        let (type_url, name, body) = cut(seed)?;
        let fault = parse(&Context::default(), type_url, &name.as_str().into(), body).err()?;
        Some(format!("{type_url} {name}: {fault}"))
    });
    let refused: BTreeSet<_> = refused.collect();
    assert!(refused.is_empty(), "our proxy refuses what we send:\n{}", Vec::from_iter(refused).join("\n"));
    seeds.into_iter().collect()
}

fn translated(yaml: &str) -> Vec<Vec<u8>> {
    let mut graph = Graph::new(resolve::Settings::default(), translate::Settings::default(), 1);
    let objects = api::manifest::read("case.yaml", yaml).objects.into_iter().map(|located| located.object);
    graph.commit(objects.map(|object| (object.id(), Some(object))));
    let seed = |(key, resource): (&proto::ResourceKey, std::sync::Arc<proto::Resource>)| {
        let index = TypeUrl::ALL.iter().position(|one| *one == key.type_url).unwrap_or(0);
        let mut seed = vec![index as u8, key.name.len() as u8];
        seed.extend_from_slice(key.name.as_bytes());
        seed.extend_from_slice(&resource.body);
        seed
    };
    graph.resources().map(seed).collect()
}

fn cut(input: &[u8]) -> Option<(TypeUrl, String, &[u8])> {
    let type_url = TypeUrl::ALL[usize::from(*input.first()?) % TypeUrl::ALL.len()];
    let end = 2 + usize::from(*input.get(1)?);
    Some((type_url, String::from_utf8_lossy(input.get(2..end)?).into_owned(), &input[end..]))
}

/// One input: taken or refused with a reason, as the bytes say, twice the same.
pub fn run(input: &[u8]) {
    let Some((type_url, name, body)) = cut(input) else { return };
    let name = name.as_str().into();
    let verdict = || parse(&Context::default(), type_url, &name, body).err().map(|fault| fault.to_string());
    let first = verdict();
    assert_eq!(first, verdict(), "the same bytes, the same verdict");
    assert!(first.is_none_or(|why| !why.is_empty()), "a refusal has a reason");
}
