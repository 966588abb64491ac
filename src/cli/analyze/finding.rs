//! One thing that is wrong, and where.

use crate::offline::World;
use api::{FieldPath, ObjectId, Problem, Severity};
use serde::Serialize;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something doesn't work as it is written.
    Error,
    /// It works, and can hardly be meant.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }

    /// The ANSI colour.
    pub fn colour(self) -> u8 {
        match self {
            Level::Error => 31,
            Level::Warning => 33,
            Level::Note => 36,
        }
    }
}

/// One thing that is wrong. The order is that of places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file; empty if it isn't known.
    pub file: Arc<str>,
    /// From 1; 0 is the file as a whole.
    pub line: u32,
    /// From 1; 0 is the line as a whole.
    pub column: u32,
    /// How bad it is.
    pub level: Level,
    /// A condition's reason, or the name of the check.
    pub code: &'static str,
    /// The object's namespace; none if there is no object, or it has none.
    #[serde(skip)]
    pub namespace: Option<Arc<str>>,
    /// The object, `Kind namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field; empty is the object as a whole.
    pub field: String,
    /// What was wanted, what was seen.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

impl Finding {
    /// Something wrong with a field of an object.
    pub fn new(
        world: &World,
        level: Level,
        code: &'static str,
        object: &ObjectId,
        path: &FieldPath,
        message: impl Into<String>,
    ) -> Self {
        let (file, line, column) = world.place(object, path);
        let namespace = of(object);
        let (object, field, message) = (Some(object.to_string()), path.to_string(), message.into());
        Self { file, line, column, level, code, namespace, object, field, message, advice: advice(code) }
    }

    /// Something that is odd about the cluster that was asked.
    pub fn of_cluster(message: &str) -> Self {
        Self {
            file: "cluster".into(),
            line: 0,
            column: 0,
            level: Level::Warning,
            code: "Cluster",
            namespace: None,
            object: None,
            field: String::new(),
            message: message.to_owned(),
            advice: advice("Cluster"),
        }
    }

    /// What the door says.
    pub fn of_problem(problem: &Problem) -> Self {
        let Problem { severity, file, line, column, object, path, message } = problem;
        let (level, code) = match (severity, object) {
            (Severity::Note, _) => (Level::Note, "UnknownKind"),
            (Severity::Warning, _) => (Level::Warning, "UnknownField"),
            (Severity::Error, None) => (Level::Error, "Syntax"),
            (Severity::Error, Some(_)) if message.starts_with("defined already") => (Level::Error, "Duplicate"),
            (Severity::Error, Some(_)) => (Level::Error, "Schema"),
        };
        Self {
            file: file.clone(),
            line: *line,
            column: *column,
            level,
            code,
            namespace: object.as_ref().and_then(of),
            object: object.as_ref().map(ToString::to_string),
            field: path.to_string(),
            message: message.clone(),
            advice: advice(code),
        }
    }

    /// `file:line:column: ` as far as it is known.
    pub fn position(&self) -> String {
        let mut text = self.file.to_string();
        for number in [self.line, self.column] {
            if number == 0 {
                break;
            }
            text += &format!(":{number}");
        }
        if text.is_empty() { text } else { text + ": " }
    }
}

fn of(object: &ObjectId) -> Option<Arc<str>> {
    (!object.namespace.is_empty()).then(|| object.namespace.clone())
}

/// What to do, where the message doesn't say it.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "UnknownField" => "correct the spelling, or remove it",
        "Duplicate" => "keep one definition of the object",
        "BackendNotFound" => "create what it names, with that port, or correct the reference",
        "RefNotPermitted" => "create a ReferenceGrant in the namespace of what is referred to",
        "NoMatchingListenerHostname" => {
            "give the route a hostname within the listener's, or widen the listener's hostname"
        }
        "NotAllowedByListeners" => "let the listener's allowedRoutes admit the route's kind and namespace",
        "NoMatchingParent" => "correct sectionName and port of the parentRef",
        "TargetNotFound" => "correct the name, or create the target; until then the policy has no effect",
        "ParentNotFound" => "add the parent, or correct the parentRef",
        "ClassNotFound" => "add the GatewayClass, or give --class if its controller is Windlass",
        "NoParent" => "name a Gateway in spec.parentRefs",
        "Cluster" => "what can't be read may make other findings wrong, or be missing from them",
        "NoEndpoints" => "requests are answered 503 until there is an endpoint that is ready",
        "PolicyUnattached" => "correct selector or targetRefs; as it is the policy has no effect at any Gateway",
        "PolicyMatchesNothing" => "write rules; a DENY policy without any denies nothing",
        "Shadowed" => "remove the match, or make it more specific than the one that takes its requests",
        "CertificateExpired" | "CertificateExpires" => "renew it",
        "CertificateHost" => "issue a certificate with that name, or correct the listener's hostname",
        _ => return None,
    })
}
