//! The bytes of an audio file, from memory or disk.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use symphonia::core::io::MediaSource;

use crate::error::{Error, ErrorKind, Result};

trait Bytes: Read + Seek + Send + Sync {}
impl<T: Read + Seek + Send + Sync> Bytes for T {}

/// A file from some offset on, which may stand behind some bytes of its own. Positions count from
/// the first of those.
pub(super) struct Source {
    inner: Box<dyn Bytes>,
    /// Where the file's part begins and ends in it.
    start: u64,
    end: u64,
    head: Vec<u8>,
    position: u64,
    is_seekable: bool,
    gauge: Arc<Gauge>,
}

/// What a source has read, for those who have given it away.
#[derive(Debug)]
pub(super) struct Gauge {
    position: AtomicU64,
    budget: AtomicU64,
}

impl Gauge {
    /// Bytes from the start of the source.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Lets the source be read for another `bytes`; then reading fails. This bounds the time in
    /// which a demuxer looks for the next packet.
    pub(super) fn allow(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }
}

impl Source {
    /// Of a file's bytes.
    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        let end = bytes.len() as u64;
        Self::new(Box::new(Cursor::new(bytes)), end)
    }

    /// Of the regular file at `path`; pipes and devices, which may never end, are refused.
    pub(super) fn open(path: &str) -> Result<Self> {
        let failed = |error: &io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("{path}: {error}"))
        };
        let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Io, format!("{path}: not a regular file")));
        }
        let file = File::open(path).map_err(|error| failed(&error))?;
        Ok(Self::new(Box::new(file), metadata.len()))
    }

    fn new(inner: Box<dyn Bytes>, end: u64) -> Self {
        let gauge = Gauge { position: AtomicU64::new(0), budget: AtomicU64::new(u64::MAX) };
        Self {
            inner,
            start: 0,
            end,
            head: Vec::new(),
            position: 0,
            is_seekable: true,
            gauge: Arc::new(gauge),
        }
    }

    /// Bytes in all.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + (self.end - self.start)
    }

    /// Tells how far reading has come, also when a demuxer owns the source.
    pub(super) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Leaves out the first `count` bytes, and puts `head` in their place.
    pub(super) fn replace_front(&mut self, count: u64, head: Vec<u8>) -> Result<()> {
        self.start = self.start.saturating_add(count).min(self.end);
        self.head = head;
        self.rewind().map_err(|error| broken_read(&error))
    }

    /// The bytes from `at` on, `count` of them unless the source ends before.
    pub(super) fn peek(&mut self, at: u64, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.seek(SeekFrom::Start(at))
            .and_then(|_| self.by_ref().take(count).read_to_end(&mut bytes))
            .and_then(|_| self.rewind())
            .map_err(|error| broken_read(&error))?;
        Ok(bytes)
    }

    /// Leaves out what is behind the first `count` bytes.
    pub(super) fn cut_end(&mut self, count: u64) {
        let inside = count.saturating_sub(self.head.len() as u64);
        self.end = self.end.min(self.start + inside);
    }

    /// Has demuxers read from front to back.
    pub(super) fn only_forward(&mut self) {
        self.is_seekable = false;
    }

    fn read_some(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if let Some(rest) = self.head.get(self.position as usize..).filter(|rest| !rest.is_empty())
        {
            let count = rest.len().min(to.len());
            to[..count].copy_from_slice(&rest[..count]);
            return Ok(count);
        }
        let left = self.len().saturating_sub(self.position);
        let count = (to.len() as u64).min(left) as usize;
        self.inner.read(&mut to[..count])
    }
}

/// A file that was opened and then could not be read.
pub(super) fn broken_read(error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the audio cannot be read: {error}"))
}

impl Read for Source {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let budget = self.gauge.budget.load(Ordering::Relaxed);
        if budget == 0 {
            return Err(io::Error::other("megabytes without audio"));
        }
        let count = self.read_some(to)?;
        self.position += count as u64;
        self.gauge.position.store(self.position, Ordering::Relaxed);
        self.gauge.budget.store(budget.saturating_sub(count as u64), Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        let inside = target.saturating_sub(self.head.len() as u64).min(self.end - self.start);
        self.inner.seek(SeekFrom::Start(self.start + inside))?;
        self.position = target;
        Ok(target)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        self.is_seekable
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}
