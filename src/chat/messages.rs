//! Messages in OpenAI's form, made into what chat templates expect.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::write::MAX_DEPTH;
use crate::error::{Error, Result};

/// A copy of `messages` with text parts joined and the arguments of tool calls parsed.
pub(super) fn for_template(messages: &Value) -> Result<Value> {
    check_depth("messages", messages)?;
    let Value::Array(list) = messages else {
        return Err(Error::invalid_request("messages", "must be an array"));
    };
    let mut list = list.clone();
    for (i, message) in list.iter_mut().enumerate() {
        if let Some(Value::Array(parts)) = message.get("content") {
            message["content"] = Value::String(joined(parts, i)?);
        }
        parse_arguments(message);
    }
    Ok(Value::Array(list))
}

/// The text of content `parts`, a line break between them, as llama.cpp's server does.
fn joined(parts: &[Value], message: usize) -> Result<String> {
    let mut texts = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let path = format!("messages[{message}].content[{i}]");
        match (part.get("type").and_then(Value::as_str), part.get("text")) {
            (Some("text"), Some(Value::String(text))) => texts.push(text.as_str()),
            (Some("text"), _) => {
                return Err(Error::invalid_request(&path, "text must be a string"))
            }
            (Some(_), _) => return Err(Error::unsupported(&path, "only parts of type text")),
            (None, _) => return Err(Error::invalid_request(&path, "type must be a string")),
        }
    }
    Ok(texts.join("\n"))
}

/// OpenAI sends the arguments of a call as JSON in a string; templates write them by `tojson`,
/// which would quote that string once more. What is no JSON object stays.
fn parse_arguments(message: &mut Value) {
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        let arguments = call.pointer_mut("/function/arguments");
        let Some(arguments) = arguments else { continue };
        let parsed = arguments.as_str().map(serde_json::from_str::<Value>);
        if let Some(Ok(parsed @ Value::Object(_))) = parsed {
            *arguments = parsed;
        }
    }
}

/// Refuses values nested deeper than the template engine may follow.
pub(super) fn check_depth(path: &str, value: &Value) -> Result<()> {
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        // Half, because arguments of tool calls are parsed after this check.
        if depth > MAX_DEPTH / 2 {
            return Err(Error::invalid_request(path, "is nested too deeply, 50 levels at most"));
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|v| (v, depth + 1))),
            Value::Object(map) => open.extend(map.values().map(|v| (v, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}
