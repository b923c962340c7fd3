//! Items become messages; what is wrong with them is named.

use super::*;

fn chat(input: Value) -> Vec<Value> {
    messages(None, &read(&input).expect("sound"))
}

#[test]
fn a_conversation_becomes_messages() {
    let input = json!([
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": [],
         "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "Let me look.", "annotations": []},
        ]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{\"x\":1}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "c2",
         "output": [{"type": "input_text", "text": "2"}]},
        {"type": "function_call", "call_id": "c3", "name": "f", "arguments": "{}"},
    ]);
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expected = json!([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": "Let me look.", "reasoning_content": "hm",
         "tool_calls": [call("c1", "f", "{}"), call("c2", "g", "{\"x\":1}")]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": "2"},
        {"role": "assistant", "content": null, "tool_calls": [call("c3", "f", "{}")]},
    ]);
    assert_eq!(Value::from(chat(input)), expected);
}

#[test]
fn a_text_is_a_user_message() {
    let items = read(&json!("Hi")).expect("sound");
    assert!(items[0]["id"].as_str().is_some_and(|id| id.starts_with("msg_")));
    let expected =
        [json!({"role": "system", "content": "s"}), json!({"role": "user", "content": "Hi"})];
    assert_eq!(messages(Some("s"), &items), expected);
}

#[test]
fn items_come_back_as_they_are() {
    let input = json!([
        {"role": "assistant", "content": "x"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"type": "function_call_output", "call_id": "c", "output": ""},
    ]);
    let items = read(&input).expect("sound");
    assert_eq!(read(&Value::from(items.clone())).expect("sound"), items);
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (json!(1), "input", 400),
        (json!(["a"]), "input[0]", 400),
        (json!([{"content": "a"}]), "input[0].role", 400),
        (json!([{"role": "tool", "content": "a"}]), "input[0].role", 400),
        (json!([{"role": "user"}]), "input[0].content", 400),
        (json!([{"role": "user", "content": [1]}]), "input[0].content[0]", 400),
        (
            json!([{"role": "user", "content": [{"type": "input_image"}]}]),
            "input[0].content[0].type",
            422,
        ),
        (
            json!([{"role": "user", "content": [{"type": "input_text"}]}]),
            "input[0].content[0].text",
            400,
        ),
        (
            json!([{"type": "function_call", "name": "f", "arguments": "{}"}]),
            "input[0].call_id",
            400,
        ),
        (json!([{"type": "function_call_output", "call_id": "c"}]), "input[0].output", 400),
        (json!([{"type": "web_search_call"}]), "input[0].type", 422),
        (
            json!([{"type": "reasoning", "encrypted_content": "x"}]),
            "input[0].encrypted_content",
            422,
        ),
        (json!([{"type": 1}]), "input[0].type", 400),
    ];
    for (input, path, status) in cases {
        let error = read(&input).expect_err(path);
        assert_eq!((error.param.as_deref(), error.status.as_u16()), (Some(path), status));
        assert!(error.message.starts_with(path), "{}", error.message);
    }
}
