//! LoRA adapters as plain data.
#![forbid(unsafe_code)]

use serde_json::Value;

/// An adapter at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adapter {
    /// Its place in [`LoadedText::adapters`](super::LoadedText::adapters).
    pub index: u32,
    /// How much of it; finite, and not 0.
    pub scale: f32,
}

/// A loaded adapter.
#[derive(Debug, Clone)]
pub struct AdapterInfo {
    /// What requests call it.
    pub name: String,
    /// For requests that choose no adapters.
    pub scale: f32,
    /// Tells its content from others': a digest in hexadecimal.
    pub fingerprint: String,
    /// What `fluid_model_info` says beside the above, an object.
    pub details: Value,
}
