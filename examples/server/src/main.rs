//! `fluid-server`: OpenAI's protocol over libfluid, with Fluid Server's command line.
//!
//! `cli` says what is asked for, `server` listens, `routes` answer, `models` loads what they need, `fluid` is the
//! library.

mod app;
mod cli;
mod error;
mod fluid;
mod log;
mod models;
mod routes;
mod server;
mod sse;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let config = cli::Config::parse();
    match server::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            use std::io::Write;
            // Where stderr is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "fluid-server: {message}");
            ExitCode::FAILURE
        }
    }
}
