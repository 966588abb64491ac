//! What is wrong with an object, and where.

use crate::ObjectId;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A field of an object or a key of a map.
    Field(String),
    /// An item of a list.
    Item(usize),
}

/// Where in an object, such as `spec.rules[0].matches[1].path`. Empty is the object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(pub Vec<Step>);

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Field(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    write!(f, "{}{name}", if place == 0 { "" } else { "." })?;
                }
                Step::Field(name) => write!(f, "[{name:?}]")?,
            }
        }
        Ok(())
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is refused; what was known of it before stays.
    Error,
    /// The object is used without the part.
    Warning,
    /// Nothing is wrong, but it isn't for us.
    Note,
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file's name.
    pub file: Arc<str>,
    /// From 1; 0 is the file as a whole.
    pub line: u32,
    /// From 1; 0 is the line as a whole.
    pub column: u32,
    /// The object, where it is known.
    pub object: Option<ObjectId>,
    /// The field.
    pub path: FieldPath,
    /// What was wanted, what was seen.
    pub message: String,
}

impl Problem {
    /// The field and what is wrong with it, for whoever knows the object.
    pub fn what(&self) -> String {
        match self.path.0.is_empty() {
            true => self.message.clone(),
            false => format!("{}: {}", self.path, self.message),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        f.write_str(": ")?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
