//! Structured output through the C interface, on SmolLM2: the answers have the form that was asked
//! for, grammars are compiled beside the running jobs, and what is wrong is said.
#![cfg(feature = "llama")]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

#[path = "support/json_schema.rs"]
mod json_schema;
mod support;

use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr::null_mut;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::{Duration, Instant};

use fluid::ffi::*;
use json_schema::validate;
use serde_json::{json, Value};
use support::{alone, last_error, smollm2, Answer, Event, Job, PATIENCE};

/// The bound of the contract: a stopped job ends within it, in every phase.
const STOP_BOUND: Duration = Duration::from_millis(100);

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "colour": {"enum": ["red", "green", "blue"]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 3}
        },
        "required": ["name", "age", "colour", "tags"],
        "additionalProperties": false
    })
}

fn chat(more: Value) -> Value {
    let mut request = json!({
        "messages": [{"role": "user", "content": "Describe a person as JSON."}],
        "max_tokens": 200,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
    });
    let fields = request.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("fields").clone());
    request
}

fn schema_format(schema: Value, strict: bool) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": schema}})
}

fn parse(answer: &Answer) -> Value {
    let text = answer.text();
    assert_eq!(answer.finish_reason(), "stop", "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn answers_are_valid_for_their_schema() {
    let _turn = alone();
    let schema = person();
    for seed in 0..6 {
        let format = schema_format(schema.clone(), true);
        let greedy = seed == 0;
        let temperature = if greedy { 0.0 } else { 1.0 };
        let answer = smollm2().answer(&chat(json!({
            "response_format": format, "seed": seed, "temperature": temperature,
        })));
        let value = parse(&answer);
        validate(&schema, &schema, &value).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    // As llama-server has it.
    let answer = smollm2().answer(&chat(json!({"json_schema": schema, "seed": 7})));
    validate(&schema, &schema, &parse(&answer)).expect("valid");
}

// Stages that take tokens out of the logits, or draw in spite of temperature 0, must not leave the
// form without a token.
#[test]
fn a_form_is_held_whatever_the_samplers_do() {
    let _turn = alone();
    for more in [
        json!({"temperature": 0, "top_n_sigma": 1.0}),
        json!({"temperature": 0, "top_n_sigma": 0.1, "repeat_penalty": 1.3}),
        json!({"temperature": 0, "dynatemp_range": 0.5}),
        json!({"temperature": 0, "xtc_probability": 1.0, "xtc_threshold": 0.01}),
        json!({"temperature": 0, "mirostat": 2}),
        json!({"temperature": 1.0, "samplers": ["top_k"], "top_k": 5}),
    ] {
        let mut request = chat(more);
        request["regex"] = json!("(yes|no), [0-9]{3}[.]");
        request["seed"] = json!(3);
        let answer = smollm2().answer(&request);
        assert_eq!(answer.finish_reason(), "stop", "{request}");
        let text = answer.text();
        let digits = text.strip_prefix("yes, ").or(text.strip_prefix("no, "));
        let digits = digits.and_then(|rest| rest.strip_suffix('.'));
        assert!(digits.is_some_and(|d| d.len() == 3 && d.parse::<u32>().is_ok()), "{text:?}");
    }
}

#[test]
fn any_object_a_pattern_gbnf_and_lark_hold() {
    let _turn = alone();
    let object = smollm2().answer(&json!({
        "prompt": "An object with one member: {\"a\": 1}\nThe same object again: ",
        "response_format": {"type": "json_object"}, "temperature": 0, "max_tokens": 200,
    }));
    assert!(parse(&object).is_object());
    let text = |field: &str, source: &str| {
        smollm2().answer(&chat(json!({field: source, "seed": 3}))).text()
    };
    let date = text("regex", "^[0-9]{4}-[01][0-9]$");
    assert!(date.len() == 7 && date.as_bytes()[4] == b'-', "{date}");
    let choice = text("grammar", "root ::= \"yes\" | \"no\" | \"maybe \" [a-c]{2}");
    assert!(choice == "yes" || choice == "no" || choice.starts_with("maybe "), "{choice}");
    let sum = text("lark", "start: NUMBER (\"+\" NUMBER){2}\nNUMBER: /[0-9]{1,2}/");
    assert_eq!(sum.matches('+').count(), 2, "{sum}");
    assert_eq!(
        smollm2()
            .answer(&chat(json!({"response_format": {"type": "text"}, "max_tokens": 4})))
            .finish_reason(),
        "length"
    );
}

#[test]
fn max_tokens_cuts_an_answer_and_says_so() {
    let _turn = alone();
    let request = chat(json!({"response_format": schema_format(person(), true), "max_tokens": 5}));
    let answer = smollm2().answer(&request);
    assert_eq!(answer.finish_reason(), "length");
    assert!(answer.text().starts_with('{'));
}

#[test]
fn wrong_requests_are_refused_with_their_path() {
    let cases = [
        (
            json!({"response_format": {"type": "xml"}}),
            FLUID_ERROR_UNSUPPORTED,
            "response_format.type",
        ),
        (json!({"response_format": {}}), FLUID_ERROR_INVALID_REQUEST, "response_format.type"),
        (
            json!({"response_format": {"type": "json_schema"}}),
            FLUID_ERROR_INVALID_REQUEST,
            "response_format.json_schema",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}),
            FLUID_ERROR_INVALID_REQUEST,
            "response_format.json_schema.schema",
        ),
        (
            json!({"response_format": schema_format(json!({"items": {"type": "int"}}), true)}),
            FLUID_ERROR_INVALID_REQUEST,
            "response_format.json_schema.schema.items.type: \"int\" is no type",
        ),
        (
            json!({"response_format": schema_format(json!({"not": {}}), true)}),
            FLUID_ERROR_UNSUPPORTED,
            "response_format.json_schema.schema.not",
        ),
        (
            json!({"json_schema": {"$ref": "#"}}),
            FLUID_ERROR_INVALID_REQUEST,
            "json_schema: a $ref leads back",
        ),
        (
            json!({"grammar": "root ::= \"a\"", "regex": "a"}),
            FLUID_ERROR_INVALID_REQUEST,
            "regex: cannot be held together with grammar",
        ),
        (json!({"grammar": 3}), FLUID_ERROR_INVALID_REQUEST, "grammar: expected a string"),
    ];
    for (fields, status, message) in cases {
        let request = CString::new(chat(fields.clone()).to_string()).expect("no NUL");
        let refused = smollm2().try_start(&request).err();
        assert_eq!(refused, Some(status), "{fields}");
        assert!(last_error().starts_with(message), "{fields}: {}", last_error());
    }
}

#[test]
fn a_grammar_that_does_not_compile_ends_its_job() {
    let _turn = alone();
    for (fields, message) in [
        (json!({"grammar": "root ::= \"a\" |\n  [z-a]"}), "grammar: line 2, column 4"),
        (json!({"regex": "a(b"}), "regex: "),
        (json!({"lark": "start: nothing"}), "lark: "),
        (
            json!({"json_schema": {"type": "integer", "minimum": 3, "maximum": 2}}),
            "json_schema: Unsatisfiable",
        ),
    ] {
        let events = smollm2().start(&chat(fields.clone())).read();
        let last = events.last().expect("an end");
        assert_eq!(last.status, FLUID_ERROR_INVALID_REQUEST, "{fields}: {}", last.text);
        assert!(last.text.starts_with(message), "{fields}: {}", last.text);
    }
}

#[test]
fn what_is_not_held_is_told_in_an_event() {
    let _turn = alone();
    let schema = json!({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2, "uniqueItems": true});
    let answer = smollm2().answer(&chat(json!({"json_schema": schema, "temperature": 0})));
    let notices: Vec<&Event> =
        answer.events.iter().filter(|event| event.kind == FLUID_EVENT_NOTICE).collect();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].text.contains("json_schema.uniqueItems"), "{}", notices[0].text);
    let content = answer.json["choices"][0]["message"]["content"].as_str().expect("a text");
    assert!(serde_json::from_str::<Value>(content).is_ok(), "{content}");
}

/// Takes long to compile; `salt` makes it another grammar.
fn huge(salt: usize) -> Value {
    let member = |n: usize| {
        (format!("p{n}_{salt}"), json!({"type": "integer", "minimum": n, "maximum": 1_000_000}))
    };
    let properties: serde_json::Map<String, Value> = (0..1_000).map(member).collect();
    json!({"type": "object", "properties": properties})
}

/// What the log says of grammars, and when.
struct Compiling {
    lines: Receiver<(String, Instant)>,
    sender: *mut Sender<(String, Instant)>,
}

impl Compiling {
    fn listen() -> Self {
        unsafe extern "C" fn on_line(_: i32, line: *const c_char, sender: *mut c_void) {
            // SAFETY: the library's own C string.
            let line = unsafe { CStr::from_ptr(line) }.to_string_lossy().into_owned();
            // SAFETY: the sender lives until the log is silent; the log calls one at a time.
            let sender = unsafe { &*sender.cast::<Sender<(String, Instant)>>() };
            if line.contains("json_schema is ") {
                // The test may have heard enough.
                let _ = sender.send((line, Instant::now()));
            }
        }
        let (sender, lines) = channel();
        let sender = Box::into_raw(Box::new(sender));
        // SAFETY: the sender lives until the log is silent again.
        unsafe { fluid_log_set(Some(on_line), sender.cast(), FLUID_LOG_DEBUG) };
        Self { lines, sender }
    }

    /// When the next compilation of a schema began and ended; `None` where none begins.
    fn next(&self) -> Option<(Instant, Instant)> {
        let (line, begun) = self.lines.recv_timeout(Duration::from_secs(2)).ok()?;
        assert_eq!(line, "request: json_schema is being compiled");
        let (line, ended) = self.lines.recv_timeout(PATIENCE).expect("an end");
        assert_eq!(line, "request: json_schema is compiled");
        Some((begun, ended))
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        // SAFETY: silences the log; running calls have ended when it returns.
        unsafe { fluid_log_set(None, null_mut(), FLUID_LOG_ERROR) };
        // SAFETY: made by `listen`, freed once, and nobody uses it any more.
        drop(unsafe { Box::from_raw(self.sender) });
    }
}

#[test]
fn a_grammar_is_compiled_once_and_kept() {
    let _turn = alone();
    let compiling = Compiling::listen();
    for _ in 0..3 {
        smollm2().answer(&chat(json!({"json_schema": huge(0), "max_tokens": 3})));
    }
    let (begun, ended) = compiling.next().expect("it is compiled");
    eprintln!("compiled in {:?}", ended - begun);
    assert!(compiling.lines.try_recv().is_err(), "compiled again");
}

/// Each stop is tried until it is sure that the grammar was being compiled when the job ended.
#[test]
fn a_job_whose_grammar_is_being_compiled_stops_at_once() {
    let _turn = alone();
    let compiling = Compiling::listen();
    let mut salts = 100..;
    for status in [FLUID_CANCELLED, FLUID_DEADLINE] {
        let late = [10, 20, 40, 80, 160, 320, 640].into_iter().find_map(|limit| {
            let mut request = chat(json!({"json_schema": huge(salts.next()?), "max_tokens": 3}));
            if status == FLUID_DEADLINE {
                request["deadline_ms"] = json!(limit);
            }
            let mut asked = Instant::now() + Duration::from_millis(limit);
            let job = smollm2().start(&request);
            if status == FLUID_CANCELLED {
                std::thread::sleep(asked.saturating_duration_since(Instant::now()));
                asked = Instant::now();
                job.cancel();
            }
            let last = job.read().pop().expect("an end");
            let (begun, ended) = compiling.next()?;
            let was_compiling = begun < asked && last.arrived < ended;
            was_compiling.then(|| {
                assert_eq!(last.status, status);
                last.arrived.saturating_duration_since(asked)
            })
        });
        let late = late.expect("a job that is stopped while its grammar is compiled");
        eprintln!("{late:?} late");
        assert!(late < STOP_BOUND, "{late:?}");
    }
}

#[test]
fn streams_go_on_while_a_grammar_is_compiled() {
    let _turn = alone();
    let compiling = Compiling::listen();
    let stream =
        |seed: u64| chat(json!({"seed": seed, "max_tokens": 120, "logit_bias": {"2": -100}}));
    let jobs: Vec<Job> = (0..3).map(|seed| smollm2().start(&stream(seed))).collect();
    jobs.iter().for_each(|job| drop(job.next_token()));
    let late = smollm2().start(&chat(json!({"json_schema": huge(9), "max_tokens": 2})));
    let streams: Vec<Vec<Event>> = std::thread::scope(|scope| {
        let readers: Vec<_> = jobs.iter().map(|job| scope.spawn(|| job.read())).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
    });
    let last = late.read().pop().expect("an end");
    assert_eq!(last.status, FLUID_OK, "{}", last.text);
    let (begun, ended) = compiling.next().expect("it is compiled");
    for events in streams {
        let tokens = events.iter().filter(|event| event.token.is_some());
        let tokens = tokens.filter(|event| (begun..ended).contains(&event.arrived)).count();
        eprintln!("{tokens} tokens while a grammar was compiled");
        assert!(tokens >= 2, "{tokens} tokens while a grammar was compiled");
    }
}
