//! A request for a response, as the chat that the library generates.
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::items::{self, lacking, required};
use crate::error::{ApiError, ApiResult};
use crate::routes::body::{flag, given, unexpected};
use crate::routes::stream::{new_id, now};

/// What a request comes to.
pub(super) struct Asked {
    /// The request for the library.
    pub(super) chat: String,
    /// The response before its first word.
    pub(super) response: Value,
    /// The conversation so far.
    pub(super) items: Vec<Value>,
    pub(super) with_logprobs: bool,
    /// Whether it is kept for later requests.
    pub(super) store: bool,
}

/// Known here, and nothing of the chat's.
const OWN: [&str; 14] = [
    "background",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt_cache_options",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "truncation",
];

/// OpenAI's fields that would change the answer and that this server lacks.
const LACKING: [&str; 7] = [
    "access_programs",
    "background_options",
    "context_management",
    "conversation",
    "image",
    "moderation",
    "prompt",
];

/// The chat's names for what has another one here.
const OF_CHATS: [(&str, &str); 8] = [
    ("messages", "input"),
    ("max_tokens", "max_output_tokens"),
    ("max_completion_tokens", "max_output_tokens"),
    ("response_format", "text.format"),
    ("reasoning_effort", "reasoning.effort"),
    ("logprobs", "top_logprobs"),
    ("functions", "tools"),
    ("n", "several requests"),
];

/// Reads a request that goes on from the items `before`.
pub(super) fn read(fields: &Map<String, Value>, before: Vec<Value>) -> ApiResult<Asked> {
    refuse(fields)?;
    let mut items = before;
    match given(fields, "input") {
        Some(input) => items.extend(items::read(input)?),
        None => return Err(ApiError::invalid("input", "input: is missing; give a text or items")),
    }
    let instructions = text(fields, "instructions")?;
    let messages = items::messages(instructions, &items);
    if messages.is_empty() {
        return Err(ApiError::invalid("input", "input: is empty; give a text or items"));
    }
    let mut chat: Map<String, Value> = fields
        .iter()
        .filter(|(name, value)| !value.is_null() && !OWN.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    chat.insert("messages".into(), messages.into());
    let with_logprobs = with_logprobs(fields)?;
    if with_logprobs {
        chat.insert("logprobs".into(), true.into());
    }
    let moved = [
        ("max_completion_tokens", given(fields, "max_output_tokens").cloned()),
        ("top_logprobs", given(fields, "top_logprobs").filter(|_| with_logprobs).cloned()),
        ("response_format", response_format(fields)?),
        ("reasoning_effort", effort(fields)?),
        ("tools", tools(fields)?),
        ("tool_choice", tool_choice(fields)?),
    ];
    for (name, value) in moved {
        if let Some(value) = value {
            chat.insert(name.into(), value);
        }
    }
    let store = flag(fields, "store", "store")?.unwrap_or(true);
    Ok(Asked {
        chat: Value::Object(chat).to_string(),
        response: begun(fields, store),
        items,
        with_logprobs,
        store,
    })
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> ApiResult<Option<&'a str>> {
    match given(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(unexpected(name, "a string", other)),
    }
}

fn object<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
) -> ApiResult<Option<&'a Map<String, Value>>> {
    match given(fields, name) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(other) => Err(unexpected(name, "an object", other)),
    }
}

fn refuse(fields: &Map<String, Value>) -> ApiResult<()> {
    for name in LACKING {
        if given(fields, name).is_some() {
            return Err(lacking(name, "is not supported; leave it out"));
        }
    }
    if flag(fields, "background", "background")? == Some(true) {
        return Err(lacking("background", "is not supported; wait for the answer or stream it"));
    }
    if text(fields, "truncation")?.is_some_and(|how| how != "disabled") {
        return Err(lacking("truncation", "only \"disabled\" is supported"));
    }
    for (name, instead) in OF_CHATS {
        if given(fields, name).is_some() {
            let message = format!("{name}: belongs to chat completions; use {instead}");
            return Err(ApiError::invalid(name, message));
        }
    }
    Ok(())
}

/// Whether tokens come with their log-probabilities.
fn with_logprobs(fields: &Map<String, Value>) -> ApiResult<bool> {
    let include = match given(fields, "include") {
        None => &[][..],
        Some(Value::Array(include)) => include,
        Some(other) => return Err(unexpected("include", "an array", other)),
    };
    let mut with_logprobs = given(fields, "top_logprobs").is_some_and(|count| *count != 0);
    for (index, what) in include.iter().enumerate() {
        match what.as_str() {
            Some("message.output_text.logprobs") => with_logprobs = true,
            // It is for sending reasoning back; here the plain text does that.
            Some("reasoning.encrypted_content") => {}
            _ => {
                let message =
                    format!("{what} is not supported; \"message.output_text.logprobs\" is");
                return Err(lacking(&format!("include[{index}]"), &message));
            }
        }
    }
    Ok(with_logprobs)
}

fn response_format(fields: &Map<String, Value>) -> ApiResult<Option<Value>> {
    let Some(text) = object(fields, "text")? else { return Ok(None) };
    let Some(format) = given(text, "format") else { return Ok(None) };
    let Value::Object(format) = format else {
        return Err(unexpected("text.format", "an object", format));
    };
    if required(format, "type", "text.format")? != "json_schema" {
        return Ok(Some(Value::Object(format.clone())));
    }
    let mut schema = format.clone();
    schema.shift_remove("type");
    Ok(Some(json!({"type": "json_schema", "json_schema": schema})))
}

fn effort(fields: &Map<String, Value>) -> ApiResult<Option<Value>> {
    let Some(reasoning) = object(fields, "reasoning")? else { return Ok(None) };
    for name in ["summary", "generate_summary"] {
        // "auto" is the best summary that a model has, and here none has one.
        if given(reasoning, name).is_some_and(|how| how != "auto") {
            let message = "summaries are not supported; the reasoning itself comes as text";
            return Err(lacking(&format!("reasoning.{name}"), message));
        }
    }
    Ok(given(reasoning, "effort").cloned())
}

/// A tool's fields stand beside its type here, and in `function` in a chat.
fn tools(fields: &Map<String, Value>) -> ApiResult<Option<Value>> {
    let tools = match given(fields, "tools") {
        None => return Ok(None),
        Some(Value::Array(tools)) if tools.is_empty() => return Ok(None),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(unexpected("tools", "an array", other)),
    };
    let each = tools.iter().enumerate().map(|(index, tool)| {
        let path = format!("tools[{index}]");
        let Value::Object(tool) = tool else { return Err(unexpected(&path, "an object", tool)) };
        let of_type = required(tool, "type", &path)?;
        if of_type != "function" {
            let message = format!("{of_type:?} tools are not supported; use \"function\"");
            return Err(lacking(&format!("{path}.type"), &message));
        }
        required(tool, "name", &path)?;
        let mut function = tool.clone();
        function.shift_remove("type");
        Ok(json!({"type": "function", "function": function}))
    });
    Ok(Some(each.collect::<ApiResult<Vec<Value>>>()?.into()))
}

fn tool_choice(fields: &Map<String, Value>) -> ApiResult<Option<Value>> {
    let choice = match given(fields, "tool_choice") {
        Some(Value::Object(choice)) => choice,
        other => return Ok(other.cloned()),
    };
    let named = |tool: &Value| json!({"type": "function", "function": {"name": tool["name"]}});
    match required(choice, "type", "tool_choice")? {
        "function" => {
            required(choice, "name", "tool_choice")?;
            Ok(Some(named(&Value::Object(choice.clone()))))
        }
        "allowed_tools" => {
            let tools = choice.get("tools").and_then(Value::as_array);
            let tools: Vec<Value> = tools.into_iter().flatten().map(named).collect();
            let allowed = json!({"mode": choice.get("mode"), "tools": tools});
            Ok(Some(json!({"type": "allowed_tools", "allowed_tools": allowed})))
        }
        other => {
            let message = format!("{other:?} is not supported; use \"function\"");
            Err(lacking("tool_choice.type", &message))
        }
    }
}

/// The response as it stands when the model begins; `model` and `output` come later.
fn begun(fields: &Map<String, Value>, store: bool) -> Value {
    let or = |name: &str, otherwise: Value| given(fields, name).cloned().unwrap_or(otherwise);
    let of =
        |name: &str, inner: &str| fields.get(name).map_or(Value::Null, |one| one[inner].clone());
    let format = match of("text", "format") {
        Value::Null => json!({"type": "text"}),
        format => format,
    };
    let mut begun = json!({
        "id": new_id("resp_"),
        "object": "response",
        "created_at": now(),
        "status": "in_progress",
        "background": false,
        "completed_at": null,
        "error": null,
        "incomplete_details": null,
        "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null),
        "max_tool_calls": or("max_tool_calls", Value::Null),
        "model": null,
        "output": [],
        "parallel_tool_calls": or("parallel_tool_calls", true.into()),
        "previous_response_id": or("previous_response_id", Value::Null),
        "reasoning": {"effort": of("reasoning", "effort"), "summary": null},
        "service_tier": "default",
        "store": store,
        "temperature": or("temperature", Value::Null),
        "text": {"format": format},
        "tool_choice": or("tool_choice", "auto".into()),
        "tools": or("tools", json!([])),
        "top_logprobs": or("top_logprobs", 0.into()),
        "top_p": or("top_p", Value::Null),
        "truncation": "disabled",
        "metadata": or("metadata", json!({})),
    });
    // Not null where it is missing: OpenAI's schema has none there, nor for `usage` before the end.
    if let Some(user) = given(fields, "user") {
        begun["user"] = user.clone();
    }
    begun
}

/// An error of the library's about the chat, in the request's own names.
pub(super) fn renamed(mut error: ApiError) -> ApiError {
    let Some(param) = error.param.clone() else { return error };
    let names = [
        ("messages", "input"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format.json_schema", "text.format"),
        ("response_format", "text.format"),
        ("reasoning_effort", "reasoning.effort"),
    ];
    let renamed = names
        .iter()
        .find_map(|(old, new)| param.strip_prefix(old).map(|rest| format!("{new}{rest}")));
    let renamed = renamed.unwrap_or_else(|| param.replacen(".function", "", 1));
    if let Some(rest) = error.message.strip_prefix(&param) {
        error.message = format!("{renamed}{rest}");
    }
    error.param = Some(renamed);
    error
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
