//! `fluid_devices` and `fluid_doctor` as the tests call them, here and in child processes whose environment
//! is another one.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::env;
use std::ffi::CString;
use std::path::Path;
use std::process::{Command, Output};
use std::ptr::{null, null_mut};

use fluid::ffi::*;
use serde_json::Value;

use super::{last_error, take_json};

/// In a child: what to ask, a line each: `devices`, a word of the test's own, or options for the doctor.
const ASKED: &str = "FLUID_TEST_ASKED";
/// The test that calls [`answer`].
const CHILD: &str = "a_child_says_what_it_is_asked";

pub fn devices(engine: *mut fluid_engine) -> Value {
    let mut json = null_mut();
    // SAFETY: a place for the string.
    let status = unsafe { fluid_devices(engine, &mut json) };
    assert_eq!(status, FLUID_OK, "{}", last_error());
    take_json(json)
}

pub fn try_doctor(engine: *mut fluid_engine, options: &str) -> Result<Value, fluid_status> {
    let options = CString::new(options).expect("no NUL");
    let mut json = null_mut();
    let given = if options.is_empty() { null() } else { options.as_ptr() };
    // SAFETY: a C string or null, and a place for the string.
    match unsafe { fluid_doctor(engine, given, &mut json) } {
        FLUID_OK => Ok(take_json(json)),
        status => Err(status),
    }
}

pub fn doctor(engine: *mut fluid_engine, options: &str) -> Value {
    try_doctor(engine, options).unwrap_or_else(|_| panic!("{}", last_error()))
}

/// The check of that name.
pub fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("an array");
    checks.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

pub fn status_of<'a>(report: &'a Value, name: &str) -> &'a str {
    check(report, name)["status"].as_str().expect("a word")
}

/// The devices of one backend.
pub fn of<'a>(list: &'a Value, backend: &str) -> Vec<&'a Value> {
    let devices = list["devices"].as_array().expect("an array");
    devices.iter().filter(|device| device["backend"] == backend).collect()
}

// --- children ---

/// In a child with these variables: what it answers to each of `asked`.
pub fn run_child(variables: &[(&str, &Path)], asked: &[&str]) -> Output {
    let mut child = Command::new(env::current_exe().expect("this test has a file"));
    child.args(["--exact", CHILD, "--nocapture"]).env(ASKED, asked.join("\n"));
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX", "INTEL_OPENVINO_DIR", "HF_TOKEN", "HF_ENDPOINT"] {
        child.env_remove(name);
    }
    child.envs(variables.iter().copied()).output().expect("this test can run itself")
}

pub fn in_child(variables: &[(&str, &Path)], asked: &[&str]) -> Vec<Value> {
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

/// In the test [`CHILD`]: where this process is a child, answers and ends it. `other` has answers of the
/// test's own.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
pub fn answer(other: impl Fn(&str) -> Option<Value>) {
    let Ok(asked) = env::var(ASKED) else { return };
    // Should it hang after all, the kernel ends it, and what it has not said is missed.
    // SAFETY: it takes a number only.
    unsafe { libc::alarm(60) };
    for asked in asked.split('\n') {
        let said = match asked {
            "devices" => devices(null_mut()),
            asked => other(asked).unwrap_or_else(|| doctor(null_mut(), asked)),
        };
        println!("\nsaid {said}");
    }
    // Without waiting for threads that hang.
    // SAFETY: it takes a number only.
    unsafe { libc::_exit(0) };
}
