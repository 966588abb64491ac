//! The rooms form a stair: the table in `src/ARCHITECTURE.md` says who may import whom, and this test holds the
//! manifests and the sources to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Rooms that cannot fail and cannot wait: no runtime, no clock, no client, no log.
const PURE: [&str; 4] = ["model", "engine", "resolve", "translate"];

/// What a pure room may not link.
const IMPURE_CRATES: [&str; 12] = [
    "tokio",
    "tokio-util",
    "tokio-stream",
    "tonic",
    "hyper",
    "hyper-util",
    "axum",
    "tracing",
    "tracing-subscriber",
    "log",
    "kube",
    "notify",
];

/// What a pure room may not say.
const IMPURE_WORDS: [&str; 12] = [
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "now_utc",
    "std::fs",
    "std::net::Tcp",
    "std::env",
    "println!",
    "rand::",
    "tracing::",
    "thread::sleep",
];

/// Only `base` starts tasks and threads.
const SPAWNS: [&str; 8] = [
    "tokio::spawn",
    "task::spawn",
    // `Tasks::spawn_local` is base's own; the word for others is above, and this.
    "LocalSet",
    "spawn_blocking(",
    "thread::spawn",
    "thread::Builder",
    "JoinSet",
    "runtime.spawn(",
];

/// Exceptions: `(path, word, why)`.
const MAY_SPAWN: [(&str, &str, &str); 0] = [];

/// Files longer than this are listed, so that somebody looks.
const LONG: usize = 450;

#[test]
fn no_arrow_points_up_the_stair() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (room, allowed) in stair(&rooms) {
        let manifest = fs::read_to_string(directory(&room).join("Cargo.toml")).expect("every room has a manifest");
        for dependency in dependencies(&manifest) {
            if rooms.contains(&dependency) && !allowed.contains(&dependency) {
                wrong.push(format!("{room} imports {dependency}; src/ARCHITECTURE.md allows only {allowed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_names_every_room() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let members: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"src/").or(line.trim().strip_prefix("\"")))
        .filter_map(|line| line.strip_suffix("\","))
        .filter(|name| *name != "tests")
        .map(str::to_owned)
        .collect();
    assert_eq!(members, rooms(), "the members of the workspace and the rooms of src/ARCHITECTURE.md");
}

#[test]
fn pure_rooms_link_no_runtime_no_clock_no_log() {
    let mut wrong = Vec::new();
    for room in PURE {
        let manifest = fs::read_to_string(directory(room).join("Cargo.toml")).expect("every room has a manifest");
        let linked = dependencies(&manifest);
        wrong.extend(IMPURE_CRATES.iter().filter(|c| linked.contains(**c)).map(|c| format!("{room} links {c}")));
        wrong.extend(sentences(room, &IMPURE_WORDS));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_control_and_cli_link_the_kubernetes_client() {
    for room in rooms().iter().filter(|room| !["control", "cli"].contains(&room.as_str())) {
        let manifest = fs::read_to_string(directory(room).join("Cargo.toml")).expect("every room has a manifest");
        let linked = dependencies(&manifest);
        for client in ["kube", "kube-client", "kube-runtime"] {
            assert!(!linked.contains(client), "{room} links {client}");
        }
    }
}

#[test]
fn only_base_spawns() {
    let mut wrong = Vec::new();
    for room in rooms().iter().filter(|room| *room != "base") {
        let excused =
            |found: &String| MAY_SPAWN.iter().any(|(path, word, _)| found.starts_with(path) && found.ends_with(word));
        wrong.extend(sentences(room, &SPAWNS).into_iter().filter(|found| !excused(found)));
    }
    assert!(wrong.is_empty(), "start tasks through base::tasks:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let mut wrong = Vec::new();
    for path in rooms().iter().flat_map(|room| sources(&directory(room))).chain(sources(&root().join("tests"))) {
        let text = fs::read_to_string(&path).expect("a source is text");
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        // A file of unit tests belongs to the file that it tests.
        if !text.starts_with("//!") && !shown.ends_with("/tests.rs") {
            wrong.push(shown.clone());
        }
        if text.lines().count() > LONG {
            eprintln!("long: {shown}: {} lines", text.lines().count());
        }
    }
    assert!(wrong.is_empty(), "these files do not open with //!:\n{}", wrong.join("\n"));
}

/// Where `words` stand in the code of a room, outside comments and test modules: `path:line: word`.
fn sentences(room: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(&directory(room)) {
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        if shown.contains("/tests") || shown.ends_with("_test.rs") || shown.ends_with("build.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source is text");
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                break;
            }
            let code = line.split("//").next().unwrap_or_default();
            found.extend(words.iter().filter(|w| code.contains(**w)).map(|w| format!("{shown}:{}: {w}", number + 1)));
        }
    }
    found
}

/// The rows of the table: `| room | owns | may import | does not know |`.
fn table() -> Vec<[String; 2]> {
    let page = fs::read_to_string(root().join("src/ARCHITECTURE.md")).expect("the architecture page");
    let rows = page.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        [cells[1].trim_matches('`').to_owned(), cells[3].to_owned()]
    });
    cells.collect()
}

fn rooms() -> BTreeSet<String> {
    let rooms: BTreeSet<_> = table().into_iter().map(|[room, _]| room).collect();
    assert!(rooms.len() >= 10, "the table in src/ARCHITECTURE.md was not found");
    rooms
}

/// For each room what it may import.
fn stair(rooms: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut above = BTreeSet::new();
    let mut stair = BTreeMap::new();
    for [room, may] in table() {
        let allowed = match may.as_str() {
            "any" => rooms.clone(),
            "all above" => above.clone(),
            names => names.split_whitespace().filter(|name| rooms.contains(*name)).map(str::to_owned).collect(),
        };
        above.insert(room.clone());
        stair.insert(room, allowed);
    }
    stair
}

/// The names under `[dependencies]` and `[build-dependencies]`; what only tests link is free.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut within = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line.ends_with("dependencies]") && line != "[dev-dependencies]";
        } else if within && !line.starts_with('#') {
            names.extend(line.split_once(['.', ' ', '=']).map(|(name, _)| name.to_owned()));
        }
    }
    names
}

fn directory(room: &str) -> PathBuf {
    if room == "proto" { root().join(room) } else { root().join("src").join(room) }
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of the workspace").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}
