//! Reads the fields of one JSON object; every error carries the field's path.
#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::log::log;

/// What `value` is, in JSON's words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// An object's fields under the path of that object. `null` counts as absent, as in OpenAI's API.
pub(super) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
    seen: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: impl Into<String>, map: &'a Map<String, Value>) -> Self {
        Self { path: path.into(), map, seen: Vec::new() }
    }

    /// The path of field `name`.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Field `name` as it stands; it counts as known from here on.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.seen.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether field `name` is written as `null`, where that means more than absence.
    pub(super) fn is_null(&mut self, name: &'static str) -> bool {
        self.seen.push(name);
        self.map.get(name).is_some_and(Value::is_null)
    }

    /// The keys nobody asked for.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &'a str> + '_ {
        let keys = self.map.keys().map(String::as_str);
        keys.filter(|key| !self.seen.contains(key))
    }

    /// The keys nobody asked for change nothing; the log names them.
    pub(super) fn ignore_unknown(&self) {
        for key in self.unknown() {
            log!(Warn, "request: ignored unknown field \"{}\"", self.path(key));
        }
    }

    fn wrong(&self, name: &str, expected: &str, got: &Value) -> Error {
        let message = format!("expected {expected}, got {}", kind(got));
        Error::invalid_request(&self.path(name), message)
    }

    pub(super) fn string(&mut self, name: &'static str) -> Result<Option<&'a str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a string", other)),
        }
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong(name, "a boolean", other)),
        }
    }

    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<&'a Map<String, Value>>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(self.wrong(name, "an object", other)),
        }
    }

    pub(super) fn array(&mut self, name: &'static str) -> Result<Option<&'a [Value]>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(self.wrong(name, "an array", other)),
        }
    }

    /// A number within `range`, both ends included.
    pub(super) fn float(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f32>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let number = value.as_f64().ok_or_else(|| self.wrong(name, "a number", value))?;
        if !range.contains(&number) {
            return Err(self.outside(name, number, range.start(), range.end()));
        }
        Ok(Some(number as f32))
    }

    /// A whole number within `range`, both ends included; `3.0` counts as 3.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let number = whole(value).ok_or_else(|| self.wrong(name, "a whole number", value))?;
        if !range.contains(&number) {
            return Err(self.outside(name, number, range.start(), range.end()));
        }
        Ok(Some(number))
    }

    fn outside<T: std::fmt::Display>(&self, name: &str, number: T, low: &T, high: &T) -> Error {
        let message = format!("{number} is outside {low} to {high}");
        Error::invalid_request(&self.path(name), message)
    }
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        // Beyond 2^53 a float no longer names one whole number.
        (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
    })
}
