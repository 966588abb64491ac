//! What became of every object, for people and for machines: all of it at first, then what changed.

use super::{
    gateways::{Listener, Running},
    sample,
};
use crate::{
    condition::{State, judge},
    flags::Gateways,
    output::{self, Format, Paint},
};
use api::{Kind, ObjectId};
use control::Control;
use model::Status;
use std::{collections::BTreeMap, fmt::Write, net::SocketAddr, path::PathBuf};

/// Tells what became of every object.
pub struct Reporter {
    format: Option<Format>,
    sample: Option<PathBuf>,
    paint: Paint,
    told: Option<Told>,
}

/// What was told last.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    objects: BTreeMap<String, Line>,
    problems: Vec<String>,
    listeners: Vec<String>,
}

/// What became of one object.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    state: State,
    detail: String,
    /// Rises with every change of the object.
    generation: i64,
}

impl Reporter {
    pub fn new(format: Option<Format>, sample: Option<PathBuf>) -> Self {
        Self { format, sample, paint: Paint::stdout(), told: None }
    }

    /// Prints everything the first time, then what differs from the last time.
    pub fn report(&mut self, control: &Control, running: &Running, flags: &Gateways) -> anyhow::Result<()> {
        let now = Told {
            objects: objects(control, running),
            problems: control.objects.problems().iter().map(ToString::to_string).collect(),
            listeners: listeners(control, running, flags),
        };
        if self.told.as_ref() == Some(&now) {
            return Ok(());
        }
        let text = match self.format {
            Some(format) => {
                let statuses = output::text(format, &control::admin::statuses(&control.board, &control.objects))?;
                if format == Format::Yaml { format!("---\n{statuses}") } else { statuses }
            }
            None => match &self.told {
                None => self.everything(control, running, &now),
                Some(before) => self.difference(before, &now),
            },
        };
        self.told = Some(now);
        output::print(&text)
    }

    fn everything(&self, control: &Control, running: &Running, now: &Told) -> String {
        let mut text = format!("windlass {}\n\n", control::VERSION);
        let admin = control.admin.map(|admin| format!("http://{admin}/")).unwrap_or_default();
        // Writing to a String can't fail.
        let _ = writeln!(text, "control plane   xDS and certificates on {}, admin page {admin}", control.xds);
        for listener in &now.listeners {
            let _ = writeln!(text, "{listener}");
        }
        text += "\n";
        text += &self.table(now.objects.iter().map(|(object, line)| ("", object.as_str(), line)));
        for problem in &now.problems {
            let _ = writeln!(text, "{}", self.paint(State::Bad, problem));
        }
        if let Some(directory) = &self.sample
            && let Some(address) = running.listeners(control).find_map(|listener| listener.address)
        {
            text += &sample::hints(&format!("http://{address}"), directory);
        }
        text
    }

    fn difference(&self, before: &Told, now: &Told) -> String {
        let mut text = String::new();
        let gone = Line { state: State::Waits, detail: "deleted".into(), generation: 0 };
        let changed = now.objects.iter().filter_map(|(object, line)| match before.objects.get(object) {
            None => Some(("+ ", object.as_str(), line)),
            Some(old) if old != line => Some(("~ ", object.as_str(), line)),
            Some(_) => None,
        });
        let deleted = before.objects.keys().filter(|object| !now.objects.contains_key(*object));
        text += &self.table(changed.chain(deleted.map(|object| ("- ", object.as_str(), &gone))));
        let mut lines = |before: &[String], now: &[String], state: State| {
            for line in now.iter().filter(|line| !before.contains(line)) {
                let _ = writeln!(text, "+ {}", self.paint(state, line));
            }
            for line in before.iter().filter(|line| !now.contains(line)) {
                let _ = writeln!(text, "- {line}");
            }
        };
        lines(&before.listeners, &now.listeners, State::Good);
        lines(&before.problems, &now.problems, State::Bad);
        text
    }

    fn table<'a>(&self, lines: impl Iterator<Item = (&'static str, &'a str, &'a Line)>) -> String {
        let lines: Vec<_> = lines.collect();
        let width = lines.iter().map(|(mark, object, _)| mark.len() + object.chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        for (mark, object, line) in lines {
            let word = match line.state {
                State::Good => "ok   ",
                State::Waits => "-    ",
                State::Bad => "error",
            };
            let named = format!("{mark}{object}");
            let _ = writeln!(text, "{named:width$}   {}   {}", self.paint(line.state, word), line.detail);
        }
        text
    }

    fn paint(&self, state: State, text: &str) -> String {
        let colour = match state {
            State::Good => 32,
            State::Waits => 33,
            State::Bad => 31,
        };
        self.paint.colour(colour, text)
    }
}

/// Every object in use, by its name.
fn objects(control: &Control, running: &Running) -> BTreeMap<String, Line> {
    let mut lines = BTreeMap::new();
    let (statuses, objects) = control.board.statuses(|| control.objects.all());
    for (object, status) in statuses {
        let failed = running.failed.get(&object.key).filter(|_| &*object.kind == Kind::Gateway.as_str());
        let (state, detail) = match failed {
            Some(error) => (State::Bad, format!("its proxy could not be started: {error}")),
            None => judge_all(&status),
        };
        lines.insert(object.to_string(), Line { state, detail, generation: status.observed_generation });
    }
    for (id, object) in objects {
        let generation = object.metadata().generation.unwrap_or_default();
        lines.entry(id.to_string()).or_insert_with(|| {
            let (state, detail) = without_status(&id);
            Line { state, detail, generation }
        });
    }
    lines
}

/// Kinds that have no status, and objects that aren't ours.
fn without_status(id: &ObjectId) -> (State, String) {
    let kinds = [
        Kind::GatewayClass,
        Kind::Gateway,
        Kind::ListenerSet,
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TcpRoute,
        Kind::TlsRoute,
        Kind::UdpRoute,
        Kind::BackendTlsPolicy,
        Kind::XBackend,
        Kind::XBackendTrafficPolicy,
        Kind::AuthorizationPolicy,
        Kind::RequestAuthentication,
    ];
    match kinds.iter().any(|kind| kind.as_str() == &*id.kind) {
        true => (State::Waits, "left alone: no GatewayClass or Gateway of ours is concerned".into()),
        false => (State::Good, "read".into()),
    }
}

fn judge_all(status: &Status) -> (State, String) {
    let parents = status.parents.iter().chain(&status.ancestors);
    let parents = parents.flat_map(|parent| parent.conditions.iter().map(move |one| (Some(parent), one)));
    let listeners = status.listeners.iter().flat_map(|listener| &listener.conditions);
    let all = status.conditions.iter().chain(listeners).map(|one| (None, one)).chain(parents);
    let mut waits = None;
    for (parent, condition) in all {
        let place = || parent.map(|parent| format!("on {}: ", parent.parent)).unwrap_or_default();
        match judge(condition) {
            State::Bad => return (State::Bad, format!("{}{condition}", place())),
            State::Waits => {
                waits.get_or_insert_with(|| format!("{}{condition}", place()));
            }
            State::Good => {}
        }
    }
    match waits {
        Some(detail) => (State::Waits, detail),
        None => (State::Good, summary(status)),
    }
}

fn summary(status: &Status) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    let conditions = status.conditions.iter().chain(status.parents.iter().flat_map(|parent| &parent.conditions));
    for condition in conditions.filter(|condition| condition.verdict.holds == Some(true)) {
        if !kinds.contains(&condition.kind) {
            kinds.push(condition.kind);
        }
    }
    let mut text = kinds.join(", ");
    if !status.listeners.is_empty() {
        let routes: u32 = status.listeners.iter().map(|listener| listener.attached_routes).sum();
        let _ = write!(text, "; {} listeners, {routes} routes", status.listeners.len());
    }
    if !status.parents.is_empty() {
        let parents: Vec<String> = status.parents.iter().map(|parent| parent.parent.to_string()).collect();
        let _ = write!(text, "; on {}", parents.join(", "));
    }
    text
}

/// What listens where, and what should and doesn't.
fn listeners(control: &Control, running: &Running, flags: &Gateways) -> Vec<String> {
    let settings = flags.settings();
    let all: Vec<Listener> = running.listeners(control).collect();
    let listener = |Listener { gateway, port, address }: &Listener| match address {
        Some(address) => format!("gateway         {gateway} port {port} is on {address}"),
        None => {
            let wanted = SocketAddr::from((settings.bind, settings.bound_port(*port)));
            let owner = match all.iter().find(|other| other.address == Some(wanted)) {
                Some(other) => format!("Gateway {} has it", other.gateway),
                None => "another process has it, or the log says what".to_owned(),
            };
            format!("gateway         {gateway} port {port} is not open: it would be on {wanted}, but {owner}")
        }
    };
    let page = |(gateway, address)| format!("gateway         {gateway} has its admin page on http://{address}/");
    all.iter().map(listener).chain(running.admin_pages().map(page)).collect()
}
