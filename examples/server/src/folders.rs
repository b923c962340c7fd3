//! The model folder, as it has to be before anything can be loaded from it.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::cli::Config;
use crate::log;

/// What a model folder has in it.
const PARTS: [&str; 3] = ["llm", "whisper", "embedding"];

/// Makes the model folder where it is missing; a line that says what to do where there can be none.
pub(crate) fn prepare(config: &Config) -> Result<(), String> {
    let folder = &config.model_path;
    match fs::read_dir(folder) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(folder).map_err(|error| refused("make", folder, &error))?;
            log::info!("made the model folder {}", folder.display());
        }
        Err(error) => return Err(refused("read", folder, &error)),
    }
    match config.cache_dir.as_deref() {
        Some(cache) if cache.exists() && !cache.is_dir() => {
            Err(format!("{} is not a folder: give another --cache-dir", cache.display()))
        }
        _ => Ok(()),
    }
}

fn make(folder: &Path) -> Result<(), Error> {
    PARTS.iter().try_for_each(|part| fs::create_dir_all(folder.join(part)))
}

fn refused(what: &str, folder: &Path, error: &Error) -> String {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => "give this user the right to, or name another --model-path",
        _ => "name another --model-path",
    };
    format!("cannot {what} the model folder {}: {error}; {advice}", folder.display())
}
