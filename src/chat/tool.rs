//! A function that may be called, as grammar and parser need it.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A function that may be called.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Letters, digits, `_` and `-`.
    pub name: String,
    /// A JSON schema of type object.
    pub schema: Value,
    /// Where the schema is in the request, for errors.
    pub path: String,
    /// Whether what cannot be held of the schema is an error.
    pub strict: bool,
}

/// One argument of a function, where a model writes each by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) required: bool,
}

/// Keywords of an object's schema that say something of several properties at once.
const JOINT: [&str; 17] = [
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "enum",
    "const",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "$dynamicRef",
];

/// Keywords that a string must not have to be written without quotes.
const BOUND: [&str; 12] = [
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "enum",
    "const",
];

impl Tool {
    /// The arguments one by one, in the schema's order.
    ///
    /// # Errors
    /// Unsupported, where the schema says more than what each of them is, or a name cannot stand
    /// in markup.
    pub(super) fn parts(&self) -> Result<Vec<Part<'_>>> {
        let refuse = |what: String| {
            let message =
                format!("this model writes arguments one by one, which cannot hold {what}");
            Err(Error::unsupported(&self.path, message))
        };
        if let Some(keyword) = JOINT.iter().find(|keyword| self.schema.get(**keyword).is_some()) {
            return refuse(format!("\"{keyword}\" for all of them"));
        }
        let properties = self.schema.get("properties").and_then(Value::as_object);
        let names = || properties.into_iter().flat_map(Map::keys);
        let required = self.schema.get("required").and_then(Value::as_array);
        let required: Vec<&str> =
            required.into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(name) = required.iter().find(|name| !names().any(|known| known == *name)) {
            return refuse(format!("\"{name}\", which is required and not described"));
        }
        let fits = |name: &str| {
            let is_good = |c: char| !c.is_control() && !c.is_whitespace() && !"<>[]|".contains(c);
            !name.is_empty() && name.chars().all(is_good)
        };
        if let Some(name) = names().find(|name| !fits(name)) {
            return refuse(format!("the name \"{name}\""));
        }
        let mut parts = Vec::new();
        for (name, schema) in properties.into_iter().flatten() {
            parts.push(Part { name, schema, required: required.contains(&name.as_str()) });
        }
        Ok(parts)
    }

    /// Whether the argument `name` is a string that is written as it stands.
    pub(super) fn is_plain(&self, name: &str) -> bool {
        let schema = self.schema.get("properties").and_then(|properties| properties.get(name));
        schema.is_some_and(is_plain)
    }
}

/// Whether `schema` is that of any string, or of a choice of strings.
pub(super) fn is_plain(schema: &Value) -> bool {
    let Value::Object(map) = schema else { return false };
    if choices(schema).is_some() {
        return true;
    }
    map.get("type").is_some_and(|name| name == "string")
        && !BOUND.iter().any(|keyword| map.contains_key(*keyword))
}

/// The strings that `schema` has a choice of, if it is one of strings and of nothing else.
pub(super) fn choices(schema: &Value) -> Option<Vec<&str>> {
    let Value::Object(map) = schema else { return None };
    let is_bound =
        |keyword: &str| !matches!(keyword, "enum" | "const") && map.contains_key(keyword);
    if BOUND.iter().any(|keyword| is_bound(keyword))
        || map.get("type").is_some_and(|name| name != "string")
    {
        return None;
    }
    let values = match (map.get("enum"), map.get("const")) {
        (Some(Value::Array(values)), None) => values.iter().collect(),
        (None, Some(value)) => vec![value],
        _ => return None,
    };
    // A line break at an end would be taken for part of the markup.
    let fits = |text: &&str| !text.is_empty() && text.trim() == *text && !text.contains('<');
    let strings: Option<Vec<&str>> = values.into_iter().map(Value::as_str).collect();
    strings.filter(|strings| !strings.is_empty() && strings.iter().all(fits))
}
