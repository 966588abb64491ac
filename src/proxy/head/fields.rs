//! Header fields in one buffer.
//!
//! A field stands in the text as it is written out, `name: value` and CR LF, so that fields that nobody has touched
//! leave as they came: all together in one copy.

use super::Known;
use std::ops::Range;

/// Memory beyond this is given back when the fields are cleared.
pub(super) const LARGE: usize = 64 << 10;

const COLON: &[u8] = b": ";
const CRLF: &[u8] = b"\r\n";

/// A piece of the buffer. Heads are bounded far below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The part of this span between two offsets from its start.
    pub(super) fn part(self, from: usize, to: usize) -> Span {
        Span { start: self.start + from as u32, end: self.start + to as u32 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
    known: Known,
    /// Its text is a line as we write it. Others have more or less space around the value.
    line: bool,
}

/// Header fields: lower-case names and values, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    text: Vec<u8>,
    index: Vec<Field>,
}

impl Fields {
    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.index.iter().map(|field| (self.name(field), &self.text[field.value.range()]))
    }

    /// The fields in order, with what the name means to the data path.
    pub(crate) fn known(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        self.index.iter().map(|field| (field.known, &self.text[field.name.range()], &self.text[field.value.range()]))
    }

    /// The values of all fields of that name, which is in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.index
            .iter()
            .filter(move |field| self.text[field.name.range()] == *name.as_bytes())
            .map(|field| &self.text[field.value.range()])
    }

    /// The first value of that name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let field = self.index.iter().find(|field| self.text[field.name.range()] == *name.as_bytes())?;
        Some(&self.text[field.value.range()])
    }

    /// The first value of a known name.
    pub(crate) fn get_known(&self, known: Known) -> Option<&[u8]> {
        self.index.iter().find(|field| field.known == known).map(|field| &self.text[field.value.range()])
    }

    /// Whether there is a field of that name, which is in lower case.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Adds a field at the end. The name is stored in lower case.
    pub fn append(&mut self, name: &str, value: &[u8]) {
        let field = self.line(name.as_bytes(), value);
        self.index.push(field);
    }

    /// Notes where a field lies in the block that [`Fields::bring`] brings. `line`: it is spelled as we write it.
    pub(crate) fn note(&mut self, name: Range<usize>, value: Range<usize>, line: bool) {
        let (name, value) = (Span::new(name.start, name.end), Span::new(value.start, value.end));
        self.index.push(Field { name, value, known: Known::Other, line });
    }

    /// Brings the lines of which all fields have been noted. `keep` is told what each is, its value and where that lies
    /// in the block, and says whether it stays.
    pub(crate) fn bring(&mut self, block: &[u8], mut keep: impl FnMut(Known, &[u8], Range<usize>) -> bool) {
        self.text.clear();
        self.text.extend_from_slice(block);
        let text = &mut self.text;
        self.index.retain_mut(|field| {
            let name = &mut text[field.name.range()];
            name.make_ascii_lowercase();
            field.known = Known::of(name);
            keep(field.known, &text[field.value.range()], field.value.range())
        });
    }

    /// Makes the value the only one of that name; it takes the place of the first, or stands at the end.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let field = self.line(name.as_bytes(), value);
        let text = &self.text;
        let same = |other: &Field| other.known == field.known && text[other.name.range()] == text[field.name.range()];
        match self.index.iter().position(same) {
            None => self.index.push(field),
            Some(at) => {
                self.index[at] = field;
                let mut seen = 0;
                self.index.retain(|other| {
                    seen += 1;
                    seen <= at + 1 || !same(other)
                });
            }
        }
    }

    /// Removes all fields of that name, in any case.
    pub fn remove(&mut self, name: &str) {
        let text = &self.text;
        self.index.retain(|field| !text[field.name.range()].eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Removes all fields that `drop` says.
    pub(crate) fn remove_if(&mut self, mut drop: impl FnMut(Known, &[u8], &[u8]) -> bool) {
        let text = &self.text;
        self.index.retain(|field| !drop(field.known, &text[field.name.range()], &text[field.value.range()]));
    }

    /// Forgets everything and keeps the memory, unless it has grown large.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.index.clear();
        if self.text.capacity() > LARGE {
            self.text = Vec::new();
        }
    }

    /// Writes the fields as lines, but those that `skip` names.
    pub(crate) fn write(&self, skip: impl Fn(Known) -> bool, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for field in self.index.iter().filter(|field| !skip(field.known)) {
            let line = field.name.range().start..field.value.range().end + CRLF.len();
            if field.line && line.start == run.end {
                run.end = line.end;
                continue;
            }
            out.extend_from_slice(&self.text[run]);
            run = if field.line { line } else { 0..0 };
            if !field.line {
                for part in [&self.text[field.name.range()], COLON, &self.text[field.value.range()], CRLF] {
                    out.extend_from_slice(part);
                }
            }
        }
        out.extend_from_slice(&self.text[run]);
    }

    /// Puts a line behind the text.
    fn line(&mut self, name: &[u8], value: &[u8]) -> Field {
        let start = self.text.len();
        self.text.reserve(name.len() + value.len() + COLON.len() + CRLF.len());
        self.text.extend_from_slice(name);
        self.text[start..].make_ascii_lowercase();
        let known = Known::of(&self.text[start..]);
        self.text.extend_from_slice(COLON);
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(CRLF);
        let (name, value) = (Span::new(start, start + name.len()), self.text.len() - CRLF.len() - value.len());
        Field { name, value: Span::new(value, self.text.len() - CRLF.len()), known, line: true }
    }

    /// Text that was checked to be ASCII when it was stored.
    fn ascii(&self, span: Span) -> &str {
        std::str::from_utf8(&self.text[span.range()]).unwrap_or_default()
    }

    fn name(&self, field: &Field) -> &str {
        self.ascii(field.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &Fields) -> Vec<String> {
        fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
    }

    #[test]
    fn edits_keep_the_order_of_the_rest() {
        let mut fields = Fields::default();
        for (name, value) in [("A", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("Content-Length", "5")] {
            fields.append(name, value.as_bytes());
        }
        fields.set("A", b"9");
        fields.set("d", b"0");
        fields.remove("C");
        assert_eq!(text(&fields), ["a: 9", "b: 2", "content-length: 5", "d: 0"]);
        assert_eq!(fields.get_known(Known::ContentLength), Some(&b"5"[..]));
        assert_eq!(fields.values("b").count(), 1);
    }
}
