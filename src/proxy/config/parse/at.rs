//! Where in a message we are, and what is wrong there.

use super::intern::Context;
use crate::config::Name;
use proto::envoy::google::protobuf::{Any, BoolValue, Duration as PbDuration, UInt32Value};
use regex::Regex;
use std::{fmt, sync::Arc, time::Duration};

/// What is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, as protobuf spells it: `filter_chains[0].filters[1].typed_config`.
    pub path: String,
    /// What was wanted, what was seen.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.reason),
            path => write!(f, "{path}: {}", self.reason),
        }
    }
}

impl std::error::Error for Fault {}

/// A place in a message. Lives on the stack, so that a path is spelled only when something is wrong.
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
    context: &'a Context,
}

enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    pub(super) fn root(context: &'a Context) -> Self {
        Self { parent: None, step: Step::Root, context }
    }

    fn step(&'a self, step: Step<'a>) -> At<'a> {
        At { parent: Some(self), step, context: self.context }
    }

    pub(super) fn field(&'a self, name: &'a str) -> At<'a> {
        self.step(Step::Field(name))
    }

    pub(super) fn index(&'a self, index: usize) -> At<'a> {
        self.step(Step::Index(index))
    }

    pub(super) fn key(&'a self, key: &'a str) -> At<'a> {
        self.step(Step::Key(key))
    }

    fn write(&self, path: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(path);
        }
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name.trim_start_matches("r#"));
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
            Step::Key(key) => path.push_str(&format!("[{key:?}]")),
        }
    }

    pub(super) fn fault(&self, reason: impl Into<String>) -> Fault {
        let mut path = String::new();
        self.write(&mut path);
        Fault { path, reason: reason.into() }
    }

    pub(super) fn fail<T>(&self, reason: impl Into<String>) -> Result<T, Fault> {
        Err(self.fault(reason))
    }

    /// The field must not be set: this proxy doesn't do what it asks for.
    pub(super) fn refuse<T: Default + PartialEq>(&self, field: &str, value: &T) -> Result<(), Fault> {
        if *value == T::default() { Ok(()) } else { self.field(field).fail("this proxy doesn't support this field") }
    }

    /// A message that must be there.
    pub(super) fn want<T>(&self, field: &str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| self.field(field).fault("wanted a value, saw none"))
    }

    /// The name inside a resource must be the name that it is known by.
    pub(super) fn same_name(&self, name: &str, inside: &str) -> Result<(), Fault> {
        if name == inside { Ok(()) } else { self.field("name").fail(format!("wanted {name:?}, saw {inside:?}")) }
    }

    pub(super) fn name(&self, text: &str) -> Name {
        self.context.name(text)
    }

    /// A pattern that must match a whole value.
    pub(super) fn pattern(&self, pattern: &str) -> Result<Arc<Regex>, Fault> {
        self.context.pattern(pattern).map_err(|reason| self.fault(reason))
    }

    pub(super) fn duration(&self, field: &str, value: Option<PbDuration>) -> Result<Option<Duration>, Fault> {
        let Some(PbDuration { seconds, nanos }) = value else { return Ok(None) };
        match (u64::try_from(seconds), u32::try_from(nanos)) {
            (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Some(Duration::new(seconds, nanos))),
            _ => self.field(field).fail(format!("wanted a duration of zero or more, saw {seconds} s and {nanos} ns")),
        }
    }

    /// A duration in which zero and absence mean what `absent` says, and zero means no limit.
    pub(super) fn limit(
        &self,
        field: &str,
        value: Option<PbDuration>,
        absent: Option<Duration>,
    ) -> Result<Option<Duration>, Fault> {
        Ok(match self.duration(field, value)? {
            None => absent,
            Some(Duration::ZERO) => None,
            some => some,
        })
    }

    /// A message of one type inside an `Any`.
    pub(super) fn unpack<M: prost::Message + Default + prost::Name>(&self, any: &Any) -> Result<M, Fault> {
        if any.type_url != M::type_url() {
            return self.fail(format!("wanted {}, saw {:?}", M::type_url(), any.type_url));
        }
        decode(self, &any.value)
    }
}

/// Reads a message. Fields that our copy of the protocol doesn't have would be dropped in silence; they are noticed by
/// the length of what was understood (encoders write each field once, in the shortest form).
pub(super) fn decode<M: prost::Message + Default>(at: &At<'_>, body: &[u8]) -> Result<M, Fault> {
    let message = M::decode(body).map_err(|error| at.fault(format!("not readable: {error}")))?;
    match message.encoded_len() {
        length if length == body.len() => Ok(message),
        length => at.fail(format!("has fields that this proxy doesn't know ({length} of {} bytes read)", body.len())),
    }
}

/// A flag that may be absent.
pub(super) fn flag(value: Option<BoolValue>) -> Option<bool> {
    value.map(|value| value.value)
}

/// A number that may be absent.
pub(super) fn number(value: Option<UInt32Value>) -> Option<u32> {
    value.map(|value| value.value)
}

/// Takes a message apart. All its fields are named: those to use, those without effect here, those that must be unset.
macro_rules! take {
    ($at:expr, $message:expr => $type:path { $($used:ident),* $(,)? }
        moot { $($moot:ident),* $(,)? } refuse { $($refused:ident),* $(,)? }) => {
        let $type { $($used,)* $($moot: _,)* $($refused,)* } = $message;
        $($at.refuse(stringify!($refused), &$refused)?;)*
    };
}
pub(super) use take;
