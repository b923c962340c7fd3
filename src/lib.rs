//! libfluid: local AI behind one C interface.
//!
//! The map, from the outside in; `docs/architecture.md` walks one call through it.
//! `ffi` calls `engine`, `engine` calls `backend`; the other rooms depend on none of these.

mod at_exit;
pub mod audio;
pub mod backend;
pub mod chat;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod ffi;
pub mod grammar;
mod log;
pub mod machine;
mod own_thread;
pub mod request;
pub mod sampling;
pub mod speech;
pub mod store;
