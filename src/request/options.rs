//! Our own options: of an engine, and of one load. A key nobody knows is refused.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::fields::Fields;
use super::kv_options::{KvOptions, ThreadOptions};
use super::lora::LoraFile;
use super::parse_object;
use super::speculative::{DraftKind, DraftOptions, SpeculativeFields};
use crate::error::{Error, Result};
use crate::store::hub::{HubOptions, Token};
use crate::store::Kind;

/// Options of `fluid_engine_new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// OpenVINO's C library, or a folder that holds it, in place of a search for it.
    pub openvino: Option<String>,
    /// The folder that names of models lead to; without, there are only paths.
    pub model_dir: Option<String>,
    /// The folder for compiled models; without, `cache` in the model folder.
    pub cache_dir: Option<String>,
    /// Jobs that may wait for a slot of one model, 1 to 65,536; more are refused as queue full.
    pub max_queue: usize,
    /// Events that wait in one job for its reader, 1 to 65,536; then its slot pauses.
    pub event_queue: usize,
    /// Bytes of memory that all models may take together; no limit without.
    pub max_memory: Option<u64>,
    /// A model that nobody has used for this time gives its memory back until it is used again.
    pub idle_timeout: Option<Duration>,
    /// How often that is looked at.
    pub idle_check_interval: Duration,
    /// The hub that models are fetched from.
    pub hub: HubOptions,
}

/// What `idle_check_interval` is unless it is given.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

const GIBIBYTE: f64 = (1u64 << 30) as f64;

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            openvino: None,
            model_dir: None,
            cache_dir: None,
            max_queue: 256,
            event_queue: 256,
            max_memory: None,
            idle_timeout: None,
            idle_check_interval: CHECK_INTERVAL,
            hub: HubOptions::default(),
        }
    }
}

const ENGINE_KEYS: &str = "max_queue, event_queue, openvino_library, max_memory, idle_timeout, \
     idle_check_interval, model_dir, cache_dir, hub_endpoint, hub_token, offline";

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
        options.openvino = path(&mut fields, "openvino_library")?;
        options.model_dir = path(&mut fields, "model_dir")?;
        options.cache_dir = path(&mut fields, "cache_dir")?;
        let gibibytes = fields.float("max_memory", 0.0..=1e6)?.filter(|&given| given > 0.0);
        options.max_memory = gibibytes.map(|given| (f64::from(given) * GIBIBYTE) as u64);
        options.idle_timeout = idle_timeout(&mut fields)?.flatten();
        if let Some(seconds) = fields.float("idle_check_interval", 0.01..=86_400.0)? {
            options.idle_check_interval = Duration::from_secs_f32(seconds);
        }
        options.hub = hub(&mut fields)?;
        refuse_unknown(&fields, ENGINE_KEYS)?;
        Ok(options)
    }
}

/// Options of `fluid_load_model`, in llama.cpp's names where it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadOptions {
    /// Context of one job in tokens, 8 to 16,777,216; by default the model's own, as far as it
    /// fits into the KV cache's memory.
    pub n_ctx: Option<u32>,
    /// Jobs that run together, 1 to 64.
    pub n_parallel: u32,
    /// The KV cache.
    pub kv: KvOptions,
    /// The threads that compute.
    pub threads: ThreadOptions,
    /// Most tokens of one computation, 1 to 8,192: what a cancel may have to wait for.
    pub n_ubatch: u32,
    /// Whether the model turns texts into vectors or scores (true) or generates (false); by default
    /// as the file says.
    pub embedding: Option<bool>,
    /// Map the file into memory (true) or read it (false).
    pub use_mmap: bool,
    /// Where the model runs, as OpenVINO names devices; `AUTO` leaves it to the library.
    pub device: String,
    /// Whether another device may take the place of one that is not there or fails.
    pub device_fallback: bool,
    /// Layers of a GGUF model that a GPU computes, 0 to 9,999, the last ones of the model first; by default
    /// as many as fit into its memory.
    pub n_gpu_layers: Option<u32>,
    /// What the model is for, where models of two kinds have its name, or a hub has it.
    pub model_type: Option<Kind>,
    /// Whether a model that is not here is fetched from a hub.
    pub download: bool,
    /// A folder for compiled models, so that the next load takes less time; by default the engine's.
    pub cache_dir: Option<String>,
    /// What OpenVINO computes in, `f32`, `f16` or `bf16`; by default what the device is fastest at.
    pub inference_precision: Option<String>,
    /// The file of Silero's voice activity model, in place of the one beside the model.
    pub vad_model: Option<String>,
    /// See [`EngineOptions::openvino`]; set by the engine.
    pub openvino: Option<String>,
    /// LoRA adapters; requests choose among them by their places here or their names.
    pub lora: Vec<LoraFile>,
    /// A smaller model of the same vocabulary that drafts for this one.
    pub draft: Option<DraftOptions>,
    /// Whether and how requests are decoded speculatively that do not say it themselves.
    pub speculative: Option<SpeculativeFields>,
    /// A Jinja chat template to use in place of the model's own.
    pub chat_template: Option<String>,
    /// The load ends with `FLUID_DEADLINE` after this time.
    pub deadline: Option<Duration>,
    /// Whether the model's memory is given back with the model only.
    pub pinned: bool,
    /// [`EngineOptions::idle_timeout`] for this model: `Some(None)` is never.
    pub idle_timeout: Option<Option<Duration>>,
    /// Whether the model is used once in the background as soon as it is loaded.
    pub warm_up: bool,
    /// Sizes are chosen as if no more bytes than these were free; set by the engine.
    pub memory: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            n_ctx: None,
            n_parallel: 4,
            kv: KvOptions::default(),
            threads: ThreadOptions::default(),
            n_ubatch: 512,
            embedding: None,
            use_mmap: true,
            device: "AUTO".to_owned(),
            device_fallback: true,
            n_gpu_layers: None,
            model_type: None,
            download: true,
            cache_dir: None,
            inference_precision: None,
            vad_model: None,
            openvino: None,
            lora: Vec::new(),
            draft: None,
            speculative: None,
            chat_template: None,
            deadline: None,
            pinned: false,
            idle_timeout: None,
            warm_up: false,
            memory: None,
        }
    }
}

const LOAD_KEYS: &str = "n_ctx, n_parallel, n_ubatch, embedding, use_mmap, device, \
     device_fallback, n_gpu_layers, model_type, download, cache_dir, inference_precision, vad_model, \
     lora, draft_model, draft_options, speculative, chat_template, deadline_ms, pinned, idle_timeout, warm_up";

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
        options.kv = KvOptions::parse(&mut fields)?;
        options.threads = ThreadOptions::parse(&mut fields)?;
        if let Some(count) = fields.integer("n_ubatch", 1..=8_192)? {
            options.n_ubatch = count as u32;
        }
        options.embedding = fields.boolean("embedding")?;
        if let Some(map) = fields.boolean("use_mmap")? {
            options.use_mmap = map;
        }
        options.chat_template = fields.string("chat_template")?.map(str::to_owned);
        options.deadline = deadline(&mut fields)?;
        options.pinned = fields.boolean("pinned")?.unwrap_or(false);
        options.idle_timeout = idle_timeout(&mut fields)?;
        options.warm_up = fields.boolean("warm_up")?.unwrap_or(false);
        if let Some(device) = device(&mut fields)? {
            options.device = device;
        }
        if let Some(fallback) = fields.boolean("device_fallback")? {
            options.device_fallback = fallback;
        }
        options.n_gpu_layers = fields.integer("n_gpu_layers", 0..=9_999)?.map(|n| n as u32);
        options.lora = LoraFile::parse(&mut fields)?;
        options.draft = DraftOptions::parse(&mut fields)?;
        options.speculative = SpeculativeFields::parse(&mut fields)?;
        options.model_type = kind(&mut fields, "model_type")?;
        options.download = fields.boolean("download")?.unwrap_or(true);
        options.cache_dir = path(&mut fields, "cache_dir")?;
        options.inference_precision = precision(&mut fields)?;
        options.vad_model = path(&mut fields, "vad_model")?;
        options.check_drafts()?;
        let known = [LOAD_KEYS, KvOptions::KEYS, ThreadOptions::KEYS].join(", ");
        refuse_unknown(&fields, &known)?;
        Ok(options)
    }
}

impl LoadOptions {
    fn check_drafts(&self) -> Result<()> {
        let kind = self.speculative.and_then(|fields| fields.kind);
        if kind == Some(DraftKind::Model) && self.draft.is_none() {
            let message =
                "\"draft\" needs a draft model; give draft_model, or use \"prompt_lookup\"";
            return Err(Error::invalid_request("speculative.type", message));
        }
        Ok(())
    }
}

/// The hub; what is not given is for the environment to say.
fn hub(fields: &mut Fields<'_>) -> Result<HubOptions> {
    let hub = HubOptions {
        endpoint: fields.string("hub_endpoint")?.map(str::to_owned),
        token: fields.string("hub_token")?.map(Token::new),
        offline: fields.boolean("offline")?,
        ..HubOptions::default()
    };
    hub.check()?;
    Ok(hub)
}

/// `deadline_ms`, counted from the start of the job, 1 ms to 30 days.
pub(super) fn deadline(fields: &mut Fields<'_>) -> Result<Option<Duration>> {
    let limit = fields.integer("deadline_ms", 1..=2_592_000_000)?;
    Ok(limit.map(|ms| Duration::from_millis(ms as u64)))
}

/// `idle_timeout` in seconds, up to a year; `Some(None)` for 0, which is never.
fn idle_timeout(fields: &mut Fields<'_>) -> Result<Option<Option<Duration>>> {
    let seconds = fields.float("idle_timeout", 0.0..=31_536_000.0)?;
    Ok(seconds.map(|given| (given > 0.0).then(|| Duration::from_secs_f32(given))))
}

/// What a model is for, as the model folder names it.
pub(super) fn kind(fields: &mut Fields<'_>, name: &'static str) -> Result<Option<Kind>> {
    let Some(given) = fields.string(name)? else {
        return Ok(None);
    };
    Kind::from_name(given).map(Some).ok_or_else(|| {
        let message =
            format!("\"{given}\" is not known; use \"llm\", \"whisper\" or \"embedding\"");
        Error::invalid_request(&fields.path(name), message)
    })
}

/// A path that is not empty.
pub(super) fn path(fields: &mut Fields<'_>, name: &'static str) -> Result<Option<String>> {
    match fields.string(name)? {
        Some(given) if given.is_empty() || given.contains('\0') => {
            Err(Error::invalid_request(&fields.path(name), "is no path"))
        }
        given => Ok(given.map(str::to_owned)),
    }
}

/// A device as OpenVINO names it, with a number where there are several of a kind.
fn device(fields: &mut Fields<'_>) -> Result<Option<String>> {
    let Some(device) = fields.string("device")? else {
        return Ok(None);
    };
    let (kind, number) = device.split_once('.').unwrap_or((device, "0"));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_kind = matches!(kind, "CPU" | "GPU" | "NPU") || device == "AUTO";
    if !is_kind || !is_number || number.len() > 3 {
        let message = format!(
            "\"{device}\" is not a device; use \"AUTO\", \"CPU\", \"GPU\", \"NPU\", or one of several as \"GPU.1\""
        );
        return Err(Error::invalid_request("device", message));
    }
    Ok(Some(device.to_owned()))
}

fn precision(fields: &mut Fields<'_>) -> Result<Option<String>> {
    match fields.string("inference_precision")? {
        None => Ok(None),
        Some(known @ ("f32" | "f16" | "bf16")) => Ok(Some(known.to_owned())),
        Some(other) => Err(Error::invalid_request(
            "inference_precision",
            format!("\"{other}\" is not known; use \"f32\", \"f16\" or \"bf16\""),
        )),
    }
}

pub(super) fn refuse_unknown(fields: &Fields<'_>, known: &str) -> Result<()> {
    match fields.unknown().next() {
        None => Ok(()),
        Some(key) => Err(Error::invalid_request(
            &fields.path(key),
            format!("is not an option; known are: {known}"),
        )),
    }
}
