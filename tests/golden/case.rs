//! Case files.

use proto::TypeUrl;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is made for a Gateway.
const MADE: [&str; 5] = ["ServiceAccount", "Service", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"];

const MARK: &str = "# ==== expected\n";

/// A case: a comment that says its purpose, Kubernetes YAML, the mark, and what is expected.
///
/// A line `# show: statuses Cluster VirtualHost` limits what is written below the mark to these; without one it is all.
/// A line `# hide: retry_policy` leaves out fields of these names. With a line `# in a cluster` Gateways have addresses by
/// their Services, and what is made for them is written too, if `# show:` names its kind.
pub struct Case {
    pub input: String,
    pub expected: String,
    /// Types of resources to show; none is all.
    types: Option<Vec<TypeUrl>>,
    pub statuses: bool,
    hidden: Vec<String>,
    /// Kinds of what is made for Gateways that are shown.
    manifests: Vec<String>,
    pub in_cluster: bool,
}

/// The files whose names contain one of the parts, sorted.
pub fn files(parts: &[String]) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cases");
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.retain(|file| parts.is_empty() || parts.iter().any(|part| file.to_string_lossy().contains(part)));
    files.sort();
    files
}

impl Case {
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|why| why.to_string())?;
        let (input, expected) = text.split_once(MARK).unwrap_or((&text, ""));
        if !input.starts_with("# ") {
            return Err("the first line must be a comment that says what the case is for".into());
        }
        let mut case = Self {
            input: input.into(),
            expected: expected.into(),
            types: None,
            statuses: true,
            hidden: Vec::new(),
            manifests: Vec::new(),
            in_cluster: input.lines().any(|line| line == "# in a cluster"),
        };
        if let Some(shown) = input.lines().find_map(|line| line.strip_prefix("# show: ")) {
            let words: Vec<&str> = shown.split_whitespace().collect();
            let named = words.iter().filter(|word| **word != "statuses" && !MADE.contains(word));
            let types: Result<_, _> =
                named.map(|word| type_named(word).ok_or(format!("no such type: {word}"))).collect();
            case.types = Some(types?);
            case.statuses = words.contains(&"statuses");
            case.manifests = words.iter().filter(|word| MADE.contains(word)).map(|word| (*word).to_owned()).collect();
        }
        let hidden = input.lines().find_map(|line| line.strip_prefix("# hide: "));
        case.hidden = hidden.into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect();
        Ok(case)
    }

    pub fn shows(&self, type_url: TypeUrl) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&type_url))
    }

    /// Whether it shows what is made for Gateways of a kind; an empty one is any.
    pub fn shows_made(&self, kind: &str) -> bool {
        self.manifests.iter().any(|shown| shown == kind || kind.is_empty())
    }

    /// A value without the fields that the case hides.
    pub fn without_hidden(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let shown = fields.into_iter().filter(|(name, _)| !self.hidden.contains(name));
                Value::Object(shown.map(|(name, value)| (name, self.without_hidden(value))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.without_hidden(item)).collect()),
            other => other,
        }
    }

    pub fn write(&self, file: &Path, expected: &str) -> Result<(), String> {
        std::fs::write(file, format!("{}{MARK}{expected}", self.input)).map_err(|why| why.to_string())
    }
}

/// `Cluster` for `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
pub fn type_name(type_url: TypeUrl) -> &'static str {
    type_url.as_str().rsplit('.').next().unwrap_or_default()
}

fn type_named(name: &str) -> Option<TypeUrl> {
    TypeUrl::ALL.into_iter().find(|type_url| type_name(*type_url) == name)
}
