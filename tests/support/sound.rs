//! Sounds made by a formula, WAV files of them, and how alike two sounds are.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::f64::consts::TAU;

/// Two seconds: three tones that begin and end at their own times, so that no shift of it is like
/// it. `tests/data/tones.*` hold the same.
pub fn tones(rate: u32) -> Vec<f32> {
    late_tones(rate, 0.0)
}

/// The tones, `late` seconds later, as formats have them that do not tell of the encoder's delay.
pub fn late_tones(rate: u32, late: f64) -> Vec<f32> {
    const TONES: [(f64, f64, f64); 3] = [(440.0, 0.1, 0.9), (1330.0, 0.7, 1.4), (2910.0, 1.2, 1.9)];
    let at = |time: f64| {
        let tone = |&(hz, from, to): &(f64, f64, f64)| match from <= time && time < to {
            true => 0.25 * (TAU * hz * (time - from)).sin(),
            false => 0.0,
        };
        TONES.iter().map(tone).sum::<f64>() as f32
    };
    (0..2 * rate).map(|n| at(f64::from(n) / f64::from(rate) - late)).collect()
}

/// A sine of amplitude 0.5.
pub fn sine(hz: f64, rate: u32, seconds: f64) -> Vec<f32> {
    let count = (seconds * f64::from(rate)).round() as u32;
    (0..count).map(|n| (0.5 * (TAU * hz * f64::from(n) / f64::from(rate)).sin()) as f32).collect()
}

/// From 50 Hz, 1,500 Hz up every second, at 16 kHz: the chirp of tools/expected_log_mel.py.
pub fn chirp(seconds: u32) -> Vec<f32> {
    let at = |t: f64| (0.4 * (TAU * (50.0 * t + 750.0 * t * t)).sin()) as f32;
    (0..seconds * 16_000).map(|n| at(f64::from(n) / 16_000.0)).collect()
}

/// Signal to noise in dB, the difference being the noise; over the length of the shorter.
pub fn snr(wanted: &[f32], got: &[f32]) -> f64 {
    let square = |value: f32| f64::from(value).powi(2);
    let signal: f64 = wanted.iter().map(|&value| square(value)).sum();
    let noise: f64 = wanted.iter().zip(got).map(|(&a, &b)| square(a - b)).sum();
    10.0 * (signal / noise.max(1e-30)).log10()
}

/// How a WAV file stores its samples.
#[derive(Debug, Clone, Copy)]
pub struct Coding {
    pub tag: u16,
    pub bits: u16,
}

/// A WAV file of one sound on all of its channels.
pub fn wav(sound: &[f32], rate: u32, channels: u16, coding: Coding) -> Vec<u8> {
    let mut data = Vec::new();
    for &sample in sound {
        let mut stored = Vec::new();
        match (coding.tag, coding.bits) {
            (1, 8) => stored.push((128.0 + sample * 127.0).round() as u8),
            (1, bits) => {
                let full = 2f64.powi(i32::from(bits) - 1) - 1.0;
                let value = (f64::from(sample) * full).round() as i32;
                stored.extend_from_slice(&value.to_le_bytes()[..usize::from(bits / 8)]);
            }
            (3, 32) => stored.extend_from_slice(&sample.to_le_bytes()),
            (3, 64) => stored.extend_from_slice(&f64::from(sample).to_le_bytes()),
            other => panic!("no coding {other:?}"),
        }
        for _ in 0..channels {
            data.extend_from_slice(&stored);
        }
    }
    let mut file = wav_header(rate, channels, coding, data.len() as u32);
    file.extend_from_slice(&data);
    file
}

/// The 44 bytes in front of the samples.
pub fn wav_header(rate: u32, channels: u16, coding: Coding, bytes: u32) -> Vec<u8> {
    let frame = channels.wrapping_mul(coding.bits / 8);
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&bytes.wrapping_add(36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0");
    file.extend_from_slice(&coding.tag.to_le_bytes());
    file.extend_from_slice(&channels.to_le_bytes());
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&rate.wrapping_mul(u32::from(frame)).to_le_bytes());
    file.extend_from_slice(&frame.to_le_bytes());
    file.extend_from_slice(&coding.bits.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    file
}
