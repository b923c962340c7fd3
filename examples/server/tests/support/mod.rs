//! A server of a test's own, and clients that are sockets: what real clients do wrong, these can do.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its own part")]

mod client;
mod host;
mod scratch;

pub use client::{post, Answer, Client};
pub use host::{Host, PATIENCE};
pub use scratch::Scratch;

use std::process::{Command, Output, Stdio};

/// The binary, without what the tests' own environment sets.
pub fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fluid-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLUID_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Its end, for a server that is to refuse to start; one that serves all the same is ended.
pub fn outcome(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server");
    let id = child.id().to_string();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE).is_err() {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output().expect("an end");
    let _ = done.send(());
    watch.join().expect("the watch");
    output
}
