//! From a caller's audio to what speech models hear: mono at 16 kHz, and Whisper's log-mel of it.
//!
//! | file | holds |
//! |---|---|
//! | `pcm` | samples a caller hands over: checked, cleaned, mixed down |
//! | `source` | bytes or a file, read with a budget |
//! | `format` | which format bytes are of, told by their content |
//! | `wav`, `g711` | WAV, read here because its headers lie so often |
//! | `ogg`, `vorbis` | Ogg's pages and packets; Vorbis headers checked before the decoder trusts them |
//! | `mp4` | MP4's boxes, checked before the demuxer trusts them |
//! | `decode` | FLAC, MP3, AAC and Vorbis through symphonia |
//! | `mono` | the one sink: resamples, counts, asks whether to go on |
//! | `resample` | from any rate to 16 kHz |
//! | `mel` | [`LogMel`] |
#![forbid(unsafe_code)]

mod decode;
mod format;
mod g711;
mod mel;
mod mono;
mod mp4;
mod ogg;
mod pcm;
mod resample;
mod source;
mod vorbis;
mod wav;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod resample_tests;

pub use mel::LogMel;

use crate::error::{Error, ErrorKind, Result};
use format::Format;
use mono::{Halt, Mono, Step};
use source::Source;

/// Samples a second of everything that [`read`] returns.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples of one frame of a log-mel: 10 ms.
pub const FRAME_SAMPLES: usize = 160;
/// Samples that a log-mel shows: 30 seconds.
pub const WINDOW_SAMPLES: usize = 480_000;

/// Sample rates that can be read.
const RATES: std::ops::RangeInclusive<u32> = 2_000..=768_000;
/// Channels that can be mixed down.
const CHANNELS: std::ops::RangeInclusive<u32> = 1..=64;

/// Audio as it came from the caller.
#[derive(Debug, Clone)]
pub enum Input {
    /// Samples from -1 to 1. NaN and infinities count as 0, and values beyond a million as a
    /// million; nothing else is changed.
    F32 {
        /// Interleaved: one sample of each channel, then the next.
        samples: Vec<f32>,
        /// Frames a second, 2,000 to 768,000.
        rate: u32,
        /// Channels, 1 to 64.
        channels: u32,
    },
    /// Samples of 16 bits, which become -1 to 1.
    I16 {
        /// Interleaved: one sample of each channel, then the next.
        samples: Vec<i16>,
        /// Frames a second, 2,000 to 768,000.
        rate: u32,
        /// Channels, 1 to 64.
        channels: u32,
    },
    /// The bytes of an audio file: WAV, FLAC, MP3, Ogg Vorbis, M4A (AAC) or AAC.
    Encoded(Vec<u8>),
    /// The path of an audio file of the same formats.
    Path(String),
}

/// Reads audio as mono samples at 16 kHz; channels are averaged. The first sample is the first of
/// the input, and the length is the input's, rounded to a sample of 16 kHz. Input without samples
/// gives none. What is damaged or cut off is read as far as it goes, and logged.
///
/// `go_on` is told how much has been read, 0 to 1, at the start and then about every 20 ms of work;
/// when it returns false, reading ends with `None`.
///
/// Errors: `InvalidArgument` for a rate, channel count or sample count out of range, `NotFound`
/// and `Io` for a path, `InvalidAudio` for bytes of no known format or with nothing readable in
/// them, or for more than 24 hours.
pub fn read(input: Input, go_on: &mut dyn FnMut(f32) -> bool) -> Result<Option<Vec<f32>>> {
    let mut mono = Mono::new(go_on);
    let result = match input {
        Input::F32 { samples, rate, channels } => pcm::read(&samples, rate, channels, &mut mono),
        Input::I16 { samples, rate, channels } => pcm::read(&samples, rate, channels, &mut mono),
        Input::Encoded(bytes) => read_encoded(Source::bytes(bytes), &mut mono),
        Input::Path(path) => {
            Source::open(&path).map_err(Halt::from).and_then(|file| read_encoded(file, &mut mono))
        }
    };
    match result.and_then(|()| mono.finish()) {
        Ok(samples) => Ok(Some(samples)),
        Err(Halt::Stopped) => Ok(None),
        Err(Halt::Failed(error)) => Err(error),
    }
}

fn read_encoded(mut source: Source, mono: &mut Mono<'_>) -> Step {
    mono.ask(0.0)?;
    match format::detect(&mut source)? {
        Format::Wav => wav::read(source, mono),
        Format::Ogg => ogg::read(source, mono),
        Format::Flac => decode::read_flac(source, mono),
        Format::Mp4 => decode::read_mp4(source, mono),
        Format::Mpeg => decode::read_mpeg(source, mono),
        Format::Adts => decode::read_adts(source, mono),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidAudio, message)
}

/// The rate and channel count that an audio file claims, if this build can read them.
fn check_claims(rate: u32, channels: u32) -> Result<()> {
    if !RATES.contains(&rate) {
        return Err(invalid(format!(
            "the audio claims {rate} samples a second; 2000 to 768000 can be read"
        )));
    }
    if !CHANNELS.contains(&channels) {
        return Err(invalid(format!("the audio claims {channels} channels; 1 to 64 can be read")));
    }
    Ok(())
}
