//! Items of a response's input: checked, brought to one form, and turned into the messages of a chat.
#![forbid(unsafe_code)]

use axum::http::StatusCode;
use serde_json::{json, Map, Value};

use crate::error::{ApiError, ApiResult};
use crate::routes::body::{given, unexpected};
use crate::routes::stream::new_id;

/// 422 for what OpenAI has and this server lacks.
pub(super) fn lacking(path: &str, message: &str) -> ApiError {
    let message = format!("{path}: {message}");
    let mut error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, Some("unsupported"), message);
    error.param = Some(path.to_owned());
    error
}

/// The text at `name`, which has to be there.
pub(super) fn required<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    path: &str,
) -> ApiResult<&'a str> {
    let path = format!("{path}.{name}");
    match given(fields, name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(unexpected(&path, "a string", other)),
        None => Err(ApiError::invalid(&path, format!("{path}: is missing; give a string"))),
    }
}

/// The items of `input`, each with its id.
pub(super) fn read(input: &Value) -> ApiResult<Vec<Value>> {
    match input {
        Value::String(text) => {
            let content = json!([{"type": "input_text", "text": text}]);
            Ok(vec![message(new_id("msg_"), "user", content)])
        }
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.map(|(index, item)| read_item(&format!("input[{index}]"), item)).collect()
        }
        other => Err(unexpected("input", "a string or an array of items", other)),
    }
}

fn message(id: String, role: &str, content: Value) -> Value {
    json!({"id": id, "type": "message", "status": "completed", "role": role, "content": content})
}

fn read_item(path: &str, item: &Value) -> ApiResult<Value> {
    let Value::Object(fields) = item else { return Err(unexpected(path, "an object", item)) };
    let id = |prefix| match given(fields, "id") {
        Some(Value::String(id)) => id.clone(),
        _ => new_id(prefix),
    };
    let of_type = match given(fields, "type") {
        None => "message",
        Some(Value::String(of_type)) => of_type,
        Some(other) => return Err(unexpected(&format!("{path}.type"), "a string", other)),
    };
    match of_type {
        "message" => read_message(path, fields, id("msg_")),
        "function_call" => Ok(json!({
            "id": id("fc_"),
            "type": of_type,
            "status": "completed",
            "call_id": required(fields, "call_id", path)?,
            "name": required(fields, "name", path)?,
            "arguments": required(fields, "arguments", path)?,
        })),
        "function_call_output" => {
            let path_of_output = format!("{path}.output");
            let output = match given(fields, "output") {
                Some(Value::String(text)) => json!(text),
                Some(Value::Array(parts)) => json!(read_parts(&path_of_output, parts)?),
                Some(other) => return Err(unexpected(&path_of_output, "a string", other)),
                None => required(fields, "output", path).map(Value::from)?,
            };
            Ok(json!({
                "id": id("fco_"),
                "type": of_type,
                "status": "completed",
                "call_id": required(fields, "call_id", path)?,
                "output": output,
            }))
        }
        "reasoning" => read_reasoning(path, fields, id("rs_")),
        other => {
            let message = format!(
                "{other:?} items are not supported; use message, function_call, \
                 function_call_output, reasoning"
            );
            Err(lacking(&format!("{path}.type"), &message))
        }
    }
}

fn read_message(path: &str, fields: &Map<String, Value>, id: String) -> ApiResult<Value> {
    let role = required(fields, "role", path)?;
    if !["user", "assistant", "system", "developer"].contains(&role) {
        let path = format!("{path}.role");
        let message = format!("{path}: {role:?} is not user, assistant, system or developer");
        return Err(ApiError::invalid(&path, message));
    }
    let path = format!("{path}.content");
    let content = match given(fields, "content") {
        Some(Value::String(text)) if role == "assistant" => json!([output_text(text)]),
        Some(Value::String(text)) => json!([{"type": "input_text", "text": text}]),
        Some(Value::Array(parts)) => json!(read_parts(&path, parts)?),
        Some(other) => return Err(unexpected(&path, "a string or an array of parts", other)),
        None => {
            let message = format!("{path}: is missing; give a string or an array of parts");
            return Err(ApiError::invalid(&path, message));
        }
    };
    Ok(message(id, role, content))
}

/// A part of an answer.
pub(super) fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn read_parts(path: &str, parts: &[Value]) -> ApiResult<Vec<Value>> {
    let each = parts.iter().enumerate().map(|(index, part)| {
        let path = format!("{path}[{index}]");
        let Value::Object(fields) = part else { return Err(unexpected(&path, "an object", part)) };
        match required(fields, "type", &path)? {
            "output_text" => Ok(output_text(required(fields, "text", &path)?)),
            "input_text" | "text" => {
                Ok(json!({"type": "input_text", "text": required(fields, "text", &path)?}))
            }
            "refusal" => {
                Ok(json!({"type": "refusal", "refusal": required(fields, "refusal", &path)?}))
            }
            other => {
                let message = format!("{other:?} parts are not supported; use input_text");
                Err(lacking(&format!("{path}.type"), &message))
            }
        }
    });
    each.collect()
}

fn read_reasoning(path: &str, fields: &Map<String, Value>, id: String) -> ApiResult<Value> {
    if given(fields, "content").is_none() && given(fields, "encrypted_content").is_some() {
        let path = format!("{path}.encrypted_content");
        return Err(lacking(&path, "only its maker can read it; leave the item out"));
    }
    let path = format!("{path}.content");
    let content = match given(fields, "content") {
        None => Vec::new(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().enumerate().map(|(index, part)| {
                let path = format!("{path}[{index}]");
                let Value::Object(fields) = part else {
                    return Err(unexpected(&path, "an object", part));
                };
                Ok(json!({"type": "reasoning_text", "text": required(fields, "text", &path)?}))
            });
            texts.collect::<ApiResult<_>>()?
        }
        Some(other) => return Err(unexpected(&path, "an array of parts", other)),
    };
    Ok(json!({"id": id, "type": "reasoning", "summary": [], "content": content}))
}

/// The chat that items mean. What the assistant thought, said and called without a break is one message.
pub(super) fn messages(instructions: Option<&str>, items: &[Value]) -> Vec<Value> {
    let mut messages: Vec<Value> =
        instructions.iter().map(|text| json!({"role": "system", "content": text})).collect();
    let (mut reasoning, mut is_open) = (String::new(), false);
    for item in items {
        let is_own = ["reasoning", "function_call"].iter().any(|one| item["type"] == *one)
            || item["role"] == "assistant";
        if !is_own {
            is_open = false;
            reasoning.clear();
        }
        match item["type"].as_str() {
            Some("reasoning") => reasoning = text_of(&item["content"]),
            Some("function_call") => {
                if !is_open {
                    messages.push(json!({"role": "assistant", "content": null}));
                }
                let message = messages.last_mut().expect("one was pushed, by now or before");
                call(message, item);
            }
            Some("function_call_output") => messages.push(json!({
                "role": "tool",
                "tool_call_id": item["call_id"],
                "content": text_of(&item["output"]),
            })),
            _ => messages.push(json!({"role": item["role"], "content": text_of(&item["content"])})),
        }
        if is_own && item["type"] != "reasoning" {
            is_open = true;
            if let (false, Some(message)) = (reasoning.is_empty(), messages.last_mut()) {
                message["reasoning_content"] = std::mem::take(&mut reasoning).into();
            }
        }
    }
    messages
}

fn call(message: &mut Value, item: &Value) {
    let function = json!({"name": item["name"], "arguments": item["arguments"]});
    let call = json!({"id": item["call_id"], "type": "function", "function": function});
    match message["tool_calls"].as_array_mut() {
        Some(calls) => calls.push(call),
        None => message["tool_calls"] = json!([call]),
    }
}

/// The text of `content`: itself, or its parts, a line break between them.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts =
                parts.iter().filter_map(|part| part["text"].as_str().or(part["refusal"].as_str()));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
#[path = "items_tests.rs"]
mod tests;
