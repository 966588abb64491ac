//! The last good configuration on disk: one file of records, each the accepted part of one response.
//!
//! A record is written and synced before the next response is taken; what a crash leaves half written at the end was
//! never relied on and is dropped. Anything else that is wrong means that the file is not ours any more: it is refused
//! whole. When more than half of the file has been overtaken, it is written anew beside and renamed.
//!
//! ```text
//! file   = "windlass journal 1\n" record*
//! record = length:u32 check:u32 checksum:u64 payload   little-endian; of the length and of the payload
//! payload = change*
//! change = type:u8 removed:u8 name:text version:text body:text         text = length:u32 bytes
//! ```

use super::Name;
use proto::{Resource, TypeUrl};
use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use xds::client::Update;

const MAGIC: &[u8] = b"windlass journal 1\n";
/// Smaller files are never written anew.
const SMALL: u64 = 1 << 20;
/// Bytes before a payload.
const HEAD: u64 = 16;

/// Why a journal can't be used.
#[derive(Debug)]
pub enum JournalError {
    /// The system.
    Io(io::Error),
    /// The file is damaged, from this offset on.
    Damaged(u64),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Damaged(offset) => write!(f, "damaged at byte {offset}"),
        }
    }
}

impl std::error::Error for JournalError {}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is kept, by type in their order, by name.
pub type Kept = Vec<(TypeUrl, Vec<Update>)>;

/// An open journal. It holds private keys, so nobody else may read it.
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// Bytes of changes that later ones have overtaken.
    overtaken: u64,
    /// Where the change that is in force stands.
    places: HashMap<(u8, Name), Place>,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    length: u64,
}

/// One accepted change.
pub struct Change<'a> {
    /// Its type.
    pub type_url: TypeUrl,
    /// Its name.
    pub name: &'a Name,
    /// Version and body; none if it was removed.
    pub body: Option<(&'a str, &'a [u8])>,
}

impl Journal {
    /// Opens the journal of a directory, which is made if it isn't there, and returns what was in force, by type.
    ///
    /// # Errors
    /// If the system refuses. A damaged file is put aside (`.damaged`), with an error in the log, and a new one begun.
    pub fn open(dir: &Path) -> io::Result<(Self, Kept)> {
        fs::create_dir_all(dir)?;
        let path = dir.join("configuration");
        match Self::read(&path) {
            Ok((journal, kept)) => Ok((journal, kept)),
            Err(JournalError::Io(error)) => Err(error),
            Err(error @ JournalError::Damaged(_)) => {
                let aside = dir.join("configuration.damaged");
                tracing::error!(file = %path.display(), %error, kept = %aside.display(),
                    "the last good configuration is refused whole; starting without one");
                fs::rename(&path, aside)?;
                Self::read(&path).map_err(|error| io::Error::other(error.to_string()))
            }
        }
    }

    fn read(path: &Path) -> Result<(Self, Kept), JournalError> {
        let mut file = open(path, false)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            file.write_all(MAGIC)?;
            file.sync_all()?;
            bytes.extend_from_slice(MAGIC);
        }
        if !bytes.starts_with(MAGIC) {
            return Err(JournalError::Damaged(0));
        }
        let mut journal =
            Self { path: path.to_owned(), file, length: MAGIC.len() as u64, overtaken: 0, places: HashMap::new() };
        while let Some((start, payload)) = record(&bytes, journal.length)? {
            journal.index(start, payload).ok_or(JournalError::Damaged(start))?;
            journal.length = start + payload.len() as u64;
        }
        // What a crash left half written.
        journal.file.set_len(journal.length)?;
        let kept = journal.kept(&bytes).ok_or(JournalError::Damaged(0))?;
        Ok((journal, kept))
    }

    /// Notes where each change of a payload stands.
    fn index(&mut self, start: u64, payload: &[u8]) -> Option<()> {
        let mut rest = payload;
        while !rest.is_empty() {
            let before = rest.len();
            let offset = start + (payload.len() - before) as u64;
            let change = read_change(&mut rest)?;
            let place = Place { offset, length: (before - rest.len()) as u64 };
            let key = (change.kind, change.name.into());
            let old = if change.removed { self.places.remove(&key) } else { self.places.insert(key, place) };
            self.overtaken += old.map_or(0, |old| old.length);
            if change.removed {
                self.overtaken += place.length;
            }
        }
        Some(())
    }

    /// What is in force, in the order of types.
    fn kept(&self, bytes: &[u8]) -> Option<Kept> {
        let mut kept = Vec::new();
        for (kind, type_url) in (0u8..).zip(TypeUrl::ALL) {
            let mut updates = Vec::new();
            for ((_, name), place) in self.places.iter().filter(|((one, _), _)| *one == kind) {
                let mut change = bytes.get(place.offset as usize..(place.offset + place.length) as usize)?;
                let change = read_change(&mut change)?;
                let (version, body) = (change.version.into(), change.body.to_vec().into());
                updates.push(Update { name: name.clone(), version, body });
            }
            updates.sort_by(|one, other| one.name.cmp(&other.name));
            kept.push((type_url, updates));
        }
        Some(kept)
    }

    /// Writes the accepted part of a response, and syncs it.
    ///
    /// # Errors
    /// If the system refuses; the file then ends where it ended before.
    pub fn append(&mut self, changes: &[Change<'_>]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::new();
        changes.iter().for_each(|change| write_change(change, &mut payload));
        let start = self.length + HEAD;
        if let Err(error) = write_record(&self.file, self.length, &payload) {
            // If this fails too, the next start drops the half record.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length = start + payload.len() as u64;
        // We have just written it.
        let _ = self.index(start, &payload);
        if self.length > SMALL && self.overtaken * 2 > self.length {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Writes what is in force to a new file, and puts it in place of the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let file = open(&beside, true)?;
        file.write_all_at(MAGIC, 0)?;
        let mut new = Self {
            path: self.path.clone(),
            file,
            length: MAGIC.len() as u64,
            overtaken: 0,
            places: HashMap::with_capacity(self.places.len()),
        };
        let mut payload = Vec::new();
        for place in self.places.values() {
            let start = payload.len();
            payload.resize(start + place.length as usize, 0);
            self.file.read_exact_at(&mut payload[start..], place.offset)?;
        }
        if !payload.is_empty() {
            write_record(&new.file, new.length, &payload)?;
            let start = new.length + HEAD;
            new.length = start + payload.len() as u64;
            new.index(start, &payload).ok_or_else(|| io::Error::other("the journal changed under us"))?;
        }
        new.file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        *self = new;
        Ok(())
    }
}

fn open(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
}

/// The record at an offset, and where its payload starts; none if the file ends before it does.
fn record(bytes: &[u8], offset: u64) -> Result<Option<(u64, &[u8])>, JournalError> {
    let rest = &bytes[offset as usize..];
    // The system may have made the file longer before it wrote.
    let Some(head) = rest.get(..HEAD as usize).filter(|_| rest.iter().any(|&byte| byte != 0)) else { return Ok(None) };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let (length, check, checksum) = (number(&head[..4]), number(&head[4..8]), number(&head[8..]));
    if check != hash(&head[..4]) & 0xffff_ffff {
        return Err(JournalError::Damaged(offset));
    }
    let start = (offset + HEAD) as usize;
    let Some(payload) = bytes.get(start..start + length as usize) else { return Ok(None) };
    match hash(payload) == checksum {
        true => Ok(Some((start as u64, payload))),
        false => Err(JournalError::Damaged(offset)),
    }
}

fn write_record(file: &File, offset: u64, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut record = Vec::with_capacity(payload.len() + HEAD as usize);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&(hash(&length.to_le_bytes()) as u32).to_le_bytes());
    record.extend_from_slice(&hash(payload).to_le_bytes());
    record.extend_from_slice(payload);
    file.write_all_at(&record, offset)?;
    file.sync_data()
}

/// The same hash that versions resources.
fn hash(payload: &[u8]) -> u64 {
    Resource::from_bytes(bytes::Bytes::copy_from_slice(payload)).version
}

struct ReadChange<'a> {
    kind: u8,
    removed: bool,
    name: &'a str,
    version: &'a str,
    body: &'a [u8],
}

fn read_change<'a>(rest: &mut &'a [u8]) -> Option<ReadChange<'a>> {
    let (&[kind, removed], after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    if usize::from(kind) >= TypeUrl::ALL.len() || removed > 1 {
        return None;
    }
    let mut text = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *rest = after;
        Some(text)
    };
    let (name, version, body) = (text()?, text()?, text()?);
    let (name, version) = (std::str::from_utf8(name).ok()?, std::str::from_utf8(version).ok()?);
    Some(ReadChange { kind, removed: removed == 1, name, version, body })
}

fn write_change(change: &Change<'_>, out: &mut Vec<u8>) {
    // All types stand in the list; there are seven.
    let kind = TypeUrl::ALL.iter().position(|one| *one == change.type_url).unwrap_or_default() as u8;
    out.extend_from_slice(&[kind, change.body.is_none().into()]);
    let (version, body) = change.body.unwrap_or_default();
    for text in [change.name.as_bytes(), version.as_bytes(), body] {
        // A response is limited to 1 GiB.
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put<'a>(name: &'a Name, body: &'a [u8]) -> Change<'a> {
        Change { type_url: TypeUrl::VirtualHost, name, body: Some(("1", body)) }
    }

    fn hosts(kept: Kept) -> Vec<(String, Vec<u8>)> {
        let kept = kept.into_iter().filter(|(type_url, _)| *type_url == TypeUrl::VirtualHost);
        kept.flat_map(|(_, updates)| updates).map(|update| (update.name.to_string(), update.body.to_vec())).collect()
    }

    #[test]
    fn what_was_accepted_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b): (Name, Name) = ("a".into(), "b".into());
        let (mut journal, kept) = Journal::open(dir.path()).unwrap();
        assert!(hosts(kept).is_empty());
        journal.append(&[put(&a, b"1"), put(&b, b"1")]).unwrap();
        journal.append(&[put(&a, b"2")]).unwrap();
        journal.append(&[Change { type_url: TypeUrl::VirtualHost, name: &b, body: None }]).unwrap();
        drop(journal);
        let (_, kept) = Journal::open(dir.path()).unwrap();
        assert_eq!(hosts(kept), [("a".to_owned(), b"2".to_vec())]);
    }

    #[test]
    fn a_half_record_is_dropped_and_damage_refuses_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("configuration");
        let name: Name = "a".into();
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        journal.append(&[put(&name, b"first")]).unwrap();
        let whole = journal.length;
        journal.append(&[put(&name, b"second")]).unwrap();
        drop(journal);
        let bytes = fs::read(&path).unwrap();
        for cut in whole..bytes.len() as u64 {
            fs::write(&path, &bytes[..cut as usize]).unwrap();
            let (_, kept) = Journal::open(dir.path()).unwrap();
            assert_eq!(hosts(kept), [("a".to_owned(), b"first".to_vec())], "cut at {cut}");
        }
        for at in [0, MAGIC.len() + 1, MAGIC.len() + 5, MAGIC.len() + 16, whole as usize - 1, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let (mut journal, kept) = Journal::open(dir.path()).unwrap();
            assert!(hosts(kept).is_empty(), "damage at {at}");
            assert_eq!(fs::read(dir.path().join("configuration.damaged")).unwrap(), bytes);
            journal.append(&[put(&name, b"third")]).unwrap();
        }
    }

    #[test]
    fn the_file_stays_in_proportion() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        let names: Vec<Name> = (0..16).map(|number| format!("host-{number}").into()).collect();
        let body = vec![b'x'; 32 << 10];
        for round in 0..8u8 {
            for name in &names {
                let mut body = body.clone();
                body[0] = round;
                journal.append(&[put(name, &body)]).unwrap();
            }
        }
        assert!(journal.length < 3 * SMALL, "{}", journal.length);
        drop(journal);
        let (_, kept) = Journal::open(dir.path()).unwrap();
        let kept = hosts(kept);
        assert_eq!(kept.len(), 16);
        assert!(kept.iter().all(|(_, body)| body[0] == 7 && body.len() == 32 << 10));
    }
}
