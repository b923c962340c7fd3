//! What templates in the style of the usual families show of tools, and that the calls they
//! write are read back.
#![forbid(unsafe_code)]

use std::sync::Arc;

use serde_json::{json, Map, Value};

use super::answer_tests::{joined, Joined};
use super::syntax::Syntax;
use super::{AnswerParser, Begins, Delta, Dialect, Forms, Template, Tool, CHATML};

/// Name of the syntax, and a template in the style of the models that write so.
pub(super) const STYLES: [(&str, &str); 16] = [
    ("hermes", include_str!("testdata/tools/hermes.jinja")),
    ("llama-3", include_str!("testdata/tools/llama-3.jinja")),
    ("mistral", include_str!("testdata/tools/mistral.jinja")),
    ("mistral-args", include_str!("testdata/tools/mistral-args.jinja")),
    ("mistral-call-id", include_str!("testdata/tools/mistral-call-id.jinja")),
    ("qwen3-coder", include_str!("testdata/tools/qwen3-coder.jinja")),
    ("seed-oss", include_str!("testdata/tools/seed-oss.jinja")),
    ("glm", include_str!("testdata/tools/glm.jinja")),
    ("deepseek-r1", include_str!("testdata/tools/deepseek-r1.jinja")),
    ("deepseek-v3.1", include_str!("testdata/tools/deepseek-v3.1.jinja")),
    ("phi-4-mini", include_str!("testdata/tools/phi-4-mini.jinja")),
    ("granite", include_str!("testdata/tools/granite.jinja")),
    ("command-r7b", include_str!("testdata/tools/command-r7b.jinja")),
    ("apriel", include_str!("testdata/tools/apriel.jinja")),
    ("nemotron-v2", include_str!("testdata/tools/nemotron-v2.jinja")),
    ("functionary-v3.1", include_str!("testdata/tools/functionary-v3.1.jinja")),
];

const GEMMA: &str = include_str!("testdata/tools/gemma.jinja");

pub(super) fn dialect(source: &str) -> (Template, Dialect) {
    let template = Template::new(source, "<s>", "</s>").expect("a good template");
    let dialect = Dialect::new(&template, source);
    (template, dialect)
}

/// Two functions, as a request has them.
pub(super) fn definitions() -> Value {
    json!([
        {"type": "function", "function": {
            "name": "get_weather", "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {
                "city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}},
        {"type": "function", "function": {
            "name": "get_weather_map", "description": "A map",
            "parameters": {"type": "object", "properties": {"area": {"type": "object"}}}}},
    ])
}

/// The same for the parser.
pub(super) fn tools() -> Arc<[Tool]> {
    let definitions = definitions();
    let functions = definitions.as_array().expect("an array").iter().map(|tool| &tool["function"]);
    let tool = |function: &Value| Tool {
        name: function["name"].as_str().expect("a name").to_owned(),
        schema: function["parameters"].clone(),
        path: "tools".to_owned(),
        strict: false,
    };
    functions.map(tool).collect()
}

pub(super) fn parser(syntax: &'static Syntax) -> AnswerParser {
    AnswerParser::new(Forms { calls: Some((syntax, tools())), ids: 1, ..Forms::default() })
}

fn call(name: &str, arguments: Value) -> Value {
    let function = json!({"name": name, "arguments": arguments.to_string()});
    json!({"id": "abcdefghi", "type": "function", "function": function})
}

fn read(dialect: &Dialect, text: &str) -> Joined {
    let mut parser = parser(dialect.syntax());
    let mut deltas: Vec<Delta> = parser.push(text);
    deltas.extend(parser.finish());
    joined(&deltas)
}

#[test]
fn each_style_is_known_and_lists_the_tools() {
    for (name, source) in STYLES {
        let (template, dialect) = dialect(source);
        assert_eq!(dialect.format(), name);
        let messages = json!([{"role": "user", "content": "Rain?"}]);
        let prompt = dialect.render(&template, &messages, Some(&definitions()), &Map::new());
        let prompt = prompt.expect("a prompt");
        assert!(prompt.contains("get_weather_map"), "{name}: {prompt}");
        let without = dialect.render(&template, &messages, None, &Map::new()).expect("a prompt");
        assert!(!without.contains("get_weather"), "{name}: {without}");
    }
}

#[test]
fn calls_that_a_template_writes_are_read_back() {
    let arguments = [
        ("get_weather", json!({"city": "K\u{f6}ln \"am\" Rhein\n}", "days": 3})),
        ("get_weather_map", json!({"area": {"from": [1, 2.5], "name": "a{b"}})),
    ];
    for (name, source) in STYLES {
        let (template, dialect) = dialect(source);
        // Llama's templates refuse more than one.
        let made = if name == "llama-3" { &arguments[..1] } else { &arguments[..] };
        let calls: Vec<Value> =
            made.iter().map(|(name, value)| call(name, value.clone())).collect();
        let messages = json!([{"role": "user", "content": "?"},
            {"role": "assistant", "content": "", "tool_calls": calls}]);
        let prompt = dialect.render(&template, &messages, None, &Map::new()).expect("a prompt");
        let begin = match dialect.syntax().trigger {
            "" => prompt.find("{\"name\""),
            trigger => prompt.find(trigger),
        };
        let found = read(&dialect, &prompt[begin.expect("a call")..]);
        let found: Vec<(&str, Value)> = found
            .calls
            .iter()
            .map(|(_, name, text)| (name.as_str(), serde_json::from_str(text).expect("JSON")))
            .collect();
        assert_eq!(found, made, "{name}: {prompt}");
    }
}

#[test]
fn a_template_without_tools_is_told_in_words() {
    let (template, dialect) = dialect(CHATML);
    assert_eq!(dialect.format(), "generic");
    let messages =
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rain?"}]);
    let prompt = dialect.render(&template, &messages, Some(&definitions()), &Map::new());
    let prompt = prompt.expect("a prompt");
    assert!(prompt.starts_with("<|im_start|>system\nBe brief.\n\nYou may call"), "{prompt}");
    assert!(prompt.contains("\"name\": \"get_weather_map\""), "{prompt}");
    let form = "<tool_call>\n{\"name\": \"function_name\", \"arguments\": {\"argument\": \"value\"}}\n</tool_call>";
    assert!(prompt.contains(form), "{prompt}");
}

#[test]
fn a_template_without_system_messages_and_with_strict_turns_takes_a_whole_exchange() {
    let (template, dialect) = dialect(GEMMA);
    let messages = json!([
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": null, "tool_calls": [
            call("get_weather", json!({"city": "Bonn"})), call("get_weather", json!({"city": "Ulm"}))]},
        {"role": "tool", "tool_call_id": "1", "content": "wet"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "dry"}]},
    ]);
    let prompt = dialect.render(&template, &messages, Some(&definitions()), &Map::new());
    let prompt = prompt.expect("a prompt");
    assert!(prompt.starts_with("<s><start_of_turn>user\nYou may call functions"), "{prompt}");
    let turns = "Rain?<end_of_turn>\n<start_of_turn>model\n\
        <tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Bonn\"}}\n</tool_call>\n\
        <tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call><end_of_turn>\n\
        <start_of_turn>user\n<tool_response>\nwet\n</tool_response>\n\n<tool_response>\ndry\n</tool_response><end_of_turn>\n";
    assert!(prompt.contains(turns), "{prompt}");
}

#[test]
fn reasoning_markup_goes_by_the_template_and_the_prompt() {
    let begins = |source: &str, variables: Value| {
        let (template, dialect) = dialect(source);
        let messages = json!([{"role": "user", "content": "?"}]);
        let variables = variables.as_object().expect("an object");
        let prompt = dialect.render(&template, &messages, None, variables).expect("a prompt");
        let (thinking, begins) = dialect.thinking(&prompt);
        (thinking.open, begins, dialect.reasons())
    };
    let style = |name: &str| STYLES.iter().find(|style| style.0 == name).expect("a style").1;
    let (hermes, r1) = (style("hermes"), style("deepseek-r1"));
    assert_eq!(begins(hermes, json!({})), ("<think>", Begins::Before, true));
    let off = json!({"enable_thinking": false});
    assert_eq!(begins(hermes, off), ("<think>", Begins::Behind, true));
    assert_eq!(begins(r1, json!({})), ("<think>", Begins::Inside, true));
    assert_eq!(begins(style("mistral-args"), json!({})), ("[THINK]", Begins::Before, true));
    assert_eq!(begins(style("seed-oss"), json!({})), ("<seed:think>", Begins::Before, true));
    assert_eq!(begins(CHATML, json!({})), ("<think>", Begins::Before, false));
}
