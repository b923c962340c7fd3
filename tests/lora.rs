//! LoRA adapters: what they change, that jobs with different ones keep apart, and that no file of them
//! ends the process.
#![cfg(feature = "llama")]

#[path = "support/children.rs"]
mod children;
#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/gguf_mutate.rs"]
mod gguf_mutate;
mod support;

use fluid::ffi::*;
use serde_json::{json, Value};
use support::greedy::{
    alone_answer, cached, cold, greedy, smollm2_subject, Judge, Subject, TINY_TOLERANCE,
};
use support::state::{restore, save, Folder};
use support::{alone, model_path, Answer, Engine, Job, Model};

const PROMPT: &str = "Once upon a time, in a village by the sea, there lived an old man who";
const LENGTH: usize = 16;
/// The tiny random models: each of another kind.
const KINDS: [&str; 4] = ["llama", "mamba", "hybrid", "swa"];

fn adapter(name: &str) -> String {
    model_path(&format!("tiny-random-lora/{name}.gguf"))
}

fn tiny(kind: &'static str) -> Subject {
    let path = model_path(&format!("tiny-random-gguf/{kind}.gguf"));
    Subject { name: kind, path, tolerance: TINY_TOLERANCE }
}

/// Loads `subject` with its adapters a and b, which are off unless asked for.
fn load(engine: &Engine, subject: &Subject, n_parallel: usize) -> Model {
    let name = if subject.name == "SmolLM2" { "smollm2" } else { subject.name };
    let file = |which: &str| json!({"path": adapter(&format!("{name}-{which}")), "name": which, "scale": 0});
    let options = json!({
        "n_ctx": 512,
        "n_parallel": n_parallel,
        "n_threads": 1,
        "n_ubatch": 64,
        "lora": [file("a"), file("b")],
    });
    engine.load(&subject.path, &options.to_string())
}

/// `request` with adapters by name.
fn with(request: &Value, adapters: &[(&str, f32)]) -> Value {
    let mut request = request.clone();
    let choice = |(name, scale): &(&str, f32)| json!({"name": name, "scale": scale});
    request["lora"] = adapters.iter().map(choice).collect();
    request
}

/// What llama.cpp says by itself with `adapters`.
fn judge(subject: &Subject, adapters: &[(&str, f32)]) -> Judge {
    let name = if subject.name == "SmolLM2" { "smollm2" } else { subject.name };
    let mut judge = subject.judge();
    let path = |which: &str| adapter(&format!("{name}-{which}"));
    let adapters = adapters.iter().map(|(which, scale)| (path(which), *scale));
    judge.plain.adapt(&adapters.collect::<Vec<_>>());
    judge
}

/// `answer` is what llama.cpp gives with the same adapters.
fn check(judge: &mut Judge, prompt: &str, answer: &Answer) {
    let tokens = judge.plain.tokenize(prompt, true);
    let expected = judge.plain.greedy(&tokens, LENGTH);
    judge.same(&tokens, &expected, &answer.tokens(), answer.finish_reason() == "stop");
}

const SETS: [&[(&str, f32)]; 5] =
    [&[], &[("a", 1.0)], &[("b", 1.0)], &[("a", 0.5), ("b", -0.75)], &[("a", 0.25)]];

#[test]
fn answers_are_llama_cpps_own_with_the_same_adapters() {
    let _turn = alone();
    let engine = Engine::new("");
    for subject in KINDS.map(tiny).iter().chain([&smollm2_subject()]) {
        let model = load(&engine, subject, 1);
        let mut texts = Vec::new();
        for set in SETS {
            let answer = model.answer(&with(&greedy(PROMPT, LENGTH), set));
            check(&mut judge(subject, set), PROMPT, &answer);
            texts.push(answer.tokens());
        }
        // Each set says something of its own, or the comparison would be of nothing.
        for (index, text) in texts.iter().enumerate() {
            assert!(!texts[..index].contains(text), "{}: set {index}", subject.name);
        }
    }
}

#[test]
fn an_adapter_is_as_good_as_weights_it_was_merged_into() {
    let _turn = alone();
    let engine = Engine::new("");
    for kind in KINDS {
        let (subject, merged) = (tiny(kind), adapter(&format!("{kind}-merged")));
        let model = load(&engine, &subject, 1);
        let whole = Subject { name: kind, path: merged, tolerance: TINY_TOLERANCE };
        for prompt in [PROMPT, "The wind and the sun argued about"] {
            let answer = model.answer(&with(&greedy(prompt, LENGTH), &[("a", 1.0)]));
            check(&mut whole.judge(), prompt, &answer);
        }
    }
}

#[test]
fn the_load_options_choose_where_a_request_does_not() {
    let _turn = alone();
    let engine = Engine::new("");
    let subject = tiny("llama");
    let options = json!({"n_ctx": 512, "n_threads": 1, "lora": [
        {"path": adapter("llama-a"), "scale": 0.5}, {"path": adapter("llama-b"), "name": "b"}]});
    let model = engine.load(&subject.path, &options.to_string());
    let given = load(&engine, &subject, 1);
    let answer = |request: &Value| model.answer(request).text();
    let request = greedy(PROMPT, LENGTH);
    let both = given.answer(&with(&request, &[("a", 0.5), ("b", 1.0)])).text();
    assert_eq!(answer(&request), both);
    let none = given.answer(&request).text();
    assert_eq!(answer(&with(&request, &[])), none);
    assert_eq!(answer(&with(&request, &[("b", 0.0)])), none, "a scale of 0 is none");
    let mut by_id = request;
    by_id["lora"] = json!([{"id": 0, "scale": 0.5}, {"id": 1}]);
    assert_eq!(answer(&by_id), both);
    let info = &model.info()["lora"];
    let names = [&info[0]["name"], &info[1]["name"]];
    assert_eq!(names, ["llama-a", "b"]);
    assert_eq!([&info[0]["id"], &info[1]["id"]], [0, 1]);
    assert_eq!((&info[0]["scale"], &info[0]["rank"]), (&json!(0.5), &json!(4)));
    assert_eq!(info[0]["alpha"], 8.0);
    assert_eq!(info[1]["path"], json!(adapter("llama-b")));
}

#[test]
fn jobs_of_several_sets_side_by_side_say_what_they_say_alone() {
    let _turn = alone();
    let engine = Engine::new("");
    for subject in KINDS.map(tiny).iter().chain([&smollm2_subject()]) {
        let model = load(&engine, subject, 4);
        let requests: Vec<(usize, String)> = (0..6)
            .map(|n| (n % 3, format!("{PROMPT} said: chapter {} of the book is", n / 3)))
            .collect();
        let request = |(set, prompt): &(usize, String)| with(&greedy(prompt, LENGTH), SETS[*set]);
        let alone: Vec<Answer> =
            requests.iter().map(|given| alone_answer(&model, &request(given))).collect();
        let jobs: Vec<Job> = requests.iter().map(|given| model.start(&request(given))).collect();
        let mut judges = [0, 1, 2].map(|set| judge(subject, SETS[set]));
        for ((given, job), alone) in requests.iter().zip(&jobs).zip(&alone) {
            judges[given.0].same_events(&given.1, alone, &job.read(), false);
        }
    }
}

#[test]
fn nobody_takes_over_what_another_set_computed() {
    let _turn = alone();
    let engine = Engine::new("");
    for (subject, n_parallel) in [("llama", 1), ("llama", 4), ("mamba", 2), ("swa", 2)] {
        let subject = tiny(subject);
        let model = load(&engine, &subject, n_parallel);
        let long = format!("{PROMPT} {PROMPT} {PROMPT}");
        let request = greedy(&long, 4);
        let answers: Vec<Vec<u32>> =
            SETS.iter().map(|set| alone_answer(&model, &with(&request, set)).tokens()).collect();
        // Each set's first job finds nothing; its second one all, in its slot or kept.
        for round in 0..2 {
            for (set, expected) in SETS.iter().zip(&answers) {
                let answer = model.answer(&with(&request, set));
                let all = answer.json["usage"]["prompt_tokens"].as_u64().expect("a number");
                let held = if round == 0 { 0 } else { all as usize - 1 };
                assert_eq!(cached(&answer.json), held, "{} round {round}: {set:?}", subject.name);
                assert_eq!(&answer.tokens(), expected, "{} round {round}: {set:?}", subject.name);
            }
        }
    }
}

#[test]
fn a_saved_state_belongs_to_its_adapters() {
    let _turn = alone();
    let (engine, folder) = (Engine::new(""), Folder::new());
    let (subject, path) = (tiny("llama"), folder.path("a.state"));
    let model = load(&engine, &subject, 1);
    let request = greedy(&format!("{PROMPT} {PROMPT}"), 8);
    let with_a = with(&request, &[("a", 0.5)]);
    let expected = alone_answer(&model, &with_a).tokens();
    save(&model, &cold(&with_a), &path).expect("it can be saved");
    restore(&model, &path).expect("the adapter is there");
    // For jobs of this set alone.
    for (other, held) in [
        (with(&request, &[("b", 0.5)]), false),
        (request.clone(), false),
        (with(&request, &[("a", 1.0)]), false),
        (with_a, true),
    ] {
        let answer = model.answer(&other);
        assert_eq!(cached(&answer.json) > 0, held, "{other}");
        assert!(!held || answer.tokens() == expected);
    }
    // By what is in the file, under whatever name and number.
    let other = |files: Value| {
        let options = json!({"n_ctx": 512, "n_parallel": 1, "n_threads": 1, "lora": files});
        engine.load(&subject.path, &options.to_string())
    };
    let moved = other(json!([{"path": adapter("llama-b"), "scale": 0},
        {"path": adapter("llama-a"), "name": "x", "scale": 0.5}]));
    restore(&moved, &path).expect("the adapter is there");
    assert!(cached(&moved.answer(&request).json) > 0);
    for model in [other(json!([])), other(json!([{"path": adapter("llama-b"), "name": "a"}]))] {
        let (status, message) = restore(&model, &path).expect_err("another adapter");
        assert_eq!(status, "FLUID_ERROR_INVALID_STATE");
        assert!(message.contains("LoRA adapter"), "{message}");
    }
}

#[test]
fn what_is_no_adapter_of_this_model_is_refused_with_its_cause() {
    let engine = Engine::new("");
    let path = tiny("llama").path;
    let refused = |lora: Value, status: fluid_status, words: &str| {
        let (loaded, _) = engine.try_load(&path, &json!({"lora": lora}).to_string());
        let (got, message) = loaded.err().expect(words);
        assert_eq!(got, status, "{message}");
        assert!(message.contains(words), "{message:?} does not say {words:?}");
    };
    let file = |path: String| json!([{"path": path}]);
    refused(file("/nowhere/a.gguf".into()), FLUID_ERROR_NOT_FOUND, "/nowhere/a.gguf: there is no");
    refused(file(path.clone()), FLUID_ERROR_UNSUPPORTED_MODEL, "general.type");
    refused(file(adapter("mamba-a")), FLUID_ERROR_INVALID_MODEL, "for 'mamba' models");
    refused(file(adapter("smollm2-a")), FLUID_ERROR_INVALID_MODEL, "another model");
    refused(
        json!([{"path": adapter("llama-a")}, {"path": adapter("llama-a")}]),
        FLUID_ERROR_INVALID_REQUEST,
        "lora[1].name",
    );
    refused(json!([{"path": ""}]), FLUID_ERROR_INVALID_REQUEST, "lora[0].path");
    refused(
        json!([{"path": adapter("llama-a"), "rank": 4}]),
        FLUID_ERROR_INVALID_REQUEST,
        "lora[0].rank",
    );
    refused(
        json!([{"path": adapter("llama-a"), "scale": 1e9}]),
        FLUID_ERROR_INVALID_REQUEST,
        "lora[0].scale",
    );
    refused(json!(["a.gguf"]), FLUID_ERROR_INVALID_REQUEST, "lora[0]: expected an object");
    let folder = model_path("whisper-base-int8-ov");
    let (loaded, _) =
        engine.try_load(&folder, &json!({"lora": file(adapter("llama-a"))}).to_string());
    let (status, message) = loaded.err().expect("no GGUF model");
    assert_eq!(status, FLUID_ERROR_UNSUPPORTED);
    assert!(message.starts_with("lora: "), "{message}");
    let encoder = model_path("minilm-gguf/q8_0.gguf");
    for option in [
        json!({"lora": file(adapter("llama-a"))}),
        json!({"draft_model": path}),
        json!({"speculative": {"type": "prompt_lookup"}}),
    ] {
        let (loaded, _) = engine.try_load(&encoder, &option.to_string());
        let (status, message) = loaded.err().expect("a model that generates no text");
        assert_eq!(status, FLUID_ERROR_UNSUPPORTED, "{message}");
        assert!(message.contains("is for models that generate text"), "{message}");
    }
    let model = load(&engine, &tiny("llama"), 1);
    for (lora, words) in [
        (json!([{"id": 2}]), "lora[0].id: 2 is none of the model's adapters: it has a, b"),
        (json!([{"name": "a"}, {"name": "c"}]), "lora[1].name: \"c\""),
        (json!([{"id": 0}, {"name": "a"}]), "lora[1]: \"a\" is there already"),
        (json!([{"scale": 1}]), "lora[0].id: give id, or name"),
        (json!({"id": 0}), "lora: expected an array"),
    ] {
        let mut request = greedy(PROMPT, 1);
        request["lora"] = lora;
        let answer = model.generate(&request);
        assert_eq!(answer.status, FLUID_ERROR_INVALID_REQUEST, "{}", answer.error);
        assert!(answer.error.contains(words), "{:?} does not say {words:?}", answer.error);
    }
}

/// Damaged adapters, in child processes.
const MUTANTS: u64 = 1_500;
const BATCH: u64 = 500;

fn mutant(seed: u64) -> gguf_mutate::Mutant {
    gguf_mutate::mutate(gguf::adapter_of(&base(seed), seed), seed)
}

/// The model that the mutant of `seed` is for.
fn base(seed: u64) -> gguf::Gguf {
    [gguf::llama, gguf::qwen3moe, gguf::mamba][seed as usize % 3](1)
}

#[test]
fn damaged_adapters_never_end_the_process() {
    if let Some(seeds) = children::range() {
        return try_mutants(seeds);
    }
    let expected = ["FLUID_OK", "FLUID_ERROR_INVALID_MODEL", "FLUID_ERROR_UNSUPPORTED_MODEL"];
    let name = "damaged_adapters_never_end_the_process";
    children::run_all(name, children::seeds(MUTANTS), BATCH, &expected, |seed| {
        mutant(seed).description
    });
}

fn try_mutants(seeds: std::ops::Range<u64>) {
    children::limit_memory(4 << 30);
    let (engine, folder) = (Engine::new(""), Folder::new());
    let (model, adapter) = (folder.path("model.gguf"), folder.path("adapter.gguf"));
    let options = json!({"n_ctx": 64, "n_parallel": 1, "n_threads": 1, "n_ubatch": 32,
        "lora": [{"path": adapter}]});
    children::run_child(seeds, |seed| {
        std::fs::write(&model, base(seed).to_bytes()).map_err(|error| error.to_string())?;
        std::fs::write(&adapter, mutant(seed).bytes).map_err(|error| error.to_string())?;
        let (status, message) = match engine.try_load(&model, &options.to_string()).0 {
            Err(refused) => refused,
            Ok(model) => {
                let prompt = json!({"prompt": [1, 2, 3], "max_tokens": 4, "temperature": 0});
                let answer = model.generate(&prompt);
                (answer.status, answer.error)
            }
        };
        let name = support::status_name(status).to_owned();
        match status < 0
            && (message.is_empty()
                || message.contains("GGML_ASSERT")
                || message.contains("panicked"))
        {
            true => Err(format!("{name}: {message}")),
            false => Ok(name),
        }
    });
}
