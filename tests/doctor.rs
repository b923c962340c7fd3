//! `fluid_doctor`: in sound installations, and where OpenVINO's library is missing, broken, slow or deadly, in
//! child processes.
#![cfg(all(feature = "llama", feature = "openvino"))]

#[path = "support/openvino.rs"]
mod openvino;
mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;
use std::time::{Duration, Instant};
use std::{env, fs};

use fluid::ffi::*;
use openvino::{library, text, Folder};
use serde_json::{json, Value};
use support::installation::{answer, check, in_child, of, run_child, status_of, try_doctor};
use support::{alone, status_name};

#[test]
fn a_child_says_what_it_is_asked() {
    answer(|_| None);
}

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
    assert!(!all.contains("secret") && all.contains("a token"), "{all}");
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
