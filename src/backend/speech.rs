//! What the engine asks of a speech model: log-mel windows in, logits and attention out, all as
//! plain data.

use std::sync::Arc;

use super::ModelInfo;
use crate::error::Result;
use crate::speech::Vocabulary;

/// Whether the caller still wants what native code computes; asked every few milliseconds.
pub type GoOn<'a> = &'a dyn Fn() -> bool;

/// What the encoder made of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// `frames` rows of as many values as the model is wide.
    pub states: Vec<f32>,
    /// Rows: 1,500 for the 30 seconds of a window.
    pub frames: usize,
}

/// How a text's tokens attend to a window: scores before the softmax, head by head, in each head
/// token by token, for each token one score a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// `heads` x `tokens` x `frames` values.
    pub values: Vec<f32>,
    /// Heads that align text and speech.
    pub heads: usize,
    /// Tokens that were aligned.
    pub tokens: usize,
    /// Encoder frames, 20 ms each.
    pub frames: usize,
}

/// A speech model's native state, shared by the threads that transcribe with it.
pub trait SpeechModel: Send + Sync {
    /// What one thread needs to transcribe; several work side by side.
    fn session(&self) -> Result<Box<dyn SpeechSession>>;

    /// Makes ready what [`SpeechSession::align`] needs, if it is not. The first call may take
    /// seconds, and nothing can stop it.
    fn prepare_alignment(&self) -> Result<()>;
}

/// One thread's way to a speech model. A window is 30 seconds of speech. Where `go_on` says no,
/// native work is cancelled and the answer is `None` or `false`; the session can be used again, but
/// not after an error.
pub trait SpeechSession {
    /// Begins to encode a log-mel of `n_mels` x 3,000 values; one window at a time. It computes
    /// beside whatever else the session is asked.
    fn begin_encode(&mut self, mel: &[f32]) -> Result<()>;

    /// Whether the window that was begun is encoded. False too when none was.
    fn is_encoded(&mut self) -> Result<bool>;

    /// Waits for the window that was begun.
    fn finish_encode(&mut self, go_on: GoOn<'_>) -> Result<Option<Encoded>>;

    /// Begins a text for each of `windows`, its rows: the KV cache starts empty.
    fn begin_texts(&mut self, windows: &[&Encoded]) -> Result<()>;

    /// Gives back what the transcription that is done held, and stops what was begun for it.
    fn end(&mut self);

    /// Appends `tokens`, equally many for each row, row after row, and computes their logits.
    fn decode(&mut self, tokens: &[u32], go_on: GoOn<'_>) -> Result<bool>;

    /// Logits after token `index` of those that `row` was given last, one for each token of the
    /// vocabulary, for the caller to change at will.
    fn logits(&mut self, row: usize, index: usize) -> Result<&mut [f32]>;

    /// How `tokens`, a whole text with its prompt, attend to the first `frames` of `window` in the
    /// model's alignment heads.
    fn align(
        &mut self,
        window: &Encoded,
        tokens: &[u32],
        frames: usize,
        go_on: GoOn<'_>,
    ) -> Result<Option<Scores>>;

    /// The probability of speech in each 512 samples of 16 kHz mono; what is missing from the
    /// last counts as silence.
    fn detect_speech(&mut self, samples: &[f32], go_on: GoOn<'_>) -> Result<Option<Vec<f32>>>;
}

/// A speech model ready to run.
pub struct LoadedSpeech {
    /// Its native state.
    pub model: Box<dyn SpeechModel>,
    /// Its vocabulary.
    pub vocabulary: Arc<Vocabulary>,
    /// Rows of a log-mel.
    pub n_mels: usize,
    /// Transcriptions that may run side by side.
    pub n_parallel: usize,
    /// Whether [`SpeechSession::detect_speech`] can be asked.
    pub has_vad: bool,
    /// What is known about it.
    pub info: ModelInfo,
}
