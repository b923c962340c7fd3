//! Whisper in OpenVINO's format: a folder as optimum-intel exports it, stateful or stateless.

mod aligner;
mod decoder;
mod encoder;
mod files;
mod ir;
mod session;

use std::path::Path;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use serde_json::{json, Map};

use self::aligner::Aligner;
use self::decoder::Decoder;
use self::encoder::Encoder;
use self::files::Files;
use self::session::Session;
use super::compiler::Compiler;
use super::vad::Vad;
use crate::backend::{Listener, Loaded, LoadedSpeech, ModelInfo, SpeechModel, SpeechSession};
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
}

/// Loads the folder at `path`. `Ok(None)`: the listener gave it up.
pub(super) fn load(
    path: &str,
    options: &LoadOptions,
    mut listener: Listener<'_>,
) -> Result<Option<Loaded>> {
    let folder = Path::new(path);
    let vocabulary = Arc::new(Vocabulary::read(folder)?);
    let files = Files::find(folder)?;
    let compiler = Compiler::new(options)?;
    // Reading a model cannot be stopped; between the parts a stop is noticed.
    if !(listener.progress)(0.1) {
        return Ok(None);
    }
    let n_mels = vocabulary.sizes().mel_bins;
    let encoder = Encoder::load(&compiler, &files.encoder, n_mels, &mut listener)?;
    if !(listener.progress)(0.4) {
        return Ok(None);
    }
    let decoder = Decoder::load(&compiler, &files, &mut listener)?;
    if !(listener.progress)(0.9) {
        return Ok(None);
    }
    let vad = Vad::find(&compiler, folder, options)?;
    let whisper = Whisper {
        encoder,
        decoder,
        aligner: OnceCell::new(),
        vad,
        files,
        vocabulary: Arc::clone(&vocabulary),
        compiler,
    };
    let info = whisper.describe(folder);
    Ok(Some(Loaded::Speech(Box::new(LoadedSpeech {
        has_vad: whisper.vad.is_some(),
        model: Box::new(SharedWhisper(Arc::new(whisper))),
        vocabulary,
        n_mels,
        n_parallel: options.n_parallel as usize,
        info,
    }))))
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
        let devices = self.compiler.devices().iter();
        let devices = devices.map(|device| json!({"id": device.id, "name": device.full_name}));
        add("devices", devices.collect());
        if let Some(choice) = self.compiler.choice() {
            add("device", json!(choice.used));
            add("device_name", json!(choice.full_name));
            add("device_asked", json!(choice.asked));
            add("device_why", json!(choice.why));
        }
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
