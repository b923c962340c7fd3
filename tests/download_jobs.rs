//! Downloads as jobs of the C interface: events, cancels, what they hold, kills, two processes, a full disk.
#![cfg(all(feature = "hub", feature = "llama", target_os = "linux"))]
#![allow(clippy::print_stdout, reason = "figures, and what could not be tested as it should be")]

#[path = "support/dice.rs"]
mod dice;
#[path = "support/download.rs"]
mod download;
#[path = "support/hub.rs"]
mod hub;
#[path = "support/hub_http.rs"]
mod hub_http;
mod support;
#[path = "support/wires.rs"]
mod wires;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use download::{client, client_at, fetch, noise, places, prepare, snapshot, Folder};
use fluid::error::ErrorKind;
use fluid::ffi::*;
use fluid::store::hub::{FolderLock, Progress};
use hub::{File, Hub, Repo, Trouble};
use hub_http::{Manner, Response};
use serde_json::{json, Value};
use support::{alone, last_error, model_path, process, take_json, Engine, Event, Job};

const REPO: &str = "someone/some-model";
const BIG: usize = 3_000_000;
/// What the contract says of a cancel.
const BOUND: Duration = Duration::from_millis(100);

fn engine(hub: &Hub, folder: &Folder) -> Engine {
    prepare();
    let options = json!({
        "model_dir": folder.text(), "hub_endpoint": hub.endpoint(), "hub_token": "", "offline": false,
    });
    Engine::new(&options.to_string())
}

fn start(engine: &Engine, options: &Value) -> Job {
    try_start(engine, REPO, options).unwrap_or_else(|(_, message)| panic!("{message}"))
}

fn try_start(engine: &Engine, name: &str, options: &Value) -> Result<Job, (fluid_status, String)> {
    let (name, options) = (CString::new(name), CString::new(options.to_string()));
    let (name, options) = (name.expect("no NUL"), options.expect("no NUL"));
    let mut job = null_mut();
    // SAFETY: C strings and a place for the handle.
    match unsafe { fluid_download_start(engine.raw(), name.as_ptr(), options.as_ptr(), &mut job) } {
        FLUID_OK => Ok(Job::from_raw(job)),
        status => Err((status, last_error())),
    }
}

/// The final event; others are passed over.
fn end(job: &Job) -> Event {
    job.read().pop().expect("an end")
}

fn one_file(bytes: usize) -> (Hub, Folder) {
    let hub = Hub::new();
    hub.put_files(REPO, &[("model.gguf", noise(1, bytes))]);
    (hub, Folder::new())
}

fn stall(after: usize) -> Trouble {
    Trouble::Like(Manner { stall: Some(after), ..Manner::default() })
}

#[test]
fn a_model_is_fetched_told_of_and_loaded() {
    let _turn = alone();
    let (hub, folder) = (Hub::new(), Folder::new());
    let bytes = std::fs::read(model_path("tiny-random-gguf/llama.gguf")).expect("a model");
    hub.put_files(REPO, &[("model.gguf", bytes.clone())]);
    hub.plan("/cdn/", 1, hub::slowly(bytes.len() / 20, 25));
    let engine = engine(&hub, &folder);
    let job = start(&engine, &json!({}));
    let events = job.read();
    let progress: Vec<&Event> = events.iter().filter(|e| e.kind == FLUID_EVENT_PROGRESS).collect();
    // Half a second or more, a report each tenth of it.
    let most = (events.last().expect("an end").elapsed * 10.0) as usize + 2;
    assert!((3..=most).contains(&progress.len()), "{} reports", progress.len());
    for event in progress {
        let json: Value = serde_json::from_str(&event.json).expect("JSON");
        assert_eq!((&json["phase"], &json["file"]), (&json!("download"), &json!("model.gguf")));
        assert_eq!(json["total_bytes"], bytes.len());
        let share = json["bytes"].as_f64().expect("a number") / bytes.len() as f64;
        assert!((event.progress - share).abs() < 1e-6 && json["bytes_per_second"].is_u64());
    }
    let result = job.json();
    assert_eq!((&result["repo"], &result["revision"]), (&json!(REPO), &json!(hub::COMMIT)));
    assert_eq!(result["bytes"], bytes.len());
    assert_eq!(result["downloaded_bytes"], bytes.len());
    assert_eq!(result["files"][0]["path"], "model.gguf");
    assert_eq!(result["files"][0]["sha256"].as_str().map(str::len), Some(64));
    let path = result["path"].as_str().expect("a path");
    let options = r#"{"n_ctx": 64, "n_parallel": 1, "n_threads": 1}"#;
    for name in [path, REPO] {
        let model = engine.load(name, options);
        model.answer(&json!({"prompt": "a", "max_tokens": 2}));
    }
    // What is here is not asked for again, unless more than a name is given.
    let asked = hub.seen().len();
    let again = start(&engine, &json!({}));
    assert_eq!(end(&again).status, FLUID_OK);
    assert_eq!((&again.json()["path"], hub.seen().len()), (&json!(path), asked));
    let again = start(&engine, &json!({"revision": "main"}));
    assert_eq!((end(&again).status, &again.json()["downloaded_bytes"]), (FLUID_OK, &json!(0)));
    assert!(hub.seen().len() > asked);
}

#[test]
fn the_blocking_call_returns_the_result_or_says_why_not() {
    let _turn = alone();
    let (hub, folder) = one_file(2_000);
    let engine = engine(&hub, &folder);
    let call = |name: &str, options: &str| {
        let (name, options) = (CString::new(name), CString::new(options));
        let (name, options) = (name.expect("no NUL"), options.expect("no NUL"));
        let mut json = null_mut();
        // SAFETY: C strings, no callback, a place for the string.
        let status = unsafe {
            let (name, options) = (name.as_ptr(), options.as_ptr());
            fluid_download(engine.raw(), name, options, None, null_mut(), &mut json)
        };
        match status {
            FLUID_OK => Ok(take_json(json)),
            status => Err((status, last_error())),
        }
    };
    let result = call(REPO, "{}").expect("it comes");
    assert_eq!(result["downloaded_bytes"], 2_000);
    hub.plan("some-model/revision/", 1, Trouble::Instead(Response::new(401)));
    hub.plan("some-model/revision/", 9, Trouble::Instead(Response::new(503)));
    let fresh = r#"{"local_name": "other"}"#;
    for (name, options, status, words) in [
        (REPO, fresh, FLUID_ERROR_ACCESS_DENIED, "401"),
        (REPO, fresh, FLUID_ERROR_NETWORK, "503"),
        (REPO, r#"{"revison": "x"}"#, FLUID_ERROR_INVALID_REQUEST, "revison"),
        (REPO, r#"{"model_type": "cat"}"#, FLUID_ERROR_INVALID_REQUEST, "model_type"),
        ("owner/../etc", "{}", FLUID_ERROR_INVALID_ARGUMENT, ".."),
        ("../../nowhere", "{}", FLUID_ERROR_INVALID_ARGUMENT, "nowhere"),
        (REPO, r#"{"local_name": "../x"}"#, FLUID_ERROR_INVALID_REQUEST, "local_name"),
        ("someone/other/a.gguf", "{}", FLUID_ERROR_ACCESS_DENIED, "someone/other"),
    ] {
        let (got, message) = call(name, options).expect_err(words);
        assert!(got == status && message.contains(words), "{got}: {message}");
    }
}

#[test]
fn a_folder_that_is_not_whole_is_known_and_mended() {
    let _turn = alone();
    let (hub, folder) = (Hub::new(), Folder::new());
    let network = |n: u64| noise(n, 40_000);
    let names = ["config.json", "openvino_encoder_model.bin", "openvino_encoder_model.xml"];
    let others = ["model.safetensors", "README.md"];
    let all = names.iter().chain(&others).zip(1..).map(|(name, n)| (*name, network(n)));
    let all: Vec<(&str, Vec<u8>)> = all.collect();
    hub.put_files(REPO, &all);
    hub.plan("/cdn/", 3, Trouble::Like(Manner { mute: true, ..Manner::default() }));
    let engine = engine(&hub, &folder);
    let options = json!({"model_type": "whisper"});
    let job = start(&engine, &options);
    std::thread::sleep(Duration::from_millis(100));
    job.cancel();
    end(&job);
    hub.forget_plans();
    let job = start(&engine, &options);
    assert_eq!(end(&job).status, FLUID_OK, "{}", last_error());
    let result = job.json();
    let path = folder.0.join("whisper/some-model");
    assert_eq!(result["path"].as_str(), path.to_str());
    let here: Vec<String> =
        folder.files().into_iter().filter(|name| !name.contains("/.")).collect();
    assert_eq!(here, names.map(|name| format!("whisper/some-model/{name}")));
    let manifest = std::fs::read(path.join(".fluid.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let sums = manifest["files"]
        .as_array()
        .expect("files")
        .iter()
        .zip(result["files"].as_array().expect("files"));
    assert!(sums.into_iter().all(|(noted, came)| noted["sha256"] == came["sha256"]));
}

#[test]
fn another_revision_or_repository_has_a_folder_of_its_own() {
    let _turn = alone();
    let (hub, folder) = (Hub::new(), Folder::new());
    let file = |n: u64| File {
        path: "model.gguf".to_owned(),
        contents: noise(n, 5_000).into(),
        lfs: true,
    };
    let revisions = vec!["v2".to_owned()];
    hub.put(REPO, Repo { files: vec![file(1)], revisions, ..Repo::default() });
    hub.put("someone/other", Repo { files: vec![file(2)], ..Repo::default() });
    let engine = engine(&hub, &folder);
    for (name, options, place) in [
        (REPO, json!({}), "llm/some-model"),
        (REPO, json!({"revision": "v2"}), "llm/some-model@v2"),
        // The name's own revision is none of its own.
        (REPO, json!({"revision": "main"}), "llm/some-model"),
        ("someone/other", json!({"local_name": "mine"}), "llm/mine"),
        ("someone/other", json!({"local_name": "mine", "file": "model.gguf"}), "llm/mine"),
    ] {
        let job = try_start(&engine, name, &options).expect("it starts");
        let last = end(&job);
        assert_eq!(last.status, FLUID_OK, "{name} {options}: {}", last.text);
        let path = folder.0.join(place).join("model.gguf");
        assert_eq!(job.json()["path"].as_str(), path.to_str(), "{name} {options}");
    }
    for (name, options, words) in [
        (REPO, json!({"local_name": "mine"}), "local_name: is the name of a model"),
        (REPO, json!({"local_name": "a/b"}), "local_name: \"a/b\" cannot be a folder"),
        (REPO, json!({"revision": "a/b"}), "revision: "),
    ] {
        let (status, message) = try_start(&engine, name, &options).map(drop).expect_err(words);
        assert_eq!(status, FLUID_ERROR_INVALID_REQUEST, "{message}");
        assert!(message.starts_with(words), "{message}");
    }
    let mine = std::fs::read(folder.0.join("llm/mine/model.gguf")).expect("a file");
    assert_eq!(mine, *file(2).contents, "another repository's");
}

#[test]
fn a_stop_ends_it_at_once_in_every_phase() {
    let _turn = alone();
    let mut worst = Duration::ZERO;
    let busy = Response::new(503).with("Retry-After", 60);
    for (target, trouble, wait) in [
        ("/revision/", stall(0), 60),
        ("/tree/", stall(5), 60),
        ("/tree/", Trouble::Instead(busy), 60),
        ("/resolve/", Trouble::Like(Manner { mute: true, ..Manner::default() }), 60),
        ("/cdn/", stall(0), 60),
        ("/cdn/", stall(1_000_000), 90),
        ("/cdn/", hub::slowly(5_000, 1), 90),
    ] {
        for how in ["cancel", "deadline", "free"] {
            let (hub, folder) = one_file(BIG);
            hub.plan(target, usize::MAX, trouble.clone());
            let engine = engine(&hub, &folder);
            let begun = Instant::now();
            let options = match how {
                "deadline" => json!({"deadline_ms": wait}),
                _ => json!({}),
            };
            let job = start(&engine, &options);
            std::thread::sleep(Duration::from_millis(wait).saturating_sub(begun.elapsed()));
            let (asked, status) = match how {
                "deadline" => (begun + Duration::from_millis(wait), FLUID_DEADLINE),
                _ => (Instant::now(), FLUID_CANCELLED),
            };
            match how {
                "cancel" => job.cancel(),
                "free" => drop(engine),
                _ => {}
            }
            let last = end(&job);
            assert_eq!(last.status, status, "{target} {how}: {}", last.text);
            worst = worst.max(last.arrived.saturating_duration_since(asked));
            assert_eq!(job.json(), json!({}));
            drop(job);
        }
    }
    println!("the slowest of 21 stops took {worst:?}");
    assert!(worst < BOUND, "{worst:?}");
}

#[test]
fn an_engine_that_is_freed_has_ended_its_threads() {
    let _turn = alone();
    let (hub, folder) = one_file(BIG);
    hub.plan("/cdn/", usize::MAX, stall(100_000));
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let named = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("tasks").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("fluid-")).count()
    };
    let before = threads();
    let engine = engine(&hub, &folder);
    let jobs: Vec<Job> =
        (0..4).map(|n| start(&engine, &json!({"local_name": format!("m{n}")}))).collect();
    std::thread::sleep(Duration::from_millis(150));
    assert!(threads() > before);
    let begun = Instant::now();
    drop(engine);
    println!("freeing an engine with 4 stalled downloads took {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(named(), 0, "threads are left");
    assert!(jobs.iter().all(|job| end(job).status == FLUID_CANCELLED));
}

#[test]
fn downloads_hold_nothing_when_they_have_ended() {
    let _turn = alone();
    process::use_one_arena();
    let (hub, folder) = one_file(20_000);
    let engine = engine(&hub, &folder);
    let round = |n: u32| {
        if n % 3 == 0 {
            hub.plan("/cdn/", 1, stall(5_000));
        }
        let job = start(&engine, &json!({"local_name": format!("m{n}")}));
        if n % 3 == 0 {
            std::thread::sleep(Duration::from_millis(20));
            job.cancel();
        }
        end(&job);
        // Cancelled before it came there, it would leave its stall to the next one.
        hub.forget_plans();
    };
    let settled = || {
        let mut held = process::held();
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(20));
            held = held.min(process::held());
        }
        held
    };
    (0..6).for_each(round);
    let (threads, files, memory) = settled();
    (6..36).for_each(round);
    let after = settled();
    println!(
        "threads, files, KiB: {threads}, {files}, {memory} before, {after:?} after 30 downloads"
    );
    assert!(after.0 <= threads && after.1 <= files, "{after:?}");
    assert!(after.2 < memory + 4_096, "{after:?}");
}

// --- processes ---

const CHILD: &str = "FLUID_DOWNLOAD_CHILD";

/// In a child: fetches to the folder that the parent names, and says what came of it.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (endpoint, folder) = order.split_once('|').expect("a hub and a folder");
    let client = client_at(endpoint, "");
    let folder = Path::new(folder);
    let mut waited = String::new();
    let mut watch = |progress: &Progress<'_>| {
        if let Progress::Waiting(holder) = progress {
            waited = (*holder).to_owned();
        }
        true
    };
    let lock = FolderLock::take(folder, &mut watch).expect("a lock").expect("nobody stopped it");
    let outcome = snapshot(&client, REPO)
        .and_then(|listed| client.fetch(&listed, &places(&listed), folder, &mut watch));
    drop(lock);
    match outcome {
        Ok(fetched) => println!("\nreceived {}", fetched.expect("not stopped")[0].received),
        Err(error) => println!("\nfailed {:?} {error}", error.kind()),
    }
    println!("\nwaited {waited}");
}

fn child_command(hub: &Hub, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test has a file"));
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    arm(&mut command, hub, folder);
    command
}

fn arm(command: &mut Command, hub: &Hub, folder: &Path) {
    command.env(CHILD, format!("{}|{}", hub.endpoint(), folder.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
}

/// What a child said behind `word`.
fn said(child: Child, word: &str) -> Vec<String> {
    let output = child.wait_with_output().expect("it ended");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = word.split(' ').map(|word| {
        let line = text.lines().find_map(|line| line.strip_prefix(word));
        line.unwrap_or_else(|| panic!("no {word} in {text}")).trim().to_owned()
    });
    lines.collect()
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let _turn = alone();
    let (hub, folder) = one_file(BIG);
    let mut most = 0;
    for kill in [300_000, 1_200_000, 2_100_000] {
        hub.plan("/cdn/", 1, hub::slowly(30_000, 5));
        let mut child = child_command(&hub, &folder.0).spawn().expect("a child");
        let begun = Instant::now();
        let length = || {
            folder.files().first().map_or(0, |name| {
                std::fs::metadata(folder.0.join(name)).map_or(0, |entry| entry.len())
            })
        };
        while length() < kill {
            assert!(begun.elapsed() < Duration::from_secs(20), "only {} bytes", length());
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("it is dead");
        most += 1;
    }
    assert!(!folder.0.join("model.gguf").exists());
    let last = said(child_command(&hub, &folder.0).spawn().expect("a child"), "received");
    assert!(last[0].parse::<u64>().expect("a number") < BIG as u64 - 2_000_000, "{last:?}");
    assert!(folder.read("model.gguf") == noise(1, BIG));
    // Beyond the file itself: what was on its way at each kill.
    let sent = hub.sent("/cdn/");
    println!("{most} kills: {sent} bytes were sent of a file of {BIG}");
    assert!(sent < BIG as u64 * 6 / 5, "{sent} bytes were sent");
}

#[test]
fn two_processes_and_two_threads_fetch_a_file_once() {
    let _turn = alone();
    let (hub, folder) = one_file(BIG);
    hub.plan("/cdn/", 1, hub::slowly(100_000, 20));
    let first = child_command(&hub, &folder.0).spawn().expect("a child");
    let pid = first.id();
    while folder.files().is_empty() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let second = child_command(&hub, &folder.0).spawn().expect("a child");
    let (first, second) = (said(first, "received waited"), said(second, "received waited"));
    assert_eq!(first, [BIG.to_string(), String::new()]);
    assert_eq!(second, ["0".to_owned(), format!("a download of process {pid}")]);
    assert_eq!(hub.sent("/cdn/"), BIG as u64);

    let (hub, folder) = one_file(BIG);
    hub.plan("/cdn/", 1, hub::slowly(100_000, 20));
    let engine = engine(&hub, &folder);
    let first = start(&engine, &json!({}));
    while !folder.files().iter().any(|name| name.ends_with(".part")) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let jobs = [first, start(&engine, &json!({})), start(&engine, &json!({}))];
    std::thread::sleep(Duration::from_millis(150));
    // One that waits for another can be stopped like any.
    let asked = Instant::now();
    jobs[2].cancel();
    let last = end(&jobs[2]);
    assert!(last.status == FLUID_CANCELLED && last.arrived - asked < BOUND);
    let notices: Vec<String> = jobs[..2]
        .iter()
        .flat_map(|job| job.read())
        .filter(|event| event.kind == FLUID_EVENT_NOTICE)
        .map(|event| event.text)
        .collect();
    let expected = "waits for another download of this process, which fetches the same model";
    assert_eq!(notices, [expected]);
    assert_eq!(hub.sent("/cdn/"), BIG as u64);
}

// --- what stands between ---

#[test]
fn a_secure_hub_is_believed_by_the_certificates_of_the_system() {
    let _turn = alone();
    let (hub, folder) = (Hub::new(), Folder::new());
    hub.put_files(REPO, &[("config.json", noise(1, 900))]);
    let secure = format!("https://{}", wires::secure(hub.address()));
    let child = |authority: &str, endpoint: &str| {
        let mut command = child_command(&hub, &folder.0);
        command.env(CHILD, format!("{endpoint}|{}", folder.text()));
        command.env("SSL_CERT_FILE", authority).env_remove("SSL_CERT_DIR");
        command.spawn().expect("a child")
    };
    assert_eq!(said(child(wires::AUTHORITY, &secure), "received"), ["900"]);
    // Nobody whom this system trusts has signed that certificate.
    std::fs::remove_file(folder.0.join("config.json")).expect("it is there");
    let system = "/etc/ssl/certs/ca-certificates.crt";
    let failed = said(child(system, &secure), "failed");
    assert!(failed[0].contains("no secure connection to 127.0.0.1"), "{failed:?}");
    // Without any, too.
    let failed = said(child("/dev/null", &secure), "failed");
    assert!(failed[0].contains("SSL_CERT_FILE"), "{failed:?}");
    // From a secure hub nothing leads to an open address.
    hub.put_files(REPO, &[("model.gguf", noise(1, 9_000))]);
    let failed = said(child(wires::AUTHORITY, &secure), "failed");
    assert!(failed[0].contains("redirects to no usable address"), "{failed:?}");
    assert_eq!(hub.asked("/cdn/"), 0);
}

#[test]
fn a_proxy_connects_us_to_the_hub() {
    let _turn = alone();
    let (hub, folder) = one_file(20_000);
    let (proxy, asked) = wires::proxy(hub.address());
    let mut command = child_command(&hub, &folder.0);
    command.env(CHILD, format!("http://hub.invalid:8080|{}", folder.text()));
    command.env("HTTP_PROXY", format!("http://user:p%40ss@{proxy}"));
    command.env_remove("http_proxy").env_remove("ALL_PROXY").env_remove("all_proxy");
    assert_eq!(said(command.spawn().expect("a child"), "received"), ["20000"]);
    let asked = asked.lock().expect("no panic");
    // The address that it redirects to is of those that are reached directly.
    let by_user = "Proxy-Authorization: Basic dXNlcjpwQHNz";
    let right = |head: &String| {
        head.starts_with("CONNECT hub.invalid:8080 HTTP/1.1") && head.contains(by_user)
    };
    assert!(!asked.is_empty() && asked.iter().all(right), "{asked:?}");
}

// --- a full disk ---

/// A child on a disk of `kib` KiB: a tmpfs that only it sees.
fn on_a_small_disk(hub: &Hub, folder: &Path, kib: usize, script: &str) -> Option<Child> {
    let this = std::env::current_exe().expect("this test has a file");
    let (this, path) = (this.display(), folder.display());
    let run = format!("'{this}' --exact child --nocapture --test-threads=1");
    let script =
        format!("mount -t tmpfs -o size={kib}k tmpfs '{path}' && {}", script.replace("RUN", &run));
    ["-rm", "-m"].iter().find_map(|how| {
        let probe = format!("mount -t tmpfs -o size=4k tmpfs '{path}'");
        let mut trial = Command::new("unshare");
        trial.args([how, "sh", "-c", &probe]).stderr(Stdio::null());
        trial.status().ok().filter(std::process::ExitStatus::success)?;
        let mut command = Command::new("unshare");
        command.args([how, "sh", "-c", &script]);
        arm(&mut command, hub, folder);
        command.env("FOLDER", folder);
        Some(command.spawn().expect("a child"))
    })
}

#[test]
fn a_full_disk_is_told_before_or_when_it_is_full() {
    let _turn = alone();
    let (hub, folder) = one_file(BIG);
    let Some(child) = on_a_small_disk(&hub, &folder.0, 2_000, "RUN") else {
        // RLIMIT_FSIZE stands in: writing fails at the same place, the free space is not asked for.
        println!("NO SMALL DISK: neither root nor user namespaces may mount; a limit of file sizes instead");
        let limit = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        let this = std::env::current_exe().expect("this test has a file");
        command.args(["-c", limit]).arg(this);
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
        arm(&mut command, &hub, &folder.0);
        let failed = said(command.spawn().expect("a child"), "failed");
        assert!(failed[0].starts_with("DiskFull"), "{failed:?}");
        return;
    };
    // Known before a byte is fetched.
    let failed = said(child, "failed");
    assert!(failed[0].starts_with("DiskFull") && failed[0].contains("3000000 bytes"), "{failed:?}");
    assert_eq!(hub.asked("/cdn/"), 0);
    // Somebody else takes the room meanwhile; then makes it again, and the part is used.
    hub.plan("/cdn/", 1, hub::slowly(20_000, 5));
    let script = "(sleep 0.3; head -c 2500000 /dev/zero > $FOLDER/other) & RUN; \
         ls -s $FOLDER; rm $FOLDER/other; RUN | sed s/received/again/";
    let child = on_a_small_disk(&hub, &folder.0, 4_000, script).expect("it worked before");
    let lines = said(child, "failed again");
    assert!(lines[0].starts_with("DiskFull") && lines[0].contains("kept"), "{lines:?}");
    let again: u64 = lines[1].parse().expect("a number");
    assert!(again < BIG as u64 && again > 0, "{again} of {BIG} again");
    assert!(hub.sent("/cdn/") < BIG as u64 * 6 / 5, "{} bytes were sent", hub.sent("/cdn/"));
}

// --- what a hostile hub may send ---

/// Bytes flipped, cut, doubled or replaced.
fn mutate(bytes: &[u8], dice: &mut dice::Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + dice.below(4) {
        let place = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes.truncate(place),
            1 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
            2 => drop(bytes.splice(place..place, *b"99999999999999999999")),
            3 => {
                let word =
                    dice.pick(&["\r\n", "\"", "null", "-1", "{}", "[", "\0", "%", "é", "../", ","]);
                drop(bytes.splice(place..place, word.bytes()));
            }
            4 => {
                let end = (place + dice.below(30)).min(bytes.len());
                let copy = bytes[place..end].to_vec();
                drop(bytes.splice(place..place, copy));
            }
            _ => {
                let end = (place + dice.below(12)).min(bytes.len());
                drop(bytes.drain(place..end));
            }
        }
    }
    bytes
}

/// An answer as it is sent.
fn raw(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn no_answer_of_a_hub_brings_a_wrong_file_or_a_panic() {
    let _turn = alone();
    let contents = noise(5, 1_500);
    let file =
        hub::File { path: "model.gguf".into(), contents: contents.clone().into(), lfs: true };
    let info = raw("200 OK", "", json!({"sha": hub::COMMIT}).to_string().as_bytes());
    let lfs = json!({"oid": file.sha256(), "size": 1_500, "pointerSize": 134});
    let list = json!([{"type": "file", "oid": "1".repeat(40), "size": 1_500, "path": "model.gguf", "lfs": lfs}]);
    let list = raw("200 OK", "Link: </x?cursor=1>; rel=\"prev\"\r\n", list.to_string().as_bytes());
    let whole =
        raw("200 OK", "ETag: \"x\"\r\nContent-Type: application/octet-stream\r\n", &contents);
    let mut outcomes = std::collections::BTreeMap::new();
    // `FLUID_MUTATIONS` chooses how many.
    let seeds = std::env::var("FLUID_MUTATIONS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(200) {
        let mut dice = dice::Dice::new(seed);
        let (hub, folder) = (&*SHARED, Folder::new());
        let client = client(hub, "");
        let redirect = format!("Location: {}/cdn/x\r\nX-Linked-Size: 1500\r\n", hub.endpoint());
        let redirect = raw("302 Found", &redirect, b"");
        let (target, good) = dice.pick(&[
            ("/revision/", &info),
            ("/tree/", &list),
            ("/resolve/", &redirect),
            ("/resolve/", &whole),
        ]);
        hub.forget_plans();
        let bad = Response { raw: Some(mutate(good, &mut dice)), ..Response::default() };
        hub.plan(target, 2, Trouble::Instead(bad));
        let outcome = fetch(&client, REPO, &folder);
        for name in folder.files().iter().filter(|name| !name.ends_with(".part")) {
            assert!(folder.read(name) == contents, "seed {seed}: {name} is wrong");
        }
        let name = match &outcome {
            Ok(_) => "it came".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        };
        assert_ne!(name, "Internal", "seed {seed}: {:?}", outcome.err());
        *outcomes.entry(name).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    let come = |kind: &str| outcomes.contains_key(kind);
    assert!(come("it came") && come("Network") && come("InvalidModel"), "{outcomes:?}");
}

/// One hub for all mutants.
static SHARED: std::sync::LazyLock<Hub> = std::sync::LazyLock::new(|| {
    let hub = Hub::new();
    hub.put_files(REPO, &[("model.gguf", noise(5, 1_500))]);
    hub
});

#[test]
fn a_lock_is_told_of_and_given_back() {
    let folder = Folder::new();
    let mut never = |_: &Progress<'_>| false;
    let lock = FolderLock::take(&folder.0, &mut never).expect("free").expect("free");
    let mut heard = Vec::new();
    let mut watch = |progress: &Progress<'_>| {
        let Progress::Waiting(holder) = progress else { panic!("{progress:?}") };
        heard.push((*holder).to_owned());
        heard.len() < 3
    };
    assert!(FolderLock::take(&folder.0, &mut watch).expect("no error").is_none());
    assert_eq!(heard, vec!["another download of this process"; 3]);
    drop(lock);
    FolderLock::take(&folder.0, &mut never).expect("free").expect("free");
    let place: PathBuf = folder.0.join("file");
    std::fs::write(&place, "").expect("a file");
    let error = FolderLock::take(&place, &mut never).expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Io);
}
