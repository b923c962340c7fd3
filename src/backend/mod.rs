//! What the engine asks of a model library: tokens in, logits out, all else as plain data.

mod adapter;
pub mod device;
mod draft;
mod embedding;
mod estimate;
#[cfg(feature = "fake")]
mod fake;
pub mod inventory;
#[cfg(feature = "llama")]
mod llama;
mod look;
pub mod memory;
#[cfg(feature = "openvino")]
pub mod openvino;
mod speech;
mod tokenizer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Map, Value};

pub use self::adapter::{Adapter, AdapterInfo};
pub use self::draft::DraftModel;
pub use self::embedding::{EmbeddingLimits, EmbeddingModel, LoadedEmbedding, Output, Pairing};
pub use self::estimate::{estimate, estimate_contexts, ContextSizes, Estimate};
pub use self::look::{look, Facts};
use self::memory::Memory;
pub use self::speech::{Encoded, GoOn, LoadedSpeech, Scores, SpeechModel, SpeechSession};
pub use self::tokenizer::Tokenizer;
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

/// Set from any thread to make a running [`Backend::decode`] give up as soon as it can.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    raised: AtomicBool,
    deferred: AtomicBool,
}

impl Interrupt {
    /// Asks the running computation to stop.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::Release);
    }

    /// Forgets earlier calls of [`raise`](Self::raise).
    pub fn clear(&self) {
        self.0.raised.store(false, Ordering::Release);
    }

    /// Whether the computation that comes now is so short that it may end before anybody looks:
    /// what is thrown away would cost the other jobs more than the stop gains.
    pub fn defer(&self, deferred: bool) {
        self.0.deferred.store(deferred, Ordering::Release);
    }

    /// Whether somebody asked.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Whether a computation that has begun should stop.
    pub fn stops(&self) -> bool {
        self.is_raised() && !self.0.deferred.load(Ordering::Acquire)
    }
}

/// One token of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchToken {
    /// Its id in the vocabulary.
    pub token: u32,
    /// Its place in its sequence, from 0.
    pub position: u32,
    /// The sequence it belongs to, below [`Limits::n_parallel`].
    pub sequence: u32,
    /// Whether its logits are wanted.
    pub output: bool,
}

/// How a computation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// The logits are there.
    Done,
    /// It was interrupted. Some of the batch may be in the KV cache; no logits are there.
    Interrupted,
    /// The KV cache has no room for the batch; nothing was computed.
    Full,
}

/// How much a loaded model takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of one sequence.
    pub n_ctx: u32,
    /// Jobs side by side.
    pub n_parallel: u32,
    /// Tokens of one batch, one micro-batch.
    pub n_batch: u32,
    /// Tokens that the KV cache holds, of all sequences together. Where they share cells a
    /// shared one counts once; otherwise this is `n_ctx` for each of `n_parallel`.
    pub n_cells: u32,
    /// Whether sequences that begin alike share cells (llama.cpp's unified KV cache).
    pub shares_cells: bool,
    /// Whether sequences whose numbers follow each other are computed together, others one by one.
    pub wants_neighbours: bool,
    /// A sequence can only be taken over as it stands, not cut before: its state sums up all
    /// its tokens (recurrent models), or what lies behind a window may be gone.
    pub whole_only: bool,
    /// Whether a computation may be interrupted without harm to sequences outside its batch.
    pub interruptible: bool,
    /// Tokens of one batch whose logits are wanted, at most: more than `n_parallel`.
    pub n_outputs: u32,
    /// Bytes of main memory for the states of sequences that no job has.
    pub kept_bytes: u64,
}

impl Limits {
    /// Tokens of drafts in one batch, all jobs together; 0 where a sequence cannot be cut back to where
    /// a draft went wrong.
    pub fn n_drafted(&self) -> u32 {
        if self.whole_only {
            return 0;
        }
        self.n_outputs - self.n_parallel
    }
}

/// A model's native state. It lives and dies on its worker thread.
pub trait Backend {
    /// `text` as token ids; `special` lets the model add the tokens it wants around a text.
    fn tokenize(&mut self, text: &str, special: bool) -> Result<Vec<u32>>;

    /// Computes with `adapters` alone from now on, of those that it was loaded with.
    fn adapt(&mut self, adapters: &[Adapter]) -> Result<()>;

    /// Computes `batch`, at most [`Limits::n_batch`] tokens. On an error the sequences of the
    /// batch are in an unknown state; the caller removes them.
    fn decode(&mut self, batch: &[BatchToken]) -> Result<Decoded>;

    /// The logits of batch entry `index`, one for each token of the vocabulary, for the
    /// caller to change at will. Valid once after a `decode` that was `Done`.
    fn logits(&mut self, index: usize) -> Result<&mut [f32]>;

    /// Drops `sequence` from position `from` on. False: only whole sequences can be dropped,
    /// and this one now is empty.
    fn truncate(&mut self, sequence: u32, from: u32) -> bool;

    /// Makes the empty sequence `to` begin with the first `count` tokens of `from`; both go on
    /// from there by themselves. With [`Limits::whole_only`], `count` is all that `from` has.
    /// False: it cannot, and `to` is empty.
    fn share(&mut self, from: u32, to: u32, count: u32) -> bool;

    /// Drops `count` tokens of `sequence` from position `at` on and moves what follows down in
    /// their place; the next computation must not be interrupted. What follows `at` is in no
    /// other sequence. False: it cannot, nothing changed.
    fn shift(&mut self, sequence: u32, at: u32, count: u32) -> bool;

    /// Bytes that [`save`](Self::save) gives for `sequence`.
    fn state_bytes(&mut self, sequence: u32) -> Result<u64>;

    /// The state of `sequence`, for [`restore`](Self::restore).
    fn save(&mut self, sequence: u32) -> Result<Vec<u8>>;

    /// Fills the empty `sequence` with what [`save`](Self::save) gave for one of `count` tokens.
    /// `state` is trusted: the caller knows that this model, with these options, wrote it, and
    /// has had it checked if it comes from outside. On an error the sequence is empty.
    fn restore(&mut self, sequence: u32, count: u32, state: &[u8]) -> Result<()>;
}

/// The vocabulary as plain data, for any thread.
#[derive(Debug, Default)]
pub struct Vocab {
    bytes: Vec<u8>,
    // `ends[i]` is where the bytes of token `i` end.
    ends: Vec<usize>,
    end_of_generation: Vec<bool>,
    control_names: HashMap<u32, String>,
    longest: usize,
    /// The tokens in the order of their bytes, made when first asked for.
    sorted: OnceLock<Vec<u32>>,
}

impl Vocab {
    /// Appends a token: its bytes (none for a control token), and whether it ends an answer.
    pub fn push(&mut self, bytes: &[u8], end_of_generation: bool) {
        self.longest = self.longest.max(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.end_of_generation.push(end_of_generation);
    }

    /// Names the last token, which stands for no text, as the model's makers write it.
    pub fn name_control(&mut self, name: String) {
        if let Some(last) = self.ends.len().checked_sub(1) {
            self.control_names.insert(last as u32, name);
        }
    }

    /// The name of a token that stands for no text, such as `<|im_end|>`.
    pub fn control_name(&self, token: u32) -> Option<&str> {
        self.control_names.get(&token).map(String::as_str)
    }

    /// Tokens in the vocabulary.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of `token`, perhaps only a part of a character; none for an id outside.
    pub fn piece(&self, token: u32) -> &[u8] {
        let index = token as usize;
        let Some(&end) = self.ends.get(index) else {
            return &[];
        };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    /// The text of `tokens`; what is no UTF-8 becomes U+FFFD.
    pub fn text(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| self.piece(token)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes of the longest token.
    pub fn longest_piece(&self) -> usize {
        self.longest
    }

    /// Whether `token` ends an answer.
    pub fn is_end_of_generation(&self, token: u32) -> bool {
        self.end_of_generation.get(token as usize) == Some(&true)
    }

    /// The tokens that end an answer.
    pub fn ends_of_generation(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.end_of_generation).filter(|(_, &ends)| ends).map(|(token, _)| token)
    }

    /// The tokens whose bytes begin with `bytes`.
    pub fn starting_with(&self, bytes: &[u8]) -> &[u32] {
        let sorted = self.sorted.get_or_init(|| {
            let mut sorted: Vec<u32> = (0..self.len() as u32).collect();
            sorted.sort_by_key(|&token| self.piece(token));
            sorted
        });
        let from = sorted.partition_point(|&token| self.piece(token) < bytes);
        let count = sorted[from..].partition_point(|&token| self.piece(token).starts_with(bytes));
        &sorted[from..from + count]
    }
}

/// The sampling defaults a model file brings along.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplingDefaults {
    /// See [`crate::request::SamplingFields`].
    pub temperature: Option<f32>,
    /// See [`crate::request::SamplingFields`].
    pub top_p: Option<f32>,
    /// See [`crate::request::SamplingFields`].
    pub top_k: Option<u32>,
    /// See [`crate::request::SamplingFields`].
    pub min_p: Option<f32>,
    /// See [`crate::request::SamplingFields`].
    pub repeat_penalty: Option<f32>,
    /// See [`crate::request::SamplingFields`].
    pub repeat_last_n: Option<u32>,
}

/// What stands around the parts of a prompt that asks for a text between two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Infill {
    /// The token that all prompts begin with, where the model wants one.
    pub begin: Option<u32>,
    /// Before the text in front.
    pub prefix: u32,
    /// Before the text behind.
    pub suffix: u32,
    /// Before the text that is asked for.
    pub middle: u32,
}

impl Infill {
    /// What asks for the text between `prefix` and `suffix`.
    pub fn around(&self, prefix: &[u32], suffix: &[u32]) -> Vec<u32> {
        let begin = self.begin.iter().chain([&self.prefix]);
        let parts = begin.chain(prefix).chain([&self.suffix]).chain(suffix);
        parts.chain([&self.middle]).copied().collect()
    }
}

/// What is known about a loaded model, as plain data.
#[derive(Debug, Default)]
pub struct ModelInfo {
    /// The name that results carry.
    pub name: String,
    /// The Jinja chat template, where the model has one.
    pub chat_template: Option<String>,
    /// Text of the begin-of-sequence token; empty where there is none.
    pub bos: String,
    /// Text of the end-of-sequence token; empty where there is none.
    pub eos: String,
    /// The tokens that ask for a text between two others, where the model knows such.
    pub infill: Option<Infill>,
    /// Sampling defaults of the model file.
    pub sampling: SamplingDefaults,
    /// What it takes.
    pub memory: Memory,
    /// What `fluid_model_info` says beside the above: architecture, sizes, device, backend.
    pub details: Map<String, Value>,
}

/// A model ready to run.
pub enum Loaded {
    /// It continues texts.
    Text(Box<LoadedText>),
    /// It writes down speech.
    Speech(Box<LoadedSpeech>),
    /// It turns texts into vectors or scores.
    Embedding(Box<LoadedEmbedding>),
}

impl Loaded {
    /// What is known about it.
    pub fn info(&self) -> &ModelInfo {
        match self {
            Self::Text(loaded) => &loaded.info,
            Self::Speech(loaded) => &loaded.info,
            Self::Embedding(loaded) => &loaded.info,
        }
    }

    fn info_mut(&mut self) -> &mut ModelInfo {
        match self {
            Self::Text(loaded) => &mut loaded.info,
            Self::Speech(loaded) => &mut loaded.info,
            Self::Embedding(loaded) => &mut loaded.info,
        }
    }
}

/// Checks a state that is to be one of so many tokens, on any thread. The error's message does
/// not name where the state comes from.
pub type StateCheck = Arc<dyn Fn(&[u8], usize) -> Result<()> + Send + Sync>;

/// A text model ready to run.
pub struct LoadedText {
    /// Its native state.
    pub backend: Box<dyn Backend>,
    /// How much it takes at once.
    pub limits: Limits,
    /// Its vocabulary.
    pub vocab: Vocab,
    /// From texts to tokens on any thread, for as long as the native state lives.
    pub tokenizer: Weak<dyn Tokenizer>,
    /// Tells models and their options apart, for saved states: the same only where a state of
    /// one fits the other. Lines of `name=value`, the model itself first.
    pub fingerprint: String,
    /// Whether a state, on its way to or from a file, can be one of so many tokens of this model.
    pub check_state: StateCheck,
    /// Its LoRA adapters; their places here are their numbers.
    pub adapters: Vec<AdapterInfo>,
    /// What drafts for it, if the options name a model.
    pub draft: Option<DraftModel>,
    /// What is known about it.
    pub info: ModelInfo,
}

/// Told how far a load is, 0 to 1; false gives it up.
pub type Progress<'a> = &'a mut dyn FnMut(f32) -> bool;

/// What a load tells while it goes on.
pub struct Listener<'a> {
    /// Told how far it is.
    pub progress: Progress<'a>,
    /// Told what is not as asked, such as another device.
    pub notice: &'a mut dyn FnMut(String),
}

/// The share of a load's progress that a model has which another one drafts for.
const DRAFTED_FOR: f32 = 0.8;

/// Loads the model at `path` on the calling thread, which then is its worker: a folder holds a
/// model in OpenVINO's format, a file is a GGUF model. `Ok(None)`: the listener gave it up.
pub fn load(
    path: &str,
    options: &LoadOptions,
    interrupt: &Interrupt,
    listener: Listener<'_>,
) -> Result<Option<Loaded>> {
    let mut loaded = load_with_draft(path, options, interrupt, listener)?;
    if let Some(loaded) = &mut loaded {
        let info = loaded.info_mut();
        info.details.insert("memory".into(), info.memory.to_json().into());
    }
    Ok(loaded)
}

fn load_with_draft(
    path: &str,
    options: &LoadOptions,
    interrupt: &Interrupt,
    listener: Listener<'_>,
) -> Result<Option<Loaded>> {
    let Some(draft) = &options.draft else {
        return load_one(path, options, interrupt, listener);
    };
    let Listener { progress, notice } = listener;
    let first = Listener { progress: &mut |done| progress(done * DRAFTED_FOR), notice };
    let mut loaded = load_one(path, options, interrupt, first)?;
    if let Some(Loaded::Text(loaded)) = &mut loaded {
        let mut rest = |done: f32| progress(DRAFTED_FOR + done * (1.0 - DRAFTED_FOR));
        let second = Listener { progress: &mut rest, notice };
        let Some(drafter) = draft::load(draft, options, loaded, interrupt, second)? else {
            return Ok(None);
        };
        loaded.info.memory += drafter.memory;
        loaded.draft = Some(drafter);
        loaded.info.details.insert("draft_model".into(), Value::from(draft.path.as_str()));
    }
    Ok(loaded)
}

/// Has the allocator give back to the system what it keeps for later.
pub fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes a number; glibc locks what it touches.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether `path` is a script of the tests, and no path.
pub fn is_script(path: &str) -> bool {
    cfg!(feature = "fake") && path.starts_with("fake:")
}

/// Whether `path` is a folder, which holds a model in OpenVINO's format; some options then have no
/// meaning.
fn is_folder(path: &str, options: &LoadOptions) -> Result<bool> {
    let is_folder = std::path::Path::new(path).is_dir();
    let given = [("lora", !options.lora.is_empty()), ("draft_model", options.draft.is_some())];
    match given.iter().find(|(_, is_given)| is_folder && *is_given) {
        Some((name, _)) => Err(Error::unsupported(name, "is for GGUF models only; leave it out")),
        None => Ok(is_folder),
    }
}

fn load_one(
    path: &str,
    options: &LoadOptions,
    interrupt: &Interrupt,
    listener: Listener<'_>,
) -> Result<Option<Loaded>> {
    #[cfg(feature = "fake")]
    if let Some(script) = path.strip_prefix("fake:") {
        return fake::load(script, options, interrupt, listener);
    }
    let is_folder = is_folder(path, options)?;
    #[cfg(feature = "openvino")]
    if is_folder {
        return openvino::load(path, options, listener);
    }
    #[cfg(feature = "llama")]
    if !is_folder {
        return llama::load(path, options, interrupt, listener);
    }
    let _ = (options, interrupt, listener, is_folder);
    Err(Error::new(ErrorKind::Unsupported, format!("{path}: this build has no backend for it")))
}
