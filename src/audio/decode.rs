//! FLAC, MP3, AAC and Vorbis through symphonia.
//!
//! What its demuxers allocate by a file's claim is checked or cut off before they see it. Its
//! decoders panic on some damaged files: that counts as the file's end. (On threads of ours, and
//! in calls of the C interface, such a panic goes to the log; see `ffi::process`.)
#![forbid(unsafe_code)]

use std::panic::{catch_unwind, AssertUnwindSafe};

use symphonia::core::audio::{AudioBuffer, AudioBufferRef};
use symphonia::core::codecs::{
    CodecParameters, Decoder, DecoderOptions, CODEC_TYPE_AAC, CODEC_TYPE_FLAC, CODEC_TYPE_MP3,
    CODEC_TYPE_VORBIS,
};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::{FormatOptions, FormatReader, Packet};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MpaReader};

use super::mono::{Mono, Step};
use super::source::Source;
use super::{check_claims, invalid, mp4};
use crate::error::Result;
use crate::log::log;

/// Bytes in which a demuxer must find a packet, or a file's headers.
const STRIDE: u64 = 16 << 20;
/// Packets without audio, one after the other, that end a file.
const MAX_IDLE: u32 = 10_000;
/// Frames by which a file may fall short of its claim without a word in the log.
const SLACK: u64 = 8_192;

type Opened = symphonia::core::errors::Result<Box<dyn FormatReader>>;

/// Reads a FLAC file.
pub(super) fn read_flac(mut source: Source, mono: &mut Mono<'_>) -> Step {
    cut_flac_metadata(&mut source)?;
    let open = |stream, options: &FormatOptions| -> Opened {
        Ok(Box::new(FlacReader::try_new(stream, options)?))
    };
    read(source, "FLAC", open, mp4::Start::default(), mono)
}

/// Reads MP3 frames.
pub(super) fn read_mpeg(source: Source, mono: &mut Mono<'_>) -> Step {
    let open = |stream, options: &FormatOptions| -> Opened {
        Ok(Box::new(MpaReader::try_new(stream, options)?))
    };
    read(source, "MP3", open, mp4::Start::default(), mono)
}

/// Reads AAC frames.
pub(super) fn read_adts(source: Source, mono: &mut Mono<'_>) -> Step {
    let open = |stream, options: &FormatOptions| -> Opened {
        Ok(Box::new(AdtsReader::try_new(stream, options)?))
    };
    read(source, "AAC", open, mp4::Start::default(), mono)
}

/// Reads an MP4 file.
pub(super) fn read_mp4(mut source: Source, mono: &mut Mono<'_>) -> Step {
    let start = mp4::check(&mut source, mono)?;
    let open = |stream, options: &FormatOptions| -> Opened {
        Ok(Box::new(IsoMp4Reader::try_new(stream, options)?))
    };
    read(source, "MP4", open, start, mono)
}

/// Leaves only STREAMINFO in front of a FLAC file's frames: the other blocks hold texts and
/// pictures whose lengths lie.
fn cut_flac_metadata(source: &mut Source) -> Result<()> {
    const INFO: usize = 34;
    let mut head = b"fLaC\x80\x00\x00\x22".to_vec();
    let mut at = 4;
    loop {
        let block = source.peek(at, 4 + INFO as u64)?;
        let Some(&[kind, a, b, c]) = block.first_chunk() else {
            return Err(invalid("the FLAC file ends within its headers"));
        };
        if kind & 0x7f == 0 && head.len() == 8 {
            head.extend_from_slice(&block[4..]);
        }
        at += 4 + u64::from(u32::from_be_bytes([0, a, b, c]));
        if kind & 0x80 != 0 {
            break;
        }
    }
    if head.len() != 8 + INFO {
        return Err(invalid("the FLAC file has no STREAMINFO block"));
    }
    source.replace_front(at, head)
}

fn read(
    source: Source,
    name: &'static str,
    open: impl FnOnce(MediaSourceStream, &FormatOptions) -> Opened,
    start: mp4::Start,
    mono: &mut Mono<'_>,
) -> Step {
    let (total, gauge) = (source.len() as f32, source.gauge());
    gauge.allow(STRIDE.max(source.len().min(1 << 30)));
    let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    // Gapless reading would drop what is behind the length that an MP3's first frame claims, as
    // where files were joined; the encoder's delay is cut off below.
    let mut reader = shielded(|| open(stream, &FormatOptions::default()))
        .map_err(|fault| invalid(format!("the {name} file cannot be read: {fault}")))?;
    let known = [CODEC_TYPE_AAC, CODEC_TYPE_FLAC, CODEC_TYPE_MP3];
    let Some(track) =
        reader.tracks().iter().find(|track| known.contains(&track.codec_params.codec))
    else {
        return Err(
            invalid(format!("the {name} file has no sound track in AAC, MP3 or FLAC")).into()
        );
    };
    let (id, params) = (track.id, track.codec_params.clone());
    let claimed = params.n_frames;
    let start = match (params.delay, params.sample_rate) {
        (Some(delay), Some(rate)) => mp4::Start { time: delay.into(), timescale: rate },
        _ => start,
    };
    let mut codec = Codec::new(name, params, start)?;
    while codec.idle < MAX_IDLE {
        let progress = gauge.position() as f32 / total;
        mono.ask(progress)?;
        gauge.allow(STRIDE);
        let packet = match shielded(|| reader.next_packet()) {
            Ok(packet) => packet,
            Err(Trouble::Fault(Fault::DecodeError(cause))) => {
                codec.damage(cause);
                continue;
            }
            Err(Trouble::Fault(Fault::IoError(error)))
                if error.kind() == std::io::ErrorKind::UnexpectedEof =>
            {
                break
            }
            Err(trouble) => {
                codec.damage(&trouble.to_string());
                break;
            }
        };
        if packet.track_id() != id {
            codec.idle += 1;
        } else if let Some(rate) = codec.decode(&packet)? {
            mono.push(&mut codec.mono, rate, progress)?;
        }
        if codec.has_panicked {
            break;
        }
    }
    codec.finish(mono, claimed)
}

/// A decoder, and what came of it.
pub(super) struct Codec {
    name: &'static str,
    decoder: Box<dyn Decoder>,
    /// The samples of the last packet, mixed down.
    mono: Vec<f32>,
    planes: Option<AudioBuffer<f32>>,
    start: mp4::Start,
    /// Frames decoded, the ones before the start included.
    frames: u64,
    /// Packets since the last with audio.
    idle: u32,
    faults: u32,
    last_fault: String,
    has_panicked: bool,
}

impl Codec {
    fn new(name: &'static str, params: CodecParameters, start: mp4::Start) -> Result<Self> {
        let options = DecoderOptions::default();
        let decoder = shielded(|| symphonia::default::get_codecs().make(&params, &options))
            .map_err(|fault| invalid(format!("the {name} sound cannot be decoded: {fault}")))?;
        Ok(Self {
            name,
            decoder,
            mono: Vec::new(),
            planes: None,
            start,
            frames: 0,
            idle: 0,
            faults: 0,
            last_fault: String::new(),
            has_panicked: false,
        })
    }

    /// For a Vorbis stream with its first and third header, both checked, in `headers`.
    pub(super) fn vorbis(rate: u32, headers: &[u8]) -> Result<Self> {
        let mut params = CodecParameters::new();
        params.for_codec(CODEC_TYPE_VORBIS).with_sample_rate(rate).with_extra_data(headers.into());
        Self::new("Vorbis", params, mp4::Start::default())
    }

    /// Decodes one packet, as [`decode`](Self::decode) does.
    pub(super) fn decode_bytes(&mut self, packet: Vec<u8>) -> Result<Option<u32>> {
        if self.has_panicked {
            return Ok(None);
        }
        self.decode(&Packet::new_from_boxed_slice(0, 0, 0, packet.into()))
    }

    /// The samples of the last packet that had some.
    pub(super) fn mono(&self) -> &[f32] {
        &self.mono
    }

    /// Decodes one packet to [`mono`](Self::mono); returns its sample rate. A packet that is
    /// broken, or has no samples, gives `None`.
    fn decode(&mut self, packet: &Packet) -> Result<Option<u32>> {
        self.idle += 1;
        let Self { decoder, planes, mono, .. } = self;
        let heard = shielded(|| {
            let buffer = decoder.decode(packet)?;
            let spec = *buffer.spec();
            mix(&buffer, planes, mono);
            Ok((spec.rate, spec.channels.count()))
        });
        let (rate, channels) = match heard {
            Ok(heard) => heard,
            Err(trouble) => {
                self.has_panicked = matches!(trouble, Trouble::Panic);
                self.damage(&trouble.to_string());
                return Ok(None);
            }
        };
        if self.mono.is_empty() {
            return Ok(None);
        }
        check_claims(rate, channels as u32)?;
        self.idle = 0;
        self.cut_start(rate);
        Ok(Some(rate))
    }

    fn cut_start(&mut self, rate: u32) {
        let before = self.frames;
        self.frames += self.mono.len() as u64;
        let scale = u64::from(self.start.timescale.max(1));
        let late = (u128::from(self.start.time) * u128::from(rate) / u128::from(scale)) as u64;
        let cut = late.saturating_sub(before).min(self.mono.len() as u64);
        self.mono.drain(..cut as usize);
    }

    fn damage(&mut self, cause: &str) {
        self.idle += 1;
        self.faults += 1;
        self.last_fault = cause.to_owned();
    }

    /// Says what was wrong; an error where nothing could be heard for it.
    pub(super) fn finish(self, mono: &Mono<'_>, claimed: Option<u64>) -> Step {
        let Self { name, frames, faults, last_fault, .. } = self;
        if faults > 0 && mono.is_empty() {
            return Err(invalid(format!(
                "nothing in the {name} sound can be decoded: {last_fault}"
            ))
            .into());
        }
        if faults > 0 {
            log!(Warn, "the {name} sound is damaged, {faults} packets were left out: {last_fault}");
        }
        if let Some(claimed) = claimed.filter(|&claimed| claimed > frames.saturating_add(SLACK)) {
            log!(Warn, "the {name} sound claims {claimed} frames and ends after {frames}");
        }
        Ok(())
    }
}

/// The mean of all channels, into `mono`; `planes` is kept from packet to packet.
fn mix(buffer: &AudioBufferRef<'_>, planes: &mut Option<AudioBuffer<f32>>, mono: &mut Vec<f32>) {
    mono.clear();
    let fits = |planes: &AudioBuffer<f32>| {
        planes.spec() == buffer.spec() && planes.capacity() >= buffer.capacity()
    };
    if !planes.as_ref().is_some_and(fits) {
        *planes = Some(buffer.make_equivalent());
    }
    let Some(planes) = planes else { return };
    buffer.convert(planes);
    let planes = planes.planes();
    let Some((first, others)) = planes.planes().split_first() else { return };
    mono.extend_from_slice(first);
    for plane in others {
        mono.iter_mut().zip(*plane).for_each(|(sum, &sample)| *sum += sample);
    }
    let share = 1.0 / (1 + others.len()) as f32;
    mono.iter_mut().for_each(|sum| *sum *= share);
}

/// Why symphonia did not do what it was asked.
#[derive(Debug)]
enum Trouble {
    Fault(Fault),
    Panic,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Panic => f.write_str("the decoder failed on it"),
        }
    }
}

/// Runs a call into symphonia; whoever gets `Panic` must not use what it touched again.
fn shielded<T>(
    call: impl FnOnce() -> symphonia::core::errors::Result<T>,
) -> std::result::Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(fault)) => Err(Trouble::Fault(fault)),
        Err(_) => Err(Trouble::Panic),
    }
}
