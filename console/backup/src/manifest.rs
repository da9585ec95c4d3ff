//! What a backup's folder says of itself.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    key::Key,
};

/// The file that makes a folder a backup; written last.
pub const NAME: &str = "manifest.json";
/// The format that this code writes.
const FORMAT: u32 = 1;
/// The most bytes that a manifest is believed to have.
const LONGEST: u64 = 16 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of recarga that made it.
    pub recarga: String,
    /// When the database was as it is in here, by its own clock.
    pub taken_at: DateTime<Utc>,
    /// A moment before the queue was as it is in here, by the same clock.
    pub queue_at: DateTime<Utc>,
    pub postgres: String,
    pub encrypted: bool,
    /// The migrations that the database had.
    pub migrations: Vec<Migration>,
    /// In an order in which no row comes before one that it refers to.
    pub tables: Vec<Table>,
    pub sequences: Vec<Sequence>,
    pub queue: Queue,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    pub version: i64,
    /// In hexadecimal digits.
    pub checksum: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub columns: Vec<String>,
    pub rows: u64,
    pub file: Written,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub schema: String,
    pub name: String,
    pub last_value: i64,
    /// Whether that was given to somebody; otherwise it is the next.
    pub is_called: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub keys: u64,
    pub file: Written,
}

/// A file beside the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub name: String,
    pub bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// On the disk: the manifest as it was written, its checksum, and with a key its signature.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    manifest: Box<serde_json::value::RawValue>,
    /// In hexadecimal digits.
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// All that is needed of a document to see whether it is one of ours.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Manifest {
    pub const FORMAT: u32 = FORMAT;

    /// Every file that the backup has beside this one.
    pub fn files(&self) -> impl Iterator<Item = &Written> {
        let tables = self.tables.iter().map(|table| &table.file);
        tables.chain([&self.queue.file])
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// Writes it into the folder, and waits for the disk.
    pub fn write(&self, folder: &Path, key: Option<&Key>) -> Result<()> {
        let path = folder.join(NAME);
        let text = serde_json::to_string_pretty(self).expect("a manifest is JSON");
        let document = Document {
            sha256: hex::encode(Sha256::digest(&text)),
            signature: key.map(|key| key.sign(text.as_bytes())),
            manifest: serde_json::value::RawValue::from_string(text).expect("it is JSON"),
        };
        let text = serde_json::to_string(&document).expect("a document is JSON");
        let mut file = File::create(&path).map_err(Error::on(&path))?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
        written.map_err(Error::on(&path))
    }

    /// Reads it, and sees that it is whole and signed with the key.
    pub fn read(folder: &Path, key: Option<&Key>) -> Result<Self> {
        let path = folder.join(NAME);
        let mut text = String::new();
        let file = File::open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Refused(format!(
                "{} is no backup: it has no {NAME}. A backup is a folder, and this file is written when it is whole",
                folder.display()
            )),
            _ => Error::on(&path)(source),
        })?;
        file.take(LONGEST)
            .read_to_string(&mut text)
            .map_err(Error::on(&path))?;
        let broken = |error: serde_json::Error| {
            Error::damaged(&path, format!("it is not what was written: {error}"))
        };
        let document: Document = serde_json::from_str(&text).map_err(broken)?;
        let inner = document.manifest.get();
        let Format { format } = serde_json::from_str(inner).map_err(broken)?;
        if format != FORMAT {
            return Err(Error::Refused(format!(
                "{} has format {format}, and this recarga reads {FORMAT}: use the version that made it",
                folder.display()
            )));
        }
        if hex::encode(Sha256::digest(inner)) != document.sha256 {
            return Err(Error::damaged(&path, "its content is not what was written"));
        }
        let manifest: Self = serde_json::from_str(inner).map_err(broken)?;
        match (key, &document.signature) {
            (None, None) if !manifest.encrypted => Ok(manifest),
            (None, _) => Err(Error::Refused(format!(
                "{} is encrypted: give the key that it was made with (--key-file)",
                folder.display()
            ))),
            (Some(_), None) => Err(Error::Refused(format!(
                "{} is not encrypted: leave the key away",
                folder.display()
            ))),
            (Some(key), Some(signature)) if key.has_signed(inner.as_bytes(), signature) => {
                Ok(manifest)
            }
            (Some(_), Some(_)) => Err(Error::damaged(
                &path,
                "it was not made with this key, or was changed",
            )),
        }
    }

    /// Reads every file once, and sees that it is what was written.
    pub fn check(&self, folder: &Path) -> Result<()> {
        for written in self.files() {
            let path = folder.join(&written.name);
            let plain = Path::new(&written.name).components().count() == 1
                && !written.name.starts_with('.');
            if !plain {
                return Err(Error::damaged(
                    &path,
                    "a file of a backup lies in its folder",
                ));
            }
            let mut file = File::open(&path).map_err(Error::on(&path))?;
            let mut sum = Sha256::new();
            let mut buffer = vec![0; 128 * 1024];
            let mut bytes = 0;
            loop {
                let count = file.read(&mut buffer).map_err(Error::on(&path))?;
                if count == 0 {
                    break;
                }
                bytes += count as u64;
                sum.update(&buffer[..count]);
            }
            if bytes != written.bytes {
                let reason = format!("it has {bytes} bytes, and {} were written", written.bytes);
                return Err(Error::damaged(&path, reason));
            }
            if hex::encode(sum.finalize()) != written.sha256 {
                return Err(Error::damaged(&path, "its content is not what was written"));
            }
        }
        Ok(())
    }
}
