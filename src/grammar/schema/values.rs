//! The values of single keywords: of the right kind, within bounds.
#![forbid(unsafe_code)]

use llguidance::derivre::{RegexAst, RegexBuilder};
use llguidance::regex_to_lark;
use serde_json::{json, Map, Value};

use super::wrong;
use crate::error::{Error, Result};

const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// The formats that are held, as an error lists them.
pub(super) const FORMATS: &str =
    "date-time, time, date, duration, email, hostname, ipv4, ipv6, uuid and uri";

/// The largest `maxLength`, `maxItems` and `maxProperties` that are counted.
pub(super) const MOST: u64 = 100_000;

/// The largest `minLength`, `minItems` and `minProperties`.
const LEAST: u64 = 10_000;

/// Bytes of a pattern.
const LONGEST_PATTERN: usize = 4_096;

/// Values of an `enum`.
const MOST_VALUES: usize = 10_000;

/// `multipleOf` is held digit by digit: within these bounds that takes few states.
const SMALLEST_STEP: f64 = 1e-6;
const LARGEST_STEP: f64 = 1e6;

pub(super) fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| wrong(path, format!("expected a string, got {value:.40}")))
}

pub(super) fn types(value: &Value, path: &str) -> Result<Value> {
    let names: Vec<&str> = match value {
        Value::String(name) => vec![name],
        Value::Array(names) if !names.is_empty() => {
            names.iter().map(|name| text(name, path)).collect::<Result<_>>()?
        }
        _ => return Err(wrong(path, "expected a string or an array of strings")),
    };
    match names.iter().find(|name| !TYPES.contains(name)) {
        Some(name) => {
            let message = format!("\"{name}\" is no type; known are {}", TYPES.join(", "));
            Err(wrong(path, message))
        }
        None => Ok(value.clone()),
    }
}

pub(super) fn alternatives(value: &Value, path: &str) -> Result<Value> {
    match value {
        Value::Array(values) if values.is_empty() => {
            Err(wrong(path, "is empty, so no JSON is valid; give at least one value"))
        }
        Value::Array(values) if values.len() > MOST_VALUES => {
            let message = format!("has {} values, more than {MOST_VALUES}", values.len());
            Err(wrong(path, message))
        }
        Value::Array(_) => Ok(value.clone()),
        _ => Err(wrong(path, "expected an array of values")),
    }
}

pub(super) fn names(value: &Value, path: &str) -> Result<Value> {
    match value {
        Value::Array(names) if names.iter().all(Value::is_string) => Ok(value.clone()),
        _ => Err(wrong(path, "expected an array of strings")),
    }
}

pub(super) fn number(value: &Value, path: &str) -> Result<Value> {
    match value.as_f64() {
        Some(number) if number.is_finite() => Ok(value.clone()),
        _ => Err(wrong(path, format!("expected a number, got {value:.40}"))),
    }
}

/// An exclusive bound, which in draft 4 is a flag beside the bound itself; `None` where the flag
/// is false, or has no bound.
pub(super) fn exclusive(
    name: &str,
    value: &Value,
    map: &Map<String, Value>,
    path: &str,
) -> Result<Option<Value>> {
    let bound = if name == "exclusiveMinimum" { "minimum" } else { "maximum" };
    match value {
        Value::Bool(true) => map.get(bound).map(|value| number(value, path)).transpose(),
        Value::Bool(false) => Ok(None),
        _ => number(value, path).map(Some),
    }
}

pub(super) fn step(value: &Value, path: &str) -> Result<Value> {
    let step = number(value, path)?;
    match value.as_f64() {
        Some(size) if (SMALLEST_STEP..=LARGEST_STEP).contains(&size) => Ok(step),
        _ => {
            let message = format!("{value:.40} is outside {SMALLEST_STEP} to {LARGEST_STEP}");
            Err(wrong(path, message))
        }
    }
}

/// A whole number from 0 on; `3.0` counts as 3.
fn count(value: &Value, path: &str) -> Result<u64> {
    let whole = |number: f64| number.fract() == 0.0 && (0.0..1e15).contains(&number);
    let float = || value.as_f64().filter(|&number| whole(number)).map(|number| number as u64);
    let count = value.as_u64().or_else(float);
    count.ok_or_else(|| wrong(path, format!("expected a whole number from 0, got {value:.40}")))
}

pub(super) fn at_least(value: &Value, path: &str) -> Result<Value> {
    match count(value, path)? {
        count if count <= LEAST => Ok(json!(count)),
        count => Err(wrong(path, format!("{count} is more than {LEAST}"))),
    }
}

/// `None` where it is too large to be counted.
pub(super) fn at_most(value: &Value, path: &str) -> Result<Option<Value>> {
    let count = count(value, path)?;
    Ok((count <= MOST).then(|| json!(count)))
}

/// `None` where the format is not known.
pub(super) fn format(value: &Value, path: &str) -> Result<Option<Value>> {
    let name = text(value, path)?;
    let is_known = FORMATS.split([',', ' ']).any(|known| known == name && known != "and");
    Ok(is_known.then(|| value.clone()))
}

pub(super) fn pattern(value: &Value, path: &str) -> Result<Value> {
    check_pattern(text(value, path)?, path)?;
    Ok(value.clone())
}

/// Whether llguidance can read `pattern`, which is matched anywhere in a text.
pub(super) fn check_pattern(pattern: &str, path: &str) -> Result<()> {
    if pattern.len() > LONGEST_PATTERN {
        let message = format!("has {} bytes, more than {LONGEST_PATTERN}", pattern.len());
        return Err(wrong(path, message));
    }
    let tree = RegexAst::SearchRegex(regex_to_lark(pattern, "dw"));
    match RegexBuilder::new().mk(&tree) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::unsupported(
            path,
            format!("{error}; patterns are regular expressions without look-around, back-references or word boundaries"),
        )),
    }
}
