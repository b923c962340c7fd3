//! Goes through a schema, keyword by keyword, and writes it anew.
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::refs::{key, Refs};
use super::{values, wrong};
use crate::error::{Error, Result};
use crate::grammar::LONGEST_SOURCE;

/// Schemas within a schema, counted where they stand and where references lead.
const MOST_SCHEMAS: usize = 10_000;

/// Schemas around a schema.
const DEEPEST: usize = 64;

/// Members of one object: compiling takes a time that grows with the square of their number, some
/// 0.5 s for so many.
const MOST_MEMBERS: usize = 1_000;

/// Notices that are kept; the last one says how many more there were.
const MOST_NOTICES: usize = 16;

/// Keywords that say nothing about which JSON is valid, or only where others lead.
const ANNOTATIONS: [&str; 22] = [
    "$schema",
    "$id",
    "id",
    "$anchor",
    "$dynamicAnchor",
    "$recursiveAnchor",
    "$vocabulary",
    "$defs",
    "definitions",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
    "x-guidance",
];

/// Keywords of JSON Schema that change which JSON is valid and that are not held.
const LACKING: [&str; 19] = [
    "not",
    "if",
    "then",
    "else",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
    "divisibleBy",
    "extends",
    "disallow",
];

const HELD: &str = "type, enum, const, properties, required, additionalProperties, \
    patternProperties, minProperties, maxProperties, items, prefixItems, minItems, maxItems, \
    minLength, maxLength, pattern, format, minimum, maximum, exclusiveMinimum, exclusiveMaximum, \
    multipleOf, anyOf, oneOf, allOf and $ref";

/// A walk through one schema.
pub(super) struct Walk<'a> {
    root: &'a Value,
    path: &'a str,
    strict: bool,
    refs: Refs<'a>,
    seen: usize,
    notices: Vec<String>,
    unsaid: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Value, path: &'a str, strict: bool) -> Self {
        let refs = Refs::new(root);
        Self { root, path, strict, refs, seen: 0, notices: Vec::new(), unsaid: 0 }
    }

    /// What was left out, one line each.
    pub(super) fn notices(mut self) -> Vec<String> {
        if self.unsaid > 0 {
            self.notices.push(format!("{}: and {} more", self.path, self.unsaid));
        }
        self.notices
    }

    /// The whole schema, with what its references lead to under `$defs`.
    pub(super) fn root(&mut self) -> Result<Map<String, Value>> {
        let size = self.root.to_string().len();
        if size > LONGEST_SOURCE {
            let message =
                format!("has {size} bytes, more than the {LONGEST_SOURCE} that are taken");
            return Err(wrong(self.path, message));
        }
        let mut written = match self.schema(self.root, self.path, 0)? {
            Value::Object(map) => map,
            Value::Bool(true) => Map::new(),
            _ => return Err(wrong(self.path, "is false: no JSON is valid; give an object")),
        };
        let mut definitions = Map::new();
        while let Some((reference, target)) = self.refs.wanted(definitions.len()) {
            let at = format!("{}({reference})", self.path);
            let definition = self.schema(target, &at, 0)?;
            definitions.insert(key(definitions.len()), definition);
        }
        if !definitions.is_empty() {
            written.insert("$defs".into(), Value::Object(definitions));
        }
        Ok(written)
    }

    fn schema(&mut self, value: &'a Value, at: &str, depth: usize) -> Result<Value> {
        self.seen += 1;
        if self.seen > MOST_SCHEMAS {
            let message = format!("has more than {MOST_SCHEMAS} schemas in it; give a smaller one");
            return Err(wrong(self.path, message));
        }
        if depth > DEEPEST {
            let message = format!("lies within more than {DEEPEST} schemas; use $defs and $ref");
            return Err(wrong(at, message));
        }
        match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::Object(map) => self.keywords(map, at, depth),
            other => {
                let message =
                    format!("expected a schema (an object or a boolean), got {other:.40}");
                Err(wrong(at, message))
            }
        }
    }

    fn keywords(&mut self, map: &'a Map<String, Value>, at: &str, depth: usize) -> Result<Value> {
        let mut written = Map::new();
        for (name, value) in map {
            let path = format!("{at}.{name}");
            match name.as_str() {
                "properties" | "patternProperties" => {
                    let schemas = self.named(value, &path, depth, name == "patternProperties")?;
                    written.insert(name.clone(), schemas);
                }
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                    written.insert(name.clone(), self.list(value, &path, depth)?);
                }
                "items" if value.is_array() => {
                    written.insert("prefixItems".into(), self.list(value, &path, depth)?);
                    if let Some(rest) = map.get("additionalItems") {
                        let path = format!("{at}.additionalItems");
                        written.insert("items".into(), self.schema(rest, &path, depth + 1)?);
                    }
                }
                "items" | "additionalProperties" => {
                    written.insert(name.clone(), self.schema(value, &path, depth + 1)?);
                }
                "$ref" => {
                    let reference = values::text(value, &path)?;
                    written.insert(name.clone(), json!(self.refs.name(reference, &path)?));
                }
                // It counts only beside an array of items.
                "additionalItems" => {}
                _ => self.value(name, value, map, &path, &mut written)?,
            }
        }
        Ok(Value::Object(written))
    }

    /// A keyword whose value holds no schema.
    fn value(
        &mut self,
        name: &str,
        value: &'a Value,
        map: &Map<String, Value>,
        path: &str,
        written: &mut Map<String, Value>,
    ) -> Result<()> {
        let held = match name {
            "type" => values::types(value, path)?,
            "enum" => values::alternatives(value, path)?,
            "const" => value.clone(),
            "required" => values::names(value, path)?,
            "pattern" => values::pattern(value, path)?,
            "format" => match values::format(value, path)? {
                Some(format) => format,
                None => {
                    let what = format!("the format {value} is not known");
                    return self.leave_out(path, &what, values::FORMATS);
                }
            },
            "minimum" | "maximum" => values::number(value, path)?,
            "exclusiveMinimum" | "exclusiveMaximum" => {
                match values::exclusive(name, value, map, path)? {
                    Some(bound) => bound,
                    None => return Ok(()),
                }
            }
            "multipleOf" => values::step(value, path)?,
            "minLength" | "minItems" => values::at_least(value, path)?,
            "minProperties" => {
                let least = values::at_least(value, path)?;
                if self.strict && least.as_u64() > Some(1) {
                    let what = "a name that comes twice would count twice";
                    return self.leave_out(path, what, "minProperties up to 1");
                }
                least
            }
            "maxLength" | "maxItems" | "maxProperties" => match values::at_most(value, path)? {
                Some(most) => most,
                None => {
                    let most = values::MOST;
                    return self.leave_out(
                        path,
                        "is too large to be counted",
                        &format!("at most {most}"),
                    );
                }
            },
            "uniqueItems" if value == &Value::Bool(false) => return Ok(()),
            _ if ANNOTATIONS.contains(&name) => return Ok(()),
            _ if LACKING.contains(&name) => {
                return self.leave_out(
                    path,
                    "this keyword cannot be held while tokens are drawn",
                    HELD,
                );
            }
            _ => {
                // By the letter of JSON Schema an unknown keyword means nothing, also where strict.
                self.say(format!("{path}: ignored, for JSON Schema has no such keyword"));
                return Ok(());
            }
        };
        written.insert(name.to_owned(), held);
        Ok(())
    }

    fn named(
        &mut self,
        value: &'a Value,
        path: &str,
        depth: usize,
        patterns: bool,
    ) -> Result<Value> {
        let Value::Object(schemas) = value else {
            return Err(wrong(path, "expected an object of schemas"));
        };
        if schemas.len() > MOST_MEMBERS {
            let message = format!("has {} members, more than {MOST_MEMBERS}", schemas.len());
            return Err(wrong(path, message));
        }
        let mut written = Map::new();
        for (name, schema) in schemas {
            let at = format!("{path}.{name}");
            if patterns {
                values::check_pattern(name, &at)?;
            }
            written.insert(name.clone(), self.schema(schema, &at, depth + 1)?);
        }
        Ok(Value::Object(written))
    }

    fn list(&mut self, value: &'a Value, path: &str, depth: usize) -> Result<Value> {
        let schemas = match value {
            Value::Array(schemas) if !schemas.is_empty() => schemas,
            _ => return Err(wrong(path, "expected an array of schemas that is not empty")),
        };
        let written = schemas
            .iter()
            .enumerate()
            .map(|(index, schema)| self.schema(schema, &format!("{path}[{index}]"), depth + 1));
        Ok(Value::Array(written.collect::<Result<_>>()?))
    }

    fn leave_out(&mut self, path: &str, what: &str, accepted: &str) -> Result<()> {
        if self.strict {
            let message = format!("{what}; \"strict\": false leaves it out; held are {accepted}");
            return Err(Error::unsupported(path, message));
        }
        self.say(format!("{path}: left out, for {what}"));
        Ok(())
    }

    fn say(&mut self, notice: String) {
        if self.notices.len() < MOST_NOTICES {
            self.notices.push(notice);
        } else {
            self.unsaid += 1;
        }
    }
}
