//! The part of a case that is connections and datagrams: backends, exchanges, and what must come of them.

use anyhow::Result;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use tests::{
    fixture::DataPlane,
    place::Place,
    stream::{Acts, Exchange, Over, StreamBackend},
};

/// One exchange and what is wanted of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRequest {
    /// What it shows.
    pub name: String,
    #[serde(default)]
    over: Over,
    /// Which listener.
    pub port: u16,
    #[serde(default)]
    sni: String,
    /// Before all else: a PROXY header, latin-1.
    #[serde(default)]
    preface: String,
    first: Option<String>,
    #[serde(default = "hello")]
    send: String,
    /// What comes back before the client says that it has sent all.
    last: Option<String>,
    /// The client's address: the last number of the place's network.
    source: Option<u8>,
    /// How often; more than once asks for `share`.
    #[serde(default = "once")]
    repeat: u32,
    /// Everything that must come back; none: the connection is refused or closed without a word, the datagram lost.
    answer: Option<String>,
    /// Of repeated exchanges: the part of each first word, or of `none`.
    #[serde(default)]
    share: BTreeMap<String, f64>,
    /// Why Envoy may do otherwise.
    ours: Option<String>,
}

fn hello() -> String {
    "hello".into()
}

fn once() -> u32 {
    1
}

impl StreamRequest {
    /// Whether its listener accepts connections.
    pub fn is_tcp(&self) -> bool {
        self.over != Over::Udp
    }
}

/// The backends, with the YAML of their Services.
pub async fn backends(place: &Place, plans: &BTreeMap<String, Acts>) -> Result<(Vec<StreamBackend>, String)> {
    let (mut running, mut yaml) = (Vec::new(), String::new());
    for (name, acts) in plans {
        let backend = StreamBackend::start(name, place.address(9), *acts).await?;
        yaml += &backend.service(*acts);
        running.push(backend);
    }
    Ok((running, yaml))
}

/// What is wrong, as text.
pub async fn misses(place: &Place, plane: &DataPlane, request: &StreamRequest) -> Vec<String> {
    if request.ours.is_some() && plane.name == "envoy" {
        return Vec::new();
    }
    let exchange = Exchange {
        over: request.over,
        sni: request.sni.clone(),
        preface: place.fill(&request.preface),
        first: request.first.clone(),
        send: request.send.clone(),
        last: request.last.as_ref().map(|last| place.fill(last)),
        source: Some(place.address(request.source.unwrap_or(77))),
        limit: Duration::from_secs(20),
    };
    let mut tally = BTreeMap::<String, u32>::new();
    let mut outcome = Ok(String::new());
    for _ in 0..request.repeat {
        outcome = exchange.run(plane.at(request.port)).await;
        let who = outcome.as_ref().map_or("none", |answer| answer.split(' ').next().unwrap_or_default());
        *tally.entry(who.to_owned()).or_default() += 1;
    }
    let name = format!("       {}: {}", request.name, plane.name);
    if request.repeat > 1 {
        let share = |who: &str| f64::from(tally.get(who).copied().unwrap_or(0)) / f64::from(request.repeat);
        // Five standard deviations, so that chance fails one run in a million.
        let slack = |part: f64| 5.0 * (part * (1.0 - part) / f64::from(request.repeat)).sqrt() + 0.01;
        let off = request.share.iter().filter(|(who, part)| (share(who) - **part).abs() > slack(**part));
        return off.map(|(who, part)| format!("{name}: wanted {part} of {who}, saw {tally:?}")).collect();
    }
    let answer = request.answer.as_ref().map(|answer| place.fill(answer));
    match (&answer, outcome) {
        (Some(wanted), Ok(seen)) if *wanted == seen => Vec::new(),
        (Some(wanted), Ok(seen)) => vec![format!("{name}: wanted {wanted:?}, saw {seen:?}")],
        (Some(wanted), Err(error)) => vec![format!("{name}: wanted {wanted:?}, saw {error:#}")],
        (None, Ok(seen)) => vec![format!("{name}: wanted no answer, saw {seen:?}")],
        (None, Err(error)) if error.to_string().contains("too long") => vec![format!("{name}: left hanging")],
        (None, Err(_)) => Vec::new(),
    }
}
