//! The C interface: checks what comes in, calls one thing of the engine, translates what comes out.
//!
//! Every function runs inside [`guard::guard`]; outputs are written only on success.
#![allow(non_camel_case_types, reason = "C's names, as the header shows them")]

mod audio;
mod callback;
mod devices;
mod download;
mod embed;
mod engine;
mod estimate;
mod event;
mod floats;
mod generate;
mod guard;
mod handle;
mod job;
mod log;
mod model;
mod models;
mod pointer;
mod process;
mod queue;
mod rerank;
mod state;
mod status;
mod string;
mod tokenize;
mod transcribe;
mod version;

pub use audio::*;
pub use devices::{fluid_devices, fluid_doctor};
pub use download::{fluid_download, fluid_download_start};
pub use embed::{fluid_embed, fluid_embed_start};
pub use engine::{
    fluid_engine_events, fluid_engine_free, fluid_engine_info, fluid_engine_new, fluid_engine_trim,
};
pub use estimate::fluid_estimate;
pub use event::*;
pub use floats::fluid_floats_free;
pub use generate::{fluid_generate, fluid_generate_start};
pub use guard::fluid_last_error;
pub use handle::{fluid_engine, fluid_job, fluid_model, fluid_queue};
pub use job::{
    fluid_job_attach, fluid_job_cancel, fluid_job_floats, fluid_job_free, fluid_job_json,
    fluid_job_next, fluid_job_take_model,
};
pub use log::*;
pub use model::{fluid_load_model, fluid_load_model_start, fluid_model_free, fluid_model_info};
pub use models::fluid_models;
pub use queue::{fluid_queue_free, fluid_queue_new, fluid_queue_next};
pub use rerank::{fluid_rerank, fluid_rerank_start};
pub use state::{
    fluid_model_restore_state, fluid_model_restore_state_start, fluid_model_save_state,
    fluid_model_save_state_start,
};
pub use status::*;
pub use string::fluid_string_free;
pub use tokenize::{fluid_detokenize, fluid_tokenize};
pub use transcribe::{fluid_transcribe, fluid_transcribe_start};
pub use version::*;
