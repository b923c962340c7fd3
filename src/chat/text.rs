//! From a model's bytes to text that may be shown: whole characters, and no stop strings.
#![forbid(unsafe_code)]

use std::cmp::Reverse;

use super::matcher::Matcher;

/// Text that is decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Valid UTF-8, often empty while something is held back.
    pub text: String,
    /// A stop string was found: nothing more will come.
    pub stopped: bool,
}

/// Turns the bytes of one answer, in pieces cut anywhere, into text up to the first stop string.
///
/// The chunks and [`finish`](Self::finish), joined, equal `String::from_utf8_lossy` of all the
/// bytes, cut where the first stop string begins, however the bytes were split. Among stop
/// strings that begin at the same place the longest one counts, so a stop that is the beginning
/// of another is only reported once the longer one is ruled out. Cost: linear in the bytes,
/// times the number of stop strings (Knuth, Morris, Pratt 1977).
#[derive(Debug, Clone)]
pub struct TextFilter {
    stops: Vec<Matcher>,
    /// The beginning of a character whose end has not come; at most 3 bytes.
    tail: Vec<u8>,
    /// Text that may still turn out to be part of a stop string.
    held: String,
    /// Bytes of text before `held`, and bytes of text in all.
    shown: usize,
    seen: usize,
    found: Option<Match>,
    stopped: bool,
}

/// Where a stop string was found, in bytes of the text, and which one it is.
#[derive(Debug, Clone, Copy)]
struct Match {
    start: usize,
    len: usize,
    stop: usize,
}

impl TextFilter {
    /// A filter for one answer; empty stop strings are ignored.
    pub fn new(stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty());
        Self {
            stops: stops.map(|stop| Matcher::new(&stop)).collect(),
            tail: Vec::new(),
            held: String::new(),
            shown: 0,
            seen: 0,
            found: None,
            stopped: false,
        }
    }

    /// Takes the bytes of a token; returns what can be shown now.
    pub fn push(&mut self, bytes: &[u8]) -> Chunk {
        let mut text = String::new();
        if !self.stopped {
            let decoded = self.decode(bytes);
            self.stopped = self.scan(&decoded);
            text = self.release();
        }
        Chunk { text, stopped: self.stopped }
    }

    /// Takes the bytes of a token in which no stop string counts, nor begins; returns what can be
    /// shown now.
    pub fn pass(&mut self, bytes: &[u8]) -> String {
        let text = self.decode(bytes);
        self.seen += text.len();
        self.held.push_str(&text);
        self.release()
    }

    /// The end of the answer: returns what was held back, unless it is a stop string.
    /// [`matched`](Self::matched) tells whether it was.
    pub fn finish(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        if !std::mem::take(&mut self.tail).is_empty() {
            self.scan("\u{fffd}");
        }
        self.stopped = true;
        self.stops.iter_mut().for_each(|stop| stop.state = 0);
        self.release()
    }

    /// Whether the bytes so far end with a whole character.
    pub fn is_whole(&self) -> bool {
        self.tail.is_empty()
    }

    /// The stop string that ended the text.
    pub fn matched(&self) -> Option<&str> {
        let found = self.found.filter(|_| self.stopped)?;
        self.stops.get(found.stop).map(|stop| &*stop.text)
    }

    /// Whole characters out of the held tail and `bytes`; what may still become one stays.
    fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.tail);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut used = 0;
        for chunk in all.utf8_chunks() {
            text.push_str(chunk.valid());
            used += chunk.valid().len() + chunk.invalid().len();
            let last = used == all.len();
            if last && unfinished(chunk.invalid()) {
                self.tail = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// Appends `text` to what is held and looks for stop strings; true once one is certain.
    fn scan(&mut self, text: &str) -> bool {
        for &byte in text.as_bytes() {
            self.seen += 1;
            for (i, stop) in self.stops.iter_mut().enumerate() {
                if let Some(len) = stop.step(byte) {
                    let found = Match { start: self.seen - len, len, stop: i };
                    self.found = Some(self.found.map_or(found, |old| first(old, found)));
                }
            }
            if self.found.is_some_and(|found| self.is_certain(found)) {
                self.held.push_str(text);
                return true;
            }
        }
        self.held.push_str(text);
        false
    }

    /// Whether no stop string that is still growing could win over `found`.
    fn is_certain(&self, found: Match) -> bool {
        self.stops.iter().all(|stop| {
            let start = self.seen - stop.state;
            start > found.start || (start == found.start && stop.text.len() <= found.len)
        })
    }

    /// Takes out what lies before every match, found or growing.
    fn release(&mut self) -> String {
        let growing = self.stops.iter().map(|stop| self.seen - stop.state);
        let end = growing.min().unwrap_or(self.seen);
        let end = self.found.map_or(end, |found| match self.stopped {
            true => found.start,
            false => found.start.min(end),
        });
        // A match begins with a whole character, so this never cuts one.
        let text = self.held.drain(..end - self.shown).collect();
        self.shown = end;
        if self.stopped {
            self.held.clear();
        }
        text
    }
}

/// The earlier of two matches, the longer one of a tie.
fn first(a: Match, b: Match) -> Match {
    std::cmp::min_by_key(a, b, |m| (m.start, Reverse(m.len)))
}

/// Whether more bytes could make `invalid`, the end of the input, a character.
fn unfinished(invalid: &[u8]) -> bool {
    match std::str::from_utf8(invalid) {
        Ok(_) => false,
        Err(error) => error.error_len().is_none(),
    }
}
