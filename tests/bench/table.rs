//! Rows of figures: printed as one table, and kept as `target/bench/NAME.jsonl`.

use anyhow::{Context, Result};
use serde::Serialize;
use std::{fs, io::Write, path::Path};

/// One figure beside what it is compared with. `ratio` is ours/theirs.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How large the case was.
    pub size: String,
    /// Of `ours` and `theirs`.
    pub unit: String,
    /// Our figure: a median where there were rounds.
    pub ours: f64,
    /// Whom it is compared with: a program in the same run, or `target`.
    pub peer: String,
    /// Their figure.
    pub theirs: f64,
    /// Ours by theirs.
    pub ratio: f64,
    /// What the ratio should be, as text.
    pub wanted: String,
    /// Whether it is so.
    pub ok: bool,
    /// Lowest and highest of the rounds, ours then theirs, where there were rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<[f64; 4]>,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// At most.
    Most(f64),
    /// At least.
    Least(f64),
    /// For information.
    Known,
}

impl Row {
    /// A row of two figures.
    pub fn new(what: &str, size: &str, unit: &str, ours: f64, (peer, theirs): (&str, f64), wanted: Wanted) -> Self {
        let ratio = if theirs == 0.0 { 0.0 } else { ours / theirs };
        let (text, ok) = match wanted {
            Wanted::Most(limit) => (format!("<= {limit}"), ratio <= limit),
            Wanted::Least(limit) => (format!(">= {limit}"), ratio >= limit),
            Wanted::Known => ("-".into(), true),
        };
        let (what, size, unit, peer) = (what.into(), size.into(), unit.into(), peer.into());
        Self { what, size, unit, ours, peer, theirs, ratio, wanted: text, ok, spread: None }
    }

    /// A row of the medians of rounds.
    pub fn of_rounds(
        what: &str,
        size: &str,
        unit: &str,
        ours: &[f64],
        (peer, theirs): (&str, &[f64]),
        wanted: Wanted,
    ) -> Self {
        let mut row = Self::new(what, size, unit, median(ours), (peer, median(theirs)), wanted);
        let ends = |all: &[f64]| {
            (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        };
        let ((a, b), (c, d)) = (ends(ours), ends(theirs));
        row.spread = Some([a, b, c, d]);
        row
    }
}

/// The middle of some figures; 0 of none.
pub fn median(all: &[f64]) -> f64 {
    percentile(all, 50.0)
}

/// A percentile of some figures, by nearest rank; 0 of none.
pub fn percentile(all: &[f64], percent: f64) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * all.len() as f64).ceil() as usize;
    all.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Rows of one name.
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// An empty table, its head printed.
    pub fn new() -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("load average {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
        println!(
            "{:44} {:>10} {:>9} {:>10}  {:9} {:>10} {:>7}  wanted",
            "what", "size", "unit", "ours", "peer", "theirs", "ratio"
        );
        Self { rows: Vec::new() }
    }

    /// Adds a row and prints it at once.
    pub fn add(&mut self, row: Row) {
        let mark = if row.ok { "" } else { "  SHORT" };
        println!(
            "{:44} {:>10} {:>9} {:>10}  {:9} {:>10} {:>7.2}  {}{mark}",
            row.what,
            row.size,
            row.unit,
            short(row.ours),
            row.peer,
            short(row.theirs),
            row.ratio,
            row.wanted
        );
        self.rows.push(row);
    }

    /// Writes `target/bench/NAME.jsonl`, and says how many rows there are.
    pub fn keep(&self, name: &str) -> Result<usize> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
        fs::create_dir_all(&target).context("make target/bench")?;
        let mut file = fs::File::create(target.join(format!("{name}.jsonl")))?;
        for row in &self.rows {
            writeln!(file, "{}", serde_json::to_string(row)?)?;
        }
        Ok(self.rows.len())
    }
}

fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}
