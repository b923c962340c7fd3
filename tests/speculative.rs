//! Speculative decoding: a draft changes how long an answer takes, and nothing that it says.
#![cfg(feature = "llama")]

mod support;

use fluid::ffi::*;
use serde_json::{json, Value};
use support::greedy::{cold, greedy, smollm2_subject, Subject, TINY_TOLERANCE};
use support::{alone, model_path, Answer, Engine, Event, Job, Model};

/// Texts that say much of what they were given again, and one that does not.
const PROMPTS: [&str; 3] = [
    "<|im_start|>user\nCorrect the spelling and say nothing else: The quick brown fox jumps over the \
     lasy dog. The quick brown fox jumps over the lazy dog again. Then the quick brown fox jumps over \
     the lazy dog a third time.<|im_end|>\n<|im_start|>assistant\n",
    "one, two, three, four, five, six. one, two, three, four, five, six. one, two, three,",
    "Once upon a time, in a village by the sea, there lived",
];
const LENGTH: usize = 24;

fn tiny_llama() -> Subject {
    let path = model_path("tiny-random-gguf/llama.gguf");
    Subject { name: "llama", path, tolerance: TINY_TOLERANCE }
}

fn load(engine: &Engine, subject: &Subject, options: &Value) -> Model {
    let mut all = json!({"n_ctx": 512, "n_parallel": 1, "n_threads": 1, "n_ubatch": 64});
    for (key, value) in options.as_object().expect("an object") {
        all[key] = value.clone();
    }
    engine.load(&subject.path, &all.to_string())
}

/// `request` with drafts of `kind` that are as long as they can be.
fn drafted(request: &Value, kind: &str) -> Value {
    let mut request = request.clone();
    request["speculative"] = json!({"type": kind, "adaptive": false, "p_min": 0});
    request
}

/// Tokens that were drafted, and those that came true.
fn drafts(json: &Value) -> (u64, u64) {
    let count = |name: &str| json["timings"][name].as_u64().unwrap_or(0);
    (count("draft_n"), count("draft_n_accepted"))
}

#[test]
fn answers_are_those_without_drafts() {
    let _turn = alone();
    let engine = Engine::new("");
    let bad = json!({"draft_model": model_path("tiny-random-lora/draft.gguf")});
    let own = json!({"draft_model": tiny_llama().path});
    for (subject, options) in [(smollm2_subject(), bad), (tiny_llama(), own)] {
        let model = load(&engine, &subject, &options);
        let mut judge = subject.judge();
        let mut counts = [(0, 0); 2];
        for prompt in PROMPTS {
            let request = cold(&greedy(prompt, LENGTH));
            let plain = model.answer(&request);
            assert_eq!(drafts(&plain.json), (0, 0), "nobody asked for drafts");
            for (kind, count) in ["prompt_lookup", "draft"].iter().zip(&mut counts) {
                let answer = model.answer(&drafted(&request, kind));
                judge.same_answer(prompt, &plain, &answer);
                let (said, came_true) = drafts(&answer.json);
                *count = (count.0 + said, count.1 + came_true);
            }
            // By llama-server's names; and as long as pays.
            let mut dotted = request;
            dotted["speculative.n_max"] = json!(5);
            judge.same_answer(prompt, &plain, &model.answer(&dotted));
        }
        let [looked_up, by_model] = counts;
        if subject.name == "SmolLM2" {
            assert!(looked_up.1 >= 5, "looked up: {looked_up:?}");
            assert!(by_model.0 > 50 && by_model.1 * 10 < by_model.0, "of no use: {by_model:?}");
        } else {
            assert!(by_model.1 * 10 > by_model.0 * 8, "its own drafts: {by_model:?}");
        }
    }
}

#[test]
fn drafts_end_where_the_answer_does() {
    let _turn = alone();
    let engine = Engine::new("");
    let subject = tiny_llama();
    let own = json!({"draft_model": subject.path, "n_ctx": 64});
    let model = load(&engine, &subject, &own);
    let mut judge = subject.judge();
    let both = |request: &Value, judge: &mut support::greedy::Judge| -> [Answer; 2] {
        let prompt = request["prompt"].as_str().expect("a text").to_owned();
        let answers = [model.answer(request), model.answer(&drafted(request, "draft"))];
        judge.same_answer(&prompt, &answers[0], &answers[1]);
        assert!(drafts(&answers[1].json).1 > 0, "{request}");
        assert_eq!(answers[0].finish_reason(), answers[1].finish_reason(), "{request}");
        answers
    };
    for count in [3, 4, 7, 16, 17, 18, 19] {
        let [_, answer] = both(&cold(&greedy(PROMPTS[2], count)), &mut judge);
        assert_eq!(answer.tokens().len(), count);
    }
    // A full context, and one that makes room.
    let prompt = "The wind and the sun argued about who was the stronger";
    let [_, full] = both(&cold(&greedy(prompt, 500)), &mut judge);
    assert_eq!(full.finish_reason(), "length");
    let mut shifting = drafted(&cold(&greedy(prompt, 150)), "draft");
    shifting["context_shift"] = json!(true);
    let answer = model.answer(&shifting);
    assert_eq!(answer.tokens().len(), 150);
    assert!(drafts(&answer.json).1 > 0);
    // A stop string in the middle of a draft.
    let words: Vec<String> =
        model.answer(&cold(&greedy(prompt, 30))).text().split(' ').map(str::to_owned).collect();
    let mut stopped = cold(&greedy(prompt, 30));
    stopped["stop"] = json!([words[words.len() / 2]]);
    let [_, answer] = both(&stopped, &mut judge);
    assert_eq!(answer.finish_reason(), "stop");
    // What a draft left is no beginning for others.
    let request = greedy(prompt, 30);
    for _ in 0..3 {
        let plain = model.answer(&cold(&request));
        judge.same_answer(prompt, &plain, &model.answer(&drafted(&request, "draft")));
    }
}

#[test]
fn what_is_drawn_at_random_is_drawn_with_drafts_too() {
    let _turn = alone();
    let engine = Engine::new("");
    let subject = tiny_llama();
    let model = load(&engine, &subject, &json!({"draft_model": subject.path}));
    let mut same = 0;
    for seed in 0..20 {
        let request = json!({"prompt": PROMPTS[2], "temperature": 0.6, "seed": seed,
            "max_tokens": 16, "repeat_penalty": 1.2, "cache_prompt": false});
        let plain = model.answer(&request).tokens();
        let answer = model.answer(&drafted(&request, "draft"));
        same += usize::from(plain == answer.tokens());
    }
    // Batches of another shape round otherwise, which now and then draws another token.
    assert!(same >= 15, "{same} of 20");
}

#[test]
fn jobs_with_and_without_drafts_share_batches() {
    let _turn = alone();
    let engine = Engine::new("");
    let known_nothing = model_path("tiny-random-lora/draft.gguf");
    for (subject, draft, unified) in [
        (smollm2_subject(), known_nothing, false),
        (tiny_llama(), tiny_llama().path, false),
        (tiny_llama(), tiny_llama().path, true),
    ] {
        let options = json!({"draft_model": draft, "n_parallel": 4, "kv_unified": unified});
        let model = load(&engine, &subject, &options);
        assert_eq!(model.info()["draft_model"], json!(draft));
        let mut judge = subject.judge();
        let requests: Vec<(&str, Value)> = (0..7)
            .map(|n| {
                let prompt = PROMPTS[n % 3];
                let request = cold(&greedy(prompt, 16 + n));
                let kind = ["none", "prompt_lookup", "draft", "prompt_lookup"][n % 4];
                (prompt, drafted(&request, kind))
            })
            .collect();
        let alone: Vec<Answer> =
            requests.iter().map(|(_, request)| model.answer(&drafted(request, "none"))).collect();
        let jobs: Vec<Job> = requests.iter().map(|(_, request)| model.start(request)).collect();
        for ((job, (prompt, _)), alone) in jobs.iter().zip(&requests).zip(&alone) {
            judge.same_events(prompt, alone, &job.read(), false);
        }
        // One that is cancelled in the middle leaves nothing wrong behind.
        let job = model.start(&drafted(&greedy(PROMPTS[0], LENGTH), "prompt_lookup"));
        (0..5).for_each(|_| drop(job.next_token()));
        job.cancel();
        let ended = job.read().last().map(|event| event.status);
        assert!([Some(FLUID_CANCELLED), Some(FLUID_OK)].contains(&ended));
        let again = model.answer(&drafted(&greedy(PROMPTS[0], 16), "prompt_lookup"));
        judge.same_answer(PROMPTS[0], &alone[0], &again);
    }
}

/// Six streams leave nothing to spare; one alone has its drafts.
#[cfg(feature = "fake")]
#[test]
fn many_streams_do_not_draft() {
    let engine = Engine::new("");
    let script = r#"fake:{"hashed": true, "token_us": 500}"#;
    let options = json!({"n_ctx": 256, "n_parallel": 6, "draft_model": r#"fake:{"hashed": true}"#});
    let model = engine.load(script, &options.to_string());
    let request = |n: usize| {
        drafted(&json!({"prompt": [65 + n], "temperature": 0, "max_tokens": 80}), "draft")
    };
    let (said, came_true) = drafts(&model.answer(&request(0)).json);
    assert!(came_true > 60 && said == came_true, "{came_true} of {said}");
    let jobs: Vec<Job> = (1..7).map(|n| model.start(&request(n))).collect();
    let all: u64 = jobs.iter().map(|job| (job.read(), drafts(&job.json()).0).1).sum();
    // Those that start first, or end last, have fewer neighbours for a moment.
    assert!(all < 60, "{all} tokens of drafts beside 480");
}

#[test]
fn a_slow_reader_gets_every_token_of_a_draft() {
    let _turn = alone();
    let engine = Engine::new(r#"{"event_queue": 3}"#);
    let subject = tiny_llama();
    let model = load(&engine, &subject, &json!({"draft_model": subject.path}));
    let request = greedy(PROMPTS[2], 40);
    let alone = model.answer(&request);
    let job = model.start(&drafted(&request, "draft"));
    std::thread::sleep(std::time::Duration::from_millis(50));
    subject.judge().same_events(PROMPTS[2], &alone, &job.read(), false);
}

#[test]
fn models_that_cannot_be_cut_back_say_that_they_do_not_draft() {
    let _turn = alone();
    let engine = Engine::new("");
    let notices =
        |events: &[Event]| events.iter().filter(|event| event.kind == FLUID_EVENT_NOTICE).count();
    for name in ["mamba", "hybrid", "swa"] {
        let path = model_path(&format!("tiny-random-gguf/{name}.gguf"));
        let options = r#"{"n_ctx": 256, "n_threads": 1, "speculative": {"type": "prompt_lookup"}}"#;
        let (loaded, events) = engine.try_load(&path, options);
        assert_eq!(notices(&events), 1, "{name}");
        let model = loaded.expect("it loads all the same");
        let request = greedy(PROMPTS[1], 16);
        let plain = model.answer(&request);
        assert_eq!(notices(&plain.events), 0);
        let asked = model.answer(&drafted(&request, "prompt_lookup"));
        assert_eq!(notices(&asked.events), 1, "{name}");
        assert_eq!(drafts(&asked.json), (0, 0));
        assert_eq!(asked.tokens().len(), plain.tokens().len());
    }
}

#[test]
fn what_cannot_draft_is_refused_with_its_cause() {
    let engine = Engine::new("");
    let path = tiny_llama().path;
    let refused = |options: Value, status: fluid_status, words: &str| {
        let (loaded, _) = engine.try_load(&path, &options.to_string());
        let (got, message) = loaded.err().expect(words);
        assert_eq!(got, status, "{message}");
        assert!(message.contains(words), "{message:?} does not say {words:?}");
    };
    let draft = |path: &str| json!({"n_ctx": 128, "draft_model": path});
    let model = |name: &str| model_path(&format!("tiny-random-{name}.gguf"));
    refused(draft("/nowhere.gguf"), FLUID_ERROR_NOT_FOUND, "draft_model: /nowhere.gguf");
    refused(draft(&model("gguf/mamba")), FLUID_ERROR_UNSUPPORTED_MODEL, "cannot be cut back");
    refused(
        draft(&model("lora/draft")),
        FLUID_ERROR_UNSUPPORTED_MODEL,
        "its vocabulary has 49152 tokens",
    );
    let request = FLUID_ERROR_INVALID_REQUEST;
    refused(json!({"draft_options": {}}), request, "draft_options: is for a draft model");
    refused(json!({"draft_model": ""}), request, "draft_model: is no path");
    refused(
        json!({"draft_model": path, "draft_options": {"n_gpu": 1}}),
        request,
        "draft_options.n_gpu",
    );
    refused(json!({"speculative": {"type": "draft"}}), request, "speculative.type");
    refused(json!({"speculative": {"type": "eagle"}}), request, "speculative.type: \"eagle\"");
    refused(json!({"speculative": {"n": 1}}), request, "speculative.n: is not an option");
    let model = load(&engine, &tiny_llama(), &json!({}));
    for (fields, words) in [
        (
            json!({"speculative": {"type": "draft"}}),
            "speculative.type: \"draft\" needs a draft model",
        ),
        (json!({"speculative": {"n_max": -1}}), "speculative.n_max"),
        (json!({"speculative.p_min": 2}), "speculative.p_min"),
        (json!({"speculative": true}), "speculative: expected an object"),
    ] {
        let mut request = greedy(PROMPTS[2], 1);
        request
            .as_object_mut()
            .expect("an object")
            .extend(fields.as_object().cloned().unwrap_or_default());
        let answer = model.generate(&request);
        assert_eq!(answer.status, FLUID_ERROR_INVALID_REQUEST, "{}", answer.error);
        assert!(answer.error.contains(words), "{:?} does not say {words:?}", answer.error);
    }
}
