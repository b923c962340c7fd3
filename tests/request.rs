//! Requests and options: what is accepted, what is refused, and the path each refusal names.

use fluid::error::ErrorKind;
use fluid::request::{EngineOptions, GenerateRequest, LoadOptions, Prompt};

fn refusal(request: &str) -> (ErrorKind, String) {
    let error = GenerateRequest::parse(request).expect_err(request);
    (error.kind(), error.message().to_owned())
}

#[test]
fn broken_json_names_the_position() {
    let (kind, message) = refusal("{\"messages\": [\n  {\"role\": }");
    assert_eq!(kind, ErrorKind::InvalidJson);
    assert!(message.contains("line 2 column 12"), "{message}");
    let deep = "[".repeat(100_000);
    assert_eq!(refusal(&deep).0, ErrorKind::InvalidJson);
}

#[test]
fn wrong_fields_are_refused_with_their_path() {
    let user = r#""messages": [{"role": "user", "content": "hi"}]"#;
    for (fields, path) in [
        (r#""prompt": 3"#.to_owned(), "prompt: "),
        (r#""prompt": [1, "a"]"#.to_owned(), "prompt[1]: "),
        (r#""prompt": [-1]"#.to_owned(), "prompt[0]: "),
        (r#""temperature": 1"#.to_owned(), "messages: "),
        (r#""messages": []"#.to_owned(), "messages: "),
        (r#""messages": {}"#.to_owned(), "messages: "),
        (r#""messages": [1]"#.to_owned(), "messages[0]: "),
        (r#""messages": [{"content": "x"}]"#.to_owned(), "messages[0].role: "),
        (r#""messages": [{"role": "king", "content": "x"}]"#.to_owned(), "messages[0].role: "),
        (r#""messages": [{"role": "user"}]"#.to_owned(), "messages[0].content: "),
        (r#""messages": [{"role": "user", "content": 1}]"#.to_owned(), "messages[0].content: "),
        (
            r#""messages": [{"role": "user", "content": [{"type": "text"}]}]"#.to_owned(),
            "messages[0].content[0].text: ",
        ),
        (format!(r#"{user}, "prompt": "x""#), "prompt: "),
        (format!(r#"{user}, "max_tokens": -1"#), "max_tokens: -1 is outside 0 to "),
        (format!(r#"{user}, "max_tokens": 1.5"#), "max_tokens: "),
        (format!(r#"{user}, "max_tokens": "9""#), "max_tokens: "),
        (format!(r#"{user}, "temperature": -0.1"#), "temperature: "),
        (format!(r#"{user}, "temperature": "hot""#), "temperature: "),
        (format!(r#"{user}, "top_p": 1.1"#), "top_p: "),
        (format!(r#"{user}, "top_k": -1"#), "top_k: "),
        (format!(r#"{user}, "presence_penalty": 3"#), "presence_penalty: "),
        (format!(r#"{user}, "logit_bias": 1"#), "logit_bias: "),
        (format!(r#"{user}, "logit_bias": [1]"#), "logit_bias[0]: "),
        (format!(r#"{user}, "logit_bias": [["a"]]"#), "logit_bias[0]: "),
        (format!(r#"{user}, "logit_bias": [[-1, 2]]"#), "logit_bias[0][0]: "),
        (format!(r#"{user}, "logit_bias": [[1, 2], [1, true]]"#), "logit_bias[1][1]: "),
        (format!(r#"{user}, "logit_bias": {{"x": "1"}}"#), "logit_bias.x: "),
        (format!(r#"{user}, "logit_bias": {{"5": 200}}"#), "logit_bias.5: "),
        (format!(r#"{user}, "logprobs": 3"#), "logprobs: "),
        (
            format!(r#"{user}, "logprobs": true, "top_logprobs": 99"#),
            "top_logprobs: 99 is outside 0 to 20",
        ),
        (format!(r#"{user}, "top_logprobs": 2"#), "top_logprobs: "),
        (format!(r#"{user}, "n": 0"#), "n: 0 is outside 1 to 128"),
        (format!(r#"{user}, "n": 129"#), "n: "),
        (format!(r#"{user}, "echo": true"#), "echo: "),
        (format!(r#"{user}, "suffix": "x""#), "suffix: "),
        (format!(r#"{user}, "typical_p": 1.5"#), "typical_p: "),
        (format!(r#"{user}, "xtc_probability": 2"#), "xtc_probability: "),
        (format!(r#"{user}, "xtc_threshold": -1"#), "xtc_threshold: "),
        (format!(r#"{user}, "dry_multiplier": -1"#), "dry_multiplier: "),
        (format!(r#"{user}, "dry_base": 0.5"#), "dry_base: "),
        (format!(r#"{user}, "dry_allowed_length": 1.5"#), "dry_allowed_length: "),
        (format!(r#"{user}, "dry_penalty_last_n": -2"#), "dry_penalty_last_n: "),
        (format!(r#"{user}, "dry_sequence_breakers": [":", 1]"#), "dry_sequence_breakers[1]: "),
        (format!(r#"{user}, "mirostat": 3"#), "mirostat: 3 is outside 0 to 2"),
        (format!(r#"{user}, "mirostat_tau": -1"#), "mirostat_tau: "),
        (format!(r#"{user}, "dynatemp_range": -1"#), "dynatemp_range: "),
        (format!(r#"{user}, "samplers": ["top_k", "tfs_z"]"#), "samplers[1]: "),
        (format!(r#"{user}, "banned_strings": "x""#), "banned_strings: "),
        (format!(r#"{user}, "banned_strings": ["x", ""]"#), "banned_strings[1]: "),
        (format!(r#"{user}, "min_tokens": 9, "max_tokens": 8"#), "min_tokens: "),
        (r#""prompt": "x", "logprobs": 6"#.to_owned(), "logprobs: 6 is outside 0 to 5"),
        (r#""prompt": "x", "logprobs": true"#.to_owned(), "logprobs: "),
        (r#""prompt": "x", "top_logprobs": 1"#.to_owned(), "top_logprobs: "),
        (format!(r#"{user}, "stop": 1"#), "stop: "),
        (format!(r#"{user}, "stop": ["a", 1]"#), "stop[1]: "),
        (format!(r#"{user}, "seed": 0.5"#), "seed: "),
        (format!(r#"{user}, "deadline_ms": 0"#), "deadline_ms: "),
    ] {
        let (kind, message) = refusal(&format!("{{{fields}}}"));
        assert_eq!(kind, ErrorKind::InvalidRequest, "{fields}: {message}");
        assert!(message.starts_with(path), "{fields}: {message}");
    }
}

#[test]
fn fields_that_openai_has_and_this_build_lacks_are_refused() {
    for (field, path) in [
        (r#""functions": [{}]"#, "functions"),
        (r#""modalities": ["text", "audio"]"#, "modalities"),
        (r#""n": 2, "best_of": 3"#, "best_of"),
        (r#""best_of": 2"#, "best_of"),
        (r#""echo": true, "suffix": "y""#, "suffix"),
        (r#""response_format": {"type": "xml"}"#, "response_format.type"),
    ] {
        let (kind, message) = refusal(&format!(r#"{{"prompt": "x", {field}}}"#));
        assert_eq!(kind, ErrorKind::Unsupported, "{field}");
        assert!(message.starts_with(&format!("{path}: ")), "{field}: {message}");
    }
    let image = r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]}]}"#;
    let (kind, message) = refusal(image);
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(message.starts_with("messages[0].content[1].type: "), "{message}");
}

#[test]
fn what_openai_clients_send_is_accepted() {
    let seed = |text: &str| GenerateRequest::parse(text).expect("accepted").sampling.seed;
    assert_eq!(
        seed(r#"{"prompt": "", "seed": 18446744073709551615, "tools": []}"#),
        Some(u64::MAX)
    );
    let request = GenerateRequest::parse(
        r#"{"model": "m", "messages": [{"role": "system", "content": "s"},
            {"role": "user", "name": "u", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}],
            "stream": true, "stream_options": {"include_usage": true}, "n": 1, "user": "me",
            "response_format": {"type": "text"}, "tool_choice": "none", "logprobs": false,
            "max_tokens": 5, "max_completion_tokens": 7, "stop": null, "seed": -1,
            "logit_bias": {"7": -100}, "something_new": 1}"#,
    )
    .expect("accepted");
    assert_eq!(request.max_tokens, Some(7));
    assert_eq!(request.sampling.seed, Some(u64::MAX));
    assert_eq!(request.sampling.params.logit_bias, [(7, -100.0)]);
    assert!(matches!(request.prompt, Prompt::Chat { .. }));
    assert!(request.stop.is_empty());
}

#[test]
fn options_refuse_what_they_do_not_know() {
    for (options, path) in [
        (r#"{"n_ctxt": 1}"#, "n_ctxt: "),
        (r#"{"n_ctx": 1}"#, "n_ctx: "),
        (r#"{"n_parallel": 0}"#, "n_parallel: "),
        (r#"{"use_mmap": 1}"#, "use_mmap: "),
        (r#"{"device": "TPU"}"#, "device: "),
    ] {
        let error = LoadOptions::parse(options).expect_err(options);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{options}");
        assert!(error.message().starts_with(path), "{options}: {error}");
    }
    assert_eq!(LoadOptions::parse(""), Ok(LoadOptions::default()));
    assert_eq!(LoadOptions::parse("{}"), Ok(LoadOptions::default()));
    let error = EngineOptions::parse(r#"{"threads": 1}"#).expect_err("unknown");
    assert!(error.message().starts_with("threads: "), "{error}");
    for (options, path) in [
        (r#"{"hub_endpoint": "hub.example"}"#, "hub_endpoint: "),
        (r#"{"hub_endpoint": "https://me:secret@hub.example"}"#, "hub_endpoint: "),
        (r#"{"hub_token": "a secret"}"#, "hub_token: "),
    ] {
        let error = EngineOptions::parse(options).expect_err(options);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(
            error.message().starts_with(path) && !error.message().contains("secret"),
            "{error}"
        );
    }
    let error = EngineOptions::parse("[]").expect_err("not an object");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn what_is_wrong_with_tools_is_named() {
    let refusal = |fields: &str| {
        let request = format!(r#"{{"messages": [{{"role": "user", "content": "?"}}], {fields}}}"#);
        let error = GenerateRequest::parse(&request).expect_err(fields);
        (error.kind(), error.message().to_owned())
    };
    let tool = |inner: &str| format!(r#""tools": [{{"type": "function", "function": {inner}}}]"#);
    let f = r#"{"type": "function", "function": {"name": "f"}}"#;
    for (fields, path) in [
        (r#""tools": {}"#.to_owned(), "tools: "),
        (r#""tools": [1]"#.to_owned(), "tools[0]: "),
        (r#""tools": [{}]"#.to_owned(), "tools[0].type: "),
        (r#""tools": [{"type": "robot"}]"#.to_owned(), "tools[0].type: "),
        (r#""tools": [{"type": "function"}]"#.to_owned(), "tools[0].function: "),
        (tool("{}"), "tools[0].function.name: is missing"),
        (tool(r#"{"name": ""}"#), "tools[0].function.name: "),
        (tool(r#"{"name": "a b"}"#), "tools[0].function.name: "),
        (tool(&format!(r#"{{"name": "{}"}}"#, "x".repeat(65))), "tools[0].function.name: "),
        (tool(r#"{"name": "f", "description": 1}"#), "tools[0].function.description: "),
        (tool(r#"{"name": "f", "strict": 1}"#), "tools[0].function.strict: "),
        (tool(r#"{"name": "f", "parameters": []}"#), "tools[0].function.parameters: "),
        (
            tool(r#"{"name": "f", "parameters": {"type": "string"}}"#),
            "tools[0].function.parameters.type: ",
        ),
        (
            tool(r#"{"name": "f", "parameters": {"type": ["object"]}}"#),
            "tools[0].function.parameters.type: ",
        ),
        (
            tool(r#"{"name": "f", "parameters": {"properties": []}}"#),
            "tools[0].function.parameters.properties: ",
        ),
        (
            tool(r#"{"name": "f", "parameters": {"required": "a"}}"#),
            "tools[0].function.parameters.required: ",
        ),
        (format!(r#""tools": [{f}, {f}]"#), "tools[1].function.name: "),
        (format!(r#""tools": [{}]"#, vec![f; 129].join(", ")), "tools: 129 tools are more"),
        (r#""tool_choice": "auto""#.to_owned(), "tool_choice: there are no tools"),
        (r#""tool_choice": "required""#.to_owned(), "tool_choice: "),
        (format!(r#""tools": [{f}], "tool_choice": "maybe""#), "tool_choice: "),
        (format!(r#""tools": [{f}], "tool_choice": 1"#), "tool_choice: "),
        (format!(r#""tools": [{f}], "tool_choice": {{}}"#), "tool_choice.type: "),
        (
            format!(r#""tools": [{f}], "tool_choice": {{"type": "function"}}"#),
            "tool_choice.function: ",
        ),
        (
            format!(r#""tools": [{f}], "tool_choice": {{"type": "function", "function": {{}}}}"#),
            "tool_choice.function.name: ",
        ),
        (
            format!(
                r#""tools": [{f}], "tool_choice": {{"type": "function", "function": {{"name": "g"}}}}"#
            ),
            "tool_choice.function.name: ",
        ),
        (
            format!(
                r#""tools": [{f}], "tool_choice": {{"type": "allowed_tools", "allowed_tools": {{"tools": []}}}}"#
            ),
            "tool_choice.allowed_tools.tools: ",
        ),
        (format!(r#""tools": [{f}], "parallel_tool_calls": 1"#), "parallel_tool_calls: "),
        (r#""reasoning_effort": "some""#.to_owned(), "reasoning_effort: "),
        (r#""enable_thinking": "yes""#.to_owned(), "enable_thinking: "),
        (r#""reasoning_format": "xml""#.to_owned(), "reasoning_format: "),
        (r#""reasoning_budget": -2"#.to_owned(), "reasoning_budget: "),
        (r#""thinking_budget_tokens": 1.5"#.to_owned(), "thinking_budget_tokens: "),
    ] {
        let (kind, message) = refusal(&fields);
        assert_eq!(kind, ErrorKind::InvalidRequest, "{fields}: {message}");
        assert!(message.starts_with(path), "{fields}: {message}");
    }
    for fields in [
        r#""tools": [{"type": "custom", "custom": {}}]"#.to_owned(),
        format!(r#""tools": [{f}], "response_format": {{"type": "json_object"}}"#),
        format!(r#""tools": [{f}], "regex": "a+""#),
    ] {
        assert_eq!(refusal(&fields).0, ErrorKind::Unsupported, "{fields}");
    }
    for messages in [
        r#"[{"role": "tool", "content": "1"}]"#,
        r#"[{"role": "assistant", "content": "", "tool_calls": [1]}]"#,
        r#"[{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]"#,
        r#"[{"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}]"#,
        r#"[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 1}}]}]"#,
    ] {
        let request = format!(r#"{{"messages": {messages}}}"#);
        let error = GenerateRequest::parse(&request).expect_err(messages);
        assert!(error.message().starts_with("messages[0].tool"), "{messages}: {error}");
    }
    let request = format!(r#"{{"prompt": "?", "tools": [{f}]}}"#);
    let error = GenerateRequest::parse(&request).expect_err("no chat");
    assert!(error.message().starts_with("tools: "), "{error}");
}
