//! Messages for templates that know nothing of tools: what they would have written, as text.
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::syntax::{Body, Syntax};

/// What a model is told of `tools`, OpenAI's array, and of how to call one.
pub(super) fn instruction(tools: &Value, syntax: &Syntax) -> String {
    let mut text = "You may call functions to help with the request. These are available, each \
        described by a JSON schema:\n"
        .to_owned();
    for tool in tools.as_array().into_iter().flatten() {
        text.push_str(&spaced(tool));
        text.push('\n');
    }
    text.push_str("\nTo call a function, answer in this form and say nothing after it:\n");
    text.push_str(&example(syntax));
    text
}

/// A call as it would be written.
fn example(syntax: &Syntax) -> String {
    let body = match syntax.body {
        Body::Object { arguments, .. } => {
            format!("function_name\", \"{arguments}\": {{\"argument\": \"value\"}}}}")
        }
        Body::Named { id, arguments } => {
            let id = if id.is_empty() { String::new() } else { format!("{id}000000000") };
            format!("function_name{id}{arguments}{{\"argument\": \"value\"}}")
        }
        Body::Parts { named, key, value, done } => {
            format!("function_name{named}{key}argument{value}value{done}")
        }
    };
    format!("{}{}{body}{}{}", syntax.open, syntax.lead(), syntax.end, syntax.close)
}

/// Puts `text` before everything else: into the system message, or where the template takes none
/// into the first one of the user.
pub(super) fn tell(messages: &mut Value, text: &str, has_system: bool) {
    let Value::Array(list) = messages else { return };
    let is = |message: &Value, roles: &[&str]| {
        message.get("role").and_then(Value::as_str).is_some_and(|role| roles.contains(&role))
    };
    let systems: &[&str] = &["system", "developer"];
    match list.first_mut() {
        Some(first) if is(first, systems) => append(first, text, false),
        _ if has_system => list.insert(0, json!({"role": "system", "content": text})),
        _ => match list.iter_mut().find(|message| is(message, &["user"])) {
            Some(user) => append(user, text, true),
            None => list.insert(0, json!({"role": "user", "content": text})),
        },
    }
}

/// Adds `text` to the content of `message`, a string or an array of parts.
fn append(message: &mut Value, text: &str, before: bool) {
    match message.get_mut("content") {
        Some(Value::Array(parts)) => {
            let part = json!({"type": "text", "text": format!("{text}\n")});
            let at = if before { 0 } else { parts.len() };
            parts.insert(at, part);
        }
        Some(Value::String(content)) if before => *content = format!("{text}\n\n{content}"),
        Some(Value::String(content)) => *content = format!("{content}\n\n{text}"),
        _ => message["content"] = text.into(),
    }
}

/// Gives the system message a field with `tools` as JSON in a string.
pub(super) fn put_into_system(messages: &mut Value, tools: &Value) {
    let Value::Array(list) = messages else { return };
    let is_system = |message: &Value| message.get("role").is_some_and(|role| role == "system");
    if !list.first().is_some_and(is_system) {
        list.insert(0, json!({"role": "system", "content": ""}));
    }
    let functions = tools.as_array().into_iter().flatten();
    let functions = functions.map(|tool| tool.get("function").unwrap_or(tool).clone()).collect();
    list[0]["tools"] = spaced(&Value::Array(functions)).into();
}

/// `messages` with calls in the text of the answers that made them, and results as messages of
/// the user; results that follow each other are one message, for users and answers take turns.
pub(super) fn written_out(messages: &Value) -> Value {
    let Value::Array(list) = messages else { return messages.clone() };
    let mut written: Vec<Value> = Vec::with_capacity(list.len());
    let mut after_result = false;
    for message in list {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        match (role, message.get("tool_calls").and_then(Value::as_array)) {
            ("assistant", Some(calls)) => written.push(with_calls(message, calls)),
            ("tool", _) => {
                let result = format!("<tool_response>\n{}\n</tool_response>", text_of(message));
                add_as_user(&mut written, &result, after_result);
            }
            ("user", _) if after_result => add_as_user(&mut written, &text_of(message), true),
            _ => written.push(message.clone()),
        }
        after_result = role == "tool";
    }
    Value::Array(written)
}

fn add_as_user(written: &mut Vec<Value>, text: &str, goes_on: bool) {
    match written.last_mut().filter(|_| goes_on) {
        Some(last) => append(last, text, false),
        None => written.push(json!({"role": "user", "content": text})),
    }
}

fn with_calls(message: &Value, calls: &[Value]) -> Value {
    let mut text = text_of(message);
    for call in calls {
        let function = call.get("function").unwrap_or(&Value::Null);
        let arguments = match function.get("arguments") {
            Some(Value::String(json)) => serde_json::from_str(json).unwrap_or_else(|_| json!(json)),
            Some(other) => other.clone(),
            None => Value::Object(Map::new()),
        };
        let name = function.get("name").unwrap_or(&Value::Null);
        let call = spaced(&json!({"name": name, "arguments": arguments}));
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}<tool_call>\n{call}\n</tool_call>"));
    }
    json!({"role": "assistant", "content": text})
}

/// A message's text, its parts joined.
fn text_of(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// `value` as JSON with spaces after `,` and `:`, as Python writes it and models have seen it.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(spaced).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let pair = |(key, item): (&String, &Value)| {
                format!("{}: {}", Value::from(key.as_str()), spaced(item))
            };
            let pairs: Vec<String> = map.iter().map(pair).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
