//! The door: the text of a file becomes objects and problems.
//!
//! A file holds YAML documents or JSON; an object may stand alone or in a `List`. A document that is wrong costs only
//! itself: the text is cut at `---` before it is parsed.

mod document;
mod yaml;

use crate::{
    Object, ObjectId,
    problem::{FieldPath, Problem, Severity},
};
use std::sync::Arc;
use yaml::YamlError;

/// An object and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The object, with the defaults of an API server filled in.
    pub object: Object,
    /// The file's name.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The objects without errors, in the order of the file.
    pub objects: Vec<Located>,
    /// What is wrong with the file, in its order.
    pub problems: Vec<Problem>,
}

/// Reads a file. Never fails as a whole: what can be read is in `objects`.
pub fn read(file: &str, text: &str) -> Manifest {
    let mut reader = Reader { file: file.into(), manifest: Manifest::default() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (first_line, document) in documents(text) {
        match yaml::read(document, first_line) {
            Ok(None) => {}
            Ok(Some(node)) => document::read(&mut reader, node, None),
            Err(error) => reader.no_yaml(error),
        }
    }
    reader.manifest
}

/// Reads one object, or a list, that somebody else has parsed: an API server's. Its problems have no place in a file.
pub fn read_value(origin: &str, value: serde_json::Value) -> Manifest {
    let mut reader = Reader { file: origin.into(), manifest: Manifest::default() };
    document::read(&mut reader, yaml::Node { value, spot: yaml::Spot::NOWHERE }, None);
    reader.manifest
}

/// Reads one YAML document as a value; none if there is nothing in it.
///
/// # Errors
/// Says what is wrong and in which line.
pub fn value(text: &str) -> Result<Option<serde_json::Value>, String> {
    match yaml::read(text, 1) {
        Ok(node) => Ok(node.map(|node| node.value)),
        Err(YamlError { line, message, .. }) => Err(format!("line {line}: {message}")),
    }
}

/// Where a field of an object stands in a file, from 1; the nearest thing around it if the field isn't written. Reads the
/// text once more: for those few fields that somebody complains of.
pub fn place(text: &str, object: &ObjectId, path: &FieldPath) -> Option<(u32, u32)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    documents(text).into_iter().find_map(|(first_line, part)| {
        let node = yaml::read(part, first_line).ok()??;
        document::find(node, object, None).map(|spot| spot.at(path))
    })
}

/// Collects what a file holds.
struct Reader {
    file: Arc<str>,
    manifest: Manifest,
}

impl Reader {
    fn no_yaml(&mut self, error: YamlError) {
        let YamlError { line, column, message } = error;
        self.problem(Severity::Error, (line, column), None, FieldPath::default(), message);
    }

    fn problem(
        &mut self,
        severity: Severity,
        (line, column): (u32, u32),
        object: Option<ObjectId>,
        path: FieldPath,
        message: String,
    ) {
        let file = self.file.clone();
        self.manifest.problems.push(Problem { severity, file, line, column, object, path, message });
    }

    fn object(&mut self, object: Object, line: u32) {
        self.manifest.objects.push(Located { object, file: self.file.clone(), line });
    }
}

/// Cuts a text into documents, each with the number of its first line.
///
/// A line that starts with `---` starts a document wherever it stands (YAML 1.2, c-forbidden), even inside of a block
/// scalar, so that no parser is needed to find it. Directives and comments belong to the document after them.
fn documents(text: &str) -> Vec<(u32, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut only_prologue) = (0, 1, true);
    let mut offset = 0;
    for (line, number) in text.split_inclusive('\n').zip(1u32..) {
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && !only_prologue {
            documents.push((first_line, &text[start..offset]));
            (start, first_line) = (offset, number);
        }
        only_prologue &= !marker && (line.trim().is_empty() || line.starts_with(['#', '%']));
        offset += line.len();
    }
    documents.push((first_line, &text[start..]));
    documents
}

#[cfg(test)]
mod tests;
