//! Template values as text: Python's JSON and Python's `str`, which templates were written for.
#![forbid(unsafe_code)]

use std::fmt::Write;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Containers within containers that are followed; more is an error, as the stack is finite.
pub(super) const MAX_DEPTH: usize = 100;

/// How to write a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// `str(value)` instead of `json.dumps(value)`.
    pub(super) python: bool,
    /// One item per line, indented by this many spaces per level.
    pub(super) indent: Option<usize>,
    /// Escape everything beyond ASCII.
    pub(super) ascii: bool,
    /// Map keys in order.
    pub(super) sort: bool,
}

/// Writes `value`, charging the template's fuel for every item and byte.
///
/// JSON is that of `json.dumps(value, ensure_ascii=False)`, as Hugging Face's `tojson` filter:
/// spaces after `,` and `:`, nothing escaped for HTML.
pub(super) fn write(state: &State, value: &Value, style: &Style) -> Result<String, Error> {
    let mut out = String::new();
    if let (true, Some(text)) = (style.python, value.as_str()) {
        return Ok(text.to_owned());
    }
    item(state, value, style, 0, &mut out)?;
    Ok(out)
}

fn refuse<T>(message: &str) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
}

fn item(
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return refuse("a value is nested too deeply");
    }
    let before = out.len();
    match value.kind() {
        ValueKind::Undefined if style.python => {}
        ValueKind::Undefined => return refuse("an undefined value has no JSON"),
        ValueKind::None => out.push_str(if style.python { "None" } else { "null" }),
        ValueKind::Bool => out.push_str(match (value.is_true(), style.python) {
            (true, true) => "True",
            (false, true) => "False",
            (true, false) => "true",
            (false, false) => "false",
        }),
        ValueKind::Number => number(value, out),
        ValueKind::String => string(value.as_str().unwrap_or_default(), style, out),
        ValueKind::Seq | ValueKind::Iterable => return list(state, value, style, depth, out),
        ValueKind::Map => return map(state, value, style, depth, out),
        _ if style.python => {
            let _ = write!(out, "{value}");
        }
        kind => return refuse(&format!("a value of type {kind} has no JSON")),
    }
    state.consume_fuel(1 + (out.len() - before) as u64 / 16)
}

fn list(
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    out.push('[');
    let mut first = true;
    for entry in value.try_iter()? {
        separate(style, depth + 1, &mut first, out);
        item(state, &entry, style, depth + 1, out)?;
    }
    close(style, depth, first, ']', out);
    Ok(())
}

fn map(
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let mut keys: Vec<Value> = value.try_iter()?.collect();
    state.consume_fuel(keys.len() as u64)?;
    if style.sort {
        keys.sort();
    }
    out.push('{');
    let mut first = true;
    for key in keys {
        separate(style, depth + 1, &mut first, out);
        match (key.as_str(), style.python) {
            (None, false) => {
                let mut name = String::new();
                item(state, &key, style, depth + 1, &mut name)?;
                string(&name, style, out);
            }
            _ => item(state, &key, style, depth + 1, out)?,
        }
        out.push_str(": ");
        item(state, &value.get_item(&key)?, style, depth + 1, out)?;
    }
    close(style, depth, first, '}', out);
    Ok(())
}

fn separate(style: &Style, depth: usize, first: &mut bool, out: &mut String) {
    if !std::mem::take(first) {
        out.push_str(if style.indent.is_some() { "," } else { ", " });
    }
    line(style, depth, out);
}

fn close(style: &Style, depth: usize, empty: bool, bracket: char, out: &mut String) {
    if !empty {
        line(style, depth, out);
    }
    out.push(bracket);
}

fn line(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent * depth));
    }
}

/// Whole numbers as they are; others as Python's `repr`: the shortest digits that read back as
/// the same number, with an exponent below 1e-4 and from 1e16 on.
fn number(value: &Value, out: &mut String) {
    let float = match value.is_integer() {
        true => None,
        false => f64::try_from(value.clone()).ok(),
    };
    let _ = match float {
        None => write!(out, "{value}"),
        Some(x) if x.is_nan() => write!(out, "NaN"),
        Some(x) if x.is_infinite() => write!(out, "{}Infinity", if x < 0.0 { "-" } else { "" }),
        Some(x) if x != 0.0 && !(1e-4..1e16).contains(&x.abs()) => {
            let text = format!("{x:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let sign = if exponent.starts_with('-') { '-' } else { '+' };
            write!(out, "{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
        }
        Some(x) => write!(out, "{x:?}"),
    };
}

fn string(text: &str, style: &Style, out: &mut String) {
    // Python prefers single quotes, unless that alone would need an escape.
    let quote = match style.python && (!text.contains('\'') || text.contains('"')) {
        true => '\'',
        false => '"',
    };
    out.push(quote);
    for c in text.chars() {
        let _ = match c {
            '\\' => write!(out, "\\\\"),
            _ if c == quote => write!(out, "\\{c}"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\u{8}' if !style.python => write!(out, "\\b"),
            '\u{c}' if !style.python => write!(out, "\\f"),
            _ if c < ' ' && style.python => write!(out, "\\x{:02x}", u32::from(c)),
            _ if c < ' ' || (style.ascii && !c.is_ascii()) => escape(c, out),
            _ => write!(out, "{c}"),
        };
    }
    out.push(quote);
}

/// `\uXXXX`, twice for characters beyond the basic plane.
fn escape(c: char, out: &mut String) -> std::fmt::Result {
    let mut units = [0; 2];
    let mut units = c.encode_utf16(&mut units).iter();
    units.try_for_each(|unit| write!(out, "\\u{unit:04x}"))
}
