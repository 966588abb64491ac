//! A DER writer, as small as X.509 needs: nested values are put together from the inside out.

use std::time::SystemTime;
use time::OffsetDateTime;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// BOOLEAN TRUE, whole.
pub(crate) const TRUE: &[u8] = &[0x01, 0x01, 0xff];

/// `[n] EXPLICIT` and constructed `[n] IMPLICIT`.
pub(crate) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// Primitive `[n] IMPLICIT`.
pub(crate) const fn context_primitive(n: u8) -> u8 {
    0x80 | n
}

/// One value: tag, length, and the parts one after the other.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A BIT STRING without unused bits.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], content])
}

/// A certificate extension (RFC 5280 section 4.2); `oid` is the content of its OBJECT IDENTIFIER.
pub(crate) fn extension(oid: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { TRUE } else { &[] };
    value(SEQUENCE, &[&value(OID, &[oid]), critical, &value(OCTET_STRING, &[content])])
}

/// A `Time` (RFC 5280 section 4.1.2.5): UTCTime up to 2049, GeneralizedTime from 2050 on, whole seconds.
pub(crate) fn time(at: SystemTime) -> Vec<u8> {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = (at.year(), at.month() as u8, at.day());
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second());
    if (1950..2050).contains(&year) {
        value(0x17, &[format!("{:02}", year % 100).as_bytes(), rest.as_bytes()])
    } else {
        value(0x18, &[format!("{year:04}").as_bytes(), rest.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn lengths_take_as_few_bytes_as_they_can() {
        assert_eq!(value(OCTET_STRING, &[&[7; 3]])[..2], [4, 3]);
        assert_eq!(value(OCTET_STRING, &[&[7; 0x7f]])[..2], [4, 0x7f]);
        assert_eq!(value(OCTET_STRING, &[&[7; 0x80]])[..3], [4, 0x81, 0x80]);
        assert_eq!(value(OCTET_STRING, &[&[7; 0x100], &[7; 2]])[..4], [4, 0x82, 0x01, 0x02]);
    }

    #[test]
    fn times_change_their_form_in_2050() {
        let at = |seconds| time(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_700_000_000), [&[0x17, 13][..], b"231114221320Z"].concat());
        assert_eq!(at(2_524_607_999), [&[0x17, 13][..], b"491231235959Z"].concat());
        assert_eq!(at(2_524_608_000), [&[0x18, 15][..], b"20500101000000Z"].concat());
    }
}
