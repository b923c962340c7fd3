//! Options of a download.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::fields::Fields;
use super::options::{deadline, kind, path, refuse_unknown};
use super::parse_object;
use crate::error::Result;
use crate::store::Kind;

/// Options of `fluid_download`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownloadOptions {
    /// A branch, a tag or a commit; else the name's own, or `main`.
    pub revision: Option<String>,
    /// One file of the repository; else the name's own, or what a rule chooses.
    pub file: Option<String>,
    /// What the model is for; else what its name tells.
    pub kind: Option<Kind>,
    /// The name it gets in the model folder; else the repository's.
    pub local_name: Option<String>,
    /// The download ends with `FLUID_DEADLINE` after this time.
    pub deadline: Option<Duration>,
}

impl DownloadOptions {
    /// Reads `text`, a JSON object; an empty text means the defaults.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let map = parse_object(text, "download options")?;
        let mut fields = Fields::new("", &map);
        let options = Self {
            revision: path(&mut fields, "revision")?,
            file: path(&mut fields, "file")?,
            kind: kind(&mut fields, "model_type")?,
            local_name: path(&mut fields, "local_name")?,
            deadline: deadline(&mut fields)?,
        };
        refuse_unknown(&fields, "revision, file, model_type, local_name, deadline_ms")?;
        Ok(options)
    }
}
