//! A server that runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::{server, Client, Scratch};

/// What nothing takes as long as.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a free port, with a model folder of its own; ends when it is dropped.
pub struct Host {
    child: Child,
    pub port: u16,
    pub scratch: Scratch,
}

impl Host {
    /// With options, whose model folder is one that holds SmolLM2.
    pub fn with_smollm2(options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let folder = scratch.path().join("models/llm");
        fs::create_dir_all(&folder).expect("a folder");
        let models = std::env::var_os("FLUID_MODELS").map_or_else(in_repository, PathBuf::from);
        let model = models.join("SmolLM2-135M-Instruct.Q4_1.gguf");
        assert!(model.exists(), "no {}: run `make models`", model.display());
        std::os::unix::fs::symlink(model, folder.join("smollm2.gguf")).expect("a link");
        Self::start(scratch, &[&["--llm-model", "smollm2"], options].concat(), &[])
    }

    /// With a scripted model in place of a language model, and options.
    pub fn with_script(script: &str, options: &[&str]) -> Self {
        let name = format!("fake:{script}");
        Self::start(Scratch::new(), &[&["--llm-model", &name], options].concat(), &[])
    }

    /// With options and variables.
    pub fn start(scratch: Scratch, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = scratch.path().join("log");
        let models = scratch.path().join("models");
        let child = server()
            .args(["--port", "0", "--offline", "--no-warm-up", "--model-path"])
            .arg(models)
            .args(options)
            .envs(variables.iter().copied())
            .stderr(File::create(log).expect("a log"))
            .spawn()
            .expect("the server");
        let mut host = Self { child, port: 0, scratch };
        host.port = host.wait_for_port();
        host
    }

    fn wait_for_port(&mut self) -> u16 {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let log = self.log();
            if let Some((_, rest)) = log.split_once("listening on http://") {
                if let Some((address, _)) = rest.split_once('\n') {
                    let (_, port) = address.rsplit_once(':').expect("a port");
                    return port.parse().expect("a port");
                }
            }
            assert!(self.child.try_wait().expect("a child").is_none(), "no server: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no server: {}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Waits for a line that has `words` in it.
    pub fn wait_for_log(&self, words: &str) {
        self.wait_until(words, || self.log().contains(words));
    }

    /// Waits until something is so.
    pub fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "not so: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// A number of `/metrics` by its line's beginning.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.client().ask("GET", "/metrics", "", "");
        let line = answer.body.lines().find_map(|line| line.strip_prefix(name))?.to_owned();
        line.trim().parse().ok()
    }

    /// Jobs that its models work on or have waiting.
    pub fn jobs(&self) -> f64 {
        let answer = self.client().ask("GET", "/metrics", "", "");
        let lines = answer.body.lines().filter(|line| line.starts_with("fluid_model_jobs{"));
        let count = |line: &str| line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
        lines.filter_map(count).sum()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(status.success(), "no process to send {name} to: {}", self.log());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "no end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// KiB of memory that it has.
    pub fn resident_kib(&self) -> u64 {
        self.status_line("VmRSS:")
    }

    pub fn threads(&self) -> u64 {
        self.status_line("Threads:")
    }

    fn status_line(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(path).expect("a status");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
    }

    /// Open files and sockets.
    pub fn handles(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("its handles").count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
}
