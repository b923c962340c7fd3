//! The messages of a chat: roles and content, checked part by part.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::fields::{kind, Fields};
use crate::error::{Error, Result};

const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// Checks `messages` and returns it for the chat template, which reads it as it stands.
pub(super) fn check(value: &Value) -> Result<&Value> {
    let Value::Array(messages) = value else {
        let message = format!("expected an array of messages, got {}", kind(value));
        return Err(Error::invalid_request("messages", message));
    };
    if messages.is_empty() {
        return Err(Error::invalid_request("messages", "is empty; give at least one message"));
    }
    for (index, message) in messages.iter().enumerate() {
        check_message(&format!("messages[{index}]"), message)?;
    }
    Ok(value)
}

fn check_message(path: &str, message: &Value) -> Result<()> {
    let Value::Object(map) = message else {
        let message = format!("expected an object, got {}", kind(message));
        return Err(Error::invalid_request(path, message));
    };
    let mut fields = Fields::new(path, map);
    let role = fields.string("role")?.ok_or_else(|| {
        Error::invalid_request(
            &format!("{path}.role"),
            "is missing; give one of: system, developer, user, assistant, tool",
        )
    })?;
    if !ROLES.contains(&role) {
        let message = format!("\"{role}\" is not one of: {}", ROLES.join(", "));
        return Err(Error::invalid_request(&fields.path("role"), message));
    }
    match role {
        "tool" => check_answered(&mut fields)?,
        "assistant" => check_calls(&mut fields)?,
        _ => {}
    }
    match fields.value("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) => check_parts(&fields.path("content"), parts),
        None if role == "assistant" && calls_tools(map) => Ok(()),
        None => Err(Error::invalid_request(
            &fields.path("content"),
            "is missing; give a string or an array of text parts",
        )),
        Some(other) => Err(Error::invalid_request(
            &fields.path("content"),
            format!("expected a string or an array of parts, got {}", kind(other)),
        )),
    }
}

/// A tool's result names the call that it answers.
fn check_answered(fields: &mut Fields<'_>) -> Result<()> {
    match fields.string("tool_call_id")? {
        Some(_) => Ok(()),
        None => Err(Error::invalid_request(
            &fields.path("tool_call_id"),
            "is missing; give the id of the call that this answers",
        )),
    }
}

/// Calls that the model made before: each has a function with a name and arguments.
fn check_calls(fields: &mut Fields<'_>) -> Result<()> {
    let path = fields.path("tool_calls");
    for (index, call) in fields.array("tool_calls")?.unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Value::Object(map) = call else {
            let message = format!("expected an object, got {}", kind(call));
            return Err(Error::invalid_request(&path, message));
        };
        let mut call = Fields::new(path, map);
        call.string("id")?;
        let path = call.path("function");
        let Some(map) = call.object("function")? else {
            return Err(Error::invalid_request(&path, "is missing; give name and arguments"));
        };
        let mut function = Fields::new(path, map);
        if function.string("name")?.is_none() {
            return Err(Error::invalid_request(&function.path("name"), "is missing"));
        }
        match function.value("arguments") {
            None | Some(Value::String(_) | Value::Object(_)) => {}
            Some(other) => {
                let message = format!("expected JSON in a string, got {}", kind(other));
                return Err(Error::invalid_request(&function.path("arguments"), message));
            }
        }
    }
    Ok(())
}

fn calls_tools(message: &Map<String, Value>) -> bool {
    matches!(message.get("tool_calls"), Some(Value::Array(calls)) if !calls.is_empty())
}

fn check_parts(path: &str, parts: &[Value]) -> Result<()> {
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Value::Object(map) = part else {
            let message = format!("expected an object, got {}", kind(part));
            return Err(Error::invalid_request(&path, message));
        };
        check_part(path, map)?;
    }
    Ok(())
}

fn check_part(path: String, map: &Map<String, Value>) -> Result<()> {
    let mut part = Fields::new(path, map);
    let of_type = part.string("type")?.ok_or_else(|| {
        Error::invalid_request(&part.path("type"), "is missing; this build reads \"text\"")
    })?;
    match of_type {
        "text" => match part.string("text")? {
            Some(_) => Ok(()),
            None => Err(Error::invalid_request(&part.path("text"), "is missing")),
        },
        "image_url" | "input_audio" | "file" | "refusal" => Err(Error::unsupported(
            &part.path("type"),
            format!("\"{of_type}\" parts are not supported; use \"text\""),
        )),
        other => Err(Error::invalid_request(
            &part.path("type"),
            format!("\"{other}\" is not a part type; use \"text\""),
        )),
    }
}
