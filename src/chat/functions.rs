//! The functions and filters that Hugging Face gives to chat templates, and guarded versions of
//! those whose cost the engine does not bound.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::clock;
use super::operands::{FACTOR_FILTER, SUM_FILTER, TEXT_FILTER};
use super::source::PLAIN_FILTER;
use super::write::{write, Style, MAX_DEPTH};

/// What a template passed to `raise_exception`; the source of the engine's error.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// Adds everything of this file to `env`.
pub(super) fn install(env: &mut Environment<'static>) {
    env.add_function("raise_exception", raise_exception);
    env.add_function("strftime_now", strftime_now);
    env.add_test("iterable", is_iterable);
    env.add_filter("tojson", to_json);
    env.add_filter("string", to_text);
    env.add_filter(PLAIN_FILTER, |state: &State, value: &Value| plain(state, value, 0));
    env.add_filter(SUM_FILTER, |state: &State, value: &Value| {
        charge(state, value).map(|()| value.clone())
    });
    env.add_filter(FACTOR_FILTER, factor);
    env.add_filter(TEXT_FILTER, text_operand);
    env.set_formatter(|out, state, value| {
        let text = write(state, value, &Style { python: true, ..Style::default() })?;
        out.write_str(&text).map_err(Error::from)
    });
    env.set_unknown_method_callback(method);
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.into()))
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, "raised by the template");
    Err(error.with_source(Raised(message.to_owned())))
}

/// As in Jinja2: also what is not defined, but not `none`, which is what `tools` is without tools.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// The time now in UTC (a library has no business with the host's time zone), in the codes of
/// C's `strftime`.
fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    state.consume_fuel(format.len() as u64)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(clock::format(now.as_secs(), format))
}

fn to_json(
    state: &State,
    value: &Value,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<Value>>("indent")?,
    };
    let indent = match indent.filter(|v| !v.is_none() && !v.is_undefined()) {
        Some(width) => Some(usize::try_from(width)?.min(16)),
        None => None,
    };
    let style = Style {
        python: false,
        indent,
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    write(state, value, &style)
}

fn to_text(state: &State, value: &Value) -> Result<String, Error> {
    write(state, value, &Style { python: true, ..Style::default() })
}

/// An operand of `*`, which may be a number or a string.
fn factor(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => refuse("lists cannot be repeated"),
        _ => Ok(value.clone()),
    }
}

/// An operand of `~`, or of a filter on strings: containers as their text, others as they are.
fn text_operand(state: &State, value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            to_text(state, value).map(Value::from)
        }
        _ => Ok(value.clone()),
    }
}

/// A copy of `value` made of scalars, lists and maps only: no namespace, so no cycle, and no
/// view of other values, so its depth shows.
fn plain(state: &State, value: &Value, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return refuse("a value is nested too deeply");
    }
    state.consume_fuel(1)?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| plain(state, &item, depth + 1));
            Ok(Value::from(items.collect::<Result<Vec<_>, _>>()?))
        }
        ValueKind::Map => {
            let pairs = value.try_iter()?.map(|key| {
                let item = plain(state, &value.get_item(&key)?, depth + 1)?;
                Ok::<_, Error>((key, item))
            });
            let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
            Ok(Value::from_pairs(pairs))
        }
        _ => Ok(value.clone()),
    }
}

/// Python's methods on strings, lists and maps. The engine charges for what a method returns,
/// once it exists; here the cost is bounded before the work is done.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    for operand in std::iter::once(value).chain(args) {
        charge(state, operand)?;
    }
    match (value.as_str(), name) {
        (Some(text), "replace") => charge_replace(state, text, args)?,
        (Some(text), "format") => charge_format(state, text)?,
        (Some(separator), "join") => return join(state, separator, args),
        _ => {}
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// Charges for walking over `value` once.
fn charge(state: &State, value: &Value) -> Result<(), Error> {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => state.consume_fuel(text.len() as u64 / 16),
        (None, ValueKind::Seq | ValueKind::Iterable) => match value.len() {
            Some(len) => state.consume_fuel(len as u64),
            None => value.try_iter()?.try_for_each(|_| state.consume_fuel(1)),
        },
        _ => Ok(()),
    }
}

fn charge_replace(state: &State, text: &str, args: &[Value]) -> Result<(), Error> {
    let (Some(old), Some(new)) =
        (args.first().and_then(Value::as_str), args.get(1).and_then(Value::as_str))
    else {
        return Ok(());
    };
    let bytes = (text.matches(old).count() as u64).saturating_mul(new.len() as u64);
    state.consume_fuel(bytes / 64)
}

/// A width of a billion makes a string of a billion; widths in use have two digits.
fn charge_format(state: &State, text: &str) -> Result<(), Error> {
    let mut runs = text.split(|c: char| !c.is_ascii_digit());
    let nested = text.split('{').any(|part| part.contains(':') && !part.contains('}'));
    if nested || runs.any(|run| run.len() > 3) {
        return refuse("format() with such a width is not supported");
    }
    state.consume_fuel(text.matches('{').count() as u64 * 16)
}

fn join(state: &State, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let [values] = args else {
        return refuse("join() takes one argument");
    };
    let mut out = String::new();
    for (i, value) in values.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(separator);
        }
        let before = out.len();
        out.push_str(&to_text(state, &value)?);
        state.consume_fuel(1 + (out.len() - before + separator.len()) as u64 / 64)?;
    }
    Ok(Value::from(out))
}
