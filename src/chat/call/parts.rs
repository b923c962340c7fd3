//! Calls whose arguments stand one by one in markup, made into JSON.
#![forbid(unsafe_code)]

use super::{At, CallParser, Step};
use crate::chat::answer::Delta;
use crate::chat::expect::{expect, expect_any, find, Found};
use crate::chat::syntax::Body;

impl CallParser {
    /// Before an argument's name, or behind the last argument.
    pub(super) fn key(&mut self, first: bool, out: &mut Vec<Delta>) -> Step {
        let Body::Parts { key, .. } = self.syntax.body else { return Step::Wrong };
        match expect_any(self.rest(), &[key, self.syntax.end]) {
            (0, Found::Yes(length)) => {
                self.read += length;
                self.forget();
                self.at = At::KeyName { first };
                Step::Done
            }
            (_, Found::Yes(_)) => {
                self.say(if first { "{}" } else { "}" }.to_owned(), out);
                self.at = At::Tail;
                Step::Done
            }
            (_, Found::Perhaps) => Step::Wait,
            (_, Found::No) => {
                self.say(if first { "{}" } else { "}" }.to_owned(), out);
                Step::Wrong
            }
        }
    }

    /// From an argument's name to its value.
    pub(super) fn key_name(&mut self, first: bool, out: &mut Vec<Delta>) -> Step {
        let Body::Parts { value, .. } = self.syntax.body else { return Step::Wrong };
        let word = value.split_whitespace().next().unwrap_or_default();
        let Some(length) = self.held.find(word) else {
            return Step::Wait;
        };
        let pattern = match expect(&self.held[length..], value) {
            Found::Yes(pattern) => pattern,
            Found::Perhaps => return Step::Wait,
            Found::No => return Step::Wrong,
        };
        let name = self.held[..length].trim().to_owned();
        self.read = length + pattern;
        self.forget();
        let is_plain = self.tools[self.tool].is_plain(&name);
        let (before, quote) = (if first { "{" } else { ", " }, if is_plain { "\"" } else { "" });
        self.say(format!("{before}{}: {quote}", serde_json::Value::from(name)), out);
        self.at = match is_plain {
            true => At::Plain { begun: false },
            false => At::Value { begun: false, string: false, escaped: false },
        };
        Step::Done
    }

    /// A string as it stands; one line break on each side may belong to the markup.
    pub(super) fn plain(&mut self, begun: bool, out: &mut Vec<Delta>) -> Step {
        let Body::Parts { value, done, .. } = self.syntax.body else { return Step::Wrong };
        if !begun {
            if self.held.is_empty() {
                return Step::Wait;
            }
            if value.ends_with('\n') && self.held.starts_with('\n') {
                self.held.remove(0);
            }
            self.at = At::Plain { begun: true };
        }
        let (mut end, is_whole) = find(&self.held, done.trim(), false);
        let marker = end;
        if done.starts_with('\n') && self.held[..end].ends_with('\n') {
            end -= 1;
        }
        let text = escaped(&self.held[..end]);
        if !is_whole {
            self.held.drain(..end);
            self.say(text, out);
            return Step::Wait;
        }
        self.held.drain(..marker + done.trim().len());
        self.say(text + "\"", out);
        self.at = At::Key { first: false };
        Step::Done
    }

    /// JSON up to the markup behind it, which inside a string does not count.
    pub(super) fn value(&mut self, out: &mut Vec<Delta>) -> Step {
        let Body::Parts { done, .. } = self.syntax.body else { return Step::Wrong };
        let At::Value { begun, string, escaped } = self.at else { return Step::Wrong };
        if string {
            return self.value_string(escaped, out);
        }
        let marker = done.trim();
        let (end, is_whole) = find(&self.held, marker, true);
        if let Some(quote) = self.held[..end].find('"') {
            let text: String = self.held.drain(..=quote).collect();
            self.say(if begun { text } else { text.trim_start().to_owned() }, out);
            self.at = At::Value { begun: true, string: true, escaped: false };
            return Step::Done;
        }
        let text: String = self.held.drain(..end).collect();
        let text = if begun { text } else { text.trim_start().to_owned() };
        let begun = begun || !text.is_empty();
        if !is_whole {
            self.say(text, out);
            self.at = At::Value { begun, string, escaped };
            return Step::Wait;
        }
        let length = self.held.len() - self.held.trim_start().len() + marker.len();
        self.held.drain(..length);
        self.say(if begun { text } else { "null".to_owned() }, out);
        self.at = At::Key { first: false };
        Step::Done
    }

    fn value_string(&mut self, mut escaped: bool, out: &mut Vec<Delta>) -> Step {
        let is_end = |byte: u8| {
            let is_end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            is_end
        };
        let quote = self.held.bytes().position(is_end);
        let text = self.held.drain(..quote.map_or(self.held.len(), |quote| quote + 1)).collect();
        self.say(text, out);
        self.at = At::Value { begun: true, string: quote.is_none(), escaped };
        if quote.is_some() {
            Step::Done
        } else {
            Step::Wait
        }
    }
}

/// `text` as it stands inside a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
