//! One thread's way to a Whisper model.

use std::sync::Arc;

use super::super::vad::VadRun;
use super::decoder::Texts;
use super::encoder::EncoderRun;
use super::Whisper;
use crate::backend::{Encoded, GoOn, Scores, SpeechSession};
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Session {
    whisper: Arc<Whisper>,
    encoder: EncoderRun,
    texts: Option<Texts>,
    vad: Option<VadRun>,
}

impl Session {
    pub(super) fn new(whisper: Arc<Whisper>) -> Result<Self> {
        let encoder = whisper.encoder.run()?;
        Ok(Self { whisper, encoder, texts: None, vad: None })
    }
}

impl SpeechSession for Session {
    fn begin_encode(&mut self, mel: &[f32]) -> Result<()> {
        self.encoder.begin(mel)
    }

    fn is_encoded(&mut self) -> Result<bool> {
        self.encoder.is_done()
    }

    fn finish_encode(&mut self, go_on: GoOn<'_>) -> Result<Option<Encoded>> {
        self.encoder.finish(go_on)
    }

    fn begin_texts(&mut self, windows: &[&Encoded]) -> Result<()> {
        // The last texts' KV cache goes first.
        self.texts = None;
        self.texts = Some(self.whisper.decoder.texts(windows)?);
        Ok(())
    }

    fn end(&mut self) {
        self.texts = None;
        // It was for nobody; the next window begins anew either way.
        self.encoder.stop().ok();
    }

    fn decode(&mut self, tokens: &[u32], go_on: GoOn<'_>) -> Result<bool> {
        let texts = self.texts.as_mut().ok_or_else(no_texts)?;
        texts.decode(&self.whisper.decoder, tokens, go_on)
    }

    fn logits(&mut self, row: usize, index: usize) -> Result<&mut [f32]> {
        self.texts.as_mut().ok_or_else(no_texts)?.logits(row, index)
    }

    fn align(
        &mut self,
        window: &Encoded,
        tokens: &[u32],
        frames: usize,
        go_on: GoOn<'_>,
    ) -> Result<Option<Scores>> {
        self.whisper.aligner()?.scores(window, tokens, frames, go_on)
    }

    fn detect_speech(&mut self, samples: &[f32], go_on: GoOn<'_>) -> Result<Option<Vec<f32>>> {
        let vad = self.whisper.vad.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "no voice activity model is loaded")
        })?;
        if self.vad.is_none() {
            self.vad = Some(vad.run()?);
        }
        match &mut self.vad {
            Some(run) => run.probabilities(samples, go_on),
            None => Ok(None),
        }
    }
}

fn no_texts() -> Error {
    Error::new(ErrorKind::Internal, "no text was begun")
}
