//! GGUF models through llama.cpp.

mod adapter;
mod batch;
mod context;
mod device;
mod embedding;
mod estimate;
mod fingerprint;
mod gguf;
mod info;
mod machine;
mod native;
mod native_log;
mod offload;
mod placement;
mod plan;
mod shim;
mod sizes;
mod state_check;
mod threads;
mod words;

use std::path::Path;
use std::sync::{Arc, Once};

use llama_cpp_2::llama_backend::LlamaBackend;
use once_cell::sync::OnceCell;

use self::batch::Batch;
use self::context::{Context, ContextSize, Purpose};
use self::device::NativeDevice;
pub(super) use self::estimate::estimate;
use self::gguf::Summary;
use self::native::{NativeModel, Recurrence};
use self::offload::Placement;
use self::plan::Plan;
use self::state_check::Kind;
use self::threads::Threads;
use self::words::Words;
use super::device::{first_that_works, Asked, Device, Offer};
use super::{
    Adapter, Backend, BatchToken, Decoded, Facts, Interrupt, Limits, Listener, Loaded, LoadedText,
    Progress, Tokenizer,
};
use crate::at_exit;
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::request::LoadOptions;

/// The share of a load's progress that reading the weights has; the context has the rest.
const WEIGHTS: f32 = 0.95;

/// What to do where a device is missing.
const ADVICE: &str = if cfg!(any(feature = "vulkan", feature = "cuda")) {
    "see fluid_doctor for drivers that are missing"
} else {
    "this build has no GPU for GGUF models, build with the feature \"vulkan\" or \"cuda\""
};

/// Started once for the process, on first use; it is never stopped.
static BACKEND: OnceCell<LlamaBackend> = OnceCell::new();

fn start() -> Result<()> {
    BACKEND.get_or_try_init(|| {
        machine::check_instructions()?;
        // Before a model's options narrow what its thread sees.
        threads::count_cores();
        // SAFETY: called before anything else of llama.cpp; the callback keeps to its contract.
        unsafe { shim::fluid_llama_prepare(Some(shim::on_log)) };
        let started = LlamaBackend::init().map_err(|error| {
            Error::new(ErrorKind::Backend, format!("llama.cpp does not start: {error}"))
        });
        at_exit::set_anew();
        started
    })?;
    Ok(())
}

/// The processor and the GPUs that llama.cpp can use.
pub(super) fn devices() -> Result<Vec<Device>> {
    start()?;
    let devices = device::devices()?;
    // Drivers have been opened.
    static LISTED: Once = Once::new();
    LISTED.call_once(at_exit::set_anew);
    Ok(devices.into_iter().map(|native| native.device).collect())
}

pub(super) use self::machine::{missing as missing_instructions, needed as needed_instructions};

/// Loads the file at `path`, on the first device of the rule that works. `Ok(None)`: the listener gave
/// it up.
pub(super) fn load(
    path: &str,
    options: &LoadOptions,
    interrupt: &Interrupt,
    listener: Listener<'_>,
) -> Result<Option<Loaded>> {
    start()?;
    let summary = gguf::check(Path::new(path))?;
    let embeds = embedding::is_wanted(&summary, options)?;
    if embeds {
        refuse_for_embedding(options)?;
    }
    let natives = device::devices()?;
    let devices: Vec<Device> = natives.iter().map(|native| native.device.clone()).collect();
    let offer = offer(&devices);
    let Listener { progress, notice } = listener;
    let load_on = |chosen: &Device| {
        let native = natives.iter().find(|native| native.device.id == chosen.id);
        let native = native.ok_or_else(|| Error::new(ErrorKind::Internal, "no such device"))?;
        match embeds {
            true => embedding::load(path, &summary, options, native, interrupt, &mut *progress),
            false => load_text(path, &summary, options, native, interrupt, &mut *progress),
        }
        .map_err(|error| of_the_gpu(error, native))
    };
    let loaded = first_that_works(Asked::of(options), &offer, notice, load_on);
    at_exit::set_anew();
    let (mut loaded, choice) = loaded?;
    if let Some(loaded) = &mut loaded {
        choice.describe(&mut loaded.info_mut().details);
    }
    Ok(loaded)
}

/// What there is to choose from. How much of a model fits is seen layer by layer.
fn offer(devices: &[Device]) -> Offer<'_> {
    Offer { backend: "llama.cpp", devices, advice: ADVICE, bytes: 0 }
}

/// llama.cpp says of a model that a GPU has no room for that it cannot be loaded, as of a broken one. The
/// file has passed our check, so the next device may do better.
fn of_the_gpu(error: Error, native: &NativeDevice) -> Error {
    match error.kind() {
        ErrorKind::InvalidModel if !native.handle.is_null() => {
            Error::new(ErrorKind::Backend, error.message())
        }
        _ => error,
    }
}

/// Loads a model that writes text.
fn load_text(
    path: &str,
    summary: &Summary,
    options: &LoadOptions,
    native: &NativeDevice,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Option<Loaded>> {
    let purpose = Purpose::Logits;
    let mut plan = Plan::new(path, summary, options, purpose, false);
    let size = sizes::choose(summary, options, &mut plan)?.checked()?;
    drop(plan);
    let place = Placement::new(native, summary, options, &size)?;
    let Some(model) = load_weights(path, options, place, progress)? else {
        return Ok(None);
    };
    let vocab = info::vocab(&model)?;
    let (recurrence, has_window) = (model.recurrence(), model.has_window());
    let whole_only = recurrence != Recurrence::None || has_window;
    let words = Words::new(&model, &vocab, summary.adds_space);
    let (adapters, adapter_infos) = adapter::load(&options.lora, &model, summary)?;
    let threads = Threads::shared(size.n_threads)?;
    let context =
        Context::new(model, adapters, threads, &size, &options.kv, purpose, interrupt.clone())?;
    let memory = plan::memory(summary, options, &size, purpose, &context.memory()?);
    let (rounded_up, n_batch) = context.sizes();
    // llama.cpp rounds up, beyond what a model may have positions for.
    let n_ctx = rounded_up.min(size.n_ctx);
    let shares_cells = size.unified || recurrence == Recurrence::All;
    let limits = Limits {
        n_ctx,
        n_parallel: size.n_parallel,
        n_batch,
        n_cells: size.n_cells,
        shares_cells,
        wants_neighbours: !size.unified || recurrence == Recurrence::All,
        whole_only,
        // After an interrupted batch llama.cpp's recurrent states are undefined, others' too.
        interruptible: recurrence == Recurrence::None,
        n_outputs: size.n_outputs,
        kept_bytes: sizes::kept_bytes(options, memory.total()),
    };
    let mut info = info::describe(path, summary, context.model(), &size)?;
    info.memory = memory;
    if !progress(1.0) {
        return Ok(None);
    }
    log!(Info, "{path}: {} threads, {} slots of {n_ctx} tokens", size.n_threads, size.n_parallel);
    let kind = state_kind(recurrence, has_window, &size);
    let fingerprint = fingerprint::of(summary, &size, kind.attention.unwrap_or(1), &options.kv)?;
    let check_state =
        Arc::new(move |state: &[u8], count: usize| state_check::check(state, count, kind));
    let tokenizer = Arc::downgrade(&words);
    let backend = Box::new(Llama {
        context,
        words,
        interrupt: interrupt.clone(),
        batch: Batch::default(),
        n_vocab: vocab.len(),
        shares_cells,
        whole_only,
    });
    let loaded = LoadedText {
        backend,
        limits,
        vocab,
        tokenizer,
        fingerprint,
        check_state,
        adapters: adapter_infos,
        draft: None,
        info,
    };
    Ok(Some(Loaded::Text(Box::new(loaded))))
}

/// See [`super::look`].
pub(super) fn look(path: &Path) -> Result<Facts> {
    let summary = gguf::check(path)?;
    Ok(Facts {
        architecture: Some(summary.architecture.name.to_owned()),
        quantization: summary.file_type.map(str::to_owned),
        parameters: Some(summary.n_parameters),
        context_length: Some(summary.n_ctx_train.into()),
        unsupported: None,
    })
}

/// What has a meaning for models that generate text alone.
fn refuse_for_embedding(options: &LoadOptions) -> Result<()> {
    let given = [
        ("lora", !options.lora.is_empty()),
        ("draft_model", options.draft.is_some()),
        ("speculative", options.speculative.is_some()),
    ];
    let given = given.iter().find(|(_, is_given)| *is_given);
    given.map_or(Ok(()), |(name, _)| {
        let message =
            "is for models that generate text; leave it out, or load with \"embedding\": false";
        Err(Error::unsupported(name, message))
    })
}

/// The model's weights. `Ok(None)`: `progress` gave it up.
fn load_weights(
    path: &str,
    options: &LoadOptions,
    place: Placement,
    progress: Progress<'_>,
) -> Result<Option<Arc<NativeModel>>> {
    placement::apply(&options.threads)?;
    if !progress(0.0) {
        return Ok(None);
    }
    let mut weights = |done: f32| progress(done * WEIGHTS);
    let model = NativeModel::load(path, place, options.use_mmap, &mut weights)?;
    Ok(model.map(Arc::new))
}

/// What a sequence's state is made of.
fn state_kind(recurrence: Recurrence, has_window: bool, size: &ContextSize) -> Kind {
    let streams = if size.unified { 1 } else { size.n_parallel };
    Kind {
        attention: (recurrence != Recurrence::All).then_some(streams),
        window: has_window,
        recurrent: recurrence != Recurrence::None,
    }
}

/// A model's native state.
struct Llama {
    context: Context,
    words: Arc<Words>,
    interrupt: Interrupt,
    batch: Batch,
    n_vocab: usize,
    shares_cells: bool,
    whole_only: bool,
}

impl Backend for Llama {
    fn tokenize(&mut self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.words.tokenize(text, special, true)
    }

    fn adapt(&mut self, adapters: &[Adapter]) -> Result<()> {
        self.context.set_adapters(adapters)
    }

    fn decode(&mut self, batch: &[BatchToken]) -> Result<Decoded> {
        let batch = self.batch.raw(batch);
        let Some(code) = self.context.decode(&batch)? else {
            return Ok(Decoded::Interrupted);
        };
        match code {
            0 => Ok(Decoded::Done),
            1 => Ok(Decoded::Full),
            2 => Ok(Decoded::Interrupted),
            // An interrupt can also surface as a failed computation.
            _ if self.interrupt.stops() => Ok(Decoded::Interrupted),
            code => Err(Error::new(
                ErrorKind::Backend,
                format!("llama.cpp could not compute the batch (code {code}); the log has more"),
            )),
        }
    }

    fn logits(&mut self, index: usize) -> Result<&mut [f32]> {
        self.context.logits(index, self.n_vocab)
    }

    fn truncate(&mut self, sequence: u32, from: u32) -> bool {
        match self.context.remove(sequence, from) {
            Ok(true) => true,
            // Whole sequences can always be dropped; a broken context computes nothing any more.
            Ok(false) | Err(_) => {
                let _ = self.context.remove(sequence, 0);
                from == 0
            }
        }
    }

    fn share(&mut self, from: u32, to: u32, count: u32) -> bool {
        let shared = match self.shares_cells {
            true => self.context.copy(from, to, (!self.whole_only).then_some(count)),
            false => self.copy_state(from, to, count),
        };
        let failed = shared.inspect_err(|error| log!(Warn, "{error}")).is_err();
        if failed {
            self.truncate(to, 0);
        }
        !failed
    }

    fn shift(&mut self, sequence: u32, at: u32, count: u32) -> bool {
        // A recurrent state, or a window, cannot forget a part.
        !self.whole_only && self.context.shift(sequence, at, count).unwrap_or(false)
    }

    fn state_bytes(&mut self, sequence: u32) -> Result<u64> {
        self.context.state_bytes(sequence).map(|bytes| bytes as u64)
    }

    fn save(&mut self, sequence: u32) -> Result<Vec<u8>> {
        self.context.save(sequence)
    }

    fn restore(&mut self, sequence: u32, count: u32, state: &[u8]) -> Result<()> {
        let restored = self.context.restore(sequence, count, state);
        if restored.is_err() {
            self.truncate(sequence, 0);
        }
        restored
    }
}

impl Llama {
    /// Each sequence has cells of its own: the state is copied, and cut to `count` tokens.
    fn copy_state(&mut self, from: u32, to: u32, count: u32) -> Result<()> {
        let state = self.context.save(from)?;
        let all = self.context.length(from)?;
        self.context.restore(to, all, &state)?;
        match count == all || self.context.remove(to, count)? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Backend, "llama.cpp cannot cut a copy to size")),
        }
    }
}
