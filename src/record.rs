//! Small records of ours: JSON with the number of its form in `schema`. Read bounded, written whole and durably,
//! for root's eyes alone.

use crate::durable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// What is kept in a file of its own. It has a field `schema: u32` that holds [`Record::SCHEMA`].
pub trait Record: Serialize + DeserializeOwned {
    /// The form this program reads and writes.
    const SCHEMA: u32;
    /// No record is longer, in bytes.
    const LIMIT: u64 = 64 * 1024;
}

#[derive(Deserialize)]
struct Form {
    schema: u32,
}

/// A record from its bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for anything else, and for one that another version of this program wrote in
/// another form.
pub fn parse<R: Record>(bytes: &[u8]) -> io::Result<R> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    // The form first: what another form lacks is not what is wrong with it.
    let Form { schema } = serde_json::from_slice(bytes).map_err(invalid)?;
    if schema != R::SCHEMA {
        let other = format!("its schema is {schema}, this program knows {}", R::SCHEMA);
        return Err(io::Error::new(io::ErrorKind::InvalidData, other));
    }
    serde_json::from_slice(bytes).map_err(invalid)
}

/// The record at `path`; `None` where there is none.
///
/// # Errors
/// As of [`parse`], and whatever keeps the file from being read.
pub fn read<R: Record>(path: &Path) -> io::Result<Option<R>> {
    match durable::read(path, R::LIMIT) {
        Ok(bytes) => parse(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a record with the mode 0600, durably, and its directory if that is missing (0700).
pub fn write<R: Record>(path: &Path, record: &R) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        durable::directory(directory, 0o700)?;
    }
    let mut text = serde_json::to_vec_pretty(record).expect("a record holds nothing that JSON cannot");
    text.push(b'\n');
    durable::write(path, &text, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        schema: u32,
        text: String,
    }

    impl Record for Note {
        const SCHEMA: u32 = 2;
        const LIMIT: u64 = 100;
    }

    #[test]
    fn a_record_comes_back_as_it_was_written_and_is_for_roots_eyes_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/note.json");
        assert_eq!(read::<Note>(&path).unwrap(), None);
        let note = Note { schema: Note::SCHEMA, text: "words".into() };
        write(&path, &note).unwrap();
        assert_eq!(read::<Note>(&path).unwrap(), Some(note));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn another_form_is_told_by_its_number_even_where_it_lacks_what_this_one_has() {
        let error = parse::<Note>(br#"{"schema": 3, "words": []}"#).unwrap_err();
        assert_eq!(error.to_string(), "its schema is 3, this program knows 2");
        for bytes in [r#"{"text": "x"}"#, r#"{"schema": 2}"#, r#"{"schema": 2, "te"#, ""] {
            assert_eq!(parse::<Note>(bytes.as_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes}");
        }
    }

    #[test]
    fn a_record_longer_than_its_bound_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note.json");
        write(&path, &Note { schema: Note::SCHEMA, text: "x".repeat(100) }).unwrap();
        assert!(read::<Note>(&path).is_err());
    }
}
