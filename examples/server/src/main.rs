//! `fluid-server`: OpenAI's protocol over libfluid, with Fluid Server's command line.
//!
//! `cli` says what is asked for, `server` listens, `guard` lets through what may come in, `routes` answer, `models`
//! loads what they need, `metrics` counts, `fluid` is the library.

mod app;
mod cli;
mod devices;
mod downloads;
mod error;
mod fluid;
mod folders;
mod guard;
mod kept;
mod log;
mod metrics;
mod models;
mod openapi;
mod routes;
mod server;
mod sse;
mod warm_up;

use std::io::Write;
use std::process::ExitCode;

use cli::{Config, Problem};

/// What clap ends with after a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match Config::read().map(server::run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(message)) => failure(&message, 1),
        Err(Problem::Wrong(message)) => failure(&message, USAGE),
        Err(Problem::Asked(answer)) => match answer.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}

fn failure(message: &str, code: u8) -> ExitCode {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "fluid-server: {message}");
    ExitCode::from(code)
}
