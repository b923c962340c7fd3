//! Models in OpenVINO's format, through its C library, which is opened when a model needs it.
//!
//! From the `openvino` crate come names of element types; what computes goes through
//! `openvino-sys`: the crate's own `Core`, `InferRequest` and `Tensor` hide their handles, set no
//! properties on a compile, leak a string at each "not ready yet", and share one owner twice.

mod compiler;
pub mod device;
mod file;
pub mod find;
mod kind;
pub mod native;
mod port;
pub mod request;
pub mod runtime;
mod status;
pub mod tensor;
mod vad;
mod whisper;

use std::path::Path;

use super::{Estimate, Facts, Listener, Loaded};
use crate::error::Result;
use crate::request::LoadOptions;

/// Loads the model folder at `path`.
pub(super) fn load(
    path: &str,
    options: &LoadOptions,
    listener: Listener<'_>,
) -> Result<Option<Loaded>> {
    kind::check(Path::new(path))?;
    whisper::load(path, options, listener)
}

/// See [`super::look`].
pub(super) fn look(folder: &Path) -> Result<Facts> {
    let config = kind::Config::read(folder);
    let facts = Facts {
        architecture: config.model_type,
        context_length: config.positions,
        ..Facts::default()
    };
    match kind::check(folder) {
        Ok(()) => whisper::look(folder).map(|()| facts),
        Err(error) => Ok(Facts { unsupported: Some(error.message().to_owned()), ..facts }),
    }
}

/// What the model folder at `path` will take of memory. The runtime library is not opened for it.
pub(super) fn estimate(path: &str, options: &LoadOptions) -> Result<Estimate> {
    kind::check(Path::new(path))?;
    whisper::estimate(path, options)
}
