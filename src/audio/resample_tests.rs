//! Tones through the resampler.

use std::f64::consts::TAU;

use super::resample::Resampler;

const RATES: [u32; 8] = [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000, 44_099];

fn tone(hz: f64, rate: u32, seconds: u32) -> Vec<f32> {
    let step = TAU * hz / f64::from(rate);
    (0..seconds * rate).map(|n| (0.5 * (step * f64::from(n)).sin()) as f32).collect()
}

/// In pieces of changing sizes, as decoders give them.
fn resampled(sound: &[f32], rate: u32) -> Vec<f32> {
    let mut resampler = Resampler::new(rate).expect("a resampler");
    let (mut out, mut rest, mut size) = (Vec::new(), sound, 1);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(size));
        resampler.push(now, &mut out);
        rest = later;
        size = size * 5 % 3_001;
    }
    resampler.finish(&mut out);
    out
}

/// Amplitude and phase of a tone, by least squares.
fn measure(sound: &[f32], hz: f64, first: usize) -> (f64, f64) {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, &value) in sound.iter().enumerate() {
        let angle = TAU * hz * (first + n) as f64 / 16_000.0;
        sine += f64::from(value) * angle.sin();
        cosine += f64::from(value) * angle.cos();
    }
    let share = 2.0 / sound.len() as f64;
    (share * sine.hypot(cosine), cosine.atan2(sine))
}

#[test]
fn a_tone_keeps_amplitude_and_phase() {
    for rate in RATES {
        let got = resampled(&tone(1000.0, rate, 3), rate);
        assert_eq!(got.len(), 48_000, "{rate} Hz");
        let middle = &got[16_000..32_000];
        let (amplitude, phase) = measure(middle, 1000.0, 16_000);
        assert!((amplitude / 0.5 - 1.0).abs() < 0.005, "{rate} Hz: amplitude {amplitude}");
        assert!(phase.abs() < 1e-3, "{rate} Hz: phase {phase}");
        let wanted = &tone(1000.0, 16_000, 3)[16_000..32_000];
        let noise: f64 = wanted.iter().zip(middle).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let signal = 0.125 * wanted.len() as f64;
        let clear = 10.0 * (signal / noise).log10();
        assert!(clear > 60.0, "{rate} Hz: {clear} dB");
    }
}

#[test]
fn what_16_khz_cannot_hold_is_suppressed() {
    for (hz, rate) in [(10_000.0, 48_000), (8_500.0, 44_100), (20_000.0, 96_000)] {
        let got = resampled(&tone(hz, rate, 2), rate);
        let loudest = got[8_000..24_000].iter().fold(0.0f32, |peak, value| peak.max(value.abs()));
        assert!(loudest < 0.5 / 316.0, "{hz} Hz at {rate} Hz leaves {loudest}");
    }
}

#[test]
fn speech_up_to_7_khz_passes() {
    for hz in [50.0, 300.0, 4_000.0, 7_000.0] {
        let got = resampled(&tone(hz, 44_100, 3), 44_100);
        let (amplitude, _) = measure(&got[16_000..32_000], hz, 16_000);
        assert!((amplitude / 0.5 - 1.0).abs() < 0.01, "{hz} Hz: amplitude {amplitude}");
    }
}

#[test]
fn lengths_are_rounded_to_whole_samples() {
    for rate in [2_000, 8_000, 11_025, 16_000, 44_100, 192_000, 96_001] {
        for count in [0u64, 1, 2, 100, 441, 12_345] {
            let got = resampled(&vec![0.25; count as usize], rate);
            let wanted = (count * 16_000 + u64::from(rate) / 2) / u64::from(rate);
            assert_eq!(got.len() as u64, wanted, "{count} samples at {rate} Hz");
        }
    }
}
