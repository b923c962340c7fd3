//! Requests become chats; what this server lacks is refused with its path.

use super::*;

fn asked(request: Value) -> ApiResult<Asked> {
    read(request.as_object().expect("an object"), Vec::new())
}

fn chat(request: Value) -> Value {
    serde_json::from_str(&asked(request).expect("sound").chat).expect("JSON")
}

#[test]
fn fields_move_to_the_chats_names() {
    let schema = json!({"type": "object"});
    let chat = chat(json!({
        "model": "m", "input": "Hi", "instructions": "s", "max_output_tokens": 7, "seed": 3,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "tools": [{"type": "function", "name": "f", "parameters": schema}],
        "tool_choice": {"type": "function", "name": "f"},
        "include": ["message.output_text.logprobs"], "top_logprobs": 2,
        "background": false, "conversation": null, "truncation": "disabled", "temperature": 0,
    }));
    let expected = json!({
        "model": "m", "seed": 3, "temperature": 0,
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}],
        "logprobs": true, "max_completion_tokens": 7, "top_logprobs": 2,
        "response_format": {"type": "json_schema",
                            "json_schema": {"name": "n", "schema": schema, "strict": true}},
        "reasoning_effort": "low",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    });
    assert_eq!(chat, expected);
}

#[test]
fn a_conversation_goes_on() {
    let first = asked(json!({"input": "a", "instructions": "old"})).expect("sound");
    let request = json!({"input": "b"});
    let next = read(request.as_object().expect("an object"), first.items).expect("sound");
    let chat: Value = serde_json::from_str(&next.chat).expect("JSON");
    let expected = json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]);
    assert_eq!(chat["messages"], expected, "without the old instructions");
}

#[test]
fn what_is_lacking_or_wrong_is_named() {
    let cases = [
        (json!({}), "input", 400),
        (json!({"input": []}), "input", 400),
        (json!({"input": "a", "background": true}), "background", 422),
        (json!({"input": "a", "conversation": "c"}), "conversation", 422),
        (json!({"input": "a", "prompt": {"id": "p"}}), "prompt", 422),
        (json!({"input": "a", "truncation": "auto"}), "truncation", 422),
        (json!({"input": "a", "messages": []}), "messages", 400),
        (json!({"input": "a", "max_tokens": 1}), "max_tokens", 400),
        (json!({"input": "a", "n": 2}), "n", 400),
        (json!({"input": "a", "store": 1}), "store", 400),
        (json!({"input": "a", "instructions": []}), "instructions", 400),
        (json!({"input": "a", "include": ["file_search_call.results"]}), "include[0]", 422),
        (json!({"input": "a", "tools": [{"type": "web_search"}]}), "tools[0].type", 422),
        (json!({"input": "a", "tools": [{"type": "function"}]}), "tools[0].name", 400),
        (json!({"input": "a", "tool_choice": {"type": "mcp"}}), "tool_choice.type", 422),
        (json!({"input": "a", "text": {"format": 1}}), "text.format", 400),
        (json!({"input": "a", "reasoning": {"summary": "detailed"}}), "reasoning.summary", 422),
    ];
    for (request, path, status) in cases {
        let error = asked(request).err().expect(path);
        assert_eq!((error.param.as_deref(), error.status.as_u16()), (Some(path), status));
        assert!(error.message.starts_with(path), "{}", error.message);
    }
}

#[test]
fn errors_speak_of_the_requests_fields() {
    for (path, expected) in [
        ("messages[0].content", "input[0].content"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("tools[1].function.parameters", "tools[1].parameters"),
        ("temperature", "temperature"),
    ] {
        let error = renamed(ApiError::invalid(path, format!("{path}: bad")));
        assert_eq!(error.param.as_deref(), Some(expected));
        assert_eq!(error.message, format!("{expected}: bad"));
    }
}
