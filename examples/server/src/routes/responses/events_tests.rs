//! Items and events come in OpenAI's order, numbered without a gap.

use super::super::request;
use super::*;
use crate::routes::chunks::tests::{event, frames};

fn output() -> Output {
    let request = json!({"input": "Hi", "top_logprobs": 1});
    let asked = request::read(request.as_object().expect("an object"), Vec::new());
    Output::new("m", asked.expect("sound"), None)
}

fn told(output: &mut Output, said: &[(Kind, &str, &str)], reason: &str) -> Vec<Value> {
    let mut out = Out::new();
    output.begin(&mut out);
    for (kind, text, json) in said {
        output.event(0, event(*kind, 0, text, json), &mut out);
    }
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    let result = json!({"choices": [{"finish_reason": reason}], "usage": usage});
    output.end(0, &result, &mut out);
    let told: Vec<Value> = frames(out)
        .into_iter()
        .map(|frame| {
            let (name, data) = frame.split_once('\n').expect("two lines");
            let data = data.strip_prefix("data: ").expect("data");
            let event: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
            event
        })
        .collect();
    for (number, event) in told.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    told
}

#[test]
fn events_come_in_order() {
    let scores = r#"{"content":[{"token":"b","logprob":-1.0}]}"#;
    let mut output = output();
    let told = told(
        &mut output,
        &[
            (Kind::Progress, "", ""),
            (Kind::Reasoning, "h", ""),
            (Kind::Reasoning, "m", ""),
            (Kind::Token, "", ""),
            (Kind::Token, "a\"", ""),
            (Kind::Token, "b", scores),
            (Kind::ToolCall, "", r#"{"index":0,"id":"c","function":{"name":"f","arguments":""}}"#),
            (Kind::ToolCall, "", r#"{"index":0,"function":{"arguments":"{}"}}"#),
        ],
        "tool_calls",
    );
    let names: Vec<&str> =
        told.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("response.")).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected);
    assert_eq!(told[6]["text"], "hm");
    assert_eq!(told[13]["text"], "a\"b");
    assert_eq!(told[12]["logprobs"][0]["token"], "b");
    let response = output.into_response();
    assert_eq!(told[20]["response"], response);
    assert_eq!(response["status"], "completed");
    assert_eq!(response["output"][1]["content"][0]["text"], "a\"b");
    assert_eq!(response["output"][1]["content"][0]["logprobs"][0]["token"], "b");
    assert_eq!(response["output"][2]["arguments"], "{}");
    assert_eq!(response["usage"]["total_tokens"], 7);
    for (place, index) in [(2, 0), (9, 1), (16, 2)] {
        assert_eq!(told[place]["output_index"], index);
    }
}

#[test]
fn an_answer_that_was_cut_off_is_incomplete() {
    let mut output = output();
    let told = told(&mut output, &[(Kind::Token, "a", "")], "length");
    assert_eq!(told.last().expect("an end")["type"], "response.incomplete");
    let response = output.into_response();
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(response["output"][0]["status"], "incomplete");
}

#[test]
fn an_empty_answer_is_a_message_all_the_same() {
    let mut output = output();
    told(&mut output, &[], "stop");
    assert_eq!(output.into_response()["output"][0]["content"][0]["text"], "");
}
