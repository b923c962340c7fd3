//! Looks for one string in a text that comes byte by byte (Knuth, Morris, Pratt 1977).
#![forbid(unsafe_code)]

use std::sync::Arc;

/// A string, and how much of it the text ends with.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    pub(super) text: Arc<str>,
    /// For each length of a match, the next shorter one that the text ends with as well.
    shorter: Arc<[usize]>,
    pub(super) state: usize,
}

impl Matcher {
    pub(crate) fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut shorter = vec![0; bytes.len() + 1];
        let mut len = 0;
        for i in 1..bytes.len() {
            while len > 0 && bytes[i] != bytes[len] {
                len = shorter[len];
            }
            if bytes[i] == bytes[len] {
                len += 1;
            }
            shorter[i + 1] = len;
        }
        Self { text: text.into(), shorter: shorter.into(), state: 0 }
    }

    /// Takes the next byte; the length of the string when it is complete.
    pub(crate) fn step(&mut self, byte: u8) -> Option<usize> {
        let bytes = self.text.as_bytes();
        while self.state > 0 && bytes[self.state] != byte {
            self.state = self.shorter[self.state];
        }
        if bytes[self.state] == byte {
            self.state += 1;
        }
        if self.state < bytes.len() {
            return None;
        }
        self.state = self.shorter[self.state];
        Some(bytes.len())
    }

    /// What the text would have to go on with to complete the string, for each beginning of it
    /// that the text ends with.
    pub(crate) fn rests(&self) -> impl Iterator<Item = &[u8]> {
        let next = |&length: &usize| Some(self.shorter[length]);
        let lengths = std::iter::successors(Some(self.state), next);
        lengths.take_while(|&length| length > 0).map(|length| &self.text.as_bytes()[length..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_of_all_beginnings() {
        let mut matcher = Matcher::new("aabaac");
        assert_eq!(matcher.rests().count(), 0);
        for byte in *b"xaabaa" {
            assert_eq!(matcher.step(byte), None);
        }
        let rests: Vec<&[u8]> = matcher.rests().collect();
        assert_eq!(rests, [&b"c"[..], b"baac", b"abaac"]);
    }
}
