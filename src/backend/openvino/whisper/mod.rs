//! Whisper in OpenVINO's format: a folder as optimum-intel exports it, stateful or stateless.

mod aligner;
mod decoder;
mod encoder;
mod estimate;
mod files;
mod ir;
mod session;
mod steps;

use std::path::Path;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use serde_json::{json, Map};

use self::aligner::Aligner;
use self::decoder::Decoder;
use self::encoder::Encoder;
pub(super) use self::estimate::estimate;
use self::files::Files;
use self::session::Session;
use super::compiler::Compiler;
use super::vad::Vad;
use crate::backend::device::{Asked, Choice};
use crate::backend::{
    Encoded, Listener, Loaded, LoadedSpeech, ModelInfo, Progress, SpeechModel, SpeechSession,
};
use crate::error::Result;
use crate::request::LoadOptions;
use crate::speech::Vocabulary;

/// A compiled Whisper model; threads share it and have a [`Session`] each.
pub(super) struct Whisper {
    encoder: Encoder,
    decoder: Decoder,
    /// Compiled when the first word timestamps are asked for.
    aligner: OnceCell<Aligner>,
    vad: Option<Vad>,
    files: Files,
    vocabulary: Arc<Vocabulary>,
    compiler: Compiler,
    choice: Choice,
}

/// Loads the folder at `path`. `Ok(None)`: the listener gave it up.
pub(super) fn load(
    path: &str,
    options: &LoadOptions,
    listener: Listener<'_>,
) -> Result<Option<Loaded>> {
    let folder = Path::new(path);
    let vocabulary = Arc::new(Vocabulary::read(folder)?);
    let files = Files::find(folder)?;
    let mut compiler = Compiler::new(options)?;
    let n_mels = vocabulary.sizes().mel_bins;
    let Listener { progress, notice } = listener;
    let parts = |compiler: &Compiler| load_parts(compiler, &files, n_mels, &mut *progress);
    let (parts, choice) =
        compiler.on_first_device(Asked::of(options), files.weights, notice, parts)?;
    let Some((encoder, decoder)) = parts else {
        return Ok(None);
    };
    let vad = Vad::find(&compiler, folder, options)?;
    let whisper = Whisper {
        encoder,
        decoder,
        aligner: OnceCell::new(),
        vad,
        files,
        vocabulary: Arc::clone(&vocabulary),
        compiler,
        choice,
    };
    let mut info = whisper.describe(folder);
    let sizes = whisper.vocabulary.sizes();
    info.memory = estimate::memory(sizes, &whisper.files, options, whisper.vad.is_some());
    Ok(Some(Loaded::Speech(Box::new(LoadedSpeech {
        has_vad: whisper.vad.is_some(),
        model: Box::new(SharedWhisper(Arc::new(whisper))),
        vocabulary,
        n_mels,
        n_parallel: options.n_parallel as usize,
        info,
    }))))
}

/// Both networks, for the compiler's device. `Ok(None)`: `progress` gave it up; reading and compiling
/// cannot be stopped, but between the parts a stop is noticed.
fn load_parts(
    compiler: &Compiler,
    files: &Files,
    n_mels: usize,
    progress: Progress<'_>,
) -> Result<Option<(Encoder, Decoder)>> {
    if !progress(0.1) {
        return Ok(None);
    }
    let encoder = Encoder::load(compiler, &files.encoder, n_mels)?;
    if !progress(0.4) {
        return Ok(None);
    }
    let decoder = Decoder::load(compiler, files)?;
    if compiler.is_for_accelerator() {
        try_out(&encoder, &decoder)?;
    }
    Ok(progress(0.9).then_some((encoder, decoder)))
}

/// Hears a window of silence: some devices fail, for want of memory or of an operation, when they first
/// compute, and now another one can still take over.
fn try_out(encoder: &Encoder, decoder: &Decoder) -> Result<()> {
    let mut run = encoder.run()?;
    run.begin(&encoder.silence())?;
    let window = run.finish(&|| true)?;
    let windows: Vec<&Encoded> = window.iter().collect();
    decoder.texts(&windows)?.decode(decoder, &[0], &|| true).map(|_| ())
}

/// Whether the folder has all that [`load`] reads, its networks whole.
pub(super) fn look(folder: &Path) -> Result<()> {
    Vocabulary::find_files(folder)?;
    Files::find(folder).map(|_| ())
}

impl Whisper {
    fn describe(&self, folder: &Path) -> ModelInfo {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let sizes = self.vocabulary.sizes();
        let mut details = Map::new();
        let mut add = |key: &str, value| details.insert(key.to_owned(), value);
        add("backend", json!("openvino"));
        add("backend_version", json!(self.compiler.version()));
        add("architecture", json!("whisper"));
        add("format", json!(if self.decoder.is_stateful() { "stateful" } else { "stateless" }));
        add("weights_bytes", json!(self.files.weights));
        add("n_mels", json!(sizes.mel_bins));
        add("n_vocab", json!(sizes.vocabulary));
        add("vad", json!(self.vad.is_some()));
        self.choice.describe(&mut details);
        ModelInfo { name: name.unwrap_or_default(), details, ..ModelInfo::default() }
    }

    /// What aligns words, compiled by the first thread that needs it.
    fn aligner(&self) -> Result<&Aligner> {
        self.aligner.get_or_try_init(|| {
            Aligner::load(&self.compiler, &self.files.decoder, &self.vocabulary)
        })
    }
}

struct SharedWhisper(Arc<Whisper>);

impl SpeechModel for SharedWhisper {
    fn session(&self) -> Result<Box<dyn SpeechSession>> {
        Ok(Box::new(Session::new(Arc::clone(&self.0))?))
    }

    fn prepare_alignment(&self) -> Result<()> {
        self.0.aligner().map(|_| ())
    }
}
