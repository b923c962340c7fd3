//! libfluid as the host uses it: its C interface, with handles that free themselves and jobs that are awaited.
//! The only room with `unsafe` code.

mod engine;
mod event;
mod job;
mod log;
mod model;
mod reader;
mod task;
mod text;

pub(crate) use engine::Engine;
pub(crate) use event::{End, Event, Kind};
pub(crate) use fluid::ffi::fluid_status as Status;
pub(crate) use job::Job;
pub(crate) use log::log_to;
pub(crate) use model::Model;
pub(crate) use text::version;

/// A call that failed, or a job that ended with an error.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// One of the library's `FLUID_ERROR_...`, or an outcome such as `FLUID_CANCELLED`.
    pub(crate) status: Status,
    /// One line that names the cause.
    pub(crate) message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, form: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        form.write_str(&self.message)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;
