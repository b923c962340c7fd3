//! Samples that a caller hands over.
#![forbid(unsafe_code)]

use super::mono::{Mono, Step};
use super::{CHANNELS, RATES};
use crate::error::{Error, ErrorKind, Result};

/// Frames mixed down at a time.
const CHUNK: usize = 16_384;

/// A sample of one channel, as a number from -1 to 1.
pub(super) trait Sample: Copy {
    fn unit(self) -> f32;
}

impl Sample for f32 {
    fn unit(self) -> f32 {
        self
    }
}

impl Sample for i16 {
    fn unit(self) -> f32 {
        f32::from(self) / 32_768.0
    }
}

/// Reads interleaved `samples`.
pub(super) fn read<S: Sample>(
    samples: &[S],
    rate: u32,
    channels: u32,
    mono: &mut Mono<'_>,
) -> Step {
    check(samples.len(), rate, channels)?;
    mono.ask(0.0)?;
    let width = channels as usize;
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut done = 0;
    for part in samples.chunks(CHUNK * width) {
        chunk.clear();
        chunk.extend(part.chunks_exact(width).map(mix));
        done += part.len();
        mono.push(&mut chunk, rate, done as f32 / samples.len() as f32)?;
    }
    Ok(())
}

/// The mean of one frame; a channel that is no number is silent.
pub(super) fn mix<S: Sample>(frame: &[S]) -> f32 {
    let number = |sample: &S| Some(f64::from(sample.unit())).filter(|value| value.is_finite());
    let sum: f64 = frame.iter().filter_map(number).sum();
    (sum / frame.len().max(1) as f64) as f32
}

fn check(count: usize, rate: u32, channels: u32) -> Result<()> {
    let wrong = |message| Err(Error::new(ErrorKind::InvalidArgument, message));
    if !RATES.contains(&rate) {
        return wrong(format!("rate {rate} is not from 2000 to 768000 samples a second"));
    }
    if !CHANNELS.contains(&channels) {
        return wrong(format!("channels {channels} is not from 1 to 64"));
    }
    if count % channels as usize != 0 {
        return wrong(format!("{count} samples are no whole number of frames of {channels}"));
    }
    Ok(())
}
