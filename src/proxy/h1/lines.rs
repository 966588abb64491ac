//! One pass over the fields of a head: where names and values lie, and that every byte may stand where it stands.
//!
//! Values are looked at eight bytes at a time. Nothing is copied here: [`Fields::bring`] takes the lines over in one
//! piece.

use super::Refusal;
use crate::head::Fields;

/// Why a pass ended before the head did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The input is used up.
    More,
    /// The head is refused, if its lines are whole.
    Refused(Refusal),
}

impl<R: Into<Refusal>> From<R> for Stop {
    fn from(refusal: R) -> Self {
        Stop::Refused(refusal.into())
    }
}

/// Which bytes a name is made of (RFC 9110 5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// Notes the fields whose first line starts at `start`; gives the end of the head, behind its empty line. Offsets are
/// those from `start`.
pub(super) fn note(input: &[u8], start: usize, most: usize, fields: &mut Fields) -> Result<usize, Stop> {
    let mut at = start;
    loop {
        let name = at;
        at = token_end(input, at);
        match byte(input, at)? {
            b':' if at > name => {}
            b'\r' if at == name => return line_feed(input, at + 1, Refusal::FirstLine),
            _ => return Err(Refusal::Field.into()),
        }
        let name = name - start..at - start;
        at += 1;
        while matches!(byte(input, at)?, b' ' | b'\t') {
            at += 1;
        }
        let value = at;
        at = text_end(input, at);
        if byte(input, at)? != b'\r' {
            return Err(Refusal::Field.into());
        }
        let mut end = at;
        while end > value && matches!(input[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        // One space before the value and none behind it.
        let plain = value - start == name.end + 2 && input[value - 1] == b' ' && end == at;
        at = line_feed(input, at + 1, Refusal::Field)?;
        if fields.len() == most {
            return Err(Refusal::TooMany.into());
        }
        fields.note(name, value - start..end - start, plain);
    }
}

/// The byte at an offset.
pub(super) fn byte(input: &[u8], at: usize) -> Result<u8, Stop> {
    input.get(at).copied().ok_or(Stop::More)
}

/// What follows the line feed that must stand there.
pub(super) fn line_feed(input: &[u8], at: usize, otherwise: Refusal) -> Result<usize, Stop> {
    if byte(input, at)? == b'\n' { Ok(at + 1) } else { Err(otherwise.into()) }
}

/// Where a token ends.
pub(super) fn token_end(input: &[u8], at: usize) -> usize {
    let rest = &input[at..];
    at + rest.iter().position(|&byte| !TOKEN[usize::from(byte)]).unwrap_or(rest.len())
}

/// Where a text ends: at a control character that is no tab, or with the input.
pub(super) fn text_end(input: &[u8], at: usize) -> usize {
    let mut end = visible_end::<b' '>(input, at);
    while input.get(end) == Some(&b'\t') {
        end = visible_end::<b' '>(input, end + 1);
    }
    end
}

/// Where bytes end that are at least `LEAST` and not DEL.
pub(super) fn visible_end<const LEAST: u8>(input: &[u8], mut at: usize) -> usize {
    while let Some(eight) = input[at..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        // The high bit of each byte that ends the text; what stands above the first may be wrong.
        let (below, del) = (word.wrapping_sub(ONES * u64::from(LEAST)) & !word, word ^ (ONES * 0x7f));
        let ends = (below | (del.wrapping_sub(ONES) & !del)) & (ONES << 7);
        if ends != 0 {
            return at + ends.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = &input[at..];
    at + rest.iter().position(|&byte| byte < LEAST || byte == 0x7f).unwrap_or(rest.len())
}

/// A one in each byte.
const ONES: u64 = u64::MAX / 255;
