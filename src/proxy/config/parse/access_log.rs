//! Access logs.

use super::at::{At, Fault, take};
use crate::{
    config::{AccessLog, LogSink},
    log::{Format, JsonFields, JsonValue},
};
use proto::envoy::{
    envoy::{
        config::{
            accesslog::v3::{self as pb, access_log},
            core::v3::{SubstitutionFormatString, substitution_format_string},
        },
        extensions::access_loggers::{
            file::v3::{FileAccessLog, file_access_log},
            stream::v3::{StderrAccessLog, StdoutAccessLog, stderr_access_log, stdout_access_log},
        },
    },
    google::protobuf::{Any, Struct, value::Kind},
};
use std::sync::Arc;

pub(super) fn access_log(at: &At<'_>, message: pb::AccessLog) -> Result<AccessLog, Fault> {
    take!(at, message => pb::AccessLog { config_type } moot { name } refuse { filter });
    let at = &at.field("typed_config");
    let Some(access_log::ConfigType::TypedConfig(any)) = config_type else {
        return at.fail("wanted an access log's configuration");
    };
    let (format, sink) = logger(at, &any)?;
    Ok(AccessLog { format: Arc::new(format), sink })
}

fn logger(at: &At<'_>, any: &Any) -> Result<(Format, LogSink), Fault> {
    if any.type_url == <FileAccessLog as prost::Name>::type_url() {
        return file(at, at.unpack(any)?);
    }
    if any.type_url == <StderrAccessLog as prost::Name>::type_url() {
        let StderrAccessLog { access_log_format } = at.unpack(any)?;
        let format = match access_log_format {
            None => default(at)?,
            Some(stderr_access_log::AccessLogFormat::LogFormat(format)) => log_format(at, format)?,
        };
        return Ok((format, LogSink::Stderr));
    }
    let StdoutAccessLog { access_log_format } = at.unpack(any)?;
    let format = match access_log_format {
        None => default(at)?,
        Some(stdout_access_log::AccessLogFormat::LogFormat(format)) => log_format(at, format)?,
    };
    Ok((format, LogSink::Stdout))
}

fn file(at: &At<'_>, message: FileAccessLog) -> Result<(Format, LogSink), Fault> {
    take!(at, message => FileAccessLog { path, access_log_format } moot {} refuse {});
    let sink = match &*path {
        "/dev/stdout" => LogSink::Stdout,
        "/dev/stderr" => LogSink::Stderr,
        "" => return at.field("path").fail("wanted a path, saw none"),
        path => LogSink::File(path.into()),
    };
    let format = match access_log_format {
        None => default(at)?,
        Some(file_access_log::AccessLogFormat::Format(text)) => text_format(&at.field("format"), &text)?,
        Some(file_access_log::AccessLogFormat::JsonFormat(fields)) => json(&at.field("json_format"), fields)?,
        Some(file_access_log::AccessLogFormat::TypedJsonFormat(fields)) => {
            json(&at.field("typed_json_format"), fields)?
        }
        Some(file_access_log::AccessLogFormat::LogFormat(format)) => log_format(at, format)?,
    };
    Ok((format, sink))
}

fn default(at: &At<'_>) -> Result<Format, Fault> {
    text_format(at, Format::DEFAULT)
}

fn log_format(at: &At<'_>, message: SubstitutionFormatString) -> Result<Format, Fault> {
    let at = at.field("log_format");
    take!(at, message => SubstitutionFormatString { format } moot { content_type, json_format_options }
        refuse { omit_empty_values, formatters });
    match at.want("format", format)? {
        substitution_format_string::Format::TextFormat(text) => text_format(&at.field("text_format"), &text),
        substitution_format_string::Format::JsonFormat(fields) => json(&at.field("json_format"), fields),
        substitution_format_string::Format::TextFormatSource(source) => {
            let at = at.field("text_format_source");
            match String::from_utf8(super::secret::bytes(&at, source)?) {
                Ok(text) => text_format(&at, &text),
                Err(_) => at.fail("wanted UTF-8"),
            }
        }
    }
}

fn text_format(at: &At<'_>, text: &str) -> Result<Format, Fault> {
    Format::text(text).map_err(|error| at.fault(error.to_string()))
}

fn json(at: &At<'_>, fields: Struct) -> Result<Format, Fault> {
    Ok(Format::Json(object(at, fields)?))
}

/// Keys in order: a map has none of its own.
fn object(at: &At<'_>, fields: Struct) -> Result<JsonFields, Fault> {
    let mut fields: Vec<_> = fields.fields.into_iter().collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    let fields = fields.into_iter().map(|(key, value)| {
        let at = at.key(&key);
        let value = match value.kind {
            Some(Kind::StringValue(text)) => JsonValue::text(&text).map_err(|error| at.fault(error.to_string()))?,
            Some(Kind::StructValue(inner)) => JsonValue::Object(object(&at, inner)?),
            _ => return at.fail("wanted text or an object"),
        };
        Ok((at.name(&key), value))
    });
    fields.collect()
}
