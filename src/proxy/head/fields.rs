//! Header fields in one buffer.

use std::ops::Range;

/// Memory beyond this is given back when the fields are cleared.
pub(super) const LARGE: usize = 64 << 10;

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

/// Names that the data path itself looks at, told apart once when a field is stored.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Host,
    Connection,
    KeepAlive,
    ProxyConnection,
    TransferEncoding,
    ContentLength,
    Te,
    Trailer,
    Upgrade,
    Http2Settings,
    Expect,
    Server,
    Date,
    /// `x-envoy-…`
    Envoy,
    Other,
}

impl Known {
    fn of(name: &[u8]) -> Self {
        match name {
            b"te" => Self::Te,
            b"host" => Self::Host,
            b"date" => Self::Date,
            b"expect" => Self::Expect,
            b"server" => Self::Server,
            b"upgrade" => Self::Upgrade,
            b"trailer" => Self::Trailer,
            b"connection" => Self::Connection,
            b"keep-alive" => Self::KeepAlive,
            b"content-length" => Self::ContentLength,
            b"http2-settings" => Self::Http2Settings,
            b"proxy-connection" => Self::ProxyConnection,
            b"transfer-encoding" => Self::TransferEncoding,
            _ if name.starts_with(b"x-envoy-") => Self::Envoy,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
    known: Known,
}

/// Header fields: lower-case names and values, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(super) text: Vec<u8>,
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
        self.push_field(name.as_bytes(), value);
    }

    /// Adds a field at the end, as it was read: the name may be in any case. Says what the name means.
    pub(crate) fn push_field(&mut self, name: &[u8], value: &[u8]) -> Known {
        let name = self.push_lower(name);
        let value = self.push(value);
        let known = Known::of(&self.text[name.range()]);
        self.index.push(Field { name, value, known });
        known
    }

    /// Takes back the last field.
    pub(crate) fn pop(&mut self) {
        self.index.pop();
    }

    /// Makes the value the only one of that name; it takes the place of the first, or stands at the end.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let at =
            self.index.iter().position(|field| self.text[field.name.range()].eq_ignore_ascii_case(name.as_bytes()));
        match at {
            None => self.append(name, value),
            Some(at) => {
                let value = self.push(value);
                self.index[at].value = value;
                let text = &self.text;
                let mut seen = 0;
                self.index.retain(|field| {
                    seen += 1;
                    seen <= at + 1 || !text[field.name.range()].eq_ignore_ascii_case(name.as_bytes())
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

    pub(super) fn push(&mut self, text: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Span { start, end: self.text.len() as u32 }
    }

    pub(super) fn push_lower(&mut self, text: &[u8]) -> Span {
        let span = self.push(text);
        self.text[span.range()].make_ascii_lowercase();
        span
    }

    /// Text that was checked to be ASCII when it was stored.
    pub(super) fn ascii(&self, span: Span) -> &str {
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
