//! `fluid_audio`: a recording as C hands it over.

use std::ffi::{c_char, c_void};

use super::pointer;
use crate::audio::Input;
use crate::error::{Error, ErrorKind, Result};

/// What `data` of a `fluid_audio` points to.
pub type fluid_audio_kind = i32;

/// Interleaved samples, 32-bit floats from -1 to 1 in the machine's byte order. NaN and infinities
/// count as 0.
pub const FLUID_AUDIO_PCM_F32: fluid_audio_kind = 1;
/// Interleaved samples, 16-bit integers in the machine's byte order.
pub const FLUID_AUDIO_PCM_I16: fluid_audio_kind = 2;
/// The bytes of an audio file: WAV, FLAC, MP3, OGG Vorbis, M4A or AAC.
pub const FLUID_AUDIO_ENCODED: fluid_audio_kind = 3;
/// The path of such a file, UTF-8 on every system.
pub const FLUID_AUDIO_PATH: fluid_audio_kind = 4;

/// A recording. It and all it points to are borrowed for the call that gets it. The struct grows
/// at its end: set it to zeros before you fill it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct fluid_audio {
    /// `sizeof(fluid_audio)`.
    pub struct_size: u32,
    /// What `data` points to: one of `FLUID_AUDIO_...`.
    pub kind: fluid_audio_kind,
    /// Samples, bytes or a path; at any alignment. `NULL` only where `bytes` is 0 and `kind` is not
    /// `FLUID_AUDIO_PATH`.
    pub data: *const c_void,
    /// Bytes of `data`, whole frames of samples. Of a path its length; or 0, then a NUL ends it.
    pub bytes: usize,
    /// Frames per second of samples, 2,000 to 768,000; not looked at for the other kinds.
    pub rate: u32,
    /// Samples of a frame, one for each channel, 1 to 64; not looked at for the other kinds.
    pub channels: u32,
}

/// Larger than the struct will ever be: memory that nobody has set.
const LARGEST: u32 = 4096;

/// A copy of `audio`.
///
/// # Safety
/// `audio` is null, or points to `struct_size` bytes of a struct whose `data` is null, or can be
/// read for `bytes` bytes; with a path of `bytes` 0, up to its NUL.
pub(super) unsafe fn input(audio: *const fluid_audio) -> Result<Input> {
    // SAFETY: the caller's promise.
    let audio = unsafe { read(audio) }?;
    match audio.kind {
        FLUID_AUDIO_PCM_F32 => {
            check_frames(&audio, size_of::<f32>())?;
            // SAFETY: the caller's promise.
            let bytes = unsafe { data(&audio) }?;
            let samples = copied(bytes, f32::from_ne_bytes)?;
            Ok(Input::F32 { samples, rate: audio.rate, channels: audio.channels })
        }
        FLUID_AUDIO_PCM_I16 => {
            check_frames(&audio, size_of::<i16>())?;
            // SAFETY: the caller's promise.
            let bytes = unsafe { data(&audio) }?;
            let samples = copied(bytes, i16::from_ne_bytes)?;
            Ok(Input::I16 { samples, rate: audio.rate, channels: audio.channels })
        }
        FLUID_AUDIO_ENCODED => {
            // SAFETY: the caller's promise.
            let bytes = unsafe { data(&audio) }?;
            Ok(Input::Encoded(copied(bytes, |[byte]| byte)?))
        }
        FLUID_AUDIO_PATH => {
            // SAFETY: the caller's promise.
            let path = unsafe { path(&audio) }?;
            Ok(Input::Path(path.to_owned()))
        }
        other => Err(invalid(format!("audio->kind is {other}, which is no FLUID_AUDIO_..."))),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// # Safety
/// As of [`input`].
unsafe fn read(audio: *const fluid_audio) -> Result<fluid_audio> {
    if audio.is_null() {
        return Err(pointer::null("audio"));
    }
    let size = size_of::<fluid_audio>();
    // SAFETY: not null; the struct begins with this field, which every version has.
    let given = unsafe { audio.cast::<u32>().read_unaligned() };
    if (given as usize) < size || given > LARGEST {
        let message =
            format!("audio->struct_size is {given}; set it to sizeof(fluid_audio), {size}");
        return Err(invalid(message));
    }
    // SAFETY: it says itself that it is as large as this. Unaligned, for managed hosts may hand
    // out a place in a byte array.
    Ok(unsafe { audio.read_unaligned() })
}

fn check_frames(audio: &fluid_audio, sample: usize) -> Result<()> {
    let fluid_audio { bytes, rate, channels, .. } = *audio;
    if rate == 0 {
        return Err(invalid("audio->rate is 0; give the frames per second"));
    }
    if channels == 0 {
        return Err(invalid("audio->channels is 0; give the samples of a frame"));
    }
    let frame = sample.saturating_mul(channels as usize);
    if bytes % frame != 0 {
        let message = format!(
            "audio->bytes is {bytes}, which is no multiple of a frame's {frame} ({channels} x {sample})"
        );
        return Err(invalid(message));
    }
    Ok(())
}

/// The bytes at `data`.
///
/// # Safety
/// As of [`input`].
unsafe fn data(audio: &fluid_audio) -> Result<&[u8]> {
    let bytes = audio.bytes;
    if bytes > isize::MAX as usize {
        return Err(invalid(format!("audio->bytes is {bytes}, more than memory can hold")));
    }
    match (audio.data.is_null(), bytes) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(invalid(format!("audio->data is NULL, but audio->bytes is {bytes}"))),
        // SAFETY: not null, no more than an allocation can be; the rest is the caller's promise.
        // Bytes have no alignment.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(audio.data.cast::<u8>(), bytes) }),
    }
}

/// # Safety
/// As of [`input`].
unsafe fn path(audio: &fluid_audio) -> Result<&str> {
    if audio.bytes == 0 {
        // SAFETY: the caller's promise.
        return unsafe { pointer::text(audio.data.cast::<c_char>(), "audio->data") };
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { data(audio) }?;
    if let Some(index) = bytes.iter().position(|&byte| byte == 0) {
        let message =
            format!("audio->data is a path with a NUL at byte {index} of {}", bytes.len());
        return Err(invalid(message));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("audio->data is not UTF-8 from byte {} on", error.valid_up_to());
        Error::new(ErrorKind::InvalidUtf8, message)
    })
}

/// `bytes` as samples of `N` bytes each; no memory is an error, not an abort.
fn copied<const N: usize, T>(bytes: &[u8], sample: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
    let mut samples = Vec::new();
    samples.try_reserve_exact(bytes.len() / N).map_err(|_| {
        let message = format!("no memory for a copy of {} bytes of audio", bytes.len());
        Error::new(ErrorKind::OutOfMemory, message)
    })?;
    let chunks = bytes.chunks_exact(N);
    samples.extend(chunks.map(|chunk| sample(std::array::from_fn(|index| chunk[index]))));
    Ok(samples)
}
