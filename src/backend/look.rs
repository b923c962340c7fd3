//! What a model's files say about it, without loading it: for lists.
#![forbid(unsafe_code)]

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// What files say; all `None` where they say nothing, or are not understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The model's family, such as `llama` or `whisper`.
    pub architecture: Option<String>,
    /// What most weights are stored as, such as `Q4_1`.
    pub quantization: Option<String>,
    /// Weights, counted.
    pub parameters: Option<u64>,
    /// The longest context it was trained for, in tokens.
    pub context_length: Option<u64>,
    /// Why no backend of this build runs it, as a load would say it.
    pub unsupported: Option<String>,
}

/// Looks at the model at `path`, a GGUF file or a folder in OpenVINO's format, as a load does before it
/// calls a model library: headers, descriptions, sizes of files.
///
/// # Errors
/// `NotFound`, `Io` or `InvalidModel`: files are missing, cannot be read, or are cut or altered.
pub fn look(path: &Path) -> Result<Facts> {
    look_with_backend(path).or_else(|error| match error.kind() {
        ErrorKind::UnsupportedModel | ErrorKind::Unsupported => {
            Ok(Facts { unsupported: Some(error.message().to_owned()), ..Facts::default() })
        }
        _ => Err(error),
    })
}

fn look_with_backend(path: &Path) -> Result<Facts> {
    let is_folder = path.is_dir();
    #[cfg(feature = "openvino")]
    if is_folder {
        return super::openvino::look(path);
    }
    #[cfg(feature = "llama")]
    if !is_folder {
        return super::llama::look(path);
    }
    let _ = is_folder;
    let message = format!("{}: this build has no backend for it", path.display());
    Err(Error::new(ErrorKind::Unsupported, message))
}
