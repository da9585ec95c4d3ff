//! The files of a backup: compressed, sealed when there is a key, with their checksums.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    key::{Key, Opener, Sealer},
    manifest::Written,
};

/// A file that is being written.
pub struct Writer {
    path: PathBuf,
    name: String,
    stream: GzEncoder<Sealer<Summed>>,
}

impl Writer {
    pub fn create(folder: &Path, name: &str, key: Option<&Key>) -> Result<Self> {
        let name = match key {
            Some(_) => format!("{name}.gz.sealed"),
            None => format!("{name}.gz"),
        };
        let path = folder.join(&name);
        let file = File::create_new(&path).map_err(Error::on(&path))?;
        let sealer = Sealer::new(Summed::new(file), key).map_err(Error::on(&path))?;
        Ok(Self {
            stream: GzEncoder::new(sealer, Compression::fast()),
            path,
            name,
        })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(Error::on(&self.path))
    }

    /// Waits for the disk.
    pub fn finish(self) -> Result<Written> {
        let finish = || {
            let summed = self.stream.finish()?.finish()?;
            let file = summed.inner.into_inner().map_err(io::Error::from)?;
            file.sync_all()?;
            Ok((summed.bytes, summed.sum))
        };
        let (bytes, sum) = finish().map_err(Error::on(&self.path))?;
        Ok(Written {
            name: self.name,
            bytes,
            sha256: hex::encode(sum.finalize()),
        })
    }
}

/// Counts and sums up what is written to a file.
struct Summed {
    inner: BufWriter<File>,
    sum: Sha256,
    bytes: u64,
}

impl Summed {
    fn new(file: File) -> Self {
        Self {
            inner: BufWriter::with_capacity(128 * 1024, file),
            sum: Sha256::new(),
            bytes: 0,
        }
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.sum.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that is read again.
pub struct Reader {
    path: PathBuf,
    stream: GzDecoder<Opener<BufReader<File>>>,
}

impl Reader {
    pub fn open(folder: &Path, written: &Written, key: Option<&Key>) -> Result<Self> {
        let path = folder.join(&written.name);
        let file = File::open(&path).map_err(Error::on(&path))?;
        let opener = Opener::new(BufReader::with_capacity(128 * 1024, file), key)
            .map_err(Error::on(&path))?;
        Ok(Self {
            stream: GzDecoder::new(opener),
            path,
        })
    }

    /// Some bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.stream.read(buffer).map_err(Error::on(&self.path))
    }

    /// All that is left.
    pub fn rest(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream
            .read_to_end(&mut bytes)
            .map_err(Error::on(&self.path))?;
        Ok(bytes)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
