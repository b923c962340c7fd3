//! WAV, RF64 included: the one format whose headers are written by everybody, and are wrong so
//! often (streamed, cut off, sizes never filled in) that the data are believed instead.
//!
//! Microsoft's "Multiple Channel Audio Data and WAVE Files" and EBU Tech 3306.
#![forbid(unsafe_code)]

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::mono::{Mono, Step};
use super::pcm::{self, Sample};
use super::source::{broken_read, Source};
use super::{check_claims, g711, invalid};
use crate::error::Result;
use crate::log::log;

/// Frames read at a time.
const CHUNK: usize = 8_192;
/// More of a `fmt ` chunk says nothing.
const FORMAT_BYTES: u64 = 40;

/// How a sample is stored.
#[derive(Debug, Clone, Copy)]
enum Coding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
    ALaw,
    MuLaw,
}

#[derive(Debug)]
struct Layout {
    coding: Coding,
    channels: usize,
    rate: u32,
}

/// Reads the samples of a WAV file.
pub(super) fn read(source: Source, mono: &mut Mono<'_>) -> Step {
    let file_bytes = source.len();
    let mut input = BufReader::with_capacity(64 << 10, source);
    let (layout, bytes) = read_headers(&mut input, file_bytes)?;
    match layout.coding {
        Coding::Unsigned8 => read_samples(input, &layout, bytes, mono, |[byte]: [u8; 1]| {
            (f32::from(byte) - 128.0) / 128.0
        }),
        Coding::Signed16 => read_samples(input, &layout, bytes, mono, |bytes| {
            f32::from(i16::from_le_bytes(bytes)) / 32_768.0
        }),
        Coding::Signed24 => read_samples(input, &layout, bytes, mono, |[a, b, c]: [u8; 3]| {
            i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0
        }),
        Coding::Signed32 => read_samples(input, &layout, bytes, mono, |bytes| {
            i32::from_le_bytes(bytes) as f32 / 2_147_483_648.0
        }),
        Coding::Float32 => read_samples(input, &layout, bytes, mono, f32::from_le_bytes),
        Coding::Float64 => {
            read_samples(input, &layout, bytes, mono, |bytes| f64::from_le_bytes(bytes) as f32)
        }
        Coding::ALaw => read_samples(input, &layout, bytes, mono, |[byte]| g711::a_law(byte)),
        Coding::MuLaw => read_samples(input, &layout, bytes, mono, |[byte]| g711::mu_law(byte)),
    }
}

/// Walks the chunks up to the samples; returns how those are stored, and how many bytes of them
/// there are.
fn read_headers(input: &mut BufReader<Source>, file_bytes: u64) -> Result<(Layout, u64)> {
    let riff: [u8; 12] = take(input)?;
    let riff_bytes = u64::from(u32_at(&riff, 4));
    let (mut layout, mut long_bytes) = (None, None);
    loop {
        let header: [u8; 8] = take(input)?;
        let claimed = u64::from(u32_at(&header, 4));
        let at = input.stream_position().map_err(|error| broken_read(&error))?;
        match &header[..4] {
            b"fmt " => {
                layout = Some(Layout::parse(&take_up_to(input, claimed.min(FORMAT_BYTES))?)?)
            }
            b"ds64" => {
                let sizes = take_up_to(input, 16)?;
                long_bytes = sizes.get(8..16).and_then(|size| size.try_into().ok());
            }
            b"data" => {
                let layout = layout
                    .ok_or_else(|| invalid("the WAV file has no fmt chunk before its data"))?;
                let there = file_bytes.saturating_sub(at);
                let claimed = match long_bytes {
                    Some(size) if claimed == u64::from(u32::MAX) => u64::from_le_bytes(size),
                    _ => claimed,
                };
                return Ok((layout, believable(claimed, there, riff_bytes + 8 == file_bytes)));
            }
            _ => {}
        }
        // Chunks begin at even positions.
        let next = at + claimed + claimed % 2;
        input.seek(SeekFrom::Start(next)).map_err(|error| broken_read(&error))?;
    }
}

/// The bytes of samples, given those claimed and those between the data's header and the file's
/// end. A size of 0 is one never filled in, unless the file's size was.
fn believable(claimed: u64, there: u64, is_honest: bool) -> u64 {
    if claimed > there && claimed != u64::from(u32::MAX) {
        log!(
            Warn,
            "the WAV file claims {claimed} bytes of samples and holds {there}: it was cut off"
        );
    }
    if claimed == 0 && !is_honest {
        there
    } else {
        claimed.min(there)
    }
}

impl Layout {
    fn parse(format: &[u8]) -> Result<Self> {
        let Some(fixed) = format.first_chunk::<16>() else {
            return Err(invalid(format!("the WAV file's fmt chunk has {} bytes", format.len())));
        };
        let (channels, rate) = (u16_at(fixed, 2), u32_at(fixed, 4));
        check_claims(rate, u32::from(channels))?;
        let bits = u16_at(fixed, 14);
        let tag = match (u16_at(fixed, 0), format.get(24..26)) {
            (0xfffe, Some(tag)) => u16_at(tag, 0),
            (tag, _) => tag,
        };
        let coding = match (tag, bits.div_ceil(8)) {
            (1, 1) => Coding::Unsigned8,
            (1, 2) => Coding::Signed16,
            (1, 3) => Coding::Signed24,
            (1, 4) => Coding::Signed32,
            (3, 4) => Coding::Float32,
            (3, 8) => Coding::Float64,
            (6, 1) => Coding::ALaw,
            (7, 1) => Coding::MuLaw,
            _ => {
                return Err(invalid(format!(
                    "the WAV file holds samples of coding {tag} with {bits} bits; integers of 8 to 32 bits, floats of 32 and 64, A-law and mu-law can be read"
                )))
            }
        };
        Ok(Self { coding, channels: usize::from(channels), rate })
    }
}

/// Reads frames of samples of `N` bytes until `bytes` of them, or the file, end.
fn read_samples<const N: usize>(
    input: impl Read,
    layout: &Layout,
    bytes: u64,
    mono: &mut Mono<'_>,
    decode: impl Fn([u8; N]) -> f32,
) -> Step {
    let width = N * layout.channels;
    let mut input = input.take(bytes);
    let (mut raw, mut frame) = (Vec::with_capacity(CHUNK * width), Vec::new());
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut done = 0;
    loop {
        raw.clear();
        let count = input.by_ref().take((CHUNK * width) as u64).read_to_end(&mut raw);
        done += count.map_err(|error| broken_read(&error))?;
        chunk.clear();
        for stored in raw.chunks_exact(width) {
            frame.clear();
            frame.extend(stored.chunks_exact(N).map(|one| Decoded(decode(whole(one)))));
            chunk.push(pcm::mix(&frame));
        }
        if chunk.is_empty() {
            return Ok(());
        }
        mono.push(&mut chunk, layout.rate, done as f32 / bytes.max(1) as f32)?;
    }
}

fn whole<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("chunks_exact gives chunks of this size")
}

#[derive(Clone, Copy)]
struct Decoded(f32);

impl Sample for Decoded {
    fn unit(self) -> f32 {
        self.0
    }
}

fn take<const N: usize>(input: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    match input.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(invalid("the WAV file ends before its samples"))
        }
        Err(error) => Err(broken_read(&error)),
    }
}

fn take_up_to(input: &mut impl Read, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(count).read_to_end(&mut bytes).map_err(|error| broken_read(&error))?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
