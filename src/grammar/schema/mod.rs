//! A JSON schema, checked keyword by keyword and brought into one form: local references only,
//! draft 2020-12's keywords only, and nothing that would take compiling without end.
//!
//! What is held: `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`,
//! `patternProperties`, `minProperties`, `maxProperties`, `items`, `prefixItems`, `minItems`,
//! `maxItems`, `minLength`, `maxLength`, `pattern`, `format`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf`, `anyOf`, `oneOf`, `allOf`, `$ref`. Of
//! older drafts: `items` as an array with `additionalItems`, boolean `exclusiveMinimum` and
//! `exclusiveMaximum`, `definitions`.
//!
//! What else would change which JSON is valid (`not`, `if`, `uniqueItems`, ...) cannot be held
//! token by token: it is refused where the request is strict, else left out and told.
#![forbid(unsafe_code)]

mod limits;
mod refs;
mod values;
mod walk;

use serde_json::{json, Map, Value};

use crate::error::{Error, Result};

/// White space between the parts of JSON: one space, or line breaks and an indent. Without a
/// bound, small models indent without end.
const WHITESPACE: &str = r"(?: |\r?\n(?:\r?\n)?[ \t]{0,40})";

/// Escapes within strings. `\u` is left out where no text of the schema needs it: each string then
/// has one spelling, so that a name cannot come twice under two of them.
const ESCAPES: &str = "nrbtf\\\"";

/// A schema in the form that the compiler takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The schema; how JSON is written is in its `x-guidance`.
    pub schema: Value,
    /// What of it is not held, one line each.
    pub notices: Vec<String>,
}

/// Checks `schema`, which a request has at `path`.
///
/// With `strict`, whatever would not be held exactly is an error, otherwise a notice. Errors carry
/// the path of the keyword. Takes time linear in the schema's size.
pub fn prepare(schema: &Value, path: &str, strict: bool) -> Result<Prepared> {
    let mut walk = walk::Walk::new(schema, path, strict);
    let mut prepared = walk.root()?;
    limits::check(&prepared, path)?;
    let options = guidance(&prepared, strict);
    prepared.insert("x-guidance".into(), options);
    Ok(Prepared { schema: Value::Object(prepared), notices: walk.notices() })
}

/// Any JSON object.
pub(super) fn any_object() -> Value {
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    let options = guidance(&schema, true);
    schema.insert("x-guidance".into(), options);
    Value::Object(schema)
}

/// How JSON is written, as llguidance reads it.
fn guidance(schema: &Map<String, Value>, strict: bool) -> Value {
    let needs_codes = schema.iter().any(|(key, value)| has_controls(key, value));
    let escapes = if needs_codes { format!("{ESCAPES}u") } else { ESCAPES.to_owned() };
    json!({
        "whitespace_flexible": true,
        "whitespace_pattern": WHITESPACE,
        "json_allowed_escapes": escapes,
        "lenient": !strict,
    })
}

/// Whether a text in it has characters that JSON can only write as a code.
fn has_controls(key: &str, value: &Value) -> bool {
    let needs_code = |c: char| c.is_control() && !"\n\r\u{8}\t\u{c}".contains(c);
    let within = match value {
        Value::String(text) => text.chars().any(needs_code),
        Value::Array(items) => items.iter().any(|item| has_controls("", item)),
        Value::Object(map) => map.iter().any(|(key, value)| has_controls(key, value)),
        _ => false,
    };
    within || key.chars().any(needs_code)
}

fn wrong(path: &str, message: impl std::fmt::Display) -> Error {
    Error::invalid_request(path, message)
}
