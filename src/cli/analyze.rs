//! `windlass analyze`: what is wrong with some files, before anybody applies them.

mod certificates;
mod finding;
mod policies;
mod routes;
mod services;
mod shadow;
mod verdicts;

use crate::{
    live::Source,
    offline::{Assume, World},
    output::{self, Format, Paint},
};
use anyhow::Context;
use clap::{Args, ValueEnum};
use finding::{Finding, Level};
use serde::Serialize;
use std::{fmt::Write, path::PathBuf, process::ExitCode, time::SystemTime};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Says what is wrong with Kubernetes objects: schema, verdicts of the specification, and what hardly can be meant.
///
/// Everything is computed as the control plane does it. With FILES alone no cluster is asked, and what they refer to must
/// be among them; without FILES those of the cluster are looked at, with --use-kube the cluster as it would be
/// with the files applied. With --namespace only what is said of that namespace's objects is told.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 nothing at --failure-threshold or above; 1 something; 2 the command line or a path is wrong."
)]
pub struct Analyze {
    /// Files and directories of Kubernetes objects (YAML or JSON); - is standard input.
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    assume: Assume,
    /// The least that makes the command fail.
    #[arg(long, value_name = "LEVEL", default_value = "error")]
    failure_threshold: Level,
    /// The least that is told.
    #[arg(long, value_name = "LEVEL", default_value = "warning")]
    output_threshold: Level,
    /// Certificates are judged as of this time (RFC 3339) in place of now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print for machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// What was found, for machines.
#[derive(Serialize)]
struct Report<'a> {
    findings: Vec<&'a Finding>,
    objects: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
}

impl Analyze {
    pub fn main(self) -> anyhow::Result<ExitCode> {
        let now = match &self.at {
            Some(text) => OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("--at {text}"))?,
            None => SystemTime::now().into(),
        };
        let world = self.source.read(&self.files, &self.assume)?;
        let mut findings = findings(&world, now);
        if let Some(namespace) = &self.source.cluster.namespace {
            findings.retain(|finding| finding.namespace.as_deref().is_none_or(|one| one == namespace));
        }
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let report = Report {
            findings: findings.iter().filter(|finding| finding.level <= self.output_threshold).collect(),
            objects: world.objects.len(),
            errors: count(Level::Error),
            warnings: count(Level::Warning),
            notes: count(Level::Note),
        };
        output::print(&match self.output {
            Some(format) => output::text(format, &report)?,
            None => text(&report, Paint::stdout()),
        })?;
        let fails = findings.iter().any(|finding| finding.level <= self.failure_threshold);
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Everything that is to be said, in the order of places.
fn findings(world: &World, now: OffsetDateTime) -> Vec<Finding> {
    let mut all: Vec<Finding> = world.problems.iter().map(Finding::of_problem).collect();
    all.extend(world.notes.iter().map(|note| Finding::of_cluster(note)));
    all.extend(verdicts::findings(world));
    all.extend(routes::findings(world));
    all.extend(shadow::findings(world));
    all.extend(services::findings(world));
    all.extend(policies::findings(world));
    all.extend(certificates::findings(world, now));
    all.sort();
    all.dedup();
    all
}

fn text(report: &Report<'_>, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    for finding in &report.findings {
        let level = paint.bold(finding.level.colour(), finding.level.as_str());
        let _ = write!(text, "{}{level}: ", finding.position());
        if let Some(object) = &finding.object {
            let _ = write!(text, "{object}: ");
        }
        if !finding.field.is_empty() {
            let _ = write!(text, "{}: ", finding.field);
        }
        let _ = writeln!(text, "{} [{}]", finding.message, finding.code);
        if let Some(advice) = finding.advice {
            let _ = writeln!(text, "    {} {advice}", paint.dim("do:"));
        }
    }
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let counts = [(report.errors, "error"), (report.warnings, "warning"), (report.notes, "note")];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| plural(*count, word)).collect();
    let found = if counts.is_empty() { "nothing to complain of".to_owned() } else { counts.join(", ") };
    let _ = writeln!(text, "{found} in {}", plural(report.objects, "object"));
    text
}

impl ValueEnum for Level {
    fn value_variants<'a>() -> &'a [Self] {
        &[Level::Error, Level::Warning, Level::Note]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}
