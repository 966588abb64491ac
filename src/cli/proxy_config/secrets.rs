//! Secrets.

use super::dump::{Dump, text};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::time::SystemTime;
use x509_parser::{pem::Pem, time::ASN1Time};

pub fn rows(dump: &Dump) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = dump.secrets().iter().map(row).collect();
    rows.sort();
    rows
}

fn row(entry: &Value) -> Vec<String> {
    let secret = &entry["secret"];
    let (kind, source) = match secret["validation_context"].is_null() {
        true => ("Cert Chain", &secret["tls_certificate"]["certificate_chain"]),
        false => ("CA", &secret["validation_context"]["trusted_ca"]),
    };
    let (name, state) = (text(&entry["name"]), text(&entry["state"]));
    let certificate = certificate(source).unwrap_or_else(|| ["", "", "", ""].map(str::to_owned));
    [name, kind, state].map(str::to_owned).into_iter().chain(certificate).collect()
}

/// Whether the first certificate is valid now, its serial number, its end, its start.
fn certificate(source: &Value) -> Option<[String; 4]> {
    let pem = match source["inline_bytes"].as_str() {
        Some(bytes) => STANDARD.decode(bytes).ok()?,
        None => source["inline_string"].as_str()?.as_bytes().to_vec(),
    };
    let first = Pem::iter_from_buffer(&pem).filter_map(Result::ok).find(|block| block.label == "CERTIFICATE")?;
    let certificate = first.parse_x509().ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = ASN1Time::from_timestamp(i64::try_from(now).ok()?).ok()?;
    let validity = certificate.validity();
    Some([
        validity.is_valid_at(now).to_string(),
        certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
        date(&validity.not_after),
        date(&validity.not_before),
    ])
}

/// As in RFC 3339.
fn date(time: &ASN1Time) -> String {
    let time = time.to_datetime();
    let date = time.date();
    let (month, day) = (u8::from(date.month()), date.day());
    format!("{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", date.year(), time.hour(), time.minute(), time.second())
}
