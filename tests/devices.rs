//! `fluid_devices`, `fluid_doctor`, and loads for devices that are not there: with the real libraries, and,
//! where OpenVINO's is broken, slow or deadly, in child processes.
#![cfg(all(feature = "llama", feature = "openvino"))]

#[path = "support/openvino.rs"]
mod openvino;
mod support;

use std::ffi::{c_char, c_void, CString};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};
use std::{env, fs};

use fluid::ffi::*;
use openvino::{library, text, Folder};
use serde_json::{json, Value};
use support::process::held;
use support::{alone, last_error, model_path, smollm2_path, status_name, take_json, Engine};

/// In a child: what to ask, a line each: `devices`, `often`, or options for the doctor.
const ASKED: &str = "FLUID_TEST_ASKED";
const CHILD: &str = "a_child_says_what_it_is_asked";

fn devices(engine: *mut fluid_engine) -> Value {
    let mut json = null_mut();
    // SAFETY: a place for the string.
    let status = unsafe { fluid_devices(engine, &mut json) };
    assert_eq!(status, FLUID_OK, "{}", last_error());
    take_json(json)
}

fn try_doctor(engine: *mut fluid_engine, options: &str) -> Result<Value, fluid_status> {
    let options = CString::new(options).expect("no NUL");
    let mut json = null_mut();
    let given = if options.is_empty() { null() } else { options.as_ptr() };
    // SAFETY: a C string or null, and a place for the string.
    match unsafe { fluid_doctor(engine, given, &mut json) } {
        FLUID_OK => Ok(take_json(json)),
        status => Err(status),
    }
}

fn doctor(engine: *mut fluid_engine, options: &str) -> Value {
    try_doctor(engine, options).unwrap_or_else(|_| panic!("{}", last_error()))
}

/// The check of that name.
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("an array");
    checks.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn status_of<'a>(report: &'a Value, name: &str) -> &'a str {
    check(report, name)["status"].as_str().expect("a word")
}

/// The devices of one backend.
fn of<'a>(list: &'a Value, backend: &str) -> Vec<&'a Value> {
    let devices = list["devices"].as_array().expect("an array");
    devices.iter().filter(|device| device["backend"] == backend).collect()
}

// --- children ---

/// In a child with these variables: what it answers to each of `asked`.
fn run_child(variables: &[(&str, &Path)], asked: &[&str]) -> Output {
    let mut child = Command::new(env::current_exe().expect("this test has a file"));
    child.args(["--exact", CHILD, "--nocapture"]).env(ASKED, asked.join("\n"));
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX", "INTEL_OPENVINO_DIR", "HF_TOKEN", "HF_ENDPOINT"] {
        child.env_remove(name);
    }
    child.envs(variables.iter().copied()).output().expect("this test can run itself")
}

fn in_child(variables: &[(&str, &Path)], asked: &[&str]) -> Vec<Value> {
    let output = run_child(variables, asked);
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    let said: Vec<Value> = out
        .lines()
        .filter_map(|line| line.strip_prefix("said "))
        .map(|json| serde_json::from_str(json).expect("JSON"))
        .collect();
    assert_eq!(said.len(), asked.len(), "{} {out}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn a_child_says_what_it_is_asked() {
    let Ok(asked) = env::var(ASKED) else { return };
    // Should it hang after all, the kernel ends it, and what it has not said is missed.
    // SAFETY: it takes a number only.
    unsafe { libc::alarm(60) };
    for asked in asked.split('\n') {
        let said = match asked {
            "devices" => devices(null_mut()),
            "often" => ask_often(),
            options => doctor(null_mut(), options),
        };
        println!("\nsaid {said}");
    }
    // Without waiting for threads that hang.
    // SAFETY: it takes a number only.
    unsafe { libc::_exit(0) };
}

// --- the list ---

#[test]
fn the_list_has_the_processor_of_both_backends() {
    let _turn = alone();
    let engine = Engine::new("");
    let list = devices(engine.raw());
    assert_eq!(list["notes"], json!([]));
    let cpu = &list["cpu"];
    assert_eq!(cpu["architecture"], env::consts::ARCH);
    assert_eq!(cpu["instructions_missing"], json!([]));
    let known = cpu["instructions"].as_array().expect("an array");
    let needed = cpu["instructions_needed"].as_array().expect("an array");
    assert!(needed.iter().all(|name| known.contains(name)), "{cpu}");
    assert!(cpu["usable_cores"].as_u64() >= Some(1), "{cpu}");
    let (total, free) = (cpu["memory_bytes"].as_u64(), cpu["memory_available_bytes"].as_u64());
    assert!(free > Some(1 << 20) && free <= total, "{cpu}");
    for (backend, runs) in [("llama.cpp", "gguf"), ("openvino", "whisper")] {
        let devices = of(&list, backend);
        let cpu = devices.iter().find(|device| device["id"] == "CPU").expect("a CPU");
        assert_eq!((&cpu["type"], &cpu["runs"]), (&json!("cpu"), &json!([runs])));
        assert!(cpu["name"].as_str().is_some_and(|name| name.len() > 3), "{cpu}");
        assert!(cpu["memory_bytes"].as_u64() > Some(1 << 20), "{cpu}");
    }
    assert_eq!(devices(null_mut())["cpu"]["name"], cpu["name"]);
}

/// Each id is one that a load takes, and none of the others is needed.
#[test]
fn a_model_can_be_loaded_on_each_device_that_runs_it() {
    let _turn = alone();
    let engine = Engine::new("");
    let list = devices(engine.raw());
    let whisper = model_path("tiny-random-whisper-128");
    let chat = smollm2_path();
    for (backend, path) in [("llama.cpp", &chat), ("openvino", &whisper)] {
        for device in of(&list, backend) {
            let options = json!({"device": device["id"], "device_fallback": false});
            let model = engine.load(path, &options.to_string());
            assert_eq!(model.info()["device"], device["id"]);
            assert_eq!(model.info()["device_name"], device["name"]);
            assert_eq!(model.info()["fallback"], Value::Null);
        }
    }
}

#[test]
fn wrong_calls_are_refused() {
    let _turn = alone();
    // SAFETY: a null that is refused.
    assert_eq!(unsafe { fluid_devices(null_mut(), null_mut()) }, FLUID_ERROR_INVALID_ARGUMENT);
    // SAFETY: as above.
    let status = unsafe { fluid_doctor(null_mut(), null(), null_mut()) };
    assert_eq!(status, FLUID_ERROR_INVALID_ARGUMENT);
    let freed = Engine::new("").into_raw();
    assert_eq!(fluid_engine_free(freed), FLUID_OK);
    let mut json = null_mut();
    // SAFETY: a place for a string.
    assert_eq!(unsafe { fluid_devices(freed, &mut json) }, FLUID_ERROR_INVALID_HANDLE);
    assert_eq!(try_doctor(freed, ""), Err(FLUID_ERROR_INVALID_HANDLE));
    for (options, status, words) in [
        ("{", FLUID_ERROR_INVALID_JSON, "doctor options"),
        ("[]", FLUID_ERROR_INVALID_REQUEST, "an array"),
        (r#"{"folder": "a"}"#, FLUID_ERROR_INVALID_REQUEST, "folder"),
        (r#"{"model_dir": ""}"#, FLUID_ERROR_INVALID_REQUEST, "model_dir: "),
        (r#"{"timeout_ms": 1}"#, FLUID_ERROR_INVALID_REQUEST, "timeout_ms: "),
        (r#"{"openvino": 1}"#, FLUID_ERROR_INVALID_REQUEST, "openvino: "),
    ] {
        assert_eq!(try_doctor(null_mut(), options), Err(status), "{options}");
        assert!(last_error().contains(words), "{options}: {}", last_error());
    }
    assert!(json.is_null());
}

/// A log callback runs on any thread of the library, also on one that these calls wait for.
#[test]
fn the_log_callback_cannot_wait_for_devices() {
    unsafe extern "C" fn on_line(_: i32, _: *const c_char, said: *mut c_void) {
        let mut json = null_mut();
        // SAFETY: a place for the string.
        let status = unsafe { fluid_devices(null_mut(), &mut json) };
        // SAFETY: the test passes a vector, and the log calls one at a time.
        unsafe { &mut *said.cast::<Vec<fluid_status>>() }.push(status);
    }
    let _turn = alone();
    let mut said: Vec<fluid_status> = Vec::new();
    // SAFETY: the vector lives until the log is silent again.
    unsafe { fluid_log_set(Some(on_line), (&raw mut said).cast(), FLUID_LOG_WARN) };
    let engine = Engine::new("");
    let (refused, _) = engine.try_load("/no/such/model.gguf", "");
    assert!(refused.is_err());
    // SAFETY: as above.
    unsafe { fluid_log_set(None, null_mut(), FLUID_LOG_ERROR) };
    assert!(!said.is_empty() && said.iter().all(|it| *it == FLUID_ERROR_BUSY), "{said:?}");
}

/// In a child, where no other test's threads are: what it held before and after many calls.
fn ask_often() -> Value {
    let engine = Engine::new("");
    let ask = || (devices(engine.raw()), doctor(engine.raw(), ""));
    let (list, report) = ask();
    assert!(report["ok"] == true, "{}", report["text"]);
    let before = held();
    for _ in 0..10 {
        ask();
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (again, _) = ask();
                assert_eq!(again["devices"][0]["id"], list["devices"][0]["id"]);
                assert_eq!(again["notes"], json!([]));
            });
        }
    });
    // A thread that has ended is listed for a moment more.
    let begin = Instant::now();
    while held().0 > before.0 && begin.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    json!([before, held()])
}

#[test]
fn asking_often_and_from_many_threads_leaves_nothing_behind() {
    let _turn = alone();
    let library = library();
    let said = in_child(&[("FLUID_OPENVINO_LIB", &library)], &["often"]).remove(0);
    let (before, after) = (&said[0], &said[1]);
    assert_eq!((&before[0], &before[1]), (&after[0], &after[1]), "threads and files");
    let memory = |held: &Value| held[2].as_u64().expect("KiB");
    assert!(memory(after) < memory(before) + 16_384, "{said}");
}

// --- devices that are not there ---

#[test]
fn a_gguf_model_falls_back_to_the_processor_and_says_so() {
    let _turn = alone();
    let engine = Engine::new("");
    let request = json!({"prompt": "The sea is", "max_tokens": 8, "temperature": 0});
    let said = |options: &Value| {
        let mut options = options.clone();
        options["n_ctx"] = json!(64);
        let (loaded, events) = engine.try_load(&smollm2_path(), &options.to_string());
        let model = loaded.unwrap_or_else(|(_, error)| panic!("{options}: {error}"));
        let notices = events.into_iter().filter(|event| event.kind == FLUID_EVENT_NOTICE);
        (
            model.info(),
            notices.map(|event| event.text).collect::<Vec<_>>(),
            model.generate(&request).text(),
        )
    };
    let (info, notices, expected) = said(&json!({}));
    assert_eq!((&info["device_asked"], &info["fallback"]), (&json!("AUTO"), &Value::Null));
    assert_eq!(notices.len(), 0, "{notices:?}");
    let gpus = of(&devices(engine.raw()), "llama.cpp").len() > 1;
    for asked in ["GPU", "GPU.3", "NPU"].into_iter().filter(|asked| *asked != "GPU" || !gpus) {
        let (info, notices, text) = said(&json!({"device": asked, "n_gpu_layers": 4}));
        assert_eq!((&info["device"], &info["device_asked"]), (&json!("CPU"), &json!(asked)));
        let why = info["fallback"].as_str().expect("a reason");
        assert!(why.starts_with(&format!("there is no {asked}: llama.cpp sees CPU")), "{why}");
        assert_eq!(notices, [format!("asked for {asked}, using CPU: {why}")]);
        assert_eq!((text.as_str(), &info["gpu_layers"]), (expected.as_str(), &json!(0)));

        let strict = json!({"device": asked, "device_fallback": false}).to_string();
        let (refused, events) = engine.try_load(&smollm2_path(), &strict);
        let (status, error) = refused.err().expect("it is not there");
        assert_eq!(status_name(status), "FLUID_ERROR_UNSUPPORTED");
        assert!(error.starts_with(&format!("device: there is no {asked}")), "{error}");
        assert!(events.iter().all(|event| event.kind != FLUID_EVENT_NOTICE));
    }
    let embedding = json!({"device": "NPU", "embedding": true, "n_ctx": 64}).to_string();
    assert_eq!(engine.load(&smollm2_path(), &embedding).info()["device_asked"], "NPU");
}

#[test]
fn whisper_without_fallback_is_refused() {
    let _turn = alone();
    let engine = Engine::new("");
    if of(&devices(engine.raw()), "openvino").iter().any(|device| device["type"] == "npu") {
        return;
    }
    let options = json!({"device": "NPU", "device_fallback": false}).to_string();
    let (refused, _) = engine.try_load(&model_path("tiny-random-whisper-128"), &options);
    let (status, error) = refused.err().expect("it is not there");
    assert_eq!(status_name(status), "FLUID_ERROR_UNSUPPORTED");
    assert!(error.starts_with("device: there is no NPU: OpenVINO sees CPU"), "{error}");
}

// --- the doctor ---

#[test]
fn a_sound_installation_is_sound_and_its_text_has_every_check() {
    let _turn = alone();
    let folder = Folder::new("doctor");
    let options = json!({"model_dir": text(folder.path()), "cache_dir": "/no/such/cache"});
    let library = library();
    let secret = Path::new("hf_this_is_secret");
    let variables = [("FLUID_OPENVINO_LIB", library.as_path()), ("HF_TOKEN", secret)];
    let report = in_child(&variables, &[&options.to_string()]).remove(0);
    assert_eq!(report["ok"], true, "{}", report["text"]);
    let all = report.to_string();
    assert!(!all.contains("secret") && all.contains("HF_TOKEN"), "{all}");
    let shown = report["text"].as_str().expect("a text");
    for check in report["checks"].as_array().expect("an array") {
        let name = check["name"].as_str().expect("a name");
        assert!(shown.contains(&format!("{} ", check["status"].as_str().expect("a word"))));
        assert!(shown.contains(name), "no {name} in {shown}");
        let wrong = ["warning", "error"].contains(&check["status"].as_str().expect("a word"));
        assert_eq!(check["advice"].is_string(), wrong, "{check}");
        for line in check["found"].as_str().expect("a text").lines() {
            assert!(!line.is_empty() && shown.contains(line), "{check}");
        }
    }
    for name in ["libfluid", "platform", "processor", "memory", "openvino", "openvino_parts"] {
        assert_eq!(status_of(&report, name), "ok", "{}", report["text"]);
    }
    assert!(check(&report, "openvino")["found"].as_str().expect("a text").starts_with("20"));
    assert_eq!(status_of(&report, "cache_folder"), "warning");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left there");
}

#[test]
fn without_openvino_the_rest_works_and_the_advice_says_what_to_do() {
    let _turn = alone();
    let empty = Folder::new("nothing");
    // Nobody said that it is there: a warning.
    let said = in_child(&[("VIRTUAL_ENV", empty.path())], &["devices", "{}"]);
    let (list, report) = (&said[0], &said[1]);
    assert!(!of(list, "llama.cpp").is_empty() && of(list, "openvino").is_empty());
    let notes = list["notes"].as_array().expect("an array");
    assert!(
        notes.len() == 1 && notes[0].as_str().is_some_and(|it| it.contains("OpenVINO")),
        "{notes:?}"
    );
    assert_eq!((&report["ok"], status_of(report, "openvino")), (&json!(true), "warning"));
    let advice = check(report, "openvino")["advice"].as_str().expect("advice");
    assert!(
        advice.contains("pip install openvino") && advice.contains("FLUID_OPENVINO_LIB"),
        "{advice}"
    );

    // Named, and not there or not what it should be: an error.
    let folder = Folder::new("broken");
    let file = folder.path().join("libopenvino_c.so");
    fs::write(&file, "a text about a library, and none itself, however long this text may be\n")
        .expect("a file");
    let lacking = folder.path().join("lacking");
    fs::create_dir(&lacking).expect("a folder");
    let sibling = sibling("libtbbmalloc.so");
    symlink(sibling, lacking.join("libopenvino_c.so")).expect("a link");
    for (path, why) in [
        (folder.path().join("nowhere"), "not there"),
        (empty.path().to_owned(), "no libopenvino_c.so there"),
        (file, "invalid ELF header"),
        (lacking, "it lacks the function ov_"),
    ] {
        let said = in_child(
            &[("FLUID_OPENVINO_LIB", &path)],
            &["{}", "devices", r#"{"openvino": false}"#],
        );
        let openvino = check(&said[0], "openvino");
        assert_eq!((&said[0]["ok"], &openvino["status"]), (&json!(false), &json!("error")));
        let found = openvino["found"].as_str().expect("a text");
        assert!(found.contains(why) && found.contains(text(&path)), "no {why:?} in {found}");
        assert!(openvino["advice"].is_string());
        assert_eq!(of(&said[1], "openvino").len(), 0);
        assert_eq!((&said[2]["ok"], status_of(&said[2], "openvino")), (&json!(true), "info"));
    }
}

/// A file beside the real library.
fn sibling(start: &str) -> PathBuf {
    siblings().into_iter().find(|path| name_of(path).starts_with(start)).expect("it is there")
}

fn siblings() -> Vec<PathBuf> {
    let path = library().canonicalize().expect("the library is there");
    let listed = fs::read_dir(path.parent().expect("a folder")).expect("a folder");
    listed.map(|entry| entry.expect("an entry").path()).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// OpenVINO's folder, less one of its files.
fn openvino_without(name: &str, part: &str) -> Folder {
    let folder = Folder::new(name);
    for path in siblings().iter().filter(|path| !name_of(path).contains(part)) {
        // Copies: plugins are looked for where the library really lies.
        let to = folder.path().join(name_of(path));
        fs::hard_link(path, &to).or_else(|_| fs::copy(path, &to).map(|_| ())).expect("a copy");
    }
    folder
}

#[test]
fn an_openvino_that_is_not_whole_is_told_by_what_is_missing() {
    let _turn = alone();
    for (part, name, words) in [
        ("_intel_cpu_plugin", "openvino_devices", "CPU plugin is missing"),
        ("_ir_frontend", "openvino_parts", "install OpenVINO again"),
    ] {
        let folder = openvino_without("partial", part);
        let said = in_child(&[("FLUID_OPENVINO_LIB", folder.path())], &["{}"]).remove(0);
        assert_eq!(
            (&said["ok"], status_of(&said, name)),
            (&json!(false), "error"),
            "{}",
            said["text"]
        );
        assert_eq!(status_of(&said, "openvino_parts"), "error", "{}", said["text"]);
        let advice = check(&said, name)["advice"].as_str().expect("advice");
        assert!(advice.contains(words), "{advice}");
    }
}

// --- libraries that hang and die ---

/// A library with all of OpenVINO's functions, none of which do anything, but for `special`.
fn stub(folder: &Folder, special: &str) -> PathBuf {
    let source = include_str!("../src/backend/openvino/runtime.rs");
    let names =
        source.split('"').filter(|name| name.starts_with("ov_") && !name.contains(['{', ' ']));
    let mut names: Vec<&str> =
        names.filter(|name| !special.contains(&format!("{name}("))).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 35, "{names:?}");
    let mut code = String::from("#include <unistd.h>\n");
    names.iter().for_each(|name| code += &format!("int {name}(void) {{ return 0; }}\n"));
    code += "int ov_get_openvino_version(const char **it) { it[0] = \"2026.4.0-1\"; return 0; }\n";
    let path = folder.path().join("stub.c");
    fs::write(
        &path,
        code.replace("int ov_get_openvino_version(void) { return 0; }\n", "") + special,
    )
    .expect("a file");
    let out = folder.path().join("libopenvino_c.so");
    let mut compiler = Command::new(env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
    let compiled = compiler.args(["-shared", "-fPIC", "-w", "-o"]).args([&out, &path]).output();
    let compiled = compiled.expect("a C compiler");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    out
}

#[test]
fn a_library_that_does_not_answer_is_waited_for_no_longer_than_asked() {
    let _turn = alone();
    let special = "int ov_core_create(void **it) { *it = it; return 0; }\n\
                   int ov_core_get_available_devices(void) { sleep(600); return 0; }\n";
    let folder = Folder::new("hangs");
    let library = stub(&folder, special);
    let quick = r#"{"timeout_ms": 200}"#;
    let begin = Instant::now();
    let said = in_child(&[("FLUID_OPENVINO_LIB", &library)], &[quick, quick, "devices"]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let found = |report: &Value| check(report, "openvino")["found"].clone();
    assert_eq!(found(&said[0]), "OpenVINO did not answer in 0.2 s");
    assert_eq!(found(&said[1]), "OpenVINO has not answered an earlier question yet");
    assert!(check(&said[0], "openvino")["advice"].as_str().is_some_and(|it| it.contains("driver")));
    assert_eq!(said[0]["ok"], false);
    assert!(!of(&said[2], "llama.cpp").is_empty() && of(&said[2], "openvino").is_empty());
    let note = said[2]["notes"][0].as_str().expect("a note");
    assert!(note.contains("has not answered"), "{note}");
}

/// What cannot be promised, and the way around it.
#[test]
fn a_library_that_faults_ends_the_process_unless_it_is_left_alone() {
    let _turn = alone();
    let folder = Folder::new("faults");
    let library = stub(&folder, "int ov_core_create(void) { return *(volatile int *)0; }\n");
    let variables = [("FLUID_OPENVINO_LIB", library.as_path())];
    assert!(!run_child(&variables, &["{}"]).status.success());
    let said = in_child(&variables, &[r#"{"openvino": false}"#]).remove(0);
    assert_eq!((&said["ok"], status_of(&said, "openvino")), (&json!(true), "info"));
}

/// Damaged and random options are refused or understood, and never more.
#[test]
fn damaged_options_are_statuses() {
    let _turn = alone();
    let whole = r#"{"openvino": false, "model_dir": "/tmp", "cache_dir": "a", "timeout_ms": 200}"#;
    let mut understood = 0;
    for seed in 0..300usize {
        let mut bytes = whole.as_bytes().to_vec();
        let at = (seed * 7919) % bytes.len();
        match seed % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] = b"\"{}[]:,0a "[seed % 10],
            _ => drop(bytes.remove(at)),
        }
        let options = String::from_utf8(bytes).expect("ASCII");
        match try_doctor(null_mut(), &options) {
            Ok(report) => {
                understood += 1;
                assert!(report["text"].is_string());
            }
            Err(status) => assert!(
                [FLUID_ERROR_INVALID_JSON, FLUID_ERROR_INVALID_REQUEST].contains(&status),
                "{options}: {}",
                status_name(status)
            ),
        }
    }
    assert!(understood > 10, "{understood}");
}
