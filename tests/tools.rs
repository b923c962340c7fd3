//! Tools and reasoning through the C interface: on SmolLM2, on tiny models whose markup is made of
//! special tokens, and on the scripted backend.
#![cfg(all(feature = "llama", feature = "fake"))]

#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/json_schema.rs"]
mod json_schema;
mod support;

use fluid::ffi::*;
use json_schema::validate;
use serde_json::{json, Value};
use support::{alone, smollm2, Answer, Engine, Event, Model};

/// A call as a result has it.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

/// What the events join to.
#[derive(Debug, Default, PartialEq)]
struct Streamed {
    content: String,
    reasoning: String,
    calls: Vec<Call>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn streamed(events: &[Event]) -> Streamed {
    let mut all = Streamed::default();
    for event in events {
        match event.kind {
            FLUID_EVENT_TOKEN => all.content.push_str(&event.text),
            FLUID_EVENT_REASONING => all.reasoning.push_str(&event.text),
            FLUID_EVENT_TOOL_CALL => {
                let delta: Value = serde_json::from_str(&event.json).expect("JSON");
                let index = delta["index"].as_u64().expect("a number") as usize;
                let function = &delta["function"];
                if index == all.calls.len() {
                    assert_eq!(delta["type"], "function");
                    let (id, name) = (text(&delta["id"]), text(&function["name"]));
                    all.calls.push(Call { id, name, arguments: String::new() });
                } else {
                    assert!(delta.get("id").is_none() && function.get("name").is_none(), "{delta}");
                }
                all.calls[index].arguments.push_str(function["arguments"].as_str().expect("text"));
            }
            _ => {}
        }
    }
    all
}

/// The calls of `answer`, whose events join to its result, and which have one event with an id for
/// each token.
fn calls(answer: &Answer) -> Vec<Call> {
    let message = &answer.json["choices"][0]["message"];
    let list = message["tool_calls"].as_array().cloned().unwrap_or_default();
    let call = |call: &Value| {
        assert_eq!(call["type"], "function");
        let function = &call["function"];
        Call {
            id: text(&call["id"]),
            name: text(&function["name"]),
            arguments: text(&function["arguments"]),
        }
    };
    let calls: Vec<Call> = list.iter().map(call).collect();
    let streamed = streamed(&answer.events);
    assert_eq!(streamed.calls, calls);
    assert_eq!(streamed.content, text(&message["content"]));
    assert_eq!(streamed.reasoning, text(&message["reasoning_content"]));
    let completion_tokens = answer.json["usage"]["completion_tokens"].as_u64();
    // The token that ends an answer is not a part of it, nor does it have an event.
    assert_eq!(completion_tokens, Some(answer.tokens().len() as u64));
    assert_eq!(message["content"].is_null(), !calls.is_empty() && streamed.content.is_empty());
    calls
}

fn function(name: &str, description: &str, parameters: Value) -> Value {
    json!({"type": "function", "function": {
        "name": name, "description": description, "parameters": parameters,
    }})
}

/// Tools whose arguments are of many kinds, none without end.
fn tools() -> Value {
    json!([
        function(
            "get_weather",
            "Weather in a city",
            json!({"type": "object", "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
        }, "required": ["city", "unit"]})
        ),
        function(
            "add_event",
            "Adds an event to the calendar",
            json!({
                "type": "object",
                "properties": {
                    "title": {"type": "string", "minLength": 1, "maxLength": 24},
                    "when": {"$ref": "#/$defs/time"},
                    "guests": {"type": "array", "maxItems": 2, "items": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "maxLength": 10}, "vip": {"type": "boolean"}},
                        "required": ["name"],
                    }},
                },
                "required": ["title", "when"],
                "additionalProperties": false,
                "$defs": {"time": {"anyOf": [
                    {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"}, {"type": "null"},
                ]}},
            })
        ),
        function("stop-music", "Stops the music", json!({"type": "object", "properties": {}})),
    ])
}

/// Checks that each call is of one of `tools` and valid for its schema.
fn check(tools: &Value, calls: &[Call]) {
    for call in calls {
        let tool = tools.as_array().expect("tools").iter().map(|tool| &tool["function"]);
        let tool = tool
            .clone()
            .find(|tool| tool["name"] == *call.name)
            .unwrap_or_else(|| panic!("{call:?}"));
        let arguments: Value = serde_json::from_str(&call.arguments)
            .unwrap_or_else(|error| panic!("{call:?}: {error}"));
        validate(&tool["parameters"], &tool["parameters"], &arguments)
            .unwrap_or_else(|error| panic!("{call:?}: {error}"));
        assert!(call.id.starts_with("call_") && call.id.len() == 21, "{call:?}");
    }
}

fn chat(question: &str, more: Value) -> Value {
    let mut request = json!({
        "messages": [{"role": "user", "content": question}],
        "tools": tools(),
        "max_tokens": 400,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
    });
    let fields = request.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("fields").clone());
    request
}

#[test]
fn a_required_call_is_always_a_good_one() {
    let _turn = alone();
    let mut names = std::collections::HashSet::new();
    for seed in 0..6 {
        let more = json!({"tool_choice": "required", "parallel_tool_calls": false, "seed": seed});
        let answer = smollm2().answer(&chat("What should we do today?", more));
        let calls = calls(&answer);
        assert_eq!((calls.len(), answer.finish_reason()), (1, "tool_calls"), "{}", answer.json);
        assert!(answer.json["choices"][0]["message"]["content"].is_null());
        check(&tools(), &calls);
        names.insert(calls[0].name.clone());
    }
    assert!(names.len() > 1, "always {names:?}");
}

#[test]
fn a_named_function_is_called_once() {
    let _turn = alone();
    for seed in 0..3 {
        let choice = json!({"type": "function", "function": {"name": "add_event"}});
        let answer =
            smollm2().answer(&chat("Weather?", json!({"tool_choice": choice, "seed": seed})));
        let calls = calls(&answer);
        assert_eq!((calls.len(), calls[0].name.as_str()), (1, "add_event"));
        check(&tools(), &calls);
    }
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
        {"type": "function", "function": {"name": "stop-music"}}]}});
    let answer =
        smollm2().answer(&chat("Weather?", json!({"tool_choice": allowed, "max_tokens": 60})));
    let calls = calls(&answer);
    assert!(!calls.is_empty() && calls.iter().all(|call| call.name == "stop-music"), "{calls:?}");
}

#[test]
fn several_calls_come_one_after_the_other() {
    let _turn = alone();
    let mut most = 0;
    for seed in 0..3 {
        let more = json!({"tool_choice": "required", "seed": seed, "max_tokens": 250});
        let answer = smollm2().answer(&chat("Plan my whole week, day by day.", more));
        let mut calls = calls(&answer);
        if answer.finish_reason() == "length" {
            calls.pop();
        }
        check(&tools(), &calls);
        most = most.max(calls.len());
    }
    assert!(most > 1, "{most}");
}

#[test]
fn the_model_chooses_between_text_and_calls() {
    let _turn = alone();
    let text = smollm2().answer(&chat("Say hello.", json!({"temperature": 0, "max_tokens": 24})));
    assert!(calls(&text).is_empty() && !text.text().is_empty(), "{}", text.json);
    // What the model did before it does again.
    let mut messages = Vec::new();
    for city in ["Paris", "Rome", "Oslo"] {
        let arguments = json!({"city": city, "unit": "celsius"}).to_string();
        let function = json!({"name": "get_weather", "arguments": arguments});
        messages.push(json!({"role": "user", "content": format!("Weather in {city}?")}));
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": city, "type": "function", "function": function}]}));
    }
    messages.push(json!({"role": "user", "content": "Weather in Berlin?"}));
    let answer = smollm2().answer(&chat("", json!({"messages": messages, "temperature": 0})));
    let calls = calls(&answer);
    assert!(!calls.is_empty(), "{}", answer.json);
    check(&tools(), &calls);
    assert_eq!(answer.finish_reason(), "tool_calls");
}

#[test]
fn without_a_choice_the_model_is_not_told_of_tools() {
    let _turn = alone();
    let with = smollm2().answer(&chat("Hi", json!({"tool_choice": "none", "max_tokens": 1})));
    let mut request = chat("Hi", json!({"max_tokens": 1}));
    request.as_object_mut().expect("an object").remove("tools");
    let without = smollm2().answer(&request);
    assert_eq!(with.json["usage"]["prompt_tokens"], without.json["usage"]["prompt_tokens"]);
}

#[test]
fn a_call_that_is_cut_off_is_told_as_far_as_it_came() {
    let _turn = alone();
    let more = json!({"tool_choice": {"type": "function", "function": {"name": "add_event"}},
        "max_tokens": 30, "seed": 1});
    let answer = smollm2().answer(&chat("Add an event.", more));
    let calls = calls(&answer);
    assert_eq!(answer.finish_reason(), "length");
    assert!(calls.len() == 1 && calls[0].arguments.starts_with('{'), "{calls:?}");
}

/// How a tiny model's vocabulary has the markup.
const KINDS: [(&str, i32); 3] =
    [("plain text", 0), ("control tokens", 3), ("user-defined tokens", 4)];

const TEMPLATE: &str = include_str!("../src/chat/testdata/tools/hermes.jinja");

fn tiny(kind: i32) -> (Engine, Model) {
    let marks = ["<tool_call>", "</tool_call>", "<think>", "</think>"];
    let marks: Vec<(&str, i32)> =
        marks.iter().filter(|_| kind > 0).map(|mark| (*mark, kind)).collect();
    let mut model = gguf::llama_with(5, &marks);
    model.text("tokenizer.chat_template", TEMPLATE);
    let path = std::env::temp_dir().join(format!("fluid-tools-{}-{kind}.gguf", std::process::id()));
    std::fs::write(&path, model.to_bytes()).expect("a file");
    let engine = Engine::new("");
    let options = r#"{"n_ctx": 2048, "n_parallel": 1, "n_threads": 1}"#;
    let model = engine.load(path.to_str().expect("UTF-8"), options);
    std::fs::remove_file(&path).expect("a file to remove");
    (engine, model)
}

/// A tool whose calls even noise brings to an end.
fn short_tools() -> Value {
    let on =
        json!({"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]});
    json!([function("switch", "Light", on)])
}

#[test]
fn markup_in_special_tokens_is_forced_and_read() {
    let _turn = alone();
    for (kind, number) in KINDS {
        let (_engine, model) = tiny(number);
        assert_eq!(model.info()["tool_format"], "hermes", "{kind}");
        for seed in 0..3 {
            let more = json!({"tools": short_tools(), "tool_choice": "required", "seed": seed,
                "parallel_tool_calls": false, "enable_thinking": false});
            let answer = model.answer(&chat("?", more));
            let calls = calls(&answer);
            assert_eq!(
                (calls.len(), answer.finish_reason()),
                (1, "tool_calls"),
                "{kind}: {}",
                answer.json
            );
            check(&short_tools(), &calls);
            // One token for each mark, where the grammar has no other choice.
            let tokens = answer.tokens().len();
            assert!(number != 3 || tokens < 60, "{kind}: {tokens} tokens");
        }
    }
}

#[test]
fn a_budget_ends_the_reasoning() {
    let _turn = alone();
    for (kind, number) in KINDS {
        let (_engine, model) = tiny(number);
        // The template's last words open the reasoning.
        let opened = json!([{"role": "user", "content": "?"}]);
        for budget in [0, 5] {
            let more = json!({"messages": opened, "tools": short_tools(), "tool_choice": "required",
                "parallel_tool_calls": false, "seed": 1, "reasoning_budget": budget,
                "chat_template_kwargs": {"enable_thinking": true, "open_thinking": true}});
            let answer = model.answer(&chat("?", more));
            let calls = calls(&answer);
            assert_eq!(
                (calls.len(), answer.finish_reason()),
                (1, "tool_calls"),
                "{kind}: {}",
                answer.json
            );
            let spent =
                answer.json["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64();
            let close = if number == 0 { 8 } else { 1 };
            // A character that the budget cuts is ended first.
            assert!(
                spent.is_some_and(|spent| (budget + close..budget + close + 4).contains(&spent)),
                "{kind} {budget}: {}",
                answer.json
            );
        }
    }
}

/// The scripted backend, which says `reply` to everything.
fn fake(reply: &str) -> (Engine, Model) {
    let engine = Engine::new("");
    let path = format!("fake:{}", json!({"reply": reply}));
    let options = json!({"chat_template": TEMPLATE});
    let model = engine.load(&path, &options.to_string());
    (engine, model)
}

fn ask(more: Value) -> Value {
    let mut request = json!({"messages": [{"role": "user", "content": "?"}], "temperature": 0, "max_tokens": 200});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    request
}

#[test]
fn reasoning_is_told_apart_and_counted() {
    let (_engine, model) = fake("<think>\nHm, 2.\n</think>\n\nTwo.");
    let answer = model.answer(&ask(json!({})));
    assert!(calls(&answer).is_empty());
    let message = &answer.json["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["reasoning_content"]),
        (&json!("Two."), &json!("Hm, 2."))
    );
    let usage = &answer.json["usage"];
    assert_eq!(
        usage["completion_tokens_details"]["reasoning_tokens"],
        "<think>\nHm, 2.\n</think>".len() - 6
    );
    let inline = model.answer(&ask(json!({"reasoning_format": "none"})));
    assert_eq!(inline.text(), "<think>\nHm, 2.\n</think>\n\nTwo.");
    // Raw completions are not read at all.
    let raw = model.answer(&json!({"prompt": "?", "temperature": 0}));
    assert_eq!(raw.text(), "<think>\nHm, 2.\n</think>\n\nTwo.");
}

#[test]
fn stop_strings_count_in_the_content_only() {
    let (_engine, model) = fake("<think>STOP a STOP</think>b STOP c");
    let answer = model.answer(&ask(json!({"stop": "STOP"})));
    let message = &answer.json["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["reasoning_content"]),
        (&json!("b "), &json!("STOP a STOP"))
    );
    assert_eq!(answer.finish_reason(), "stop");
    calls(&answer);
}

#[test]
fn a_call_in_the_models_own_words_is_read() {
    let reply = "<think>Rain?</think>Let me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": \
        {\"city\": \"Bonn\", \"unit\": \"celsius\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"stop-music\", \"arguments\": {}}\n</tool_call>";
    let (_engine, model) = fake(reply);
    let answer = model.answer(&ask(json!({"tools": tools()})));
    let found = calls(&answer);
    check(&tools(), &found);
    let names: Vec<&str> = found.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["get_weather", "stop-music"]);
    assert_eq!(found[0].arguments, "{\"city\": \"Bonn\", \"unit\": \"celsius\"}");
    let message = &answer.json["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["reasoning_content"]),
        (&json!("Let me see."), &json!("Rain?"))
    );
    assert_eq!(answer.finish_reason(), "tool_calls");
    // Without tools it is text.
    let answer = model.answer(&ask(json!({})));
    assert!(calls(&answer).is_empty() && answer.text().contains("<tool_call>"));
}

#[test]
fn a_spent_budget_closes_the_reasoning_at_once() {
    let (_engine, model) = fake("<think>and so on and so on");
    let answer = model.answer(&ask(json!({"thinking_budget_tokens": 4, "max_tokens": 20})));
    let message = &answer.json["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "and");
    let usage = &answer.json["usage"];
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 4 + 8);
    calls(&answer);
}

#[test]
fn a_schema_that_cannot_be_held_is_named() {
    let _turn = alone();
    let refused = |parameters: Value, strict: bool| {
        let mut tool = function("f", "", parameters);
        tool["function"]["strict"] = strict.into();
        let answer = smollm2().generate(&chat("?", json!({"tools": [tool], "max_tokens": 1})));
        (answer.status, answer.error)
    };
    for (parameters, strict) in [
        (json!({"type": "object", "properties": {"a": {"type": "sometimes"}}}), false),
        (json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}), false),
        (json!({"type": "object", "properties": {"a": {"not": {}}}}), true),
    ] {
        let (status, message) = refused(parameters.clone(), strict);
        assert!(status < 0, "{parameters}: {status} {message}");
        assert!(message.starts_with("tools[0].function.parameters"), "{parameters}: {message}");
    }
}
