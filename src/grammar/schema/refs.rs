//! Where a `$ref` leads: JSON pointers and anchors within the same schema.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use serde_json::Value;

use super::wrong;
use crate::error::Result;

/// The places that references may lead to, and which of them are wanted.
pub(super) struct Refs<'a> {
    root: &'a Value,
    anchors: HashMap<&'a str, &'a Value>,
    numbers: HashMap<String, usize>,
    wanted: Vec<(String, &'a Value)>,
}

impl<'a> Refs<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        let mut anchors = HashMap::new();
        collect_anchors(root, &mut anchors);
        Self { root, anchors, numbers: HashMap::new(), wanted: Vec::new() }
    }

    /// The new name of what `reference` names, such as `#/$defs/d0`.
    pub(super) fn name(&mut self, reference: &str, path: &str) -> Result<String> {
        let number = match self.numbers.get(reference) {
            Some(&number) => number,
            None => {
                let target = self.find(reference, path)?;
                let number = self.wanted.len();
                self.numbers.insert(reference.to_owned(), number);
                self.wanted.push((reference.to_owned(), target));
                number
            }
        };
        Ok(format!("#/$defs/{}", key(number)))
    }

    /// The target that was asked for as number `number`, and how it was named.
    pub(super) fn wanted(&self, number: usize) -> Option<(String, &'a Value)> {
        self.wanted.get(number).cloned()
    }

    fn find(&self, reference: &str, path: &str) -> Result<&'a Value> {
        let Some(fragment) = reference.strip_prefix('#') else {
            return Err(wrong(
                path,
                format!("\"{reference}\" leads outside the schema, and nothing is fetched; put it under $defs and refer to it as \"#/$defs/NAME\""),
            ));
        };
        let fragment = decode_percent(fragment);
        let found = if fragment.is_empty() {
            Some(self.root)
        } else if fragment.starts_with('/') {
            // "#/" is taken for the root, as llguidance and others do; by the letter it names
            // a member with an empty name.
            self.root.pointer(&fragment).or((fragment == "/").then_some(self.root))
        } else {
            self.anchors.get(fragment.as_str()).copied()
        };
        found.ok_or_else(|| {
            wrong(path, format!("\"{reference}\" names nothing in this schema; a reference is \"#\", \"#/$defs/NAME\" or the like, or \"#ANCHOR\""))
        })
    }
}

/// The key of target `number` under `$defs`.
pub(super) fn key(number: usize) -> String {
    format!("d{number}")
}

fn collect_anchors<'a>(value: &'a Value, anchors: &mut HashMap<&'a str, &'a Value>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(name)) = map.get("$anchor") {
                anchors.entry(name).or_insert(value);
            }
            map.values().for_each(|value| collect_anchors(value, anchors));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_anchors(value, anchors)),
        _ => {}
    }
}

/// `%25` and the like as the bytes they stand for; what is no such code stays.
fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
