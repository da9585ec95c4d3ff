//! The key that backups are encrypted with, and the stream that it seals.
//!
//! A file has a key of its own, drawn from the given one and from 32 random bytes at its begin. Its content is sealed in
//! chunks with ChaCha20-Poly1305; a chunk's nonce is its number and whether it is the last, so that chunks can neither be
//! changed nor swapped, repeated or cut off.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::Path,
};

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    hmac, rand,
};

use crate::error::{Error, Result};

/// Plain bytes in a chunk.
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
const SALT: usize = 32;

/// 32 secret bytes.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(secret)")
    }
}

impl Key {
    /// Reads a file of 64 hexadecimal digits.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::on(path))?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| {
            Error::Refused(format!(
                "{} is not a key: 64 hexadecimal digits are wanted, as `openssl rand -hex 32` makes them",
                path.display()
            ))
        })?;
        Ok(Self(bytes))
    }

    #[cfg(test)]
    pub(crate) fn of(byte: u8) -> Self {
        Self([byte; 32])
    }

    /// What only somebody with the key can say of these bytes, in hexadecimal digits.
    pub(crate) fn sign(&self, bytes: &[u8]) -> String {
        let tag = hmac::sign(&self.signing(), bytes);
        hex::encode(tag.as_ref())
    }

    pub(crate) fn has_signed(&self, bytes: &[u8], signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|tag| hmac::verify(&self.signing(), bytes, &tag).is_ok())
    }

    fn signing(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }

    fn of_file(&self, salt: &[u8; SALT]) -> LessSafeKey {
        let key = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let key = key
            .expand(&[b"recarga backup"], &CHACHA20_POLY1305)
            .expect("a key is short enough to be drawn");
        LessSafeKey::new(UnboundKey::from(key))
    }
}

fn nonce(chunk: u64, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&chunk.to_be_bytes());
    bytes[11] = last.into();
    Nonce::assume_unique_for_key(bytes)
}

/// Seals what is written, when there is a key.
pub enum Sealer<W: Write> {
    Plain(W),
    Sealed(Box<Sealing<W>>),
}

pub struct Sealing<W: Write> {
    inner: W,
    key: LessSafeKey,
    chunk: u64,
    waiting: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    pub fn new(mut inner: W, key: Option<&Key>) -> io::Result<Self> {
        let Some(key) = key else {
            return Ok(Self::Plain(inner));
        };
        let mut salt = [0; SALT];
        rand::fill(&mut salt)
            .map_err(|_| io::Error::other("this machine gives no random bytes"))?;
        inner.write_all(&salt)?;
        Ok(Self::Sealed(Box::new(Sealing {
            inner,
            key: key.of_file(&salt),
            chunk: 0,
            waiting: Vec::with_capacity(CHUNK + TAG),
        })))
    }

    /// Seals the last chunk.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(inner) => Ok(inner),
            Self::Sealed(mut sealing) => {
                sealing.seal(true)?;
                Ok(sealing.inner)
            }
        }
    }
}

impl<W: Write> Sealing<W> {
    fn seal(&mut self, last: bool) -> io::Result<()> {
        self.key
            .seal_in_place_append_tag(nonce(self.chunk, last), Aad::empty(), &mut self.waiting)
            .map_err(|_| io::Error::other("a chunk could not be sealed"))?;
        self.inner.write_all(&self.waiting)?;
        self.waiting.clear();
        self.chunk += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.write(bytes),
            Self::Sealed(sealing) => {
                // A full chunk waits until there is more: the last one is sealed as such.
                if sealing.waiting.len() == CHUNK {
                    sealing.seal(false)?;
                }
                let count = bytes.len().min(CHUNK - sealing.waiting.len());
                sealing.waiting.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(inner) => inner.flush(),
            Self::Sealed(sealing) => sealing.inner.flush(),
        }
    }
}

/// Opens what was sealed, when there is a key.
pub enum Opener<R: Read> {
    Plain(R),
    Sealed(Box<Opening<R>>),
}

pub struct Opening<R: Read> {
    inner: R,
    key: LessSafeKey,
    chunk: u64,
    /// What was read of the next chunk, with one byte more, which tells whether there is another.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read> Opener<R> {
    pub fn new(mut inner: R, key: Option<&Key>) -> io::Result<Self> {
        let Some(key) = key else {
            return Ok(Self::Plain(inner));
        };
        let mut salt = [0; SALT];
        inner.read_exact(&mut salt)?;
        Ok(Self::Sealed(Box::new(Opening {
            inner,
            key: key.of_file(&salt),
            chunk: 0,
            sealed: Vec::new(),
            plain: Vec::new(),
            given: 0,
            ended: false,
        })))
    }
}

impl<R: Read> Opening<R> {
    /// Opens the next chunk.
    fn next(&mut self) -> io::Result<()> {
        const SEALED: usize = CHUNK + TAG;
        let wanted = SEALED + 1 - self.sealed.len();
        self.inner
            .by_ref()
            .take(wanted as u64)
            .read_to_end(&mut self.sealed)?;
        let last = self.sealed.len() <= SEALED;
        let rest = self.sealed.split_off(self.sealed.len().min(SEALED));
        self.plain = std::mem::replace(&mut self.sealed, rest);
        self.given = 0;
        let opened = self
            .key
            .open_in_place(nonce(self.chunk, last), Aad::empty(), &mut self.plain)
            .map_err(|_| {
                let reason = "it was not sealed with this key, or was changed";
                io::Error::new(io::ErrorKind::InvalidData, reason)
            })?
            .len();
        self.plain.truncate(opened);
        self.chunk += 1;
        self.ended = last;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.read(buffer),
            Self::Sealed(opening) => {
                while opening.given == opening.plain.len() {
                    if opening.ended {
                        return Ok(0);
                    }
                    opening.next()?;
                }
                let rest = &opening.plain[opening.given..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                opening.given += count;
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(content: &[u8], key: &Key) -> Vec<u8> {
        let mut sealer = Sealer::new(Vec::new(), Some(key)).unwrap();
        sealer.write_all(content).unwrap();
        sealer.finish().unwrap()
    }

    fn open(sealed: &[u8], key: &Key) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Opener::new(sealed, Some(key))?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let key = Key::of(7);
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
            let content: Vec<u8> = (0..length).map(|byte| (byte * 31 % 251) as u8).collect();
            let sealed = seal(&content, &key);
            assert_ne!(sealed, seal(&content, &key), "no two are alike");
            assert_eq!(open(&sealed, &key).unwrap(), content, "{length}");
        }
    }

    #[test]
    fn every_change_is_seen() {
        let key = Key::of(7);
        let content = vec![5; 2 * CHUNK + 100];
        let sealed = seal(&content, &key);
        assert!(open(&sealed, &Key::of(8)).is_err(), "another key");
        for place in [0, SALT, SALT + CHUNK + TAG, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(open(&changed, &key).is_err(), "byte {place}");
        }
        let (first, second) = (SALT, SALT + CHUNK + TAG);
        let third = second + CHUNK + TAG;
        for end in [0, SALT, second, third, sealed.len() - 1] {
            assert!(open(&sealed[..end], &key).is_err(), "cut at {end}");
        }
        let swapped = [
            &sealed[..first],
            &sealed[second..third],
            &sealed[first..second],
            &sealed[third..],
        ];
        assert!(open(&swapped.concat(), &key).is_err(), "swapped");
        assert!(open(&[&sealed[..], b"x"].concat(), &key).is_err(), "longer");
    }

    #[test]
    fn a_signature_is_of_one_text_and_one_key() {
        let (key, other) = (Key::of(1), Key::of(2));
        let signature = key.sign(b"text");
        assert!(key.has_signed(b"text", &signature));
        assert!(!key.has_signed(b"next", &signature));
        assert!(!other.has_signed(b"text", &signature));
        assert!(!key.has_signed(b"text", "not hexadecimal"));
    }

    #[test]
    fn a_key_is_64_digits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (text, good) in [
            ("ab".repeat(32), true),
            ("ab".repeat(32) + "\n", true),
            ("ab".repeat(31), false),
            (String::new(), false),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(Key::load(&path).is_ok(), good);
        }
        assert!(Key::load(&folder.path().join("none")).is_err());
    }
}
