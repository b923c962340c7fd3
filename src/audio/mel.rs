//! Whisper's log-mel spectrogram of one window of 30 seconds.
//!
//! The steps and constants are those of OpenAI's `whisper/audio.py`; the values those of
//! `WhisperFeatureExtractor` in transformers, which computes in double precision as is done here:
//! a value 80 dB under the loudest would be off by more than a model's rounding in single.
#![forbid(unsafe_code)]

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::{FRAME_SAMPLES, SAMPLE_RATE, WINDOW_SAMPLES};

/// Samples under one transform; the next one begins a frame later.
const N_FFT: usize = 400;
/// Each transform is centred on its frame's first sample.
const HALF: usize = N_FFT / 2;
/// Frames of a window; the last of 3001 is dropped, as Whisper does.
const FRAMES: usize = WINDOW_SAMPLES / FRAME_SAMPLES;
/// Power below this counts as this.
const FLOOR: f64 = 1e-10;
/// Values further below the window's highest count as this far below: 80 dB.
const RANGE: f32 = 8.0;
/// Frames that are written to their rows together, which are far apart in memory.
const GROUP: usize = 16;

/// Computes log-mel spectrograms. Owns its buffers: after `new`, nothing is allocated.
pub struct LogMel {
    fft: Arc<dyn RealToComplex<f64>>,
    /// Hann, periodic.
    taper: Vec<f64>,
    filters: Vec<Filter>,
    frame: Vec<f64>,
    bins: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    power: Vec<f64>,
    group: Vec<f32>,
}

/// The weights of one mel band, from the first bin that counts on.
struct Filter {
    first: usize,
    weights: Vec<f64>,
}

impl LogMel {
    /// For `n_mels` bands (80, or 128 from Whisper large-v3 on) between 0 and 8,000 Hz.
    pub fn new(n_mels: usize) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(N_FFT);
        let hann = |n| 0.5 - 0.5 * (std::f64::consts::TAU * n as f64 / N_FFT as f64).cos();
        Self {
            taper: (0..N_FFT).map(hann).collect(),
            filters: filters(n_mels),
            frame: fft.make_input_vec(),
            bins: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            power: vec![0.0; N_FFT / 2 + 1],
            group: vec![0.0; n_mels * GROUP],
            fft,
        }
    }

    /// Bands of the spectrogram.
    pub fn n_mels(&self) -> usize {
        self.filters.len()
    }

    /// Writes the log-mel of `samples` (16 kHz mono, the first 480,000 count, what is missing is
    /// silence) to `out`, `[n_mels][3000]`.
    ///
    /// # Panics
    /// When `out` does not hold `n_mels * 3000` values.
    pub fn window(&mut self, samples: &[f32], out: &mut [f32]) {
        assert_eq!(out.len(), self.n_mels() * FRAMES, "the output is [n_mels][3000]");
        let samples = &samples[..samples.len().min(WINDOW_SAMPLES)];
        // From here on each transform would see silence alone, whose power is known.
        let heard = match samples.len() {
            0 => 0,
            count => (count + HALF).div_ceil(FRAME_SAMPLES).min(FRAMES),
        };
        for start in (0..heard).step_by(GROUP) {
            let count = GROUP.min(heard - start);
            for nth in 0..count {
                self.transform(samples, start + nth);
                self.write_bands(nth);
            }
            for (row, values) in out.chunks_exact_mut(FRAMES).zip(self.group.chunks_exact(GROUP)) {
                row[start..start + count].copy_from_slice(&values[..count]);
            }
        }
        normalise(out, heard);
    }

    /// The power of frame `index` in each bin.
    fn transform(&mut self, samples: &[f32], index: usize) {
        let start = index * FRAME_SAMPLES;
        match start.checked_sub(HALF).and_then(|from| samples.get(from..from + N_FFT)) {
            Some(inside) => {
                for ((to, &sample), taper) in self.frame.iter_mut().zip(inside).zip(&self.taper) {
                    *to = f64::from(sample) * taper;
                }
            }
            None => {
                for (n, (to, taper)) in self.frame.iter_mut().zip(&self.taper).enumerate() {
                    let at = reflect(start + n);
                    *to = samples.get(at).map_or(0.0, |&sample| f64::from(sample)) * taper;
                }
            }
        }
        self.fft
            .process_with_scratch(&mut self.frame, &mut self.bins, &mut self.scratch)
            .expect("the buffers are of the sizes that the plan names");
        for (power, bin) in self.power.iter_mut().zip(&self.bins) {
            *power = bin.norm_sqr();
        }
    }

    fn write_bands(&mut self, nth: usize) {
        for (filter, values) in self.filters.iter().zip(self.group.chunks_exact_mut(GROUP)) {
            let bins = &self.power[filter.first..];
            let band: f64 = filter.weights.iter().zip(bins).map(|(w, power)| w * power).sum();
            values[nth] = band.max(FLOOR).log10() as f32;
        }
    }
}

/// The sample under `position` of the window with half a transform before it: what lies outside
/// mirrors what lies inside, without the sample at the edge.
fn reflect(position: usize) -> usize {
    let at = position.abs_diff(HALF);
    if at < WINDOW_SAMPLES {
        at
    } else {
        2 * (WINDOW_SAMPLES - 1) - at
    }
}

/// Cuts the range, and brings it to about -1 to 1; frames from `heard` on are silent.
fn normalise(out: &mut [f32], heard: usize) {
    let silent = FLOOR.log10() as f32;
    let rows = out.chunks_exact(FRAMES);
    let loudest = rows.flat_map(|row| &row[..heard]).copied().fold(silent, f32::max);
    let lowest = loudest - RANGE;
    let scale = |value: f32| (value.max(lowest) + 4.0) / 4.0;
    for row in out.chunks_exact_mut(FRAMES) {
        let (speech, silence) = row.split_at_mut(heard);
        speech.iter_mut().for_each(|value| *value = scale(*value));
        silence.fill(scale(silent));
    }
}

/// Triangles between neighbouring points of Slaney's mel scale, each of area 1 (in Hz), as
/// librosa's and transformers' `mel_filter_bank(norm="slaney", mel_scale="slaney")` has them.
fn filters(n_mels: usize) -> Vec<Filter> {
    let nyquist = f64::from(SAMPLE_RATE) / 2.0;
    let step = hz_to_mel(nyquist) / (n_mels + 1) as f64;
    let points: Vec<f64> = (0..n_mels + 2).map(|n| mel_to_hz(n as f64 * step)).collect();
    let bin_hz = f64::from(SAMPLE_RATE) / N_FFT as f64;
    let band = |edges: &[f64]| {
        let (low, peak, high) = (edges[0], edges[1], edges[2]);
        let weight = |bin: usize| {
            let hz = bin as f64 * bin_hz;
            let inside = ((hz - low) / (peak - low)).min((high - hz) / (high - peak)).max(0.0);
            inside * 2.0 / (high - low)
        };
        let all: Vec<f64> = (0..=N_FFT / 2).map(weight).collect();
        let first = all.iter().position(|&weight| weight > 0.0).unwrap_or(0);
        let last = all.iter().rposition(|&weight| weight > 0.0).map_or(first, |last| last + 1);
        Filter { first, weights: all[first..last].to_vec() }
    };
    points.windows(3).map(band).collect()
}

/// Slaney's scale: linear up to 1,000 Hz, 15 mels, and logarithmic above.
const LINEAR_MELS: f64 = 15.0;
const LINEAR_HZ: f64 = 1000.0;
/// Mels in which the frequency grows e-fold: 27 make a factor of 6.4.
fn log_step() -> f64 {
    27.0 / 6.4f64.ln()
}

fn hz_to_mel(hz: f64) -> f64 {
    if hz < LINEAR_HZ {
        hz * LINEAR_MELS / LINEAR_HZ
    } else {
        LINEAR_MELS + (hz / LINEAR_HZ).ln() * log_step()
    }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel < LINEAR_MELS {
        mel * LINEAR_HZ / LINEAR_MELS
    } else {
        LINEAR_HZ * ((mel - LINEAR_MELS) / log_step()).exp()
    }
}
