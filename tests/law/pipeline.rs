//! The law of the engine, for everything from Kubernetes objects to Envoy resources: after any sequence of edits the
//! result is what a fresh start with the same objects gives, byte for byte, with any number of threads.

#[path = "../golden/pipeline.rs"]
mod pipeline;

use pipeline::{Pipeline, put};

#[test]
fn a_namespace_alone_gives_nothing() {
    let mut pipeline = Pipeline::new(1);
    let manifest = api::manifest::read("f", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    pipeline.commit(manifest.objects.into_iter().map(|located| put(located.object)));
    assert_eq!(pipeline.results, pipeline::Results::default());
}
