//! Chunks are valid JSON whatever the text, and in OpenAI's order.

use axum::response::sse::Event as Frame;
use axum::response::IntoResponse;

use super::*;

pub(in crate::routes) fn event(kind: Kind, choice: i32, text: &str, json: &str) -> Event {
    let (text, json) = (text.to_owned(), json.to_owned());
    Event { kind, choice, text, json, progress: 0.0 }
}

fn chunks(shape: Shape, usage: bool, jobs: usize, n: usize) -> Chunks {
    Chunks::new(shape, "a \"model\"", Streaming { usage }, jobs, n)
}

/// What the client reads: the lines of each event.
pub(in crate::routes) fn frames(out: Out) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let frames = futures_util::stream::iter(out.into_iter().map(Ok::<Frame, std::io::Error>));
    let body = axum::response::Sse::new(frames).into_response().into_body();
    let bytes = runtime.block_on(axum::body::to_bytes(body, usize::MAX)).expect("a body");
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    text.split_terminator("\n\n").map(str::to_owned).collect()
}

/// The data of each event.
fn read(out: Out) -> Vec<Value> {
    let data = frames(out).into_iter().map(|frame| {
        let data = frame.strip_prefix("data: ").expect("one line of data");
        if data == "[DONE]" {
            json!(data)
        } else {
            serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
        }
    });
    data.collect()
}

fn result(reasons: &[&str]) -> Value {
    let choices: Vec<Value> =
        reasons.iter().map(|reason| json!({"finish_reason": reason})).collect();
    let usage = json!({
        "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 1},
    });
    json!({"choices": choices, "usage": usage, "timings": {"predicted_n": 4}})
}

#[test]
fn any_text_comes_back() {
    let mut seed = 7_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32
    };
    for shape in [Shape::Chat, Shape::Text] {
        for _ in 0..300 {
            let length = random() % 12;
            // Half of them control characters, quotes and the like.
            let text: String = (0..length)
                .filter_map(|_| {
                    char::from_u32(random() % [0x80, 0x11_0000][(random() % 2) as usize])
                })
                .collect();
            let mut out = Out::new();
            let mut chunks = chunks(shape, random() % 2 == 0, 1, 1);
            chunks.event(0, event(Kind::Token, 0, &text, ""), &mut out);
            let said = read(out);
            let field = |chunk: &Value| match shape {
                Shape::Chat => chunk["choices"][0]["delta"]["content"].clone(),
                Shape::Text => chunk["choices"][0]["text"].clone(),
            };
            let whole: String = said
                .iter()
                .map(|chunk| field(chunk).as_str().unwrap_or_default().to_owned())
                .collect();
            assert_eq!(whole, text);
            assert!(said.iter().all(|chunk| chunk["model"] == "a \"model\""));
        }
    }
}

#[test]
fn a_chat_streams_as_openai_streams() {
    let mut chunks = chunks(Shape::Chat, true, 1, 2);
    let mut out = Out::new();
    let scores = r#"{"content":[{"token":"b"}],"refusal":null}"#;
    for (kind, choice, text, json) in [
        (Kind::Progress, 0, "", ""),
        (Kind::Reasoning, 0, "a", ""),
        (Kind::Token, 1, "", ""),
        (Kind::Token, 0, "b", scores),
        (Kind::ToolCall, 1, "", r#"{"index":0}"#),
    ] {
        chunks.event(0, event(kind, choice, text, json), &mut out);
    }
    chunks.end(0, &result(&["stop", "tool_calls"]), &mut out);
    chunks.finish(&mut out);
    let said = read(out);
    let role = json!({"role": "assistant", "content": "", "refusal": null});
    let scores: Value = serde_json::from_str(scores).expect("JSON");
    let expected = [
        json!({"index": 0, "delta": role, "logprobs": null, "finish_reason": null}),
        json!({"index": 0, "delta": {"reasoning_content": "a"}, "logprobs": null, "finish_reason": null}),
        json!({"index": 1, "delta": role, "logprobs": null, "finish_reason": null}),
        json!({"index": 0, "delta": {"content": "b"}, "logprobs": scores, "finish_reason": null}),
        json!({"index": 1, "delta": {"tool_calls": [{"index": 0}]}, "logprobs": null, "finish_reason": null}),
        json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}),
        json!({"index": 1, "delta": {}, "logprobs": null, "finish_reason": "tool_calls"}),
    ];
    for (chunk, expected) in said.iter().zip(&expected) {
        assert_eq!(chunk["choices"], json!([expected]));
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!((&chunk["id"], &chunk["created"]), (&said[0]["id"], &said[0]["created"]));
        assert_eq!(chunk.get("usage"), Some(&Value::Null));
    }
    let [usage, done] = &said[expected.len()..] else { panic!("{said:?}") };
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(7)));
    assert_eq!(usage["timings"]["predicted_n"], 4);
    assert_eq!(done, "[DONE]");
}

#[test]
fn without_usage_the_last_choice_has_the_timings() {
    let mut chunks = chunks(Shape::Chat, false, 1, 2);
    let mut out = Out::new();
    chunks.end(0, &result(&["stop", "length"]), &mut out);
    chunks.finish(&mut out);
    let said = read(out);
    assert_eq!(said.len(), 5, "two roles, two ends, [DONE]: {said:?}");
    assert!(said.iter().all(|chunk| chunk.get("usage").is_none()));
    let timings: Vec<bool> = said.iter().map(|chunk| chunk.get("timings").is_some()).collect();
    assert_eq!(timings, [false, false, false, true, false]);
}

#[test]
fn prompts_side_by_side_are_choices() {
    let mut chunks = chunks(Shape::Text, true, 2, 2);
    let mut out = Out::new();
    chunks.event(1, event(Kind::Token, 1, "d", ""), &mut out);
    chunks.event(0, event(Kind::Token, 0, "a", ""), &mut out);
    chunks.end(1, &result(&["stop", "stop"]), &mut out);
    chunks.end(0, &result(&["length", "stop"]), &mut out);
    chunks.finish(&mut out);
    let said = read(out);
    let indexes: Vec<&Value> = said.iter().map(|chunk| &chunk["choices"][0]["index"]).collect();
    assert_eq!(indexes[..6], [3, 0, 2, 3, 0, 1].map(|index| json!(index)).each_ref()[..]);
    let usage = &said[6]["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["total_tokens"]), (&json!(6), &json!(14)));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 2);

    let results = vec![result(&["stop"]), result(&["length"])];
    let whole = whole(Shape::Text, "m", results);
    assert_eq!(whole["choices"][1], json!({"finish_reason": "length", "index": 1}));
    assert_eq!((&whole["usage"]["total_tokens"], &whole["model"]), (&json!(14), &json!("m")));
    assert!(whole.get("timings").is_none());
}

#[test]
fn an_error_is_an_event() {
    let mut out = Out::new();
    chunks(Shape::Chat, false, 1, 1).fail(ApiError::invalid("seed", "seed: bad"), &mut out);
    let said = read(out);
    assert_eq!(said[0]["error"]["param"], "seed");
    assert_eq!(said.len(), 1, "nothing after it");
}

/// Prints what a token costs; `--nocapture` shows it.
#[test]
fn a_chunk_takes_microseconds() {
    let rounds = 20_000;
    let mut chunks = chunks(Shape::Chat, true, 1, 1);
    let begun = std::time::Instant::now();
    let mut bytes = 0;
    for _ in 0..rounds {
        let mut out = Out::new();
        chunks.event(0, event(Kind::Token, 0, " token \"x\"\n", ""), &mut out);
        bytes += out.len();
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
    assert_eq!(bytes, rounds as usize + 1);
    assert!(each < 20.0, "{each:.2} µs for each chunk");
}
