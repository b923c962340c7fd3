//! What `fluid_doctor` is asked. An unknown key is refused, as in our other options.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::fields::Fields;
use super::options::{path, refuse_unknown};
use super::parse_object;
use crate::error::Result;

/// Options of `fluid_doctor`. What is not given is the engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorOptions {
    /// Whether OpenVINO's library is opened and asked.
    pub openvino: bool,
    /// OpenVINO's C library, or a folder that holds it.
    pub openvino_library: Option<String>,
    /// The folder of models.
    pub model_dir: Option<String>,
    /// The folder of compiled models.
    pub cache_dir: Option<String>,
    /// How long each native library may take to answer, 100 ms to 10 minutes.
    pub timeout: Duration,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self {
            openvino: true,
            openvino_library: None,
            model_dir: None,
            cache_dir: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl DoctorOptions {
    /// Reads `text`, a JSON object; an empty text means the defaults.
    pub fn parse(text: &str) -> Result<Self> {
        let mut options = Self::default();
        if text.is_empty() {
            return Ok(options);
        }
        let map = parse_object(text, "doctor options")?;
        let mut fields = Fields::new("", &map);
        options.openvino = fields.boolean("openvino")?.unwrap_or(true);
        options.openvino_library = path(&mut fields, "openvino_library")?;
        options.model_dir = path(&mut fields, "model_dir")?;
        options.cache_dir = path(&mut fields, "cache_dir")?;
        if let Some(limit) = fields.integer("timeout_ms", 100..=600_000)? {
            options.timeout = Duration::from_millis(limit as u64);
        }
        refuse_unknown(&fields, "openvino, openvino_library, model_dir, cache_dir, timeout_ms")?;
        Ok(options)
    }
}
