//! What an answer has to look like: `response_format`, and llama-server's and our own fields.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::fields::{kind, Fields};
use crate::error::{Error, Result};
use crate::grammar::{schema, Grammar, Source};

/// The fields that ask for a form; a request has one of them at most.
const FIELDS: [&str; 5] = ["response_format", "json_schema", "grammar", "regex", "lark"];

pub(super) fn grammar(fields: &mut Fields<'_>) -> Result<Option<Grammar>> {
    let asked = [
        response_format(fields)?,
        fields
            .value("json_schema")
            .map(|schema| json_schema(schema, "json_schema", false))
            .transpose()?,
        text(fields, "grammar", Source::Gbnf)?,
        text(fields, "regex", |pattern| Source::Regex(whole(&pattern).to_owned()))?,
        text(fields, "lark", Source::Lark)?,
    ];
    let mut asked = asked.into_iter().flatten();
    let (first, second) = (asked.next(), asked.next());
    match (&first, second) {
        (Some(first), Some(second)) => {
            let (one, other) = (&first.field, &second.field);
            let message =
                format!("cannot be held together with {one}; give one of {}", FIELDS.join(", "));
            Err(Error::invalid_request(other, message))
        }
        _ => Ok(first),
    }
}

/// OpenAI's `response_format`; a schema may also stand in it itself, as llama-server has it.
fn response_format(fields: &mut Fields<'_>) -> Result<Option<Grammar>> {
    const PATH: &str = "response_format";
    let Some(format) = fields.object(PATH)? else { return Ok(None) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => match format.get("schema").filter(|schema| !schema.is_null()) {
            Some(schema) => json_schema(schema, "response_format.schema", false).map(Some),
            None => Ok(Some(Grammar::new(Source::JsonObject, PATH))),
        },
        Some("json_schema") => named_schema(format).map(Some),
        Some(other) => Err(Error::unsupported(
            "response_format.type",
            format!("\"{other}\" is not known; known are text, json_object and json_schema"),
        )),
        None => Err(Error::invalid_request(
            "response_format.type",
            "is missing; give text, json_object or json_schema",
        )),
    }
}

fn named_schema(format: &Map<String, Value>) -> Result<Grammar> {
    const PATH: &str = "response_format.json_schema";
    let of_ours = match format.get("json_schema") {
        Some(Value::Object(named)) => named,
        None | Some(Value::Null) => {
            let schema = format.get("schema").filter(|schema| !schema.is_null());
            let schema = schema.ok_or_else(|| {
                Error::invalid_request(PATH, "is missing; give {\"name\": ..., \"schema\": {...}}")
            })?;
            return json_schema(schema, "response_format.schema", false);
        }
        Some(other) => {
            let message = format!("expected an object, got {}", kind(other));
            return Err(Error::invalid_request(PATH, message));
        }
    };
    let mut fields = Fields::new(PATH, of_ours);
    let strict = fields.boolean("strict")?.unwrap_or(false);
    match fields.value("schema") {
        Some(schema) => json_schema(schema, "response_format.json_schema.schema", strict),
        None => {
            Err(Error::invalid_request(&fields.path("schema"), "is missing; give a JSON schema"))
        }
    }
}

fn json_schema(schema: &Value, path: &str, strict: bool) -> Result<Grammar> {
    let prepared = schema::prepare(schema, path, strict)?;
    let notices = prepared.notices;
    Ok(Grammar { source: Source::JsonSchema(prepared.schema), field: path.to_owned(), notices })
}

/// A grammar in a text; an empty one asks for nothing, as in llama-server.
fn text(
    fields: &mut Fields<'_>,
    name: &'static str,
    source: impl Fn(String) -> Source,
) -> Result<Option<Grammar>> {
    let text = fields.string(name)?.filter(|text| !text.is_empty());
    Ok(text.map(|text| Grammar::new(source(text.to_owned()), name)))
}

/// A pattern without the anchors at its ends: it is matched as a whole anyway.
fn whole(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let before = pattern.strip_suffix('$').unwrap_or(pattern);
    let escapes = before.bytes().rev().take_while(|&byte| byte == b'\\').count();
    if escapes % 2 == 0 {
        before
    } else {
        pattern
    }
}
