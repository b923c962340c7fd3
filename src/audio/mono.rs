//! The one sink that all audio ends in: mono chunks of any rate in, samples at 16 kHz out.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::resample::Resampler;
use super::{invalid, SAMPLE_RATE};
use crate::error::{Error, ErrorKind, Result};

/// The longest audio that is read, in seconds.
const MAX_SECONDS: usize = 24 * 3600;
/// How often the caller is asked whether to go on.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Beyond this magnitude samples are nonsense, and their squares would outgrow what follows.
const LOUDEST: f32 = 1e6;

/// Why reading ended early.
#[derive(Debug)]
pub(super) enum Halt {
    /// The caller said so.
    Stopped,
    /// It cannot be read.
    Failed(Error),
}

/// What a step of reading comes to.
pub(super) type Step<T = ()> = std::result::Result<T, Halt>;

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Collects samples at 16 kHz and asks the caller whether to go on.
pub(super) struct Mono<'a> {
    out: Vec<f32>,
    resampler: Option<Resampler>,
    go_on: &'a mut dyn FnMut(f32) -> bool,
    asked: Option<Instant>,
}

impl<'a> Mono<'a> {
    pub(super) fn new(go_on: &'a mut dyn FnMut(f32) -> bool) -> Self {
        Self { out: Vec::new(), resampler: None, go_on, asked: None }
    }

    /// Adds `chunk`, samples at `rate` (in `RATES`), cleaned in place. `progress` is the part of
    /// the input read so far, 0 to 1. Where the rate differs from the chunk's before, the
    /// samples go on at the new one.
    pub(super) fn push(&mut self, chunk: &mut [f32], rate: u32, progress: f32) -> Step {
        self.ask(progress)?;
        if self.resampler.as_ref().is_none_or(|resampler| resampler.rate() != rate) {
            self.end_rate()?;
            self.resampler = Some(Resampler::new(rate)?);
        }
        for sample in &mut *chunk {
            *sample = clean(*sample);
        }
        let Some(resampler) = &mut self.resampler else { return Ok(()) };
        // Room for twice the chunk's share covers what the resampler held back.
        let share = chunk.len() as u64 * u64::from(SAMPLE_RATE) / u64::from(rate);
        reserve(&mut self.out, share as usize + resampler.block_out())?;
        resampler.push(chunk, &mut self.out);
        Ok(())
    }

    /// Asks the caller, unless that was done a moment ago.
    pub(super) fn ask(&mut self, progress: f32) -> Step {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return Ok(());
        }
        let go_on = (self.go_on)(progress.clamp(0.0, 1.0));
        self.asked = Some(Instant::now());
        if go_on {
            Ok(())
        } else {
            Err(Halt::Stopped)
        }
    }

    /// Whether no sample has come.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.resampler.is_none()
    }

    /// All samples.
    pub(super) fn finish(mut self) -> Step<Vec<f32>> {
        self.end_rate()?;
        Ok(self.out)
    }

    fn end_rate(&mut self) -> Step {
        if let Some(resampler) = self.resampler.take() {
            reserve(&mut self.out, 2 * resampler.block_out())?;
            resampler.finish(&mut self.out);
        }
        Ok(())
    }
}

/// Grows by doubling, which the vector does, but fails where memory does.
fn reserve(out: &mut Vec<f32>, more: usize) -> Result<()> {
    if out.len().saturating_add(more) > (MAX_SECONDS + 60) * SAMPLE_RATE as usize {
        return Err(invalid("the audio is longer than 24 hours; split it"));
    }
    out.try_reserve(more).map_err(|_| {
        let seconds = out.len() / SAMPLE_RATE as usize;
        Error::new(ErrorKind::OutOfMemory, format!("no memory for more than {seconds} s of audio"))
    })
}

fn clean(sample: f32) -> f32 {
    if sample.is_finite() {
        sample.clamp(-LOUDEST, LOUDEST)
    } else {
        0.0
    }
}
