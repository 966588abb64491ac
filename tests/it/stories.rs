//! Stories under steady load without retries: something changes, and no request fails, through either data plane.

mod own_page;
mod story;
mod streams;

use anyhow::Result;
use std::time::Duration;
use story::{Story, ok};
use tests::{
    backend::{Backend, Speaks},
    http::{Call, call},
    objects, tls,
};

const SETTLE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_route_is_edited_again_and_again() -> Result<()> {
    let mut story = Story::begin(&["a", "b"], &objects::route("web", "a.example", &[("a", 1)])).await?;
    let load = story.load(Call::get("a.example", "/"), ok);
    for turn in 0..10 {
        let backend = ["b", "a"][turn % 2];
        story.write(&objects::route("web", "a.example", &[(backend, 1)]))?;
        story.until(&Call::get("a.example", "/"), |answer| answer.backend() == Some(backend)).await?;
    }
    story.end(load).await
}

#[tokio::test]
async fn weights_shift_in_steps() -> Result<()> {
    let mut story = Story::begin(&["a", "b"], &objects::route("web", "a.example", &[("a", 100), ("b", 0)])).await?;
    let load = story.load(Call::get("a.example", "/"), ok);
    for step in [1, 10, 50, 90, 100] {
        story.write(&objects::route("web", "a.example", &[("a", 100 - step), ("b", step)]))?;
        story.until(&Call::get("a.example", "/"), |answer| answer.backend() == Some("b")).await?;
        tokio::time::sleep(SETTLE).await;
    }
    story.end(load).await
}

#[tokio::test]
async fn a_new_route_goes_from_404_to_200_with_nothing_between() -> Result<()> {
    let mut story = Story::begin(&["a"], &objects::route("other", "b.example", &[("a", 1)])).await?;
    let load = story.load(Call::get("a.example", "/"), |answer| matches!(answer.status, 200 | 404));
    tokio::time::sleep(SETTLE).await;
    for turn in 0..6 {
        let mut text = objects::route("other", "b.example", &[("a", 1)]);
        if turn % 2 == 0 {
            text += &objects::route("web", "a.example", &[("a", 1)]);
        }
        let wanted = if turn % 2 == 0 { 200 } else { 404 };
        story.write(&text)?;
        story.until(&Call::get("a.example", "/"), |answer| answer.status == wanted).await?;
    }
    story.end(load).await
}

#[tokio::test]
async fn a_new_service_comes_with_its_route() -> Result<()> {
    let mut story = Story::begin(&["a"], &objects::route("web", "a.example", &[("a", 1)])).await?;
    let load = story.load(Call::get("a.example", "/"), ok);
    let mut kept = Vec::new();
    for number in 0..4 {
        let name = format!("n{number}");
        let backend = Backend::start(&name, story.place.address(9), Speaks::Http1).await?;
        // Cluster, endpoints and route in one change: whoever sends the route first breaks requests.
        let route = objects::route("web", "a.example", &[(&name, 1)]);
        story.write(&(objects::backend(&backend) + &route))?;
        story.until(&Call::get("a.example", "/"), |answer| answer.backend() == Some(name.as_str())).await?;
        kept.push(backend);
    }
    story.end(load).await
}

#[tokio::test]
async fn endpoints_come_and_go() -> Result<()> {
    let story = Story::begin(&[], &objects::route("web", "a.example", &[("web", 1)])).await?;
    let mut running: Vec<Backend> = Vec::new();
    let mut load = None;
    for number in 0..8 {
        // A rolling restart: the new one first, then the old one leaves the endpoints, drains, and goes.
        let next = Backend::start(&format!("pod{number}"), story.place.address(9), Speaks::Http1).await?;
        let name = next.name.clone();
        running.push(next);
        story.write_endpoints("web", &running)?;
        story.until(&Call::get("a.example", "/"), |answer| answer.backend() == Some(name.as_str())).await?;
        load = load.or_else(|| Some(story.load(Call::get("a.example", "/"), ok)));
        if running.len() > 2 {
            let leaving = running.remove(0);
            story.write_endpoints("web", &running)?;
            story.quiet(&leaving).await?;
            drop(leaving);
        }
    }
    story.end(load.unwrap_or_default()).await
}

#[tokio::test]
async fn scaled_to_zero_answers_503_and_back() -> Result<()> {
    let story = Story::begin(&[], &objects::route("web", "a.example", &[("web", 1)])).await?;
    let backend = Backend::start("pod", story.place.address(9), Speaks::Http1).await?;
    let running = [backend];
    for _ in 0..3 {
        story.write_endpoints("web", &running)?;
        story.until(&Call::get("a.example", "/"), |answer| answer.status == 200).await?;
        story.write_endpoints("web", &[])?;
        story.until(&Call::get("a.example", "/"), |answer| answer.status == 503).await?;
    }
    story.end(Vec::new()).await
}

#[tokio::test]
async fn a_certificate_is_swapped_under_load() -> Result<()> {
    let route = objects::route("web", "a.example", &[("a", 1)]);
    let story = Story::begin_tls(&["a"], &route, "a.example").await?;
    let load = story.load(Call::get("a.example", "/").over_tls("a.example"), ok);
    for _ in 0..4 {
        let next = tls::certificate(&["a.example".into()])?;
        story.write_secret("cert", &next)?;
        story.until_shown("a.example", &next).await?;
        tokio::time::sleep(SETTLE).await;
    }
    story.end(load).await
}

#[tokio::test]
async fn the_control_plane_restarts() -> Result<()> {
    let mut story = Story::begin(&["a", "b"], &objects::route("web", "a.example", &[("a", 1)])).await?;
    let load = story.load(Call::get("a.example", "/"), ok);
    for turn in 0..3 {
        story.trio.control.restart().await?;
        tokio::time::sleep(SETTLE).await;
        let backend = ["b", "a"][turn % 2];
        story.write(&objects::route("web", "a.example", &[(backend, 1)]))?;
        story.until(&Call::get("a.example", "/"), |answer| answer.backend() == Some(backend)).await?;
    }
    story.end(load).await
}

#[tokio::test]
async fn our_proxy_starts_without_its_control_plane() -> Result<()> {
    let mut story = Story::begin(&["a"], &objects::route("web", "a.example", &[("a", 1)])).await?;
    story.until(&Call::get("a.example", "/"), |answer| answer.status == 200).await?;
    story.trio.control.process.stop("KILL", Duration::from_secs(5)).await;
    story.trio.planes[1].restart().await?;
    story.trio.planes[1].answers(80, &Call::get("a.example", "/"), |answer| answer.status == 200).await?;
    Ok(())
}

#[tokio::test]
async fn our_proxy_drains_what_it_has_begun() -> Result<()> {
    let mut story = Story::begin(&["a"], &objects::route("web", "a.example", &[("a", 1)])).await?;
    story.until(&Call::get("a.example", "/"), |answer| answer.status == 200).await?;
    let mut slow = Call::get("a.example", "/slow");
    slow.headers.push(("x-echo-delay-ms".into(), "800".into()));
    let to = story.trio.planes[1].at(80);
    let begun = tokio::spawn(async move { call(to, &slow).await });
    story.arrived("a", "/slow").await?;
    let clean = story.trio.planes[1].process.stop("TERM", Duration::from_secs(30)).await;
    assert_eq!(begun.await??.status, 200, "a request that had begun");
    assert!(clean, "the exit code after SIGTERM:\n{}", story.trio.planes[1].process.tail());
    Ok(())
}

#[tokio::test]
async fn bad_objects_hurt_nobody_else() -> Result<()> {
    let mut story = Story::begin(&["a", "b"], &objects::route("web", "a.example", &[("a", 1)])).await?;
    let load = story.load(Call::get("a.example", "/"), ok);
    let nowhere = objects::route("nowhere", "c.example", &[("absent", 1)]);
    let regex = objects::route("regex", "d.example", &[("a", 1)])
        .replace("- backendRefs", "- matches: [{path: {type: RegularExpression, value: \"/(\"}}]\n    backendRefs");
    let bad = [
        "---\n{{{ not yaml",
        "---\napiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: x}\n",
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: x, namespace: default}\nspec: 7\n",
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: garbage, namespace: default}\ndata: {tls.crt: eA==, tls.key: eA==}\n",
        &nowhere,
        &regex,
        &objects::route("web", "a.example", &[("a", 1)]).replace("kind: HTTPRoute", "kind: Gateway"),
    ];
    for (turn, text) in bad.into_iter().enumerate() {
        story.trio.control.write("bad.yaml", text)?;
        let backend = ["b", "a"][turn % 2];
        story.write(&objects::route("web", "a.example", &[(backend, 1)]))?;
        story.until(&Call::get("a.example", "/"), |answer| answer.backend() == Some(backend)).await?;
    }
    story.trio.control.write("bad.yaml", &objects::route("healed", "c.example", &[("a", 1)]))?;
    story.until(&Call::get("c.example", "/"), |answer| answer.status == 200).await?;
    story.end(load).await
}

#[tokio::test]
async fn only_listeners_change_listeners() -> Result<()> {
    let route = objects::route("web", "a.example", &[("a", 1)]);
    let mut story = Story::begin_tls(&["a", "b"], &route, "a.example").await?;
    let request = Call::get("a.example", "/");
    story.until(&request, |answer| answer.status == 200).await?;
    let before = story.listeners().await?;
    story.write(&objects::route("web", "a.example", &[("b", 1)]))?;
    story.until(&request, |answer| answer.backend() == Some("b")).await?;
    let next = tls::certificate(&["a.example".into()])?;
    story.write_secret("cert", &next)?;
    story.until_shown("a.example", &next).await?;
    story.trio.control.write("policy.yaml", story::DENY_ALL)?;
    story.until(&request, |answer| answer.status == 403).await?;
    story.trio.control.remove("policy.yaml")?;
    story.until(&request, |answer| answer.status == 200).await?;
    let running = [Backend::start("b2", story.place.address(9), Speaks::Http1).await?];
    story.write_endpoints("b", &running)?;
    story.until(&request, |answer| answer.backend() == Some("b2")).await?;
    assert_eq!(story.listeners().await?, before, "routes, certificates, policies and endpoints are no listeners");
    Ok(())
}

#[tokio::test]
async fn what_changes_nothing_sends_nothing() -> Result<()> {
    let other = objects::route("other", "b.example", &[("b", 1)]);
    let route = objects::route("web", "a.example", &[("a", 1)]) + &other;
    let mut story = Story::begin(&["a", "b"], &route).await?;
    let request = Call::get("a.example", "/");
    story.until(&request, |answer| answer.status == 200).await?;
    let before = story.sent().await?;
    let labelled = route.replace("namespace: default,", "namespace: default, labels: {x: y}, annotations: {a: b},");
    let documents: Vec<_> = route.rsplit("---\n").filter(|text| !text.is_empty()).collect();
    for text in [labelled, route.clone(), format!("# a comment\n{route}"), documents.join("---\n")] {
        story.write(&text)?;
        story.seen_by_source().await?;
    }
    assert_eq!(story.sent().await?, before, "labels, annotations, comments and order mean nothing");
    story.write(&objects::route("web", "a.example", &[("b", 1)]))?;
    story.until(&request, |answer| answer.backend() == Some("b")).await?;
    assert!(story.sent().await? > before, "what means something is sent: the count counts");
    Ok(())
}
