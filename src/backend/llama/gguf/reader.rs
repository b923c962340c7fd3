//! Bounded reading of a GGUF header: every count is checked against the file before it is believed.

use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::error::{Error, ErrorKind, Result};

/// No header of a real model comes near this; the largest vocabularies take about 30 MB.
pub(super) const MAX_HEADER_BYTES: u64 = 256 << 20;

/// A byte source of known length, read from front to back.
pub(super) struct Source<R> {
    inner: BufReader<R>,
    position: u64,
    len: u64,
    /// What is being read, for messages: `key 'llama.block_count'`.
    pub(super) place: String,
}

impl<R: Read + Seek> Source<R> {
    pub(super) fn new(mut inner: R) -> Result<Self> {
        let len = inner.seek(SeekFrom::End(0)).map_err(|error| unreadable(&error))?;
        inner.rewind().map_err(|error| unreadable(&error))?;
        Ok(Self {
            inner: BufReader::with_capacity(1 << 16, inner),
            position: 0,
            len,
            place: "header".to_owned(),
        })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that the header may still take.
    fn remaining(&self) -> u64 {
        self.len.min(MAX_HEADER_BYTES).saturating_sub(self.position)
    }

    /// `count` items of at least `size` bytes each must still fit, or the count is a lie.
    pub(super) fn fits(&self, count: u64, size: u64) -> Result<()> {
        match count.checked_mul(size) {
            Some(bytes) if bytes <= self.remaining() => Ok(()),
            _ if count.saturating_mul(size) <= self.len.saturating_sub(self.position) => {
                Err(invalid(format!(
                    "{}: the header is larger than {MAX_HEADER_BYTES} bytes",
                    self.place
                )))
            }
            _ => Err(invalid(format!(
                "{}: {count} items at byte {} do not fit into the file's {} bytes; the file is cut off or damaged",
                self.place, self.position, self.len
            ))),
        }
    }

    /// The next `count` bytes, owned.
    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.fits(count, 1)?;
        let mut bytes = vec![0; count as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.fits(bytes.len() as u64, 1)?;
        self.inner.read_exact(bytes).map_err(|error| unreadable(&error))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A length-prefixed string of at most `limit` bytes, not necessarily UTF-8.
    pub(super) fn string(&mut self, limit: u64) -> Result<Vec<u8>> {
        let at = self.position;
        let len = self.u64()?;
        if len > limit {
            return Err(invalid(format!(
                "{}: the string at byte {at} claims {len} bytes; at most {limit} are allowed",
                self.place
            )));
        }
        self.bytes(len)
    }

    /// A name: a string that is also UTF-8, not empty and free of NUL, at which C would cut it.
    pub(super) fn name(&mut self, limit: u64) -> Result<String> {
        let at = self.position;
        let name = self.string(limit)?;
        match String::from_utf8(name) {
            Ok(name) if !name.is_empty() && !name.contains('\0') => Ok(name),
            _ => Err(invalid(format!(
                "{}: the name at byte {at} is empty, holds a NUL byte or is not UTF-8",
                self.place
            ))),
        }
    }
}

/// The file is not a whole, valid model.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidModel, message)
}

/// The file may be sound, but this build cannot run it.
pub(super) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnsupportedModel, message)
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot be read: {error}"))
}
