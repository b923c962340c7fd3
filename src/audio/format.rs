//! Which format bytes are of, told by their content: names lie.
#![forbid(unsafe_code)]

use super::invalid;
use super::source::Source;
use crate::error::Result;

/// The formats this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Wav,
    Flac,
    Ogg,
    Mp4,
    /// MP3.
    Mpeg,
    /// AAC without a container.
    Adts,
}

/// How far behind the tags an MP3's first frame may lie.
const SEARCH: u64 = 64 << 10;
/// Tags in front of the audio.
const MAX_TAGS: usize = 16;

/// The format; `source` starts with it afterwards, ID3 tags and padding are cut off.
pub(super) fn detect(source: &mut Source) -> Result<Format> {
    cut_tags(source)?;
    let bytes = source.peek(0, SEARCH)?;
    if let Some(format) = by_mark(&bytes) {
        return Ok(format);
    }
    let frames = [(Format::Adts, adts as Frame), (Format::Mpeg, mpeg as Frame)];
    let found = frames
        .iter()
        .filter_map(|&(format, frame)| Some((first_frame(&bytes, frame)?, format)))
        .min_by_key(|&(at, _)| at);
    let Some((at, format)) = found else { return Err(unknown(&bytes)) };
    source.replace_front(at as u64, Vec::new())?;
    Ok(format)
}

fn by_mark(bytes: &[u8]) -> Option<Format> {
    let at = |from: usize| bytes.get(from..from + 4);
    match (at(0)?, at(4)) {
        (b"RIFF" | b"RF64" | b"BW64", _) if at(8) == Some(b"WAVE") => Some(Format::Wav),
        (b"fLaC", _) => Some(Format::Flac),
        (b"OggS", _) => Some(Format::Ogg),
        (_, Some(b"ftyp" | b"moov" | b"mdat" | b"free" | b"skip" | b"wide")) => Some(Format::Mp4),
        _ => None,
    }
}

fn unknown(bytes: &[u8]) -> crate::error::Error {
    let what = match bytes.first_chunk() {
        None => "too short to be an audio file".to_owned(),
        Some(start @ [_, _, _, _]) => {
            format!(
                "not audio of a format this build knows (it begins \"{}\")",
                start.escape_ascii()
            )
        }
    };
    invalid(format!("the input is {what}: WAV, FLAC, MP3, Ogg Vorbis, M4A with AAC and AAC can be read; convert it"))
}

/// Cuts ID3v2 tags off: their pictures and texts are of no use here, and their lengths lie.
fn cut_tags(source: &mut Source) -> Result<()> {
    for _ in 0..MAX_TAGS {
        let header = source.peek(0, 10)?;
        let [b'I', b'D', b'3', _, _, flags, size @ ..] = header.as_slice() else { break };
        let size = size.iter().fold(0, |size, &byte| (size << 7) | u64::from(byte & 0x7f));
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        source.replace_front(10 + size + footer, Vec::new())?;
    }
    Ok(())
}

/// The length of the frame whose header `bytes` begins with, and what later headers repeat of it.
type Frame = fn(&[u8]) -> Option<(usize, u32)>;

/// Where the first frame begins that a second one like it follows; the only frame of a short
/// input counts where it stands in front.
fn first_frame(bytes: &[u8], frame: Frame) -> Option<usize> {
    (0..bytes.len()).find(|&at| {
        let Some((length, kind)) = frame(&bytes[at..]) else { return false };
        match bytes.get(at + length..).filter(|rest| rest.len() >= 8) {
            Some(next) => frame(next).is_some_and(|(_, next)| next == kind),
            None => at == 0,
        }
    })
}

/// MPEG audio, layer III (ISO 11172-3 2.4.1.3, ISO 13818-3 2.4.1.3 and the unofficial MPEG 2.5).
fn mpeg(bytes: &[u8]) -> Option<(usize, u32)> {
    const KILOBITS: [[usize; 14]; 2] = [
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    const RATES: [usize; 3] = [44_100, 48_000, 32_000];
    let header = u32::from_be_bytes(*bytes.first_chunk()?);
    let field = |shift: u32, bits: u32| ((header >> shift) & ((1 << bits) - 1)) as usize;
    let (sync, version, layer) = (field(21, 11), field(19, 2), field(17, 2));
    if sync != 0x7ff || version == 1 || layer != 1 {
        return None;
    }
    let is_first = version == 3;
    let kilobits = KILOBITS[usize::from(!is_first)].get(field(12, 4).checked_sub(1)?)?;
    let rate = RATES.get(field(10, 2))? >> [2, 0, 1, 0][version];
    let slots = if is_first { 144_000 } else { 72_000 };
    Some((slots * kilobits / rate + field(9, 1), header & 0xfffe_0c00))
}

/// AAC's transport stream (ISO 13818-7 6.2).
fn adts(bytes: &[u8]) -> Option<(usize, u32)> {
    let header = u64::from_be_bytes(*bytes.first_chunk()?);
    let is_adts = header >> 52 == 0xfff && (header >> 49) & 3 == 0;
    let length = ((header >> 21) & 0x1fff) as usize;
    let rate = (header >> 42) & 0xf;
    let shortest = if (header >> 48) & 1 == 1 { 7 } else { 9 };
    (is_adts && rate < 13 && length > shortest)
        .then_some((length, (header >> 36) as u32 & 0xffff_ffc0))
}
