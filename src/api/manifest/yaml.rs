//! YAML (and so JSON) as values that remember where they stood.
//!
//! saphyr-parser gives the events; the tree is built here, because a general tree doesn't refuse repeated keys, doesn't
//! bound what aliases unfold to, and doesn't keep the place of a key.

use crate::problem::{FieldPath, Step};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Number, Value};
use std::{borrow::Cow, collections::HashMap};

/// How deep values may be nested. Kubernetes objects stay below 20.
const MAX_DEPTH: usize = 64;
/// How many values the aliases of one document may unfold to.
const MAX_ALIASED: usize = 20_000;

/// Where a value stood, and the values in it.
#[derive(Clone, Debug)]
pub struct Spot {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Leaf,
    Items(Vec<Spot>),
    Fields(Vec<(String, Spot)>),
}

impl Spot {
    /// Of what was never text.
    pub const NOWHERE: Self = Self { line: 0, column: 0, inner: Inner::Leaf };

    /// The place of a field, or of the nearest thing around it that stands in the text.
    pub fn at(&self, path: &FieldPath) -> (u32, u32) {
        let mut spot = self;
        for step in &path.0 {
            let inner = match (step, &spot.inner) {
                (Step::Item(index), Inner::Items(items)) => items.get(*index),
                (Step::Field(name), Inner::Fields(fields)) => {
                    fields.iter().find(|(key, _)| key == name).map(|(_, inner)| inner)
                }
                _ => None,
            };
            match inner {
                Some(inner) => spot = inner,
                None => break,
            }
        }
        (spot.line, spot.column)
    }

    /// The items of a list under a field.
    pub fn into_items(self, field: &str) -> Vec<Spot> {
        let Inner::Fields(fields) = self.inner else { return Vec::new() };
        match fields.into_iter().find(|(key, _)| key == field).map(|(_, spot)| spot.inner) {
            Some(Inner::Items(items)) => items,
            _ => Vec::new(),
        }
    }
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// What.
    pub value: Value,
    /// Where.
    pub spot: Spot,
}

/// Why a text is no YAML that we read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// What was wanted, what was seen.
    pub message: String,
}

/// Reads one document. None if there is nothing in it. `first_line` is the line of the file that the text starts at.
pub fn read(text: &str, first_line: u32) -> Result<Option<Node>, YamlError> {
    let shift = |mut error: YamlError| {
        error.line += first_line - 1;
        error
    };
    let mut builder = Builder { first_line, ..Builder::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| shift(syntax(&error)))?;
        if builder.done.is_some() && !matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            return Err(shift(error(&span.start, "wanted one document, saw another after '...'")));
        }
        builder.event(event, span).map_err(shift)?;
    }
    Ok(builder.done.filter(|node| !node.value.is_null()))
}

fn syntax(scan: &ScanError) -> YamlError {
    error(scan.marker(), format!("this is no YAML: {}", scan.info()))
}

fn error(at: &Marker, message: impl Into<String>) -> YamlError {
    YamlError { line: number(at.line()), column: number(at.col() + 1), message: message.into() }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A list or map that is not finished.
struct Open {
    node: Node,
    anchor: usize,
    /// How many values it holds, itself included.
    size: usize,
    /// The key that waits for its value.
    key: Option<(String, Marker)>,
    /// Values of `<<`: what the map has where it doesn't say otherwise.
    merged: Vec<Node>,
}

#[derive(Default)]
struct Builder {
    first_line: u32,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    aliased: usize,
    done: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.takes_key(&text, style, &tag, span.start)? {
                    return Ok(());
                }
                let value = scalar(text, style, tag.as_deref()).map_err(|message| error(&span.start, message))?;
                let node = self.node(value, Inner::Leaf, span.start);
                self.finish(node, anchor, 1, span.start)
            }
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(error(&span.start, "wanted an alias of a finished value, saw one of itself"));
                };
                self.aliased += size;
                if self.aliased > MAX_ALIASED {
                    return Err(error(&span.start, format!("aliases unfold to more than {MAX_ALIASED} values")));
                }
                if self.wants_key() {
                    let key = node.value.as_str().map(str::to_owned);
                    let key =
                        key.ok_or_else(|| error(&span.start, "wanted text as key, saw an alias of something else"))?;
                    return self.key(key, span.start);
                }
                self.finish(node, 0, size, span.start)
            }
            Event::SequenceStart(anchor, _) => {
                self.start(Value::Array(Vec::new()), Inner::Items(Vec::new()), anchor, span)
            }
            Event::MappingStart(anchor, _) => {
                self.start(Value::Object(Map::new()), Inner::Fields(Vec::new()), anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.open.pop() else { return Ok(()) };
                merge(&mut open);
                self.finish(open.node, open.anchor, open.size, span.start)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn node(&self, value: Value, inner: Inner, at: Marker) -> Node {
        let line = number(at.line()) + self.first_line - 1;
        Node { value, spot: Spot { line, column: number(at.col() + 1), inner } }
    }

    fn start(&mut self, value: Value, inner: Inner, anchor: usize, span: Span) -> Result<(), YamlError> {
        if self.wants_key() {
            return Err(error(&span.start, "wanted text as key, saw a list or map"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(error(&span.start, format!("values are nested deeper than {MAX_DEPTH}")));
        }
        let node = self.node(value, inner, span.start);
        self.open.push(Open { node, anchor, size: 1, key: None, merged: Vec::new() });
        Ok(())
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.node.value.is_object() && open.key.is_none())
    }

    /// Takes a scalar as key if one is wanted.
    fn takes_key(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: &Option<Cow<'_, Tag>>,
        at: Marker,
    ) -> Result<bool, YamlError> {
        if !self.wants_key() {
            return Ok(false);
        }
        if text == "<<" && style == ScalarStyle::Plain && tag.is_none() {
            if let Some(open) = self.open.last_mut() {
                open.key = Some(("<<".into(), at));
            }
            return Ok(true);
        }
        self.key(text.to_owned(), at).map(|()| true)
    }

    fn key(&mut self, key: String, at: Marker) -> Result<(), YamlError> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        if open.node.value.get(&key).is_some() {
            return Err(error(&at, format!("key {key:?} is given twice")));
        }
        open.key = Some((key, at));
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, mut node: Node, anchor: usize, size: usize, at: Marker) -> Result<(), YamlError> {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let first_line = self.first_line;
        let Some(open) = self.open.last_mut() else {
            self.done = Some(node);
            return Ok(());
        };
        open.size += size;
        match (&mut open.node.value, &mut open.node.spot.inner, open.key.take()) {
            (Value::Array(items), Inner::Items(spots), _) => {
                items.push(node.value);
                spots.push(node.spot);
            }
            (Value::Object(_), _, Some((key, _))) if key == "<<" => match node.value {
                Value::Object(_) => open.merged.push(node),
                Value::Array(items) if items.iter().all(Value::is_object) => {
                    let spot = node.spot;
                    open.merged.extend(items.into_iter().map(|value| Node { value, spot: spot.clone() }));
                }
                _ => return Err(error(&at, "wanted a map to merge after '<<'")),
            },
            (Value::Object(fields), Inner::Fields(spots), Some((key, at))) => {
                (node.spot.line, node.spot.column) = (number(at.line()) + first_line - 1, number(at.col() + 1));
                spots.push((key.clone(), node.spot));
                fields.insert(key, node.value);
            }
            // A key is wanted before any value of a map, so this can't be reached.
            _ => {}
        }
        Ok(())
    }
}

/// Fills in what `<<` names and the map itself doesn't.
fn merge(open: &mut Open) {
    for merged in std::mem::take(&mut open.merged) {
        if let (Value::Object(fields), Inner::Fields(spots), Value::Object(more)) =
            (&mut open.node.value, &mut open.node.spot.inner, merged.value)
        {
            for (key, value) in more {
                if !fields.contains_key(&key) {
                    spots.push((key.clone(), merged.spot.clone()));
                    fields.insert(key, value);
                }
            }
        }
    }
}

/// A scalar by the core schema of YAML 1.2, which JSON is part of.
fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let wanted = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
    if let (Some(tag), None) = (tag, wanted) {
        return if tag.handle.is_empty() && tag.suffix == "!" {
            Ok(Value::String(text.into_owned()))
        } else {
            Err(format!("wanted plain YAML, saw the tag {tag}"))
        };
    }
    match wanted {
        Some("str") => return Ok(Value::String(text.into_owned())),
        None if style != ScalarStyle::Plain => return Ok(Value::String(text.into_owned())),
        _ => {}
    }
    let plain = plain(&text);
    match (wanted, &plain) {
        (None, _)
        | (Some("null"), Value::Null)
        | (Some("bool"), Value::Bool(_))
        | (Some("int" | "float"), Value::Number(_))
        // Base64, which is text in JSON.
        | (Some("binary"), Value::String(_)) => Ok(plain),
        (Some(tag), _) => Err(format!("wanted a value of type !!{tag}, saw {text:?}")),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number = if let Some(hex) = text.strip_prefix("0x") {
        u64::from_str_radix(hex, 16).ok().map(Number::from)
    } else if let Some(octal) = text.strip_prefix("0o") {
        u64::from_str_radix(octal, 8).ok().map(Number::from)
    } else if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        None
    } else {
        let whole = text.strip_prefix('+').unwrap_or(text);
        let whole = whole.parse::<u64>().map(Number::from).or_else(|_| whole.parse::<i64>().map(Number::from)).ok();
        whole.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
    };
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = "{a: 1, b: -2, c: 0x10, d: 1.5, e: true, f: ~, g: 1.2.3.4, h: '1', i: yes, j: !!str 2, k: +3, l: 1e3, m: .}";
        let value = read(text, 1).unwrap().unwrap().value;
        let wanted = json!({"a": 1, "b": -2, "c": 16, "d": 1.5, "e": true, "f": null, "g": "1.2.3.4", "h": "1",
            "i": "yes", "j": "2", "k": 3, "l": 1000.0, "m": "."});
        assert_eq!(value, wanted);
    }

    #[test]
    fn json_is_yaml_too() {
        let text = "{\n\t\"a\": [1, 2.5, \"x\\ty\\u00e9\\/\", null],\n\t\"b\": {}\n}\n";
        assert_eq!(read(text, 1).unwrap().unwrap().value, json!({"a": [1, 2.5, "x\ty\u{e9}/", null], "b": {}}));
    }

    #[test]
    fn anchors_and_merge_keys_unfold() {
        let text = "a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\n";
        let value = read(text, 1).unwrap().unwrap().value;
        assert_eq!(value, json!({"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 2}, "c": {"p": 1, "q": 3}}));
    }

    #[test]
    fn places_are_those_of_keys_and_items() {
        let node = read("a:\n  b:\n  - c: 1\n  - d\n", 11).unwrap().unwrap();
        let path = |steps: &[Step]| node.spot.at(&FieldPath(steps.to_vec()));
        let field = |name: &str| Step::Field(name.into());
        assert_eq!(path(&[field("a"), field("b")]), (12, 3));
        assert_eq!(path(&[field("a"), field("b"), Step::Item(0), field("c")]), (13, 5));
        assert_eq!(path(&[field("a"), field("b"), Step::Item(0), field("absent")]), (13, 5));
        assert_eq!(path(&[field("a"), field("b"), Step::Item(1)]), (14, 5));
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        let deep = "[".repeat(100);
        let bomb = (1..9).fold("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned(), |text, level| {
            let below = format!("*a{}", level - 1);
            format!("{text}a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", "))
        });
        for (text, line, message) in [
            ("a: 1\na: 2\n", 2, "key \"a\" is given twice"),
            ("a: [1\nb: 2\n", 2, "this is no YAML"),
            ("a: &x [*x]\n", 1, "saw one of itself"),
            ("? [a]\n: b\n", 1, "wanted text as key"),
            ("a: !include b\n", 1, "saw the tag"),
            ("a: !!int b\n", 1, "wanted a value of type !!int"),
            ("a: *nothing\n", 1, "this is no YAML"),
            (&deep, 1, "nested deeper"),
            (&bomb, 5, "aliases unfold to more than"),
        ] {
            let error = read(text, 1).unwrap_err();
            assert!(error.message.contains(message), "{error:?}");
            assert_eq!(error.line, line, "{error:?}");
        }
    }
}
