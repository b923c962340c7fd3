//! The command line and the environment: what is there, what is refused and how.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use support::{outcome, server, Host, Scratch};

/// Issue 7's list: options, what they have unless told, and their variables.
const OPTIONS: [(&str, &str, &str); 27] = [
    ("host", "127.0.0.1", "FLUID_HOST"),
    ("port", "3847", "FLUID_PORT"),
    ("workers", "1", ""),
    ("reload", "", ""),
    ("log-level", "INFO", ""),
    ("model-path", "./models", "FLUID_MODEL_PATH"),
    ("cache-dir", "cache in --model-path", "FLUID_CACHE_DIR"),
    ("llm-model", "unsloth/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q4_K_M.gguf", "FLUID_LLM_MODEL"),
    ("whisper-model", "whisper-tiny", "FLUID_WHISPER_MODEL"),
    ("device", "AUTO", ""),
    ("no-warm-up", "", ""),
    ("idle-timeout", "5", "FLUID_IDLE_TIMEOUT"),
    ("idle-check-interval", "60", ""),
    ("max-memory", "4.0", ""),
    ("version", "", ""),
    ("help", "", ""),
    // Our own.
    ("embedding-model", "", "FLUID_EMBEDDING_MODEL"),
    ("n-ctx", "", "FLUID_N_CTX"),
    ("api-key", "", "FLUID_API_KEY"),
    ("cors-origin", "", ""),
    ("offline", "", ""),
    ("max-body-mb", "16", ""),
    ("max-upload-mb", "256", ""),
    ("client-timeout", "30", ""),
    // Variables alone.
    ("", "", "FLUID_DATA_ROOT"),
    ("", "true", "FLUID_ENABLE_EMBEDDINGS"),
    ("", "true", "FLUID_WARM_UP"),
];

/// Options of a help text by their names, each with all that is said of it; variables alone, too.
fn listed(help: &str) -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::<String, String>::new();
    let mut last = String::new();
    for line in help.lines() {
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let indent = line.len() - line.trim_start().len();
        let first = words.iter().find(|word| word.starts_with("--") || word.starts_with("FLUID_"));
        match first {
            Some(name) if indent <= 6 && line.trim_start().starts_with(['-', 'F']) => {
                last = name.trim_start_matches("--").to_owned();
            }
            _ => {}
        }
        let block = blocks.entry(last.clone()).or_default();
        *block = format!("{block} {}", line.trim());
    }
    blocks.remove("");
    blocks
}

/// What a text says between `before` and the next `]`.
fn between<'a>(text: &'a str, before: &str) -> &'a str {
    let rest = text.split_once(before).map_or("", |(_, rest)| rest);
    rest.split(']').next().unwrap_or_default()
}

#[test]
fn the_help_has_the_options_of_fluid_server_and_our_own() {
    let output = outcome(server().arg("--help"));
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let listed = listed(&help);
    assert_eq!(listed.len(), OPTIONS.len(), "{:?}", listed.keys());
    for (name, default, variable) in OPTIONS {
        let name = if name.is_empty() { variable } else { name };
        let text = listed.get(name).unwrap_or_else(|| panic!("no {name} in {help}"));
        assert_eq!(between(text, "[default: "), default, "{name}: {text}");
        if name != variable {
            assert_eq!(between(text, "[env: "), variable, "{name}: {text}");
        }
    }
    assert_eq!(between(&listed["log-level"], "[possible values: "), "DEBUG, INFO, WARNING, ERROR");
    assert_eq!(between(&listed["device"], "[possible values: "), "AUTO, CPU, GPU, NPU");
}

#[test]
fn the_version_is_the_librarys() {
    let output = outcome(server().arg("--version"));
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(said, format!("fluid-server {}\n", env!("CARGO_PKG_VERSION")));
}

/// The one line that a server says which does not start.
fn refusal(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("fluid-server: "), "{said}");
    assert!(said.lines().all(|line| line == last || line.contains(" INFO ")), "{said}");
    last.to_owned()
}

#[test]
fn wrong_values_are_one_line_each() {
    let cases: [(&[&str], &[&str]); 15] = [
        (&["--port", "x"], &["'x'", "--port"]),
        (&["--port", "65536"], &["'65536'", "--port"]),
        (&["--workers", "0"], &["--workers", "1..=64"]),
        (&["--log-level", "LOUD"], &["--log-level", "DEBUG, INFO, WARNING, ERROR"]),
        (&["--device", "TPU"], &["--device", "AUTO, CPU, GPU, NPU"]),
        (&["--idle-timeout=-1"], &["--idle-timeout"]),
        (&["--idle-check-interval", "0"], &["--idle-check-interval", "0.01"]),
        (&["--max-memory", "NaN"], &["--max-memory", "0 to 1000000"]),
        (&["--max-body-mb", "0"], &["--max-body-mb"]),
        (&["--client-timeout", "0"], &["--client-timeout"]),
        (&["--cors-origin", "example.org"], &["--cors-origin", "https://example.org"]),
        (&["--nonsense"], &["--nonsense", "--help"]),
        (&["word"], &["word"]),
        (&["--port"], &["--port"]),
        (&["--api-key", ""], &["--api-key"]),
    ];
    for (options, words) in cases {
        let line = refusal(&outcome(server().args(options)), 2);
        for word in words {
            assert!(line.contains(word), "{word:?} in {line}");
        }
    }
    for (name, value) in [
        ("FLUID_PORT", "x"),
        ("FLUID_IDLE_TIMEOUT", "soon"),
        ("FLUID_WARM_UP", "maybe"),
        ("FLUID_ENABLE_EMBEDDINGS", "2"),
    ] {
        let line = refusal(&outcome(server().env(name, value)), 2);
        assert!(line.contains(name) && line.contains(value), "{line}");
    }
}

#[test]
fn a_key_is_never_said() {
    let shows = |output: &Output| {
        let all = [output.stdout.as_slice(), &output.stderr].concat();
        String::from_utf8_lossy(&all).contains("geheim")
    };
    assert!(!shows(&outcome(server().arg("--help").env("FLUID_API_KEY", "geheim"))));
    for key in ["geheim geheim", "geheim\n", "geheim\u{e9}"] {
        let output = outcome(server().args(["--api-key", key]));
        assert!(!shows(&output), "{output:?}");
        refusal(&output, 2);
    }
    let host = Host::start(Scratch::new(), &["--log-level", "DEBUG", "--api-key", "geheim"], &[]);
    host.client().ask("GET", "/v1/models", "Authorization: Bearer geheim\r\n", "");
    host.client().ask("GET", "/v1/models?api_key=geheim", "Authorization: Bearer geheimer\r\n", "");
    assert!(!host.log().contains("geheim"), "{}", host.log());
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let scratch = Scratch::new();
    let line = refusal(&outcome(start(scratch.path()).args(["--port", &port])), 1);
    assert!(line.contains(&port) && line.contains("choose another --port"), "{line}");
}

#[test]
fn a_host_that_is_not_here_is_refused() {
    let scratch = Scratch::new();
    for host in ["nowhere.invalid", "192.0.2.1", ""] {
        let line = refusal(&outcome(start(scratch.path()).args(["--host", host])), 1);
        assert!(line.contains(host) && line.contains("--host"), "{line}");
    }
}

/// With a model folder, on a free port.
fn start(folder: &Path) -> Command {
    let mut command = server();
    command.args(["--port", "0", "--offline", "--no-warm-up", "--model-path"]).arg(folder);
    command
}

#[test]
fn what_is_no_folder_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.path().join("file");
    fs::write(&file, "x").expect("a file");
    for folder in [file.clone(), file.join("models")] {
        let line = refusal(&outcome(&mut start(&folder)), 1);
        assert!(line.contains("--model-path") && line.contains("file"), "{line}");
    }
    let line = refusal(&outcome(start(scratch.path()).arg("--cache-dir").arg(&file)), 1);
    assert!(line.contains("--cache-dir"), "{line}");
}

#[test]
fn a_folder_that_may_not_be_read_or_made_is_refused() {
    let scratch = Scratch::new();
    let closed = scratch.path().join("closed");
    fs::create_dir(&closed).expect("a folder");
    let binary = scratch.path().join("fluid-server");
    // By another process: a file that this one still writes for a moment cannot be started.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_fluid-server")).arg(&binary).status();
    assert!(copied.expect("cp").success());
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    set(scratch.path(), 0o755);
    set(&closed, 0o000);
    for folder in [closed.clone(), closed.join("models")] {
        let mut command = Command::new(&binary);
        command.args(["--port", "0", "--model-path"]).arg(&folder).current_dir("/");
        // Permissions are nothing to root.
        if Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n") {
            use std::os::unix::process::CommandExt;
            command.uid(65_534).gid(65_534);
        }
        let line = refusal(&outcome(&mut command), 1);
        assert!(line.contains("closed") && line.contains("ermission"), "{line}");
        assert!(line.contains("another --model-path"), "{line}");
    }
    set(&closed, 0o755);
}

#[test]
fn the_model_folder_is_made_where_it_is_missing() {
    let host = Host::start(Scratch::new(), &["--reload"], &[]);
    for part in ["llm", "whisper", "embedding"] {
        assert!(host.scratch.path().join("models").join(part).is_dir(), "{part}");
    }
    assert!(host.log().contains("--reload has no meaning"), "{}", host.log());
}

/// What a server says of its folders and its address that is started so.
fn said(scratch: &Scratch, options: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = server();
    command.args(["--offline", "--no-warm-up"]).args(options).envs(variables.iter().copied());
    let log = scratch.path().join("log");
    command.current_dir(scratch.path()).stderr(fs::File::create(&log).expect("a log"));
    let mut child = command.spawn().expect("the server");
    let begun = std::time::Instant::now();
    while begun.elapsed() < support::PATIENCE {
        if fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on ")) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    fs::read_to_string(log).expect("a log")
}

/// Options, variables, and what the log then says.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn variables_set_what_options_do_not() {
    let scratch = Scratch::new();
    let free = ("FLUID_PORT", "0");
    let cases: [Case; 6] = [
        (&["--port", "0"], &[("FLUID_PORT", "1"), ("FLUID_HOST", "::1")], &["http://[::1]:"]),
        (&[], &[free, ("FLUID_HOST", "")], &["http://127.0.0.1:", "models in ./models"]),
        (&[], &[free, ("FLUID_MODEL_PATH", "a")], &["models in a\n"]),
        (&["--model-path", "b"], &[free, ("FLUID_MODEL_PATH", "a")], &["models in b\n"]),
        (&[], &[free, ("FLUID_DATA_ROOT", "d")], &["models in d/models\n", "in d/cache\n"]),
        (
            &["--cache-dir", "c"],
            &[free, ("FLUID_DATA_ROOT", "d"), ("FLUID_MODEL_PATH", "e")],
            &["models in e\n", "compiled models in c\n"],
        ),
    ];
    for (options, variables, words) in cases {
        let log = said(&scratch, options, variables);
        for word in words {
            assert!(log.contains(word), "{word:?} of {options:?} {variables:?} in {log}");
        }
    }
}
