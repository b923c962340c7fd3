//! Load options of the KV cache and of the threads that compute, in llama.cpp's names where it has one.
#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::error::{Error, Result};

/// What keys or values are stored as in the KV cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "ggml's names")]
pub enum CacheType {
    F32,
    #[default]
    F16,
    Bf16,
    Q8_0,
    Q5_1,
    Q5_0,
    Q4_1,
    Q4_0,
}

const CACHE_TYPES: [(&str, CacheType); 8] = [
    ("f32", CacheType::F32),
    ("f16", CacheType::F16),
    ("bf16", CacheType::Bf16),
    ("q8_0", CacheType::Q8_0),
    ("q5_1", CacheType::Q5_1),
    ("q5_0", CacheType::Q5_0),
    ("q4_1", CacheType::Q4_1),
    ("q4_0", CacheType::Q4_0),
];

impl CacheType {
    /// ggml's name.
    pub fn name(self) -> &'static str {
        let named = CACHE_TYPES.iter().find(|(_, known)| *known == self);
        named.map_or("", |(name, _)| name)
    }

    /// Whether it takes fewer bits than 16: then rows are stored in blocks of 32.
    pub fn is_quantised(self) -> bool {
        !matches!(self, CacheType::F32 | CacheType::F16 | CacheType::Bf16)
    }

    /// Bytes of 32 values.
    pub fn block_bytes(self) -> u64 {
        match self {
            CacheType::F32 => 128,
            CacheType::F16 | CacheType::Bf16 => 64,
            CacheType::Q8_0 => 34,
            CacheType::Q5_1 => 24,
            CacheType::Q5_0 => 22,
            CacheType::Q4_1 => 20,
            CacheType::Q4_0 => 18,
        }
    }
}

/// Whether attention is computed as FlashAttention (Dao et al. 2022) does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FlashAttention {
    /// Where the device has it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl FlashAttention {
    /// The option's word.
    pub fn name(self) -> &'static str {
        let named = FLASH.iter().find(|(_, known)| *known == self);
        named.map_or("", |(name, _)| name)
    }
}

/// What the system's scheduler is told of the threads that compute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ThreadPriority {
    /// Behind others.
    Low,
    /// As any thread.
    #[default]
    Normal,
    /// Before others; the system may refuse it.
    Medium,
    /// Before most; the system may refuse it.
    High,
}

/// Options of the KV cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvOptions {
    /// Tokens that a unified cache holds for all jobs together, at least `n_ctx`.
    pub kv_cache_tokens: Option<u32>,
    /// MiB that the cache may take; by default a quarter of the free memory, at most 2,048.
    pub kv_cache_mb: Option<u32>,
    /// One cache for all jobs (true) or a part for each (false); by default parts, where they
    /// fit into `kv_cache_mb`.
    pub kv_unified: Option<bool>,
    /// MiB of main memory for what finished jobs leave, beside the cache; 0 keeps nothing there.
    /// By default an eighth of the free memory, at most 2,048.
    pub cache_ram_mb: Option<u32>,
    /// What keys are stored as.
    pub cache_type_k: CacheType,
    /// What values are stored as.
    pub cache_type_v: CacheType,
    /// How attention is computed.
    pub flash_attn: FlashAttention,
    /// Sliding-window layers keep the whole context (true), or the window alone.
    pub swa_full: bool,
}

impl KvOptions {
    pub(super) const KEYS: &str = "kv_cache_tokens, kv_cache_mb, kv_unified, cache_ram_mb, \
         cache_type_k, cache_type_v, flash_attn, swa_full";

    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self> {
        let mut mebibytes = |name, least| {
            let count = fields.integer(name, least..=16_777_216)?;
            Ok::<_, Error>(count.map(|count| count as u32))
        };
        let kv_cache_mb = mebibytes("kv_cache_mb", 1)?;
        let cache_ram_mb = mebibytes("cache_ram_mb", 0)?;
        let tokens = fields.integer("kv_cache_tokens", 8..=16_777_216)?;
        let options = Self {
            kv_cache_tokens: tokens.map(|count| count as u32),
            kv_cache_mb,
            kv_unified: fields.boolean("kv_unified")?,
            cache_ram_mb,
            cache_type_k: one_of(fields, "cache_type_k", &CACHE_TYPES)?.unwrap_or_default(),
            cache_type_v: one_of(fields, "cache_type_v", &CACHE_TYPES)?.unwrap_or_default(),
            flash_attn: one_of(fields, "flash_attn", &FLASH)?.unwrap_or_default(),
            swa_full: fields.boolean("swa_full")?.unwrap_or(false),
        };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<()> {
        if self.cache_type_v.is_quantised() && self.flash_attn == FlashAttention::Off {
            let message = format!(
                "\"{}\" needs flash attention; leave flash_attn out, or use \"f16\"",
                self.cache_type_v.name()
            );
            return Err(Error::invalid_request("cache_type_v", message));
        }
        if self.kv_cache_tokens.is_some() && self.kv_unified == Some(false) {
            let message = "is for a unified cache; leave it out, or set kv_unified to true";
            return Err(Error::invalid_request("kv_cache_tokens", message));
        }
        Ok(())
    }
}

const FLASH: [(&str, FlashAttention); 3] =
    [("auto", FlashAttention::Auto), ("on", FlashAttention::On), ("off", FlashAttention::Off)];

/// Options of the threads that compute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadOptions {
    /// How many, 1 to 512; by default one for each physical core.
    pub n_threads: Option<u32>,
    /// What the system's scheduler is told.
    pub priority: ThreadPriority,
    /// The logical CPUs they may run on, 0 to 511; empty leaves it to the system.
    pub affinity: Vec<u32>,
}

impl ThreadOptions {
    pub(super) const KEYS: &str = "n_threads, thread_priority, cpu_affinity";

    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self> {
        let n_threads = fields.integer("n_threads", 1..=512)?;
        Ok(Self {
            n_threads: n_threads.map(|count| count as u32),
            priority: one_of(fields, "thread_priority", &PRIORITIES)?.unwrap_or_default(),
            affinity: affinity(fields)?,
        })
    }
}

const PRIORITIES: [(&str, ThreadPriority); 4] = [
    ("low", ThreadPriority::Low),
    ("normal", ThreadPriority::Normal),
    ("medium", ThreadPriority::Medium),
    ("high", ThreadPriority::High),
];

fn affinity(fields: &mut Fields<'_>) -> Result<Vec<u32>> {
    let Some(list) = fields.value("cpu_affinity") else {
        return Ok(Vec::new());
    };
    let numbers = list.as_array().map(|list| list.iter().map(|cpu| cpu.as_u64()));
    let cpus: Option<Vec<u32>> = numbers.and_then(|numbers| {
        let cpus = numbers.map(|cpu| cpu.filter(|&cpu| cpu < 512).map(|cpu| cpu as u32));
        cpus.collect()
    });
    cpus.filter(|cpus| !cpus.is_empty()).ok_or_else(|| {
        Error::invalid_request("cpu_affinity", "expected an array of CPU numbers, 0 to 511")
    })
}

fn one_of<T: Copy>(
    fields: &mut Fields<'_>,
    name: &'static str,
    known: &[(&str, T)],
) -> Result<Option<T>> {
    let Some(given) = fields.string(name)? else {
        return Ok(None);
    };
    match known.iter().find(|(name, _)| *name == given) {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            let message = format!("\"{given}\" is not known; use one of {}", names.join(", "));
            Err(Error::invalid_request(name, message))
        }
    }
}
