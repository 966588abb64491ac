//! When two answers are alike, and what is overlooked: the list of headers that may differ is here and nowhere else.

use crate::case::{Alike, Expect};
use std::collections::BTreeMap;
use tests::{backend::Seen, http::Answer};

/// Headers of an answer that may differ: time, the name of the software, and how long it took.
const ANSWER_VOLATILE: [&str; 3] = ["date", "server", "x-envoy-upstream-service-time"];

/// Headers of an answer that describe the framing of one hop; bodies are compared without it.
const FRAMING: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "content-length"];

/// Headers towards a backend of which only the presence is compared.
const SEEN_PRESENCE: [&str; 1] = ["x-request-id"];

/// Headers towards a backend that only Envoy writes, for other Envoys.
const SEEN_VOLATILE: [&str; 3] = ["x-envoy-expected-rq-timeout-ms", "x-envoy-external-address", "x-envoy-internal"];

/// Of a copy, Envoy counts itself as one more hop.
const COPY_VOLATILE: [&str; 1] = ["x-forwarded-for"];

/// What came of one request at one data plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer, or why there was none.
    pub answer: Result<Answer, String>,
    /// What the backend that answered saw, and the copies that others got.
    pub seen: Vec<Seen>,
    /// Its line in the access log, if it was looked for.
    pub log: BTreeMap<String, String>,
    /// How repeated requests fell: by backend, or by status where no backend answered.
    pub tally: BTreeMap<String, u32>,
}

/// One side of a comparison, normalised; printed when it differs.
#[derive(Debug, Default, PartialEq)]
pub struct Shown(pub Vec<String>);

impl Outcome {
    /// What must be equal.
    pub fn shown(&self, alike: Alike) -> Shown {
        let mut lines = Vec::new();
        match (&self.answer, alike) {
            (Err(_), Alike::Verdict) => lines.push("nobody, 4xx or closed".into()),
            (Err(_), _) => lines.push("no answer".into()),
            (Ok(answer), Alike::Verdict) => lines.push(match answer.backend() {
                Some(backend) => format!("backend {backend}"),
                None if answer.status / 100 == 4 && answer.status == 400 => "nobody, 4xx or closed".into(),
                None => format!("nobody, {}", answer.status),
            }),
            (Ok(answer), Alike::Status) => lines.push(format!("{} {}", answer.status, answer.backend().unwrap_or("-"))),
            (Ok(answer), Alike::All | Alike::Ours) => lines.extend(all_of(answer)),
        }
        if alike == Alike::All {
            let main = self.answer.as_ref().ok().and_then(|answer| answer.backend());
            let mut seen: Vec<_> =
                self.seen.iter().map(|seen| seen_lines(seen, main.is_some_and(|main| main != seen.backend))).collect();
            seen.sort();
            lines.extend(seen.into_iter().flatten());
        }
        Shown(lines)
    }

    /// What of `expect` is not so.
    pub fn misses(&self, expect: &Expect, repeat: u32) -> Vec<String> {
        let mut misses = Vec::new();
        let mut want = |what: &str, wanted: &str, got: Option<&str>| {
            let got = got.unwrap_or("");
            if got != wanted {
                misses.push(format!("{what}: wanted {wanted:?}, got {got:?}"));
            }
        };
        if let Some(tries) = expect.tries {
            want("tries", &tries.to_string(), Some(&self.seen.len().to_string()));
        }
        match &self.answer {
            Ok(_) if expect.closed => want("answer", "none", Some("one")),
            Err(error) if !expect.closed => want("answer", "one", Some(error)),
            Ok(answer) => {
                if let Some(status) = expect.status {
                    want("status", &status.to_string(), Some(&answer.status.to_string()));
                }
                if let Some(backend) = &expect.backend {
                    want("backend", backend, answer.backend());
                }
                if let Some(body) = &expect.body {
                    want("body", body, Some(&String::from_utf8_lossy(&answer.body)));
                }
                for (name, value) in &expect.headers {
                    want(name, value, joined(&answer.headers, name).as_deref());
                }
                let main = self.seen.iter().find(|seen| Some(seen.backend.as_str()) == answer.backend());
                for (name, value) in &expect.saw {
                    want(&format!("backend saw {name}"), value, main.and_then(|seen| saw(seen, name)).as_deref());
                }
                for (name, value) in &expect.log {
                    want(&format!("log {name}"), value, self.log.get(name).map(String::as_str));
                }
                // Where nobody's answer came through, a backend may have been asked all the same.
                if answer.backend().is_some() {
                    let copies = self.seen.iter().filter(|seen| Some(seen.backend.as_str()) != answer.backend());
                    let mut copies: Vec<_> = copies.map(|seen| seen.backend.clone()).collect();
                    copies.sort();
                    want("mirrored", &expect.mirrored.join(" "), Some(&copies.join(" ")));
                }
            }
            Err(_) => {}
        }
        misses.extend(self.share_misses(expect, repeat));
        misses
    }

    /// Each part within five standard deviations: a right balancer fails once in about two million.
    fn share_misses(&self, expect: &Expect, repeat: u32) -> Vec<String> {
        if expect.share.is_empty() {
            return Vec::new();
        }
        let total = f64::from(repeat);
        let others = self.tally.iter().filter(|(who, _)| !expect.share.contains_key(*who));
        let mut misses: Vec<_> =
            others.map(|(who, count)| format!("{count} of {repeat} by {who}: wanted none")).collect();
        for (who, part) in &expect.share {
            let got = f64::from(self.tally.get(who).copied().unwrap_or(0));
            let slack = 5.0 * (total * part * (1.0 - part)).sqrt();
            if (got - total * part).abs() > slack {
                misses.push(format!("{got} of {repeat} by {who}: wanted {} +- {slack:.0}", total * part));
            }
        }
        misses
    }
}

fn all_of(answer: &Answer) -> Vec<String> {
    let mut lines = vec![format!("status {}", answer.status)];
    let kept = answer.headers.iter().filter(|(name, _)| !ANSWER_VOLATILE.contains(&name.as_str()));
    // An upgrade's connection header is part of the answer.
    let kept =
        kept.filter(|(name, _)| answer.status == 101 && name == "connection" || !FRAMING.contains(&name.as_str()));
    lines.extend(by_name(kept.map(|(name, value)| (name.clone(), value.clone()))));
    // The echo's body is what the backend saw: it is compared as such, normalised.
    if serde_json::from_slice::<Seen>(&answer.body).is_err() {
        lines.push(format!("body {:?}", String::from_utf8_lossy(&answer.body)));
    }
    lines
}

fn seen_lines(seen: &Seen, copy: bool) -> Vec<String> {
    let mut lines = vec![format!("{} saw {} {} {}", seen.backend, seen.method, seen.path, seen.protocol)];
    let overlooked = |name: &str| SEEN_VOLATILE.contains(&name) || copy && COPY_VOLATILE.contains(&name);
    let kept = seen.headers.iter().filter(|(name, _)| !overlooked(name));
    let kept = kept.filter(|(name, _)| {
        name == "connection" && seen.header("upgrade").is_some() || !FRAMING.contains(&name.as_str())
    });
    let shown = kept.map(|(name, value)| {
        (name.clone(), if SEEN_PRESENCE.contains(&name.as_str()) { "(some)".into() } else { value.clone() })
    });
    lines.extend(by_name(shown).into_iter().map(|line| format!("{} saw {line}", seen.backend)));
    if !seen.body.is_empty() {
        lines.push(format!("{} saw body {:?}", seen.backend, seen.body));
    }
    lines
}

/// Sorted by name; the order of lines of one name stays.
fn by_name(headers: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut all: Vec<_> = headers.collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    // The names in `connection` have no case.
    let shown = |(name, value): (String, String)| match name.as_str() {
        "connection" => format!("connection: {}", value.to_ascii_lowercase()),
        _ => format!("{name}: {value}"),
    };
    all.into_iter().map(shown).collect()
}

fn saw(seen: &Seen, what: &str) -> Option<String> {
    match what {
        "path" => Some(seen.path.clone()),
        "method" => Some(seen.method.clone()),
        "protocol" => Some(seen.protocol.clone()),
        "body" => Some(seen.body.clone()),
        header => joined(&seen.headers, header),
    }
}

fn joined(headers: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<_> = headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
