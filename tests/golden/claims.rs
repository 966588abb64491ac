//! What we claim, held against what cases show: every reason that the specification names has a case or a word on why it
//! can't happen, and the features in the status of a GatewayClass are those that cases prove.

use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// `reasons.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasons {
    /// Constants of the specification's Go module: `<kind>[.<part>] <condition>=<status> (<reason>)` as a case shows it,
    /// `in <file>` if another test does, or `never: <why>`.
    specification: BTreeMap<String, String>,
    /// Reasons of ours, where the specification has none that fits: what they say.
    ours: BTreeMap<String, String>,
}

/// Everything that is wrong.
pub fn check() -> Vec<String> {
    let cases = texts("golden/cases");
    let seen: BTreeSet<String> = cases.iter().flat_map(|text| conditions(text)).collect();
    let mut wrong = reasons(&seen);
    wrong.extend(features(cases.iter().chain(&texts("differential/cases"))));
    wrong
}

fn reasons(seen: &BTreeSet<String>) -> Vec<String> {
    let text = std::fs::read_to_string(here("golden/reasons.yaml")).expect("golden/reasons.yaml");
    let reasons: Reasons = serde_yaml_ng::from_str(&text).expect("reasons.yaml is as this test reads it");
    let mut wrong = Vec::new();
    for (constant, claim) in &reasons.specification {
        if let Some(file) = claim.strip_prefix("in ") {
            let reason = constant.split_once("Reason").map_or("", |(_, reason)| reason);
            let test = std::fs::read_to_string(here("..").join(file)).unwrap_or_default();
            if !test.contains(&format!("\"{reason}\"")) {
                wrong.push(format!("{constant}: {file} doesn't name {reason}"));
            }
        } else if !claim.starts_with("never: ") && !seen.contains(claim) {
            wrong.push(format!("{constant}: no golden case shows {claim}"));
        }
    }
    let named: BTreeSet<&str> = reasons.specification.keys().filter_map(|c| Some(c.split_once("Reason")?.1)).collect();
    for condition in seen {
        let reason = condition.rsplit_once('(').map_or("", |(_, reason)| reason.trim_end_matches(')'));
        if !named.contains(reason) && !reasons.ours.contains_key(reason) {
            wrong.push(format!("{condition}: reasons.yaml doesn't name that reason"));
        }
    }
    wrong.extend(constants().into_iter().flatten().filter_map(|constant| {
        (!reasons.specification.contains_key(&constant)).then(|| format!("{constant}: missing in reasons.yaml"))
    }));
    wrong
}

/// The reasons in the specification's Go module, if `WINDLASS_GATEWAY_API` says where it is.
fn constants() -> Option<Vec<String>> {
    let module = PathBuf::from(std::env::var_os("WINDLASS_GATEWAY_API")?).join("apis/v1");
    let files = std::fs::read_dir(&module).unwrap_or_else(|why| panic!("{}: {why}", module.display()));
    let sources = files.flatten().map(|file| std::fs::read_to_string(file.path()).unwrap_or_default());
    let constant = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, kind, "=", value] if kind.ends_with("ConditionReason") && value.starts_with('"') => {
                Some((*name).to_owned())
            }
            _ => None,
        }
    };
    Some(sources.flat_map(|source| source.lines().filter_map(constant).collect::<Vec<_>>()).collect())
}

/// A feature is claimed if and only if a case has it in a line `# proves: ..`.
fn features<'a>(cases: impl Iterator<Item = &'a String>) -> Vec<String> {
    let lines = cases.flat_map(|text| text.lines().filter_map(|line| line.strip_prefix("# proves: ")));
    let proven: BTreeSet<&str> = lines.flat_map(str::split_whitespace).collect();
    let claimed: BTreeSet<&str> = resolve::SUPPORTED_FEATURES.iter().copied().collect();
    let mut wrong: Vec<String> =
        claimed.difference(&proven).map(|feature| format!("{feature} is claimed and no case proves it")).collect();
    wrong.extend(proven.difference(&claimed).map(|feature| format!("{feature} is proven by a case and not claimed")));
    if !resolve::SUPPORTED_FEATURES.is_sorted() || claimed.len() != resolve::SUPPORTED_FEATURES.len() {
        wrong.push("the supported features must be sorted, each once".into());
    }
    if let Some(module) = std::env::var_os("WINDLASS_GATEWAY_API") {
        let sources = read_all(&PathBuf::from(module).join("pkg/features")).concat();
        let unknown = claimed.iter().filter(|feature| !sources.contains(&format!("\"{feature}\"")));
        wrong.extend(unknown.map(|feature| format!("{feature} is no feature of the Go module")));
    }
    wrong
}

/// The conditions that a case expects: `<kind>[.<part>] <condition>=<status> (<reason>)`.
fn conditions(case: &str) -> Vec<String> {
    let (mut kind, mut part, mut found) = ("", "", Vec::new());
    let expected = case.split_once("# ==== expected\n").map_or("", |(_, expected)| expected);
    for line in expected.lines() {
        let depth = line.len() - line.trim_start().len();
        let text = line.trim_start();
        if depth == 0 {
            kind = text.strip_prefix("status ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        }
        let word = text.split([' ', '=']).next().unwrap_or_default();
        match text.find(')').map(|end| &text[..=end]).filter(|text| text.starts_with(&format!("{word}="))) {
            _ if depth == 0 || kind.is_empty() => {}
            Some(condition) if depth == 2 => found.push(format!("{kind} {condition}")),
            Some(condition) => found.push(format!("{kind}.{part} {condition}")),
            None => part = word,
        }
    }
    found
}

fn texts(directory: &str) -> Vec<String> {
    read_all(&here(directory))
}

fn read_all(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect()
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
