//! GGUF models that turn texts into vectors or scores: encoders, and decoders asked for states.

use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::batch::Batch;
use super::context::{Context, Purpose};
use super::device::NativeDevice;
use super::gguf::{Summary, Task};
use super::native::NativeModel;
use super::offload::Placement;
use super::plan::{self, Plan};
use super::threads::Threads;
use super::words::Words;
use super::{info, load_weights, sizes};
use crate::backend::{
    BatchToken, EmbeddingLimits, EmbeddingModel, Interrupt, Loaded, LoadedEmbedding, Output,
    Pairing, Progress,
};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::request::{LoadOptions, Pooling};

/// `llama_pooling_type` of a file.
const MEAN: u32 = 1;
const CLS: u32 = 2;
const LAST: u32 = 3;
const RANK: u32 = 4;

/// Whether the model is loaded to embed: encoders always, decoders where their file says how to pool
/// or the option asks for it.
pub(super) fn is_wanted(summary: &Summary, options: &LoadOptions) -> Result<bool> {
    let is_encoder = summary.architecture.task == Task::Embedding || !summary.is_causal;
    let is_made_for_it = summary.pooling.is_some_and(|pooling| pooling != 0);
    match options.embedding {
        Some(false) if is_encoder => Err(Error::unsupported(
            "embedding",
            "is false, but this model cannot generate text; leave it out",
        )),
        asked => Ok(asked.unwrap_or(is_encoder || is_made_for_it)),
    }
}

pub(super) fn load(
    path: &str,
    summary: &Summary,
    options: &LoadOptions,
    native: &NativeDevice,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Option<Loaded>> {
    let purpose = purpose(summary);
    let mut plan = Plan::new(path, summary, options, purpose, false);
    let size = sizes::choose_for_embedding(summary, options, &mut plan)?.checked()?;
    drop(plan);
    let place = Placement::new(native, summary, options, &size)?;
    let Some(model) = load_weights(path, options, place, progress)? else {
        return Ok(None);
    };
    let vocab = info::vocab(&model)?;
    let words = Words::new(&model, &vocab, summary.adds_space);
    let output = output(summary, &model);
    let mut info = info::describe(path, summary, &model, &size)?;
    // A cache would hold nothing from one text to the next.
    for key in ["kv_cache_tokens", "kv_unified"] {
        info.details.shift_remove(key);
    }
    let threads = Threads::shared(size.n_threads)?;
    let (none, stop) = (Vec::new(), interrupt.clone());
    let context = Context::new(model, none, threads, &size, &options.kv, purpose, stop)?;
    info.memory = plan::memory(summary, options, &size, purpose, &context.memory()?);
    if !progress(1.0) {
        return Ok(None);
    }
    log!(Info, "{path}: {} threads, texts of {} tokens", size.n_threads, size.n_ctx);
    let limits = EmbeddingLimits {
        n_ctx: size.n_ctx as usize,
        n_batch: context.sizes().1 as usize,
        n_texts: size.n_parallel as usize,
    };
    let width = context.model().state_width();
    let tokenizer = Arc::downgrade(&words);
    let model = Box::new(Encoder {
        context,
        interrupt: interrupt.clone(),
        batch: Batch::default(),
        tokens: Vec::new(),
        width,
        _words: words,
    });
    let loaded = LoadedEmbedding { model, limits, output, tokenizer, info };
    Ok(Some(Loaded::Embedding(Box::new(loaded))))
}

pub(super) fn purpose(summary: &Summary) -> Purpose {
    match summary.pooling {
        Some(RANK) => Purpose::Scores,
        _ => Purpose::States,
    }
}

fn output(summary: &Summary, model: &NativeModel) -> Output {
    let pooling = match summary.pooling {
        Some(RANK) => return Output::Score(pairing(summary, model)),
        Some(MEAN) => Pooling::Mean,
        Some(CLS) => Pooling::Cls,
        Some(LAST) => Pooling::Last,
        // Behind a causal mask the last token alone has seen all of the text.
        _ if summary.is_causal => Pooling::Last,
        _ => Pooling::Mean,
    };
    Output::States { width: model.state_width(), pooling }
}

/// How the tokeniser of a reranker joins two texts: `[CLS] query [SEP] document [SEP]` in BERT,
/// `<s> query </s></s> document </s>` in XLM-R.
fn pairing(summary: &Summary, model: &NativeModel) -> Pairing {
    if let Some(template) = &summary.rerank_template {
        return Pairing::Template(template.clone());
    }
    let vocab = model.vocab();
    let bos = added(vocab, sys::llama_vocab_bos, sys::llama_vocab_get_add_bos);
    let eos = added(vocab, sys::llama_vocab_eos, sys::llama_vocab_get_add_eos);
    let sep = added(vocab, sys::llama_vocab_sep, sys::llama_vocab_get_add_sep);
    Pairing::Tokens {
        before: bos.into_iter().collect(),
        between: eos.into_iter().chain(sep).collect(),
        after: eos.or(sep).into_iter().collect(),
    }
}

/// A special token, where the vocabulary has it and texts get it.
fn added(
    vocab: *const sys::llama_vocab,
    id: unsafe extern "C" fn(*const sys::llama_vocab) -> i32,
    is_added: unsafe extern "C" fn(*const sys::llama_vocab) -> bool,
) -> Option<u32> {
    // SAFETY: `pairing` passes the vocabulary of a live model; the call reads a field.
    let id = unsafe { id(vocab) };
    // SAFETY: as above.
    let is_added = unsafe { is_added(vocab) };
    u32::try_from(id).ok().filter(|_| is_added)
}

/// A model's native state.
struct Encoder {
    context: Context,
    interrupt: Interrupt,
    batch: Batch,
    tokens: Vec<BatchToken>,
    width: usize,
    /// Kept for those who hold it weakly.
    _words: Arc<Words>,
}

impl EmbeddingModel for Encoder {
    fn compute(&mut self, texts: &[&[u32]]) -> Result<bool> {
        self.context.clear()?;
        self.tokens.clear();
        for (sequence, text) in texts.iter().enumerate() {
            self.tokens.extend(text.iter().enumerate().map(|(position, &token)| BatchToken {
                token,
                position: position as u32,
                sequence: sequence as u32,
                output: true,
            }));
        }
        let batch = self.batch.raw(&self.tokens);
        match self.context.decode(&batch)? {
            Some(0) => Ok(true),
            None | Some(2) => Ok(false),
            // An interrupt can also surface as a failed computation.
            _ if self.interrupt.stops() => Ok(false),
            Some(code) => Err(Error::new(
                ErrorKind::Backend,
                format!("llama.cpp could not compute the texts (code {code}); the log has more"),
            )),
        }
    }

    fn state(&mut self, row: usize) -> Result<&[f32]> {
        self.context.state(row, self.width)
    }

    fn score(&mut self, index: usize) -> Result<f32> {
        self.context.score(index)
    }
}
