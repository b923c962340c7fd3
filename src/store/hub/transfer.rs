//! One file: from what is here of it to a whole one that was checked.
#![forbid(unsafe_code)]

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ureq::http::HeaderMap;

use super::fault::Fault;
use super::http::{header_text, Answer, Ask, Http};
use super::part::{self, Part};
use super::retry::Retry;
use super::{Fetched, Pauses, RemoteFile};
use crate::error::{Error, ErrorKind};
use crate::log::log;

/// Bytes that are read from a connection at once.
const PIECE: usize = 1 << 18;
/// Failures in a row before a file is given up.
const TRIES: u32 = 6;
/// Bytes beyond all that was here before after which a connection counts as one that worked.
const PROGRESS: u64 = 64 << 10;

/// A file to fetch, and how far it is; the thread that watches reads the numbers.
pub(super) struct Item {
    pub(super) remote: RemoteFile,
    /// In the model's folder.
    pub(super) place: PathBuf,
    /// The same with the folder.
    pub(super) target: PathBuf,
    /// Its address on the hub.
    pub(super) address: String,
    /// `owner/name/path`.
    pub(super) subject: String,
    /// Bytes that are here.
    pub(super) held: AtomicU64,
    /// Bytes that came over the network.
    pub(super) received: AtomicU64,
    pub(super) runs: AtomicBool,
}

impl Item {
    /// Fetches the file where it is not here already.
    pub(super) fn fetch(&self, http: &Http, pauses: &Pauses) -> Result<Fetched, Fault> {
        let read = |bytes| {
            self.held.fetch_add(bytes, Ordering::Relaxed);
        };
        if let Some(sha256) = part::find_whole(&self.target, &self.remote, &http.stop, read)? {
            return Ok(self.fetched(sha256));
        }
        self.held.store(0, Ordering::Relaxed);
        let mut part = Part::open(&self.target, &self.remote, &http.stop, read)?;
        match self.complete(http, &mut part, pauses) {
            Ok(sha256) => {
                part.become_file(&self.target)?;
                Ok(self.fetched(sha256))
            }
            Err(fault) => {
                part.leave();
                Err(fault)
            }
        }
    }

    /// Tries until the part is the whole file. Its SHA-256.
    fn complete(&self, http: &Http, part: &mut Part<'_>, pauses: &Pauses) -> Result<String, Fault> {
        let mut retry = Retry::new(pauses, &http.stop, TRIES);
        let (mut fresh, mut most) = (false, part.length());
        loop {
            let fault = match self.try_once(http, part) {
                Ok(sha256) => return Ok(sha256),
                Err(fault) => fault,
            };
            if part.length() >= most.saturating_add(PROGRESS) {
                most = part.length();
                retry.progressed();
            }
            match fault {
                // Once more from the start: an older part may be at fault, or a proxy.
                Fault::Wrong(error) if !fresh => {
                    log!(Warn, "{}: {}; fetched again", self.subject, error.message());
                    fresh = true;
                    self.clear(part)?;
                }
                Fault::Wrong(error) => {
                    self.clear(part)?;
                    return Err(Fault::Failed(error));
                }
                Fault::Passing(error, wait) => {
                    log!(Warn, "{}", error.message());
                    retry.wait(Fault::Passing(error, wait))?;
                }
                other => return Err(other),
            }
        }
    }

    fn fetched(&self, sha256: String) -> Fetched {
        self.held.store(self.remote.bytes, Ordering::Relaxed);
        Fetched {
            path: self.remote.path.clone(),
            place: self.place.clone(),
            bytes: self.remote.bytes,
            sha256,
            received: self.received.load(Ordering::Relaxed),
        }
    }

    fn clear(&self, part: &mut Part<'_>) -> Result<(), Fault> {
        self.held.store(0, Ordering::Relaxed);
        part.clear()
    }

    /// Asks for what is missing, once, and checks the whole.
    fn try_once(&self, http: &Http, part: &mut Part<'_>) -> Result<String, Fault> {
        if part.length() < self.remote.bytes {
            let (address, subject) = (self.address.as_str(), self.subject.as_str());
            let answer = http.get(&Ask { address, from: part.length(), subject })?;
            self.check_promise(&answer.hub_headers)?;
            let is_rest = self.check_answer(&answer, part.length())?;
            if !is_rest {
                self.clear(part)?;
            }
            self.receive(http, answer, part)?;
        }
        part.check()
    }

    /// What the hub itself says of the file, beside the list; the contents may come from elsewhere.
    fn check_promise(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let size = header_text(headers, "x-linked-size").and_then(|text| text.parse().ok());
        let etag = header_text(headers, "x-linked-etag");
        let etag = etag.map(|text| text.trim_start_matches("W/").trim_matches('"').to_owned());
        let other_size = size.is_some_and(|size: u64| size != self.remote.bytes);
        let other_sum = match (&etag, &self.remote.sha256) {
            (Some(etag), Some(sha256)) => etag.len() == 64 && !etag.eq_ignore_ascii_case(sha256),
            _ => false,
        };
        if other_size || other_sum {
            let message = format!(
                "{}: the hub contradicts its own list on size or checksum; try again later",
                self.subject
            );
            return Err(Fault::Failed(Error::new(ErrorKind::InvalidModel, message)));
        }
        Ok(())
    }

    /// Whether `answer` holds the rest behind `from` (true) or all (false). One that is neither, such as
    /// a page to log in, is refused before anything is written.
    fn check_answer(&self, answer: &Answer, from: u64) -> Result<bool, Fault> {
        let headers = &answer.headers;
        let refuse = |cause: &str| {
            let message = format!("{}: {} {cause}", self.subject, answer.host);
            Error::new(ErrorKind::InvalidModel, message)
        };
        let content = header_text(headers, "content-type").unwrap_or_default();
        let is_page = content.to_ascii_lowercase().starts_with("text/html");
        if is_page && !self.remote.path.ends_with(".html") {
            return Err(Fault::Passing(refuse("answers with a web page"), None));
        }
        let coding = header_text(headers, "content-encoding").unwrap_or_default();
        if !matches!(coding.to_ascii_lowercase().as_str(), "" | "identity") {
            return Err(Fault::Failed(refuse("sends it compressed, which was not asked for")));
        }
        let is_rest = match answer.status {
            206 => {
                let range = header_text(headers, "content-range").unwrap_or_default();
                if !is_range(&range, from, self.remote.bytes) {
                    return Err(Fault::Wrong(refuse("sends another part than was asked for")));
                }
                true
            }
            416 => return Err(Fault::Wrong(refuse("has no such part of it"))),
            _ => from == 0,
        };
        let missing = if is_rest { self.remote.bytes - from } else { self.remote.bytes };
        let length = header_text(headers, "content-length");
        let length: Option<u64> = length.and_then(|text| text.parse().ok());
        match length {
            Some(length) if length != missing => {
                let cause = format!("sends {length} bytes instead of {missing}");
                Err(Fault::Passing(refuse(&cause), None))
            }
            _ => Ok(is_rest),
        }
    }

    fn receive(&self, http: &Http, mut answer: Answer, part: &mut Part<'_>) -> Result<(), Fault> {
        let broken = |cause: &str, part: &Part<'_>| {
            let (subject, host, bytes) = (&self.subject, &answer.host, self.remote.bytes);
            format!("{subject}: {host} broke off after {} of {bytes} bytes: {cause}", part.length())
        };
        let mut body = answer.body.as_reader();
        let mut buffer = vec![0; PIECE];
        loop {
            if http.stop.is_raised() {
                return Err(Fault::Stopped);
            }
            let count = body.read(&mut buffer).map_err(|error| {
                http.unless_stopped(Fault::passing(broken(&error.to_string(), part)))
            })?;
            if count == 0 && part.length() < self.remote.bytes {
                let fault = Fault::passing(broken("the connection was closed", part));
                return Err(http.unless_stopped(fault));
            }
            if count == 0 {
                return Ok(());
            }
            if count as u64 > self.remote.bytes - part.length() {
                let message = format!("{}: {} sends more than the file", self.subject, answer.host);
                return Err(Fault::Wrong(Error::new(ErrorKind::InvalidModel, message)));
            }
            part.push(&buffer[..count])?;
            self.held.fetch_add(count as u64, Ordering::Relaxed);
            self.received.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// Whether a `Content-Range` is `bytes FROM-.../BYTES`, up to the end.
fn is_range(text: &str, from: u64, bytes: u64) -> bool {
    let parts = || {
        let (range, whole) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let whole_fits = whole.trim() == "*" || number(whole)? == bytes;
        Some(whole_fits && number(start)? == from && number(end)?.checked_add(1)? == bytes)
    };
    parts() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::is_range;

    #[test]
    fn a_range_goes_to_the_end() {
        assert!(is_range("bytes 5-9/10", 5, 10));
        assert!(is_range("bytes 5-9/*", 5, 10));
        for text in
            ["", "bytes", "bytes */10", "bytes 4-9/10", "bytes 5-8/10", "bytes 5-9/11", "5-9/10"]
        {
            assert!(!is_range(text, 5, 10), "{text}");
        }
    }
}
