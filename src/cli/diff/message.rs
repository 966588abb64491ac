//! Resources as values with named fields. Keys and certificates are shown as their length and a hash.

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use proto::TypeUrl;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Knows the fields of Envoy's messages.
pub struct Messages(DescriptorPool);

impl Messages {
    /// Reads what the build has put together.
    pub fn new() -> anyhow::Result<Self> {
        let set = include_bytes!(concat!(env!("OUT_DIR"), "/envoy.bin"));
        Ok(Self(DescriptorPool::decode(&set[..])?))
    }

    /// A resource as a value; one of which something isn't known, as its size.
    pub fn value(&self, type_url: TypeUrl, body: &[u8]) -> Value {
        let unknown = || json!({"message": digest(body)});
        let name = type_url.as_str().trim_start_matches("type.googleapis.com/");
        let Some(descriptor) = self.0.get_message_by_name(name) else { return unknown() };
        let Ok(message) = DynamicMessage::decode(descriptor, body) else { return unknown() };
        let options = SerializeOptions::new().use_proto_field_name(true);
        let value = message.serialize_with_options(serde_json::value::Serializer, &options);
        value.map_or_else(|_| unknown(), without_secrets)
    }
}

fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let shorten = |(name, value): (String, Value)| match (&*name, &value) {
                ("inline_bytes" | "inline_string", Value::String(text)) => (name, digest(text.as_bytes()).into()),
                _ => (name, without_secrets(value)),
            };
            Value::Object(fields.into_iter().map(shorten).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

/// The same for the same bytes, and nothing that anybody could make use of.
fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("({} bytes, {:08x})", bytes.len(), hasher.finish() as u32)
}
