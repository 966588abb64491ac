//! What filters say of a request to the filters after them and to the log: Envoy's dynamic metadata, as far as anybody
//! reads it. Two filters write: RBAC what its shadow rules would decide, JWT authentication the claims that it verified.

use crate::config::{Name, StringMatch};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The name under which RBAC filters write.
pub const RBAC: &str = "envoy.filters.http.rbac";
/// The name under which JWT filters write.
pub const JWT: &str = "envoy.filters.http.jwt_authn";

/// What the filters have said of one request.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    notes: Vec<Note>,
    claims: Option<Box<Map<String, Value>>>,
}

/// What the shadow rules of a filter would decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `shadow_rules_stat_prefix`
    pub prefix: Name,
    /// Whether the request would go on.
    pub allowed: bool,
    /// The rule that matched.
    pub policy: Option<Name>,
}

/// A condition on metadata (`envoy.type.matcher.v3.MetadataMatcher`).
#[derive(Clone, Debug)]
pub struct MetadataMatch {
    /// The filter that wrote it.
    pub filter: Name,
    /// Keys, from the outside in.
    pub path: Box<[Name]>,
    /// The value.
    pub value: ValueMatch,
    /// Matches if the value does not; what is absent has no value that could.
    pub invert: bool,
}

/// A condition on a value; what is absent has none of them.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// A text.
    Text(StringMatch),
    /// A list with such a value.
    OneOf(StringMatch),
}

impl Metadata {
    /// Notes what shadow rules would decide; later notes of a prefix replace the former.
    pub fn note(&mut self, note: Note) {
        self.notes.retain(|one| one.prefix != note.prefix);
        self.notes.push(note);
    }

    /// All notes of shadow rules.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Adds the claims of a verified token under a key; claims of another token under that key stay, unless they have
    /// the same names.
    pub fn add_claims(&mut self, key: &str, claims: &Map<String, Value>) {
        let all = self.claims.get_or_insert_default();
        match all.get_mut(key) {
            Some(Value::Object(before)) => {
                before.extend(claims.iter().map(|(name, value)| (name.clone(), value.clone())))
            }
            _ => drop(all.insert(key.to_owned(), Value::Object(claims.clone()))),
        }
    }

    /// A value.
    pub fn get(&self, filter: &str, path: &[Name]) -> Option<Cow<'_, Value>> {
        match (filter, path) {
            (RBAC, [key]) => self.notes.iter().find_map(|note| note.get(key)).map(|text| Cow::Owned(text.into())),
            (JWT, [first, rest @ ..]) => {
                let value = self.claims.as_ref()?.get(&**first)?;
                rest.iter().try_fold(value, |value, key| value.get(&**key)).map(Cow::Borrowed)
            }
            _ => None,
        }
    }
}

impl Note {
    fn get(&self, key: &str) -> Option<&str> {
        match key.strip_prefix(&*self.prefix)? {
            "shadow_engine_result" if self.allowed => Some("allowed"),
            "shadow_engine_result" => Some("denied"),
            "shadow_effective_policy_id" => self.policy.as_deref(),
            _ => None,
        }
    }
}

impl MetadataMatch {
    /// Whether it holds.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let value = metadata.get(&self.filter, &self.path);
        value.is_some_and(|value| self.value.matches(&value)) != self.invert
    }
}

impl ValueMatch {
    fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(wanted), Value::String(text)) => wanted.matches(text),
            (Self::OneOf(wanted), Value::Array(list)) => {
                list.iter().filter_map(Value::as_str).any(|text| wanted.matches(text))
            }
            _ => false,
        }
    }

    /// What a text must be.
    pub fn wanted(&self) -> &StringMatch {
        let (Self::Text(wanted) | Self::OneOf(wanted)) = self;
        wanted
    }
}
