//! No request and no options may end the host's process: damaged JSON through the C interface, in
//! child processes.
//!
//! `FLUID_MUTATIONS_FIRST` and `FLUID_MUTATIONS` choose the seeds.

#![cfg(all(feature = "fake", feature = "llama"))]

#[path = "support/children.rs"]
mod children;
#[path = "support/json_mutate.rs"]
mod json_mutate;
mod support;

use std::ffi::{c_char, CStr, CString};
use std::ptr::{null, null_mut};

use fluid::ffi::*;
use json_mutate::{mutant, Mutant};
use support::{last_error, model_path, smollm2_path, status_name, Engine, Job, Model};

const REQUESTS: &[&str] = &[
    r#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "max_tokens": 2}"#,
    r#"{"prompt": "Once upon", "max_tokens": 2, "temperature": 0, "stop": ["k", "\n\n"], "seed": 7}"#,
    r#"{"prompt": [72, 105], "max_tokens": 2, "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.05,
        "logit_bias": {"107": 5, "256": -100}, "presence_penalty": 0.5, "frequency_penalty": -0.5,
        "repeat_penalty": 1.1, "repeat_last_n": 64, "deadline_ms": 60000}"#,
    r#"{"model": "m", "messages": [{"role": "user", "name": "u", "content": [{"type": "text", "text": "a"},
        {"type": "text", "text": "b"}]}, {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type":
        "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]}, {"role": "tool", "content": "1",
        "tool_call_id": "1"}], "chat_template_kwargs": {"enable_thinking": false, "list": [1, {"a": null}]},
        "stream": true, "stream_options": {"include_usage": true}, "n": 1, "response_format": {"type": "text"},
        "tool_choice": "none", "logprobs": false, "max_completion_tokens": 2, "user": "u"}"#,
    r#"{"prompt": "Once", "max_tokens": 2, "n": 3, "best_of": 3, "logprobs": 2, "echo": true, "typical_p": 0.9,
        "xtc_probability": 0.5, "xtc_threshold": 0.1, "dry_multiplier": 0.8, "dry_base": 1.75,
        "dry_allowed_length": 2, "dry_penalty_last_n": -1, "dry_sequence_breakers": [":", "the end"],
        "top_n_sigma": 1.5, "dynatemp_range": 0.5, "dynatemp_exponent": 2, "min_keep": 3, "adaptive_target": 0.3,
        "adaptive_decay": 0.9, "samplers": ["penalties", "dry", "top_k", "typ_p", "temperature", "adaptive_p"],
        "logit_bias": [["the", -1], [65, false]], "banned_strings": ["ab"], "bad_words": ["cd"], "min_tokens": 1}"#,
    r#"{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "logprobs": true, "top_logprobs": 3, "n": 2,
        "mirostat": 2, "mirostat_tau": 5, "mirostat_eta": 0.1, "ignore_eos": true, "logit_bias": {"the": 1}}"#,
    r##"{"prompt": "", "max_tokens": 4, "response_format": {"type": "json_schema", "json_schema": {"name": "n",
        "strict": true, "schema": {"$defs": {"a": {"type": ["integer", "null"], "minimum": 1}}, "type": "object",
        "properties": {"x": {"$ref": "#/$defs/a"}, "y": {"enum": ["b", 2]}, "z": {"type": "array", "items":
        {"type": "string", "pattern": "^[a-c]+$", "maxLength": 3}, "minItems": 1}}, "required": ["y"]}}}}"##,
    r#"{"prompt": "", "max_tokens": 4, "grammar": "root ::= [a-c]+ (\"x\" | root)? # or\n", "regex": null}"#,
    r#"{"prompt": "", "max_tokens": 4, "lark": "start: A \"b\"*\nA: /[x-z]{2}/"}"#,
    r#"{"prompt": "", "max_tokens": 4, "regex": "(yes|no) [0-9]{1,3}", "response_format": {"type": "text"}}"#,
    // Read whole, and refused for its prompt: grammars are not what is damaged here.
    r#"{"prompt": "Hi", "tools": [{"type": "function", "function": {"name": "f", "description": "d", "strict": false,
        "parameters": {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]}}},
        {"type": "function", "function": {"name": "g-2"}}], "tool_choice": {"type": "allowed_tools", "allowed_tools":
        {"mode": "required", "tools": [{"type": "function", "function": {"name": "g-2"}}]}}, "max_tokens": 2,
        "parallel_tool_calls": false, "reasoning_effort": "low", "enable_thinking": true, "reasoning_budget": 3,
        "reasoning_format": "auto"}"#,
];

/// What models that embed and rank are asked, and all models about tokens.
const ABOUT_TEXTS: &[&str] = &[
    r#"{"input": ["a ship", "a harbour"], "dimensions": 16, "pooling": "cls", "normalize": false, "truncate": true,
        "encoding_format": "float", "user": "u", "model": "m"}"#,
    r#"{"input": [[101, 7592, 102], [101, 102]], "deadline_ms": 60000}"#,
    r#"{"query": "salt", "documents": ["a ship", {"text": "a mine"}], "top_n": 1, "return_documents": true}"#,
    r#"{"content": "a ship", "add_special": true, "parse_special": false, "with_pieces": true}"#,
    r#"{"tokens": [101, 7592, 102], "remove_special": true, "unparse_special": true}"#,
];

/// The first of them that say much about sampling and choices.
const SAMPLED: usize = 4;

const ENGINE_OPTIONS: &[&str] = &["{}", r#"{"max_queue": 4, "event_queue": 2}"#];

const LOAD_OPTIONS: &[&str] = &[
    r#"{"n_ctx": 64, "n_parallel": 2, "n_threads": 1, "n_ubatch": 16, "use_mmap": true, "device": "CPU", "device_fallback": false, "n_gpu_layers": 4}"#,
    r#"{"n_ctx": 64, "device": "AUTO", "deadline_ms": 60000, "chat_template": "{{ messages[0].content }}"}"#,
];

const TRANSCRIPTIONS: &[&str] = &[
    r#"{"model": "whisper-1", "language": "en", "response_format": "verbose_json", "temperature": 0,
        "timestamp_granularities": ["word", "segment"], "prompt": "Mr. Kennedy", "stream": false}"#,
    r#"{"task": "translate", "temperature": [0, 0.2, 0.4], "best_of": 3, "compression_ratio_threshold": null,
        "log_prob_threshold": -0.5, "no_speech_threshold": 0.7, "condition_on_previous_text": false,
        "without_timestamps": true, "max_initial_timestamp": 2.5, "suppress_tokens": [-1, 220, 50256],
        "suppress_blank": false, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3, "hotwords": "a b",
        "seed": 18446744073709551615, "batch_size": 8, "beam_size": 1, "deadline_ms": 60000}"#,
    r#"{"vad_filter": true, "vad_parameters": {"threshold": 0.4, "min_speech_duration_ms": 100,
        "min_silence_duration_ms": 300, "speech_pad_ms": 50},
        "chunking_strategy": {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 200,
        "threshold": 0.5}, "include": [], "timestamp_granularities[]": ["word"], "word_timestamps": true}"#,
];

/// What the header says that a request or options can come to; nothing else may come.
const OUTCOMES: &[fluid_status] = &[
    FLUID_OK,
    FLUID_CANCELLED,
    FLUID_DEADLINE,
    FLUID_ERROR_INVALID_UTF8,
    FLUID_ERROR_INVALID_JSON,
    FLUID_ERROR_INVALID_REQUEST,
    FLUID_ERROR_UNSUPPORTED,
    FLUID_ERROR_CONTEXT_OVERFLOW,
    FLUID_ERROR_QUEUE_FULL,
];

/// What some seed must come to.
const EXPECTED: &[&str] = &[
    "FLUID_OK",
    "FLUID_CANCELLED",
    "FLUID_ERROR_INVALID_JSON",
    "FLUID_ERROR_INVALID_UTF8",
    "FLUID_ERROR_INVALID_REQUEST",
    "FLUID_ERROR_UNSUPPORTED",
    "FLUID_ERROR_CONTEXT_OVERFLOW",
    "transcription: accepted",
    "transcription: FLUID_ERROR_INVALID_JSON",
    "transcription: FLUID_ERROR_INVALID_UTF8",
    "transcription: FLUID_ERROR_INVALID_REQUEST",
    "transcription: FLUID_ERROR_UNSUPPORTED",
];

const MUTANTS: u64 = 110_000;

/// Of every 50 seeds, one damages an engine's options, four those of a load, and ten the request
/// of a transcription.
fn describe(seed: u64) -> Mutant {
    match seed % 50 {
        0 => mutant(ENGINE_OPTIONS, seed),
        1..=4 => mutant(LOAD_OPTIONS, seed),
        5..=14 => mutant(TRANSCRIPTIONS, seed),
        _ => mutant(REQUESTS, seed),
    }
}

#[test]
fn no_request_ends_the_process() {
    let Some(seeds) = children::range() else {
        let (name, show) = ("no_request_ends_the_process", |seed| describe(seed).show());
        return children::run_all(name, children::seeds(MUTANTS), 5_000, EXPECTED, show);
    };
    let path = r#"fake:{"reply":"ok"}"#;
    let engine = Engine::new("");
    let model = engine.load(path, r#"{"n_ctx": 256}"#);
    children::run_child(seeds, |seed| {
        let text = c_string(describe(seed));
        match seed % 50 {
            0 => try_engine(&text),
            1..=4 => try_load(&engine, path, &text),
            5..=14 => try_transcription(&model, &text),
            _ => try_request(&model, &text, seed),
        }
    });
}

#[test]
fn no_request_ends_the_process_of_smollm2() {
    let Some(seeds) = children::range() else {
        let (name, seeds) = ("no_request_ends_the_process_of_smollm2", children::seeds(MUTANTS));
        let count = (seeds.end - seeds.start) / 50;
        let seeds = seeds.start..seeds.start + count;
        return children::run_all(name, seeds, count / 2 + 1, &[], |seed| other(seed).show());
    };
    let engine = Engine::new("");
    let model = engine.load(&smollm2_path(), r#"{"n_ctx": 96, "n_threads": 1}"#);
    children::run_child(seeds, |seed| {
        let text = c_string(other(seed));
        try_request(&model, &text, seed)
    });
}

#[test]
fn no_request_ends_the_process_of_those_that_embed() {
    let Some(seeds) = children::range() else {
        let name = "no_request_ends_the_process_of_those_that_embed";
        let seeds = children::seeds(MUTANTS);
        let count = (seeds.end - seeds.start) / 50;
        let show = |seed| mutant(ABOUT_TEXTS, seed).show();
        return children::run_all(name, seeds.start..seeds.start + count, count / 2 + 1, &[], show);
    };
    let engine = Engine::new("");
    let model = |file: &str| engine.load(&model_path(file), r#"{"n_ctx": 64, "n_threads": 1}"#);
    let (encoder, reranker) =
        (model("minilm-gguf/q8_0.gguf"), model("minilm-gguf/tiny-reranker.gguf"));
    children::run_child(seeds, |seed| {
        let text = c_string(mutant(ABOUT_TEXTS, seed));
        let outcomes = [
            try_start(fluid_embed_start, &encoder, &text)?,
            try_start(fluid_rerank_start, &reranker, &text)?,
            try_text(fluid_tokenize, &encoder, &text)?,
            try_text(fluid_detokenize, &encoder, &text)?,
        ];
        let is_taken = |outcome: &String| outcome == "FLUID_OK";
        Ok(outcomes.into_iter().find(is_taken).unwrap_or_else(|| "refused".to_owned()))
    });
}

/// Damaged by other seeds than those that the scripted model gets.
fn other(seed: u64) -> Mutant {
    let (plain, sampled) = REQUESTS.split_at(SAMPLED);
    mutant(if seed % 2 == 0 { plain } else { sampled }, !seed.wrapping_mul(50))
}

fn c_string(mutant: Mutant) -> CString {
    CString::new(mutant.bytes).expect("mutants have no NUL")
}

/// The name of a status, if it is one that can come and has the message that goes with it.
fn judge(status: fluid_status, message: &str) -> Result<String, String> {
    let name = status_name(status);
    if !OUTCOMES.contains(&status) {
        return Err(format!("{name}: {message}"));
    }
    if message.is_empty() == (status < FLUID_OK) {
        return Err(format!("{name} with the message \"{message}\""));
    }
    if message.chars().any(char::is_control) {
        return Err(format!("{name}: more than a line: {message:?}"));
    }
    Ok(name.to_owned())
}

fn try_engine(options: &CStr) -> Result<String, String> {
    let mut engine = null_mut();
    // SAFETY: a C string and a place for the handle.
    let status = unsafe { fluid_engine_new(options.as_ptr(), &mut engine) };
    let outcome = judge(status, &last_error());
    if engine.is_null() == (status == FLUID_OK) {
        return Err("an engine without success, or the other way round".to_owned());
    }
    fluid_engine_free(engine);
    outcome
}

/// A load with these options, and where it succeeds a generation.
fn try_load(engine: &Engine, path: &str, options: &CStr) -> Result<String, String> {
    let path = CString::new(path).expect("no NUL");
    let mut job = null_mut();
    // SAFETY: C strings and a place for the handle.
    let status =
        unsafe { fluid_load_model_start(engine.raw(), path.as_ptr(), options.as_ptr(), &mut job) };
    if status != FLUID_OK {
        return judge(status, &last_error());
    }
    let job = Job::from_raw(job);
    let end = job.read().pop().ok_or("no final event")?;
    let outcome = judge(end.status, &end.text)?;
    let mut model = null_mut();
    // SAFETY: a place for the handle.
    if unsafe { fluid_job_take_model(job.raw(), &mut model) } == FLUID_OK {
        // SAFETY: a C string; no output is wanted.
        let status = unsafe {
            fluid_generate(model, c"{\"prompt\": \"Hi\"}".as_ptr(), None, null_mut(), null_mut())
        };
        judge(status, &last_error())?;
        fluid_model_free(model);
    }
    Ok(format!("load: {outcome}"))
}

/// A transcription that this model would refuse whatever the request: what comes before that
/// refusal is the request's own.
fn try_transcription(model: &Model, request: &CStr) -> Result<String, String> {
    let samples = [0f32; 4];
    let audio = fluid_audio {
        struct_size: size_of::<fluid_audio>() as u32,
        kind: FLUID_AUDIO_PCM_F32,
        data: samples.as_ptr().cast(),
        bytes: size_of_val(&samples),
        rate: 16_000,
        channels: 1,
    };
    let mut job = null_mut();
    // SAFETY: audio that is there, a C string and a place for the handle.
    let status = unsafe { fluid_transcribe_start(model.raw(), &audio, request.as_ptr(), &mut job) };
    let outcome = judge(status, &last_error())?;
    if !job.is_null() {
        return Err("a model of text took a transcription".to_owned());
    }
    match last_error().contains("this model is loaded to generate text") {
        true => Ok("transcription: accepted".to_owned()),
        false => Ok(format!("transcription: {outcome}")),
    }
}

type Start =
    unsafe extern "C" fn(*mut fluid_model, *const c_char, *mut *mut fluid_job) -> fluid_status;
type Convert =
    unsafe extern "C" fn(*mut fluid_model, *const c_char, *mut *mut c_char) -> fluid_status;

/// A job of one of the calls that give vectors or scores, read to its end.
fn try_start(start: Start, model: &Model, request: &CStr) -> Result<String, String> {
    let mut job = null_mut();
    // SAFETY: a C string and a place for the handle.
    let status = unsafe { start(model.raw(), request.as_ptr(), &mut job) };
    match status {
        FLUID_OK => {
            let end = Job::from_raw(job).read().pop().ok_or("no final event")?;
            judge(end.status, &end.text)
        }
        _ => judge(status, &last_error()),
    }
}

/// A call that answers with a text at once.
fn try_text(convert: Convert, model: &Model, request: &CStr) -> Result<String, String> {
    let mut text = null_mut();
    // SAFETY: a C string and a place for the text.
    let status = unsafe { convert(model.raw(), request.as_ptr(), &mut text) };
    let outcome = judge(status, &last_error());
    if text.is_null() == (status == FLUID_OK) {
        return Err("a text without success, or the other way round".to_owned());
    }
    // SAFETY: the call's own text, or null.
    unsafe { fluid_string_free(text) };
    outcome
}

/// Starts a job; most are read to the end, one in six is cancelled, one freed at once.
fn try_request(model: &Model, request: &CStr, seed: u64) -> Result<String, String> {
    let job = match model.try_start(request) {
        Ok(job) => job,
        Err(status) => return judge(status, &last_error()),
    };
    if !last_error().is_empty() {
        return Err(format!("accepted with the message {}", last_error()));
    }
    match seed % 6 {
        0 => return Ok("freed".to_owned()),
        1 => job.cancel(),
        _ => {}
    }
    read(&job)
}

/// Reads to the one end, and cancels what goes on for longer than was asked.
fn read(job: &Job) -> Result<String, String> {
    let mut tokens = 0;
    let end = loop {
        let event = job
            .poll(support::PATIENCE)
            .map_err(|status| format!("no end: {}", status_name(status)))?;
        if event.is_end() {
            break event;
        }
        tokens += 1;
        if tokens == 8 {
            job.cancel();
        }
    };
    let mut event = null();
    // SAFETY: a place for the pointer.
    if unsafe { fluid_job_next(job.raw(), 0, &mut event) } != FLUID_END {
        return Err("something came after the end".to_owned());
    }
    let result = job.json();
    let reason = &result["choices"][0]["finish_reason"];
    let reasons: &[&str] = match end.status {
        FLUID_OK => &["stop", "length", "tool_calls"],
        FLUID_CANCELLED => &["cancelled", "stop", "length", "tool_calls"],
        FLUID_DEADLINE => &["deadline"],
        _ => &["error"],
    };
    if !reason.as_str().is_some_and(|reason| reasons.contains(&reason)) {
        return Err(format!("{} with the reason {reason}", status_name(end.status)));
    }
    judge(end.status, &end.text)
}
