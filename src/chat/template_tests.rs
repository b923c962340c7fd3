//! Chat templates against Python's jinja2: `testdata/` holds small templates built like those of
//! the usual model families, and what jinja2 3.1, set up as Hugging Face's transformers does,
//! made of them (`testdata/render.py`).
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::{Template, CHATML};
use crate::error::ErrorKind;

const CASES: &str = include_str!("testdata/cases.json");

fn source(name: &str) -> &'static str {
    match name {
        "chatml.jinja" => include_str!("testdata/chatml.jinja"),
        "llama3.jinja" => include_str!("testdata/llama3.jinja"),
        "mistral.jinja" => include_str!("testdata/mistral.jinja"),
        "gemma.jinja" => include_str!("testdata/gemma.jinja"),
        "qwen3.jinja" => include_str!("testdata/qwen3.jinja"),
        "python.jinja" => include_str!("testdata/python.jinja"),
        other => panic!("no template {other}"),
    }
}

fn template(source: &str) -> Template {
    Template::new(source, "<s>", "</s>").expect("a good template")
}

fn plain(source: &str, messages: Value) -> crate::error::Result<String> {
    template(source).render(&messages, None, true, &Map::new())
}

#[test]
fn agrees_with_jinja2() {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases.json");
    assert!(cases.len() >= 12);
    for case in cases {
        let name = &case["name"];
        let template = template(source(case["template"].as_str().expect("a name")));
        let tools = Some(&case["tools"]).filter(|tools| !tools.is_null());
        let extra = case["extra"].as_object().expect("an object");
        let generate = case["gen"] == true;
        match template.render(&case["messages"], tools, generate, extra) {
            Ok(text) => assert_eq!(Some(text.as_str()), case["expected"].as_str(), "{name}"),
            Err(error) => {
                let message = case["error"].as_str().unwrap_or("none expected");
                assert_eq!(error.message(), format!("messages: {message}"), "{name}");
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}");
            }
        }
    }
}

#[test]
fn the_default_template_is_chatml() {
    let messages = json!([{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]);
    let expected =
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(plain(CHATML, messages).as_deref(), Ok(expected));
}

#[test]
fn text_parts_become_one_string() {
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let messages = json!([{"role": "user", "content": parts}]);
    assert_eq!(plain("{{ messages[0].content }}", messages).as_deref(), Ok("a\nb"));
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]);
    let error = plain(CHATML, image).expect_err("no images");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().starts_with("messages[0].content[0]"), "{error}");
}

#[test]
fn arguments_of_tool_calls_become_objects() {
    let source = "{{ messages[0].tool_calls[0].function.arguments | tojson }}";
    let with = |arguments: &str| {
        let call = json!({"type": "function", "function": {"name": "f", "arguments": arguments}});
        plain(source, json!([{"role": "assistant", "content": null, "tool_calls": [call]}]))
    };
    assert_eq!(with(r#"{"b":1,"a":[]}"#).as_deref(), Ok(r#"{"b": 1, "a": []}"#));
    assert_eq!(with("no json").as_deref(), Ok("\"no json\""));
}

#[test]
fn extra_variables_do_not_replace_ours() {
    let mut extra = Map::new();
    extra.insert("bos_token".into(), json!("evil"));
    extra.insert("style".into(), json!({"a": 1}));
    let template = template("{{ bos_token }}{{ style.a }}{{ tools is none }}");
    let text = template.render(&json!([]), None, false, &extra);
    assert_eq!(text.as_deref(), Ok("<s>1True"));
}

#[test]
fn the_date_is_there() {
    let text = plain("{{ strftime_now('%Y-%m-%d') }}", json!([])).expect("a date");
    assert!(text.len() == 10 && text.as_str() > "2024-01-01", "{text}");
}

#[test]
fn a_message_raised_inside_a_macro_is_the_callers() {
    let source = "{% macro m() %}{{ raise_exception('no\nway') }}{% endmacro %}{{ m() }}";
    let error = plain(source, json!([])).expect_err("raised");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(error.message(), "messages: no way");
}

#[test]
fn messages_must_be_an_array() {
    let error = plain(CHATML, json!({"role": "user"})).expect_err("an object");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn a_long_chat_stays_within_the_limits() {
    let text = "word ".repeat(200);
    let turn = |i: usize| json!({"role": (["user", "assistant"][i % 2]), "content": text});
    let messages: Vec<Value> = (0..2_000).map(turn).collect();
    for name in ["chatml.jinja", "mistral.jinja", "gemma.jinja", "qwen3.jinja"] {
        let rendered = plain(source(name), Value::Array(messages.clone()));
        assert!(rendered.is_ok_and(|text| text.len() > 2_000_000), "{name}");
    }
}

#[test]
fn many_threads_share_one_template() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let template = shared(template(CHATML));
    std::thread::scope(|scope| {
        for i in 0..8 {
            let template = &template;
            scope.spawn(move || {
                let messages = json!([{"role": "user", "content": format!("{i}")}]);
                let text = template.render(&messages, None, false, &Map::new());
                assert_eq!(text, Ok(format!("<|im_start|>user\n{i}<|im_end|>\n")));
            });
        }
    });
}

#[test]
fn nothing_is_not_iterable() {
    let source =
        "{{ tools is iterable }}{{ other is iterable }}{{ 'a' is iterable }}{{ [] is iterable }}\
        {{ messages is iterable }}{{ 1 is iterable }}";
    assert_eq!(plain(source, json!([])).as_deref(), Ok("FalseTrueTrueTrueTrueFalse"));
}
