//! Options of the KV cache and of the threads that compute: taken, told, refused by name; and two
//! models that want the same cores.
#![cfg(feature = "llama")]

mod support;

use serde_json::{json, Value};
use support::greedy::{alone_answer, greedy, smollm2_subject, tiny_subjects, Subject};
use support::{alone, status_name, text_of, Answer, Engine, Job, Model};

const PROMPT: &str = "Once upon a time, in a village by the sea, there lived";

fn load(engine: &Engine, subject: &Subject, options: Value) -> Model {
    let mut all = json!({"n_ctx": 256, "n_parallel": 2, "n_threads": 1});
    for (name, value) in options.as_object().expect("an object") {
        all[name] = value.clone();
    }
    engine.load(&subject.path, &all.to_string())
}

/// What SmolLM2 with these options tells of itself, and what it says.
fn answers(options: Value) -> (Value, Answer) {
    let engine = Engine::new("");
    let model = load(&engine, &smollm2_subject(), options);
    (model.info(), model.answer(&greedy(PROMPT, 6)))
}

#[test]
fn options_of_the_cache_are_taken_and_told() {
    let _turn = alone();
    let (info, reference) = answers(json!({}));
    assert_eq!((&info["kv_unified"], &info["kv_cache_tokens"]), (&json!(false), &json!(512)));
    for (options, unified, cells) in [
        (json!({"kv_unified": true}), true, 512),
        (json!({"kv_cache_tokens": 256}), true, 256),
        (json!({"kv_cache_tokens": 8}), true, 256),
        (json!({"kv_cache_tokens": 257}), true, 512),
        (json!({"kv_cache_mb": 64}), false, 512),
        // 23,040 bytes a cell: 364 of them, in whole blocks of 256.
        (json!({"kv_cache_mb": 8}), true, 256),
    ] {
        let (info, answer) = answers(options.clone());
        assert_eq!(
            (&info["kv_unified"], &info["kv_cache_tokens"]),
            (&json!(unified), &json!(cells)),
            "{options}"
        );
        assert_eq!(answer.text(), reference.text(), "{options}: the same computation");
    }
}

/// The first words are clear enough to survive any of these.
#[test]
fn types_of_the_cache_and_flash_attention_change_roundings_only() {
    let _turn = alone();
    let engine = Engine::new("");
    let subject = smollm2_subject();
    let request = greedy("The capital of France is", 4);
    let reference = load(&engine, &subject, json!({})).answer(&request).text();
    assert!(reference.contains("Paris"), "{reference}");
    for options in [
        json!({"flash_attn": "on"}),
        json!({"flash_attn": "off"}),
        json!({"cache_type_k": "f32", "cache_type_v": "f32"}),
        json!({"cache_type_k": "bf16", "cache_type_v": "bf16"}),
        json!({"cache_type_k": "q8_0", "cache_type_v": "q8_0"}),
        json!({"cache_type_k": "q5_1", "cache_type_v": "q5_0", "flash_attn": "on"}),
        json!({"cache_type_k": "q8_0", "flash_attn": "off"}),
        json!({"swa_full": true, "cache_ram_mb": 8}),
    ] {
        let text = load(&engine, &subject, options.clone()).answer(&request).text();
        assert!(text.contains("Paris"), "{options}: {text}");
    }
}

#[test]
fn wrong_options_are_refused_by_name() {
    let _turn = alone();
    let engine = Engine::new("");
    let subject = smollm2_subject();
    for (options, named) in [
        (json!({"kv_cache_tokens": 7}), "kv_cache_tokens: "),
        (json!({"kv_cache_tokens": 512, "kv_unified": false}), "kv_cache_tokens: "),
        (json!({"kv_cache_mb": 0}), "kv_cache_mb: "),
        (json!({"kv_cache_mb": 1, "n_ctx": 2048}), "kv_cache_mb: "),
        (json!({"kv_unified": 1}), "kv_unified: "),
        (json!({"cache_ram_mb": -1}), "cache_ram_mb: "),
        (json!({"cache_type_k": "q3"}), "cache_type_k: "),
        (json!({"cache_type_v": 8}), "cache_type_v: "),
        (json!({"cache_type_v": "q8_0", "flash_attn": "off"}), "cache_type_v: "),
        (json!({"flash_attn": true}), "flash_attn: "),
        (json!({"swa_full": "yes"}), "swa_full: "),
        (json!({"n_threads": 0}), "n_threads: "),
        (json!({"n_threads": 513}), "n_threads: "),
        (json!({"thread_priority": "realtime"}), "thread_priority: "),
        (json!({"cpu_affinity": []}), "cpu_affinity: "),
        (json!({"cpu_affinity": [512]}), "cpu_affinity: "),
        (json!({"cpu_affinity": 0}), "cpu_affinity: "),
        (json!({"kv_cache_token": 512}), "kv_cache_token"),
    ] {
        let (loaded, _) = engine.try_load(&subject.path, &options.to_string());
        let (status, error) = loaded.err().expect("refused");
        assert_eq!(status_name(status), "FLUID_ERROR_INVALID_REQUEST", "{options}: {error}");
        assert!(error.contains(named), "{options}: {error}");
    }
    for (field, value) in [
        ("priority", json!(1_001)),
        ("priority", json!("high")),
        ("cache_prompt", json!("no")),
        ("context_shift", json!(1)),
        ("n_keep", json!(-2)),
        ("n_discard", json!(-1)),
    ] {
        let mut request = greedy(PROMPT, 1);
        request[field] = value;
        let answer = load(&engine, &tiny_subjects()[0], json!({})).generate(&request);
        assert_eq!(status_name(answer.status), "FLUID_ERROR_INVALID_REQUEST", "{request}");
        assert!(answer.error.starts_with(&format!("{field}: ")), "{request}: {}", answer.error);
    }
}

// --- threads ---

/// For each thread of a model in this process its nice value and the CPUs it may run on.
#[cfg(target_os = "linux")]
fn threads() -> Vec<(i64, String)> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a folder");
    let known = tasks.filter_map(|task| {
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).ok();
        let folder = task.ok()?.path();
        // A pool's threads have the name of the worker that made them.
        read(folder.join("comm")).filter(|name| name.trim() == "fluid-model")?;
        let stat = read(folder.join("stat"))?;
        // The name is in parentheses; the nice value is the 17th field behind it.
        let nice = stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()?;
        Some((nice, allowed_cpus(&read(folder.join("status"))?)))
    });
    known.collect()
}

/// The list of CPUs that a status file of `/proc` names.
#[cfg(target_os = "linux")]
fn allowed_cpus(status: &str) -> String {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.unwrap_or_default().trim().to_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn threads_are_as_many_as_asked_for_and_where_and_how() {
    let _turn = alone();
    let engine = Engine::new("");
    let subject = &tiny_subjects()[0];
    let status = std::fs::read_to_string("/proc/self/status").expect("a file");
    let first = allowed_cpus(&status).split([',', '-']).next().map(str::to_owned).expect("a CPU");
    let number: u32 = first.parse().expect("a number");
    for count in [1, 3] {
        let options =
            json!({"n_threads": count, "cpu_affinity": [number], "thread_priority": "low"});
        let model = load(&engine, subject, options);
        assert_eq!(model.info()["threads"], count);
        model.answer(&greedy(PROMPT, 4));
        // The worker computes too.
        let expected = vec![(10, first.clone()); count];
        assert_eq!(threads(), expected);
        drop(model);
        assert_eq!(threads(), [], "all have ended");
    }
    // A CPU that is not there.
    let (loaded, _) = engine.try_load(&subject.path, r#"{"cpu_affinity": [511]}"#);
    let (_, error) = loaded.err().expect("refused");
    assert!(error.contains("cpu_affinity: "), "{error}");
    // Whether a process may raise its priority is the system's decision: it works or says so.
    if let (Err((status, error)), _) =
        engine.try_load(&subject.path, r#"{"thread_priority": "high"}"#)
    {
        assert_eq!(status_name(status), "FLUID_ERROR_UNSUPPORTED");
        assert!(error.contains("thread_priority: "), "{error}");
    }
    // By default one for each physical core, at least.
    let model = engine.load(&subject.path, "");
    let all = std::thread::available_parallelism().expect("a number").get() as u64;
    let told = model.info()["threads"].as_u64().expect("a number");
    assert!((1..=all).contains(&told), "{told} of {all}");
}

#[cfg(target_os = "linux")]
#[test]
fn two_models_on_all_cores_say_what_each_says_alone() {
    let _turn = alone();
    let all = std::thread::available_parallelism().expect("a number").get();
    let engine = Engine::new("");
    let [mamba, ..] = tiny_subjects();
    let options = json!({"n_threads": all});
    let models =
        [&smollm2_subject(), &mamba].map(|subject| load(&engine, subject, options.clone()));
    assert_eq!(threads().len(), 2 * all, "a worker computes with its pool");
    let requests = [greedy(PROMPT, 16), greedy(PROMPT, 60)];
    let texts: Vec<String> = models
        .iter()
        .zip(&requests)
        .map(|(model, request)| alone_answer(model, request).text())
        .collect();
    for _ in 0..2 {
        let jobs: Vec<Job> =
            models.iter().zip(&requests).map(|(model, request)| model.start(request)).collect();
        for (job, text) in jobs.iter().zip(&texts) {
            assert_eq!(text_of(&job.read()), *text);
        }
    }
    drop(models);
    assert_eq!(threads(), [], "all have ended");
}
