//! Whether JSON is valid for a schema: written from the specification (draft 2020-12), without
//! a look at what the library does.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use fancy_regex::Regex;
use serde_json::{Map, Value};

/// Says what is wrong, if anything.
pub fn validate(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let map = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(map) => map,
        _ => return Err("the schema is false".to_owned()),
    };
    for (keyword, argument) in map {
        let holds = holds(root, map, keyword, argument, value)?;
        if !holds {
            return Err(format!("{value} is not valid for {keyword}: {argument}"));
        }
    }
    Ok(())
}

fn holds(
    root: &Value,
    map: &Map<String, Value>,
    keyword: &str,
    argument: &Value,
    value: &Value,
) -> Result<bool, String> {
    let is_valid = |schema: &Value| validate(root, schema, value).is_ok();
    let list = || argument.as_array().into_iter().flatten();
    let count = || argument.as_f64().expect("a number");
    let number = value.as_f64();
    Ok(match keyword {
        "type" => match argument {
            Value::Array(names) => names.iter().any(|name| is_type(name, value)),
            name => is_type(name, value),
        },
        "enum" => list().any(|one| equal(one, value)),
        "const" => equal(argument, value),
        "anyOf" => list().any(is_valid),
        "oneOf" => list().filter(|schema| is_valid(schema)).count() == 1,
        "allOf" => list().all(is_valid),
        "$ref" => {
            validate(root, target(root, argument.as_str().expect("a text")), value)?;
            true
        }
        "minimum" if map.get("exclusiveMinimum") == Some(&Value::Bool(true)) => {
            number.is_none_or(|number| number > count())
        }
        "maximum" if map.get("exclusiveMaximum") == Some(&Value::Bool(true)) => {
            number.is_none_or(|number| number < count())
        }
        "minimum" => number.is_none_or(|number| number >= count()),
        "maximum" => number.is_none_or(|number| number <= count()),
        "exclusiveMinimum" if argument.is_number() => number.is_none_or(|number| number > count()),
        "exclusiveMaximum" if argument.is_number() => number.is_none_or(|number| number < count()),
        "multipleOf" => number.is_none_or(|number| {
            let times = number / count();
            (times - times.round()).abs() < 1e-9 * times.abs().max(1.0)
        }),
        _ => match value {
            Value::String(text) => text_holds(keyword, argument, text),
            Value::Array(items) => items_hold(root, map, keyword, argument, items)?,
            Value::Object(members) => members_hold(root, map, keyword, argument, members)?,
            _ => true,
        },
    })
}

fn is_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a text") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type: {other}"),
    }
}

/// Equal as JSON: 1 and 1.0 are, and the order of members does not count.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let has = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| equal(a, b));
            a.len() == b.len() && a.iter().all(has)
        }
        _ => a == b,
    }
}

fn target<'a>(root: &'a Value, reference: &str) -> &'a Value {
    let fragment = reference.strip_prefix('#').expect("a local reference").replace("%20", " ");
    if fragment.is_empty() || fragment.starts_with('/') {
        return root.pointer(&fragment).expect("a target");
    }
    let definitions = root["$defs"].as_object().expect("definitions").values();
    definitions.into_iter().find(|schema| schema["$anchor"] == fragment).expect("an anchor")
}

fn text_holds(keyword: &str, argument: &Value, text: &str) -> bool {
    let length = text.chars().count() as f64;
    match keyword {
        "minLength" => length >= argument.as_f64().expect("a number"),
        "maxLength" => length <= argument.as_f64().expect("a number"),
        "pattern" => matches(argument.as_str().expect("a text"), text),
        "format" => is_format(argument.as_str().expect("a text"), text),
        _ => true,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).expect("a pattern").is_match(text).expect("a match")
}

fn is_format(format: &str, text: &str) -> bool {
    const DATE: &str = r"^\d{4}-(\d\d)-(\d\d)$";
    const TIME: &str =
        r"^([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([zZ]|[+-]([01]\d|2[0-3]):[0-5]\d)$";
    match format {
        "date" => {
            let parts: Vec<u32> = text.split('-').filter_map(|part| part.parse().ok()).collect();
            let days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            matches(DATE, text)
                && (1..=12).contains(&parts[1])
                && (1..=days[parts[1] as usize - 1]).contains(&parts[2])
        }
        "time" => matches(TIME, text),
        "date-time" => text
            .split_once(['T', 't'])
            .is_some_and(|(date, time)| is_format("date", date) && is_format("time", time)),
        "duration" => {
            matches(r"^P(?=.)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?)$", text)
        }
        "email" => {
            text.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        }
        "hostname" => {
            let is_label =
                |label: &str| matches(r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", label);
            text.split('.').all(is_label)
        }
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "uuid" => matches("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", text),
        "uri" => matches(r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>{}|\\^`]*$", text),
        other => panic!("no format: {other}"),
    }
}

fn items_hold(
    root: &Value,
    map: &Map<String, Value>,
    keyword: &str,
    argument: &Value,
    items: &[Value],
) -> Result<bool, String> {
    let first = |name: &str| map.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    let each = |schemas: &Value| -> Result<(), String> {
        let schemas = schemas.as_array().into_iter().flatten();
        schemas.zip(items).try_for_each(|(schema, item)| validate(root, schema, item))
    };
    let rest =
        |skip: usize| items.iter().skip(skip).try_for_each(|item| validate(root, argument, item));
    match keyword {
        "minItems" => return Ok(items.len() as f64 >= argument.as_f64().expect("a number")),
        "maxItems" => return Ok(items.len() as f64 <= argument.as_f64().expect("a number")),
        "prefixItems" => each(argument)?,
        "items" if argument.is_array() => each(argument)?,
        "items" => rest(first("prefixItems"))?,
        "additionalItems" => rest(first("items"))?,
        _ => {}
    }
    Ok(true)
}

fn members_hold(
    root: &Value,
    map: &Map<String, Value>,
    keyword: &str,
    argument: &Value,
    members: &Map<String, Value>,
) -> Result<bool, String> {
    match keyword {
        "minProperties" => return Ok(members.len() as f64 >= argument.as_f64().expect("a number")),
        "maxProperties" => return Ok(members.len() as f64 <= argument.as_f64().expect("a number")),
        "required" => {
            let mut names = argument.as_array().expect("an array").iter();
            return Ok(names.all(|name| members.contains_key(name.as_str().expect("a text"))));
        }
        "properties" => {
            for (name, schema) in argument.as_object().expect("an object") {
                members.get(name).map_or(Ok(()), |value| validate(root, schema, value))?;
            }
        }
        "patternProperties" => {
            for (pattern, schema) in argument.as_object().expect("an object") {
                let mut fitting = members.iter().filter(|(name, _)| matches(pattern, name));
                fitting.try_for_each(|(_, value)| validate(root, schema, value))?;
            }
        }
        "additionalProperties" => {
            let known =
                |name: &str| map.get("properties").is_some_and(|known| known.get(name).is_some());
            let fits = |name: &str| {
                let patterns = map.get("patternProperties").and_then(Value::as_object);
                patterns
                    .is_some_and(|patterns| patterns.keys().any(|pattern| matches(pattern, name)))
            };
            let mut others = members.iter().filter(|(name, _)| !known(name) && !fits(name));
            others.try_for_each(|(_, value)| validate(root, argument, value))?;
        }
        _ => {}
    }
    Ok(true)
}
