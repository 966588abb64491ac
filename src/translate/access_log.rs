//! The access log, as Envoy's format strings. windlass-proxy reads the same strings.

use crate::AccessLog;
use prost::{Message, Name};
use proto::{
    assemble::field,
    envoy::{
        envoy::{
            config::{
                accesslog::v3::{AccessLog as EnvoyAccessLog, access_log::ConfigType},
                core::v3::{
                    DataSource, SubstitutionFormatString, data_source::Specifier, substitution_format_string::Format,
                },
            },
            extensions::access_loggers::stream::v3::{StdoutAccessLog, stdout_access_log::AccessLogFormat},
        },
        google::protobuf::{Any, Struct, Value, value::Kind},
    },
};

/// Name in JSON and format operator of each field, in the order of the text.
///
/// `windlass:denied` says which policy, rule and clause decided a denial: our proxy fills it, Envoy prints
/// `-` and names the policy in the response code's details. `audited` is the AUDIT rule that matches, `would_deny` the
/// rule of a dry run that would deny, `would_allow` what the dry runs of ALLOW policies would decide.
const FIELDS: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("denied", "%DYNAMIC_METADATA(windlass:denied)%"),
    ("audited", "%DYNAMIC_METADATA(envoy.filters.http.rbac:windlass_audit_shadow_effective_policy_id)%"),
    ("would_deny", "%DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_deny_shadow_effective_policy_id)%"),
    ("would_allow", "%DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_allow_shadow_engine_result)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("response_duration", "%RESPONSE_DURATION%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("route_name", "%ROUTE_NAME%"),
];

const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \"%DYNAMIC_METADATA(windlass:denied)%\" \
    %DYNAMIC_METADATA(envoy.filters.http.rbac:windlass_audit_shadow_effective_policy_id)% \
    %DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_deny_shadow_effective_policy_id)% \
    %DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_allow_shadow_engine_result)% \
    %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESPONSE_DURATION% \"%REQ(X-FORWARDED-FOR)%\" \
    \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% \
    %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %ROUTE_NAME%\n";

/// `SubstitutionFormatString.json_format`
const JSON_FORMAT: u32 = 2;
/// `StdoutAccessLog.log_format`
const LOG_FORMAT: u32 = 1;

/// The loggers of a connection manager.
pub(crate) fn access_log(kind: AccessLog) -> Vec<EnvoyAccessLog> {
    let value = match kind {
        AccessLog::Off => return Vec::new(),
        AccessLog::Text => text(),
        AccessLog::Json => json(),
    };
    let log = Any { type_url: StdoutAccessLog::type_url(), value };
    vec![EnvoyAccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        config_type: Some(ConfigType::TypedConfig(log)),
        ..Default::default()
    }]
}

fn text() -> Vec<u8> {
    let format = SubstitutionFormatString {
        format: Some(Format::TextFormatSource(DataSource {
            specifier: Some(Specifier::InlineString(TEXT.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    };
    StdoutAccessLog { access_log_format: Some(AccessLogFormat::LogFormat(format)) }.encode_to_vec()
}

/// Put together by hand: a `Struct` is a map, and prost writes the entries of a map in any order.
fn json() -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, operator) in FIELDS {
        let value = Value { kind: Some(Kind::StringValue(operator.to_owned())) };
        let one = Struct { fields: [(name.to_owned(), value)].into() };
        fields.extend(one.encode_to_vec());
    }
    let mut format = Vec::new();
    field(&mut format, JSON_FORMAT, &fields);
    let mut log = Vec::new();
    field(&mut log, LOG_FORMAT, &format);
    log
}
