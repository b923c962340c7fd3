//! What SmolLM2 says through the C interface, against llama.cpp by itself and against the token
//! table of the model file.
#![cfg(feature = "llama")]

mod support;

use std::sync::OnceLock;

use fluid::ffi::FLUID_EVENT_TOKEN;
use serde_json::{json, Value};
use support::llama::Plain;
use support::vocabulary::Vocabulary;
use support::{alone, smollm2, smollm2_path, text_of, tokens_of, Answer, Job};

/// Texts of every kind that is tokenised in its own way.
const PROMPTS: [&str; 10] = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n    \"\"\"Return the n-th number.\"\"\"\n",
    "1, 2, 3, 4, 5, 6, 7,",
    "Dear Sir or Madam,\n\nI am writing to",
    "Grüße aus Köln! Übrigens,",
    "東京は日本の",
    "{\"name\": \"Ada\", \"born\": 1815, \"field\":",
    "🎉🎂🎈 Happy birthday",
    "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
];

fn greedy(prompt: &str) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": LENGTH})
}

/// Tokens of each greedy answer.
const LENGTH: usize = 32;

/// The greedy answers to [`PROMPTS`], each computed alone.
fn greedy_answers() -> &'static [Answer] {
    static ANSWERS: OnceLock<Vec<Answer>> = OnceLock::new();
    ANSWERS.get_or_init(|| PROMPTS.iter().map(|prompt| smollm2().answer(&greedy(prompt))).collect())
}

fn plain() -> Plain {
    // The library has to start llama.cpp first.
    let threads = smollm2().info()["threads"].as_u64().expect("a number");
    Plain::load(&smollm2_path(), 2_048, 1, threads as u32)
}

#[test]
fn greedy_tokens_are_those_of_llama_cpp_itself() {
    let _turn = alone();
    let mut plain = plain();
    for (prompt, answer) in PROMPTS.iter().zip(greedy_answers()) {
        let tokens = plain.tokenize(prompt, true);
        assert_eq!(answer.tokens(), plain.greedy(&tokens, LENGTH), "{prompt:?}");
        assert_eq!(answer.json["usage"]["prompt_tokens"], tokens.len(), "{prompt:?}");
    }
    let mut by_ids = greedy("");
    by_ids["prompt"] = json!(plain.tokenize(PROMPTS[0], true));
    assert_eq!(smollm2().answer(&by_ids).text(), greedy_answers()[0].text());
}

#[test]
fn a_prompt_of_many_batches_is_continued_as_by_llama_cpp() {
    let _turn = alone();
    let mut plain = plain();
    let text: String =
        (0..60).map(|n| format!("Chapter {n} tells of the sea and the wind. ")).collect();
    let tokens = plain.tokenize(&text, true);
    assert!(tokens.len() > 512 + 64, "{} tokens", tokens.len());
    let answer = smollm2().answer(&greedy(&text));
    assert_eq!(answer.tokens(), plain.greedy(&tokens, LENGTH));
    // The last event is the end, whose progress is 1.
    let before = &answer.events[..answer.events.len() - 1];
    let progress: Vec<f64> =
        before.iter().map(|event| event.progress).filter(|done| *done > 0.0).collect();
    assert!(
        !progress.is_empty() && progress.is_sorted() && progress.iter().all(|done| *done < 1.0),
        "{progress:?}"
    );
}

#[test]
fn a_chat_is_rendered_as_the_model_was_trained() {
    let _turn = alone();
    let mut plain = plain();
    let (system, user) = ("You answer in one word.", "What is the capital of France?");
    let markup = |system: &str| {
        format!("<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n")
    };
    let default = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
    for (messages, prompt) in [
        (
            json!([{"role": "system", "content": system}, {"role": "user", "content": user}]),
            markup(system),
        ),
        (json!([{"role": "user", "content": [{"type": "text", "text": user}]}]), markup(default)),
    ] {
        let tokens = plain.tokenize(&prompt, false);
        let expected = plain.greedy(&tokens, LENGTH);
        let answer = smollm2()
            .answer(&json!({"messages": messages, "temperature": 0, "max_tokens": LENGTH}));
        assert_eq!(answer.tokens(), expected);
        let result = &answer.json;
        assert!(result["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{result}");
        assert_eq!(result["object"], "chat.completion");
        let choice = &result["choices"][0];
        assert_eq!(choice["message"]["role"], "assistant");
        assert_eq!(choice["message"]["content"], json!(answer.text()));
        check_result(&answer, tokens.len());
    }
}

#[test]
fn a_completion_has_the_shape_of_openai() {
    let _turn = alone();
    let answer = &greedy_answers()[0];
    assert!(
        answer.json["id"].as_str().is_some_and(|id| id.starts_with("cmpl-")),
        "{}",
        answer.json
    );
    assert_eq!(answer.json["object"], "text_completion");
    assert_eq!(answer.json["choices"][0]["text"], json!(answer.text()));
    assert_eq!(answer.json["model"], "SmolLM2-135M-Instruct.Q4_1");
    check_result(answer, plain().tokenize(PROMPTS[0], true).len());
    // `model` in the result is as the request names it.
    let named = smollm2().answer(&json!({"prompt": "a", "model": "my-model", "max_tokens": 0}));
    assert_eq!(named.json["model"], "my-model");
    assert_eq!((named.finish_reason(), named.text().as_str()), ("length", ""));
}

/// What both shapes have in common.
fn check_result(answer: &Answer, prompt_tokens: usize) {
    let result = &answer.json;
    let drawn = answer.tokens().len();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock")
        .as_secs();
    assert!(result["created"].as_u64().is_some_and(|at| at <= now && at + 600 > now), "{result}");
    assert_eq!(result["choices"].as_array().map(Vec::len), Some(1));
    assert_eq!(result["choices"][0]["index"], 0);
    assert_eq!(answer.finish_reason(), if drawn == LENGTH { "length" } else { "stop" });
    let usage = &result["usage"];
    assert_eq!(usage["prompt_tokens"], prompt_tokens);
    assert_eq!(usage["completion_tokens"], drawn);
    assert_eq!(usage["total_tokens"], prompt_tokens + drawn);
    let timings = &result["timings"];
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a count");
    assert!((cached as usize) < prompt_tokens, "the last token's logits are always computed");
    assert_eq!(timings["cache_n"], cached);
    assert_eq!(timings["prompt_n"], prompt_tokens as u64 - cached);
    assert_eq!(timings["predicted_n"], drawn);
    for time in
        ["queued_ms", "prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second"]
    {
        let least = if time == "queued_ms" { 0.0 } else { f64::MIN_POSITIVE };
        assert!(timings[time].as_f64().is_some_and(|value| value >= least), "{time}: {timings}");
    }
    let end = answer.events.last().expect("a final event");
    assert_eq!(serde_json::from_str::<Value>(&end.json).expect("JSON"), *result);
}

#[test]
fn the_text_is_what_the_token_ids_stand_for() {
    let _turn = alone();
    let vocabulary = Vocabulary::read(&smollm2_path());
    for answer in greedy_answers() {
        assert_eq!(answer.text(), vocabulary.text(&answer.tokens()));
    }
    // Draws from the whole vocabulary, nearly evenly: parts of characters, controls, everything.
    let wild = |seed| {
        let request = json!({
            "prompt": "Once", "temperature": 4, "top_p": 1, "top_k": 0, "min_p": 0, "seed": seed, "max_tokens": 100,
        });
        smollm2().start(&request)
    };
    let jobs: Vec<Job> = (0..8).map(wild).collect();
    let (mut broken, mut waited) = (0, 0);
    for job in &jobs {
        let events = job.read();
        let text = text_of(&events);
        assert_eq!(text, vocabulary.text(&tokens_of(&events)));
        broken += text.matches('\u{fffd}').count();
        waited += events.iter().filter(|event| event.text.is_empty() && !event.is_end()).count();
    }
    // Or else the draws were too tame to prove anything.
    assert!(
        broken >= 5 && waited >= 5,
        "{broken} bytes that are no character, {waited} waits for the rest of one"
    );
}

#[test]
fn a_seed_repeats_its_text_and_others_differ() {
    let _turn = alone();
    let request = |seed: i64| json!({"prompt": "My favourite animal", "temperature": 1, "seed": seed, "max_tokens": 24});
    let text = |seed| {
        let answer = smollm2().answer(&request(seed));
        assert_eq!(answer.json["seed"], seed as u64);
        answer.text()
    };
    let texts: Vec<String> = [1, 2, 3, -1].into_iter().map(text).collect();
    let again: Vec<String> = [1, 2, 3, -1].into_iter().map(text).collect();
    assert_eq!(texts, again);
    let distinct: std::collections::HashSet<&String> = texts.iter().collect();
    assert_eq!(distinct.len(), 4, "{texts:?}");
    // Without a seed the result names the one that was drawn, and it repeats the text.
    let free = smollm2()
        .answer(&json!({"prompt": "My favourite animal", "temperature": 1, "max_tokens": 24}));
    let drawn = &free.json["seed"];
    let mut request = request(0);
    request["seed"] = json!(drawn.as_u64().expect("a number") as i64);
    assert_eq!(smollm2().answer(&request).text(), free.text());
}

#[test]
fn stop_strings_that_straddle_tokens_never_show() {
    let _turn = alone();
    let vocabulary = Vocabulary::read(&smollm2_path());
    let mut straddled = 0;
    for (prompt, whole) in PROMPTS.iter().zip(greedy_answers()).skip(5) {
        let text = whole.text();
        let with_stops = |stop: Value| {
            let mut request = greedy(prompt);
            request["stop"] = stop;
            smollm2().answer(&request)
        };
        for stop in straddling(&vocabulary, &whole.tokens(), &text) {
            // The others begin likewise, never come, and must hold nothing back at the end.
            let answer = with_stops(json!([format!("{stop}\u{1}"), stop, "\u{2}"]));
            let cut = text.find(&stop).expect("it is part of the text");
            assert_eq!(answer.text(), text[..cut], "{prompt:?}, stop {stop:?}");
            assert_eq!(answer.finish_reason(), "stop");
            straddled += 1;
        }
        let begun = &text[text.len() - last_letters(&text)..];
        let answer = with_stops(json!(format!("{begun}\u{1}")));
        assert_eq!(answer.text(), text, "a stop that only began");
        let held_back = &answer.events[answer.events.len() - 2];
        assert!(held_back.token.is_none() && held_back.text.ends_with(begun), "{held_back:?}");
    }
    assert!(straddled >= 12, "{straddled}");
}

/// Stop strings out of `text`, each from inside one token into a later one.
fn straddling(vocabulary: &Vocabulary, tokens: &[u32], text: &str) -> Vec<String> {
    let mut stops = Vec::new();
    for (first, last) in [(3, 4), (5, 8), (9, 10), (12, 19)] {
        if last >= tokens.len() {
            continue;
        }
        let before = vocabulary.bytes(&tokens[..first + 1]).len();
        let after = vocabulary.bytes(&tokens[..last]).len();
        let start = (0..before).rev().find(|&at| text.is_char_boundary(at));
        let end = (after + 1..=text.len()).find(|&at| text.is_char_boundary(at));
        if let (Some(start), Some(end)) = (start, end) {
            stops.push(text[start..end].to_owned());
        }
    }
    stops
}

/// Bytes of the last two letters.
fn last_letters(text: &str) -> usize {
    text.chars().rev().take(2).map(char::len_utf8).sum()
}

#[test]
fn emoji_that_come_byte_by_byte_arrive_whole() {
    let _turn = alone();
    let vocabulary = Vocabulary::read(&smollm2_path());
    for emoji in ["🎉", "😀", "🚀"] {
        let bytes: Vec<u32> = emoji
            .bytes()
            .map(|byte| vocabulary.byte(byte).expect("a token for each byte"))
            .collect();
        let bias: serde_json::Map<String, Value> =
            bytes.iter().map(|id| (id.to_string(), json!(100))).collect();
        // Only these four tokens can come, and the prompt shows in which order.
        let request = json!({"prompt": bytes.repeat(24), "logit_bias": bias, "temperature": 0, "max_tokens": 42});
        let answer = smollm2().answer(&request);
        assert_eq!(answer.tokens(), [bytes.repeat(10), bytes[..2].to_vec()].concat(), "{emoji}");
        assert_eq!(answer.text(), format!("{}\u{fffd}", emoji.repeat(10)));
        let is_token = |event: &&support::Event| event.kind == FLUID_EVENT_TOKEN;
        let events: Vec<_> = answer.events.iter().filter(is_token).collect();
        for (index, event) in events[..42].iter().enumerate() {
            let whole = index % 4 == 3;
            assert_eq!(event.text, if whole { emoji } else { "" }, "event {index}");
        }
        assert_eq!((events[42].token, events[42].text.as_str()), (None, "\u{fffd}"), "the cut one");
    }
}
