//! From any sample rate to 16 kHz.
//!
//! rubato's synchronous resampler: overlapping blocks go through an FFT, where a windowed-sinc
//! low-pass (Blackman-Harris, squared) cuts what the lower rate cannot hold, and come back at the
//! other rate. Its delay of half a block is taken out, so that times stay where they are.
#![forbid(unsafe_code)]

use rubato::{FftFixedInOut, Resampler as _};

use super::SAMPLE_RATE;
use crate::error::{Error, ErrorKind, Result};

/// Blocks are about this long, in milliseconds: the longer, the steeper the low-pass.
const BLOCK_MS: u32 = 64;

/// A stream of samples at one rate.
pub(super) struct Resampler {
    rate: u32,
    /// `None` where the rate is 16 kHz already.
    fft: Option<Fft>,
}

struct Fft {
    resampler: FftFixedInOut<f32>,
    /// A block of input as it fills.
    block: Vec<f32>,
    output: Vec<f32>,
    /// Samples of output still to drop: the delay.
    late: usize,
    /// Samples of input seen and of output given.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A stream that starts now, at `rate` samples a second.
    pub(super) fn new(rate: u32) -> Result<Self> {
        let fft = if rate == SAMPLE_RATE { None } else { Some(Fft::new(rate)?) };
        Ok(Self { rate, fft })
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// The most that [`push`](Self::push) and [`finish`](Self::finish) add to `out` beyond their
    /// input's share of it: one and two of these.
    pub(super) fn block_out(&self) -> usize {
        self.fft.as_ref().map_or(0, |fft| fft.output.len())
    }

    /// Takes `samples` and appends what is ready to `out`.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        match &mut self.fft {
            None => out.extend_from_slice(samples),
            Some(fft) => fft.push(samples, out),
        }
    }

    /// Appends the rest: in all, the input's length at 16 kHz, rounded.
    pub(super) fn finish(self, out: &mut Vec<f32>) {
        let Some(mut fft) = self.fft else { return };
        let rate = u64::from(self.rate);
        let length = (fft.taken * u64::from(SAMPLE_RATE) + rate / 2) / rate;
        while fft.given < length {
            let (before, given) = (out.len(), fft.given);
            let silence = vec![0.0; fft.resampler.input_frames_next() - fft.block.len()];
            fft.push(&silence, out);
            let surplus = fft.given.saturating_sub(length);
            out.truncate(out.len() - surplus as usize);
            debug_assert!(out.len() > before || fft.given == given);
        }
    }
}

impl Fft {
    fn new(rate: u32) -> Result<Self> {
        // An even number of the smallest blocks: in an odd one the filter's middle would lie half
        // a sample off.
        let pair = 2 * (rate / gcd(rate, SAMPLE_RATE));
        let wanted = (rate * BLOCK_MS / 1000).div_ceil(pair).max(1) * pair;
        let resampler = FftFixedInOut::new(rate as usize, SAMPLE_RATE as usize, wanted as usize, 1)
            .map_err(|error| {
                Error::new(ErrorKind::Internal, format!("no resampler for {rate} Hz: {error}"))
            })?;
        Ok(Self {
            block: Vec::with_capacity(resampler.input_frames_next()),
            output: resampler.output_buffer_allocate(true).pop().unwrap_or_default(),
            late: resampler.output_delay(),
            resampler,
            taken: 0,
            given: 0,
        })
    }

    fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        let size = self.resampler.input_frames_next();
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(size - self.block.len()));
            self.block.extend_from_slice(now);
            samples = later;
            if self.block.len() == size {
                self.turn(out);
            }
        }
    }

    fn turn(&mut self, out: &mut Vec<f32>) {
        self.resampler
            .process_into_buffer(&[&self.block], &mut [&mut self.output], None)
            .expect("the buffers are of the sizes that the resampler names");
        self.block.clear();
        let dropped = self.late.min(self.output.len());
        self.late -= dropped;
        out.extend_from_slice(&self.output[dropped..]);
        self.given += (self.output.len() - dropped) as u64;
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
}
