//! Formats of access logs: parsed once at the door, rendered without looking at the text again.

use super::{Record, operator::parse};
use std::{borrow::Cow, fmt, fmt::Write, net::SocketAddr, sync::Arc, time::Duration, time::SystemTime};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Why a format is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The operator, or the rest of the text.
    pub operator: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.operator, self.reason)
    }
}

impl std::error::Error for FormatError {}

/// One command operator of Envoy's, or text between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Arc<str>),
    StartTime,
    Method,
    Path { original: bool },
    Authority,
    Scheme,
    RequestHeader { name: Arc<str>, otherwise: Option<Arc<str>>, limit: usize },
    ResponseHeader { name: Arc<str>, otherwise: Option<Arc<str>>, limit: usize },
    Protocol,
    Status,
    Flags,
    Details,
    ConnectionDetails,
    UpstreamFailure,
    BytesReceived,
    BytesSent,
    Duration,
    RequestDuration,
    ResponseDuration,
    Upstream,
    UpstreamLocal,
    Cluster,
    Attempts,
    Local(Address),
    Remote(Address),
    Peer(Address),
    ServerName,
    TlsVersion,
    TlsCipher,
    PeerUri,
    Route,
    VirtualHost,
    Denied,
    Metadata { filter: Arc<str>, path: Box<[Arc<str>]> },
}

/// Which part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Whole,
    Ip,
    Port,
}

/// A format of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text with operators; it ends its line itself.
    Text(Box<[TextPart]>),
    /// One JSON object a line; a value of a single operator keeps its type.
    Json(JsonFields),
}

/// A piece of a text format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPart(pub(super) Part);

/// Keys and values of a JSON format, in the order in which they are written.
pub type JsonFields = Box<[(Arc<str>, JsonValue)]>;

/// A value of a JSON format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonValue {
    /// Text with operators.
    Text(Box<[TextPart]>),
    /// An object.
    Object(JsonFields),
}

impl JsonValue {
    /// A value of text with operators.
    pub fn text(source: &str) -> Result<Self, FormatError> {
        Ok(Self::Text(parse(source)?))
    }
}

impl Format {
    /// Envoy's default format.
    pub const DEFAULT: &'static str = concat!(
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
        "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
        "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
        "\"%UPSTREAM_HOST%\"\n"
    );

    /// A format of text lines.
    pub fn text(source: &str) -> Result<Self, FormatError> {
        Ok(Self::Text(parse(source)?))
    }

    /// Appends the line of a request. A denial is explained at the end of the line (`denied="…"`, or the key `denied`)
    /// unless the format has a place for it.
    pub fn render(&self, record: &Record<'_>, out: &mut String) {
        match self {
            Format::Text(parts) => {
                for TextPart(part) in parts {
                    part.render(record, &mut Text(out));
                }
                if let Some(why) = record.denied.filter(|_| !parts.iter().any(|part| part.0 == Part::Denied)) {
                    let ends_line = out.ends_with('\n');
                    out.truncate(out.trim_end_matches('\n').len());
                    let _ = write!(out, " denied=\"{}\"", Escaped(&why.to_string()));
                    if ends_line {
                        out.push('\n');
                    }
                }
            }
            Format::Json(fields) => {
                object(fields, record, out, &|out| {
                    if let Some(why) = record.denied.filter(|_| !tells_denials(fields)) {
                        let _ = write!(out, ",\"denied\":\"{}\"", Escaped(&why.to_string()));
                    }
                });
                out.push('\n');
            }
        }
    }
}

fn object(fields: &[(Arc<str>, JsonValue)], record: &Record<'_>, out: &mut String, more: &dyn Fn(&mut String)) {
    out.push('{');
    for (index, (key, value)) in fields.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\"{}\":", Escaped(key));
        match value {
            JsonValue::Object(fields) => object(fields, record, out, &|_| {}),
            JsonValue::Text(parts) => match &**parts {
                [TextPart(only)] => only.render(record, &mut Json(out)),
                parts => {
                    let mut text = String::new();
                    for TextPart(part) in parts {
                        part.render(record, &mut Text(&mut text));
                    }
                    let _ = write!(out, "\"{}\"", Escaped(&text));
                }
            },
        }
    }
    more(out);
    out.push('}');
}

/// Where a value goes: text writes `-` for what is absent, JSON `null`; numbers stay numbers in JSON.
trait Sink {
    fn text(&mut self, value: Option<&str>);
    fn number(&mut self, value: Option<u64>);
    /// Text that may hold quotes.
    fn sentence(&mut self, value: Option<&str>);
}

struct Text<'a>(&'a mut String);

impl Sink for Text<'_> {
    fn text(&mut self, value: Option<&str>) {
        self.0.push_str(value.unwrap_or("-"));
    }

    fn number(&mut self, value: Option<u64>) {
        match value {
            Some(number) => drop(write!(self.0, "{number}")),
            None => self.0.push('-'),
        }
    }

    fn sentence(&mut self, value: Option<&str>) {
        match value {
            Some(text) => drop(write!(self.0, "{}", Escaped(text))),
            None => self.0.push('-'),
        }
    }
}

struct Json<'a>(&'a mut String);

impl Sink for Json<'_> {
    fn text(&mut self, value: Option<&str>) {
        match value {
            Some(text) => drop(write!(self.0, "\"{}\"", Escaped(text))),
            None => self.0.push_str("null"),
        }
    }

    fn number(&mut self, value: Option<u64>) {
        match value {
            Some(number) => drop(write!(self.0, "{number}")),
            None => self.0.push_str("null"),
        }
    }

    fn sentence(&mut self, value: Option<&str>) {
        self.text(value);
    }
}

/// Text inside quotes: JSON's escapes, so that no value can end a line or a string.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                control if control.is_control() => write!(f, "\\u{:04x}", control as u32)?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

impl Part {
    fn render(&self, record: &Record<'_>, out: &mut impl Sink) {
        match self {
            Part::Text(text) => out.text(Some(text)),
            Part::StartTime => out.text(Some(&timestamp(record.start))),
            Part::Method => out.text(record.method),
            Part::Path { original: true } => out.text(record.path),
            Part::Path { original: false } => out.text(record.rewritten_path.or(record.path)),
            Part::Authority => out.text(record.authority),
            Part::Scheme => out.text(record.scheme),
            Part::RequestHeader { name, otherwise, limit } => {
                out.text(header(name, otherwise.as_deref(), *limit, |name| request_header(record, name)).as_deref());
            }
            Part::ResponseHeader { name, otherwise, limit } => {
                out.text(header(name, otherwise.as_deref(), *limit, |name| response_header(record, name)).as_deref());
            }
            Part::Protocol => out.text(record.protocol),
            Part::Status => out.number(Some(record.status.into())),
            Part::Flags => {
                let mut text = String::new();
                record.flags.write(&mut text);
                out.text(Some(&text));
            }
            Part::Details => out.text(record.details),
            Part::ConnectionDetails => out.text(record.connection_details),
            Part::UpstreamFailure => out.text(record.upstream_failure),
            Part::BytesReceived => out.number(Some(record.bytes_received)),
            Part::BytesSent => out.number(Some(record.bytes_sent)),
            Part::Duration => out.number(Some(milliseconds(record.duration))),
            Part::RequestDuration => out.number(record.request_duration.map(milliseconds)),
            Part::ResponseDuration => out.number(record.response_duration.map(milliseconds)),
            Part::Upstream => address(record.upstream, Address::Whole, out),
            Part::UpstreamLocal => address(record.upstream_local, Address::Whole, out),
            Part::Cluster => out.text(record.cluster),
            Part::Attempts => out.number(Some(record.attempts.into())),
            Part::Local(part) => address(record.local, *part, out),
            Part::Remote(part) => address(record.remote, *part, out),
            Part::Peer(part) => address(record.peer, *part, out),
            Part::ServerName => out.text(record.server_name),
            Part::TlsVersion => out.text(record.tls_version),
            Part::TlsCipher => out.text(record.tls_cipher),
            Part::PeerUri => out.text(record.peer_uri),
            Part::Route => out.text(record.route),
            Part::VirtualHost => out.text(record.virtual_host),
            Part::Metadata { filter, path } => {
                let value = record.metadata.and_then(|metadata| metadata.get(filter, path));
                match value.as_deref() {
                    Some(serde_json::Value::String(text)) => out.text(Some(text)),
                    value => out.text(value.map(ToString::to_string).as_deref()),
                }
            }
            Part::Denied => out.sentence(record.denied.map(ToString::to_string).as_deref()),
        }
    }
}

/// Whether any value has a place for the explanation of a denial.
fn tells_denials(fields: &JsonFields) -> bool {
    fields.iter().any(|(_, value)| match value {
        JsonValue::Text(parts) => parts.iter().any(|part| part.0 == Part::Denied),
        JsonValue::Object(fields) => tells_denials(fields),
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn timestamp(start: Option<SystemTime>) -> String {
    let at = OffsetDateTime::from(start.unwrap_or(SystemTime::UNIX_EPOCH));
    // Envoy's default: milliseconds, always three digits.
    let at = at.replace_millisecond(at.millisecond()).unwrap_or(at);
    let text = at.format(&Rfc3339).unwrap_or_default();
    match text.len() {
        20 => format!("{}.000Z", &text[..19]),
        _ => format!("{:0<23.23}Z", text.trim_end_matches('Z')),
    }
}

fn address(value: Option<SocketAddr>, part: Address, out: &mut impl Sink) {
    match (value, part) {
        (None, _) => out.text(None),
        (Some(address), Address::Whole) => out.text(Some(&address.to_string())),
        (Some(address), Address::Ip) => out.text(Some(&address.ip().to_string())),
        (Some(address), Address::Port) => out.number(Some(address.port().into())),
    }
}

fn header<'a>(
    name: &'a str,
    otherwise: Option<&'a str>,
    limit: usize,
    get: impl Fn(&'a str) -> Option<Cow<'a, str>>,
) -> Option<Cow<'a, str>> {
    let value = get(name).or_else(|| otherwise.and_then(&get))?;
    match value.char_indices().nth(limit) {
        None => Some(value),
        Some((end, _)) => Some(value[..end].to_owned().into()),
    }
}

fn request_header<'a>(record: &Record<'a>, name: &'a str) -> Option<Cow<'a, str>> {
    match name {
        ":method" => record.method.map(Cow::Borrowed),
        ":authority" | "host" => record.authority.map(Cow::Borrowed),
        ":scheme" => record.scheme.map(Cow::Borrowed),
        ":path" => record.rewritten_path.or(record.path).map(Cow::Borrowed),
        "x-envoy-original-path" => record.rewritten_path.and(record.path).map(Cow::Borrowed),
        name => record.request?.first(name).map(String::from_utf8_lossy),
    }
}

fn response_header<'a>(record: &Record<'a>, name: &'a str) -> Option<Cow<'a, str>> {
    match name {
        "x-envoy-upstream-service-time" => record.upstream_time.map(|time| milliseconds(time).to_string().into()),
        name => record.response?.first(name).map(String::from_utf8_lossy),
    }
}
