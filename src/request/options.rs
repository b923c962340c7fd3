//! Our own options: of an engine, and of one load. A key nobody knows is refused.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::fields::Fields;
use super::parse_object;
use crate::error::{Error, Result};

/// Options of `fluid_engine_new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Jobs that may wait for a slot of one model, 1 to 65,536; more are refused as queue full.
    pub max_queue: usize,
    /// Events that wait in one job for its reader, 1 to 65,536; then its slot pauses.
    pub event_queue: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { max_queue: 256, event_queue: 256 }
    }
}

impl EngineOptions {
    /// Reads `text`, a JSON object; an empty text means the defaults.
    pub fn parse(text: &str) -> Result<Self> {
        let mut options = Self::default();
        if text.is_empty() {
            return Ok(options);
        }
        let map = parse_object(text, "engine options")?;
        let mut fields = Fields::new("", &map);
        if let Some(count) = fields.integer("max_queue", 1..=65_536)? {
            options.max_queue = count as usize;
        }
        if let Some(count) = fields.integer("event_queue", 1..=65_536)? {
            options.event_queue = count as usize;
        }
        refuse_unknown(&fields, "max_queue, event_queue")?;
        Ok(options)
    }
}

/// Options of `fluid_load_model`, in llama.cpp's names where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Context of one job in tokens, 8 to 16,777,216; by default the model's own, at most 4,096.
    pub n_ctx: Option<u32>,
    /// Jobs that run together, 1 to 64.
    pub n_parallel: u32,
    /// Threads that compute, 1 to 512; by default one for each physical core.
    pub n_threads: Option<u32>,
    /// Most tokens of one computation, 1 to 8,192: what a cancel may have to wait for.
    pub n_ubatch: u32,
    /// Map the file into memory (true) or read it (false).
    pub use_mmap: bool,
    /// A Jinja chat template to use in place of the model's own.
    pub chat_template: Option<String>,
    /// The load ends with `FLUID_DEADLINE` after this time.
    pub deadline: Option<Duration>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            n_ctx: None,
            n_parallel: 4,
            n_threads: None,
            n_ubatch: 512,
            use_mmap: true,
            chat_template: None,
            deadline: None,
        }
    }
}

const LOAD_KEYS: &str =
    "n_ctx, n_parallel, n_threads, n_ubatch, use_mmap, device, chat_template, deadline_ms";

impl LoadOptions {
    /// Reads `text`, a JSON object; an empty text means the defaults.
    pub fn parse(text: &str) -> Result<Self> {
        let mut options = Self::default();
        if text.is_empty() {
            return Ok(options);
        }
        let map = parse_object(text, "load options")?;
        let mut fields = Fields::new("", &map);
        options.n_ctx = fields.integer("n_ctx", 8..=16_777_216)?.map(|n| n as u32);
        if let Some(count) = fields.integer("n_parallel", 1..=64)? {
            options.n_parallel = count as u32;
        }
        options.n_threads = fields.integer("n_threads", 1..=512)?.map(|n| n as u32);
        if let Some(count) = fields.integer("n_ubatch", 1..=8_192)? {
            options.n_ubatch = count as u32;
        }
        if let Some(map) = fields.boolean("use_mmap")? {
            options.use_mmap = map;
        }
        options.chat_template = fields.string("chat_template")?.map(str::to_owned);
        options.deadline = deadline(&mut fields)?;
        check_device(&mut fields)?;
        refuse_unknown(&fields, LOAD_KEYS)?;
        Ok(options)
    }
}

/// `deadline_ms`, counted from the start of the job, 1 ms to 30 days.
pub(super) fn deadline(fields: &mut Fields<'_>) -> Result<Option<Duration>> {
    let limit = fields.integer("deadline_ms", 1..=2_592_000_000)?;
    Ok(limit.map(|ms| Duration::from_millis(ms as u64)))
}

fn check_device(fields: &mut Fields<'_>) -> Result<()> {
    match fields.string("device")? {
        None | Some("AUTO" | "CPU") => Ok(()),
        Some(device @ ("GPU" | "NPU")) => Err(Error::unsupported(
            "device",
            format!("this build has no {device} backend for GGUF models; use \"CPU\" or \"AUTO\""),
        )),
        Some(other) => Err(Error::invalid_request(
            "device",
            format!("\"{other}\" is not a device; use \"AUTO\" or \"CPU\""),
        )),
    }
}

fn refuse_unknown(fields: &Fields<'_>, known: &str) -> Result<()> {
    match fields.unknown().next() {
        None => Ok(()),
        Some(key) => Err(Error::invalid_request(
            &fields.path(key),
            format!("is not an option; known are: {known}"),
        )),
    }
}
