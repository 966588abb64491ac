//! `windlass diff`: what a change of YAML changes for the data planes and in statuses.

mod fields;
mod message;
mod statuses;

use crate::{
    live::{Live, Source},
    offline::{Assume, Origin, World},
    output::{self, Format, Paint},
};
use anyhow::ensure;
use api::Severity;
use clap::Args;
use fields::Field;
use message::Messages;
use proto::{Resource, ResourceKey, TypeUrl};
use serde::Serialize;
use std::{collections::BTreeSet, fmt::Write, path::PathBuf, process::ExitCode};

/// Shows the effect of a change of YAML before it is applied: xDS resources field by field, and statuses.
///
/// With two paths they are compared: objects as they are, and as they are to be. With one path, or --use-kube, a cluster is
/// compared with what it would be if the files were applied; nothing is written to it. What has no effect shows nothing. A
/// change of a listener is marked, for its connections drain; all else leaves connections alone.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 no difference; 1 a difference; 2 the command line or a path is wrong.")]
pub struct Diff {
    /// Files and directories of Kubernetes objects: OLD NEW, or what is to be applied to a cluster; - is standard input.
    #[arg(value_name = "FILES", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    assume: Assume,
    /// Print for machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Everything that differs.
#[derive(Serialize)]
struct Report {
    resources: Vec<Change>,
    statuses: Vec<statuses::Change>,
}

/// A resource that differs.
#[derive(Serialize)]
struct Change {
    change: Kind,
    scope: String,
    #[serde(rename = "type")]
    type_name: &'static str,
    name: String,
    /// Whether connections of clients end: a listener changes or goes.
    connections: bool,
    fields: Vec<Field>,
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Added,
    Changed,
    Removed,
}

impl Diff {
    pub fn main(self) -> anyhow::Result<ExitCode> {
        let (old, new) = self.worlds()?;
        let report = Report { resources: resources(&old, &new)?, statuses: statuses::changes(&old, &new) };
        output::print(&match self.output {
            Some(format) => output::text(format, &report)?,
            None => text(&report, Paint::stdout()),
        })?;
        let same = report.resources.is_empty() && report.statuses.is_empty();
        Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Diff {
    /// As it is, and as it is to be.
    fn worlds(&self) -> anyhow::Result<(World, World)> {
        let (old, new) = match self.paths.as_slice() {
            [old, new] if !self.source.is_live(&self.paths) => {
                let read = |path: &PathBuf| World::read(std::slice::from_ref(path), &self.assume);
                (read(old)?, read(new)?)
            }
            paths => {
                let is_one = paths.len() == 1 || self.source.is_live(paths);
                ensure!(
                    is_one,
                    "wanted OLD and NEW, saw {} paths: give --use-kube to apply all to a cluster",
                    paths.len()
                );
                let live = Live::read(&self.source.cluster)?;
                (live.world(&[])?, live.world(paths)?)
            }
        };
        if old.origin == Origin::Files {
            old.complain();
        }
        new.complain();
        // What can't be read at all may be anything: nothing is to be said of the rest.
        let mut lost = old.problems.iter().chain(&new.problems);
        let lost = lost.find(|one| one.severity == Severity::Error && one.object.is_none());
        ensure!(lost.is_none(), "{} can't be read as objects", lost.map(|one| &*one.file).unwrap_or_default());
        Ok((old, new))
    }
}

fn resources(old: &World, new: &World) -> anyhow::Result<Vec<Change>> {
    let keys: BTreeSet<&ResourceKey> = old.resources.keys().chain(new.resources.keys()).collect();
    let mut messages = None;
    let mut changes = Vec::new();
    for key in keys {
        let (before, after) = (old.resources.get(key), new.resources.get(key));
        if before.map(|one| one.version) == after.map(|one| one.version) {
            continue;
        }
        let messages = match &messages {
            Some(messages) => messages,
            None => messages.insert(Messages::new()?),
        };
        let value = |one: Option<&std::sync::Arc<Resource>>| {
            one.map(|one| messages.value(key.type_url, &one.body)).unwrap_or_default()
        };
        let kind = match (before, after) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            _ => Kind::Changed,
        };
        let fields = if kind == Kind::Changed { fields::difference(&value(before), &value(after)) } else { Vec::new() };
        changes.push(Change {
            change: kind,
            scope: key.scope.to_string(),
            type_name: key.type_url.as_str().rsplit('.').next().unwrap_or_default(),
            name: key.name.to_string(),
            connections: key.type_url == TypeUrl::Listener && kind != Kind::Added,
            fields,
        });
    }
    Ok(changes)
}

impl Kind {
    fn mark(self) -> (&'static str, u8) {
        match self {
            Kind::Added => ("+", 32),
            Kind::Changed => ("~", 33),
            Kind::Removed => ("-", 31),
        }
    }
}

fn text(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    for change in &report.resources {
        let (mark, colour) = change.change.mark();
        let drains = if change.connections { paint.bold(31, "  (its connections drain)") } else { String::new() };
        let what = format!("{mark} {} {} {}", change.scope, change.type_name, change.name);
        let _ = writeln!(text, "{}{drains}", paint.colour(colour, &what));
        for field in &change.fields {
            let _ = writeln!(text, "    {field}");
        }
    }
    for change in &report.statuses {
        let (mark, colour) = change.change.mark();
        let _ = writeln!(text, "{}", paint.colour(colour, &format!("{mark} status of {}", change.object)));
        for line in &change.lines {
            let _ = writeln!(text, "    {line}");
        }
    }
    let count = |kind| report.resources.iter().filter(|change| change.change == kind).count();
    let listeners = report.resources.iter().filter(|change| change.connections).count();
    if report.resources.is_empty() && report.statuses.is_empty() {
        return text + "no effect\n";
    }
    let (added, changed, removed) = (count(Kind::Added), count(Kind::Changed), count(Kind::Removed));
    let drains = match listeners {
        0 => "no connection is touched".to_owned(),
        count => format!("{count} listeners whose connections drain"),
    };
    let _ = writeln!(
        text,
        "resources: {added} added, {changed} changed, {removed} removed; {} statuses; {drains}",
        report.statuses.len()
    );
    text
}
