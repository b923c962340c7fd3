//! Ogg: pages, and the packets of its first Vorbis stream.
//!
//! RFC 3533. Read here so that every header passes `vorbis` on its way to the decoder. Streams
//! chained one behind the other are read as one.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Read};

use super::decode::Codec;
use super::mono::{Mono, Step};
use super::source::{broken_read, Source};
use super::{invalid, vorbis};
use crate::error::Result;

/// A packet longer than this is none: Vorbis packets take kilobytes, headers tens of them.
const MAX_PACKET: usize = 4 << 20;
const FIRST: u8 = 2;
const LAST: u8 = 4;
const CONTINUED: u8 = 1;

/// Reads the audio of an Ogg file.
pub(super) fn read(source: Source, mono: &mut Mono<'_>) -> Step {
    let total = source.len() as f32;
    let gauge = source.gauge();
    let mut input = BufReader::with_capacity(64 << 10, source);
    let mut page = Page::default();
    let mut stream: Option<Stream> = None;
    let mut other = None;
    loop {
        let progress = gauge.position() as f32 / total;
        mono.ask(progress)?;
        if !page.read(&mut input)? {
            break;
        }
        if page.flags & FIRST != 0 && stream.as_ref().is_none_or(Stream::is_playing) {
            match vorbis::is_identification(&page.body) {
                true => stream = Some(Stream::new(page.serial)),
                false => other = Some(name(&page.body)),
            }
        }
        if let Some(stream) = stream.as_mut().filter(|stream| stream.serial == page.serial) {
            stream.page(&page, progress, mono)?;
        }
    }
    match (stream, other) {
        (Some(stream), _) => stream.finish(mono),
        (None, Some(other)) => {
            Err(invalid(format!("the Ogg file holds {other}; only Vorbis can be read, convert it"))
                .into())
        }
        (None, None) => Err(invalid("the Ogg file holds no stream").into()),
    }
}

fn name(packet: &[u8]) -> &'static str {
    match packet {
        [b'O', b'p', b'u', b's', ..] => "Opus",
        [b'S', b'p', b'e', b'e', b'x', ..] => "Speex",
        [0x7f, b'F', b'L', b'A', b'C', ..] => "FLAC",
        _ => "no codec this build knows",
    }
}

#[derive(Default)]
struct Page {
    flags: u8,
    /// Samples decoded once the page's packets are; `None` where no packet ends on the page.
    granule: Option<u64>,
    serial: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
}

impl Page {
    /// The next page, found by its mark; false at the end.
    fn read(&mut self, input: &mut impl BufRead) -> Result<bool> {
        match self.try_read(input) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(broken_read(&error)),
        }
    }

    fn try_read(&mut self, input: &mut impl BufRead) -> io::Result<()> {
        find_mark(input)?;
        let mut header = [0; 23];
        input.read_exact(&mut header)?;
        self.flags = header[1];
        let granule = i64::from_le_bytes(part(&header, 2));
        self.granule = u64::try_from(granule).ok();
        self.serial = u32::from_le_bytes(part(&header, 10));
        self.lacing.resize(usize::from(header[22]), 0);
        input.read_exact(&mut self.lacing)?;
        let bytes: u64 = self.lacing.iter().map(|&bytes| u64::from(bytes)).sum();
        self.body.clear();
        if input.take(bytes).read_to_end(&mut self.body)? as u64 != bytes {
            self.keep_whole_parts();
        }
        Ok(())
    }

    /// Of a page that is cut off, what is there.
    fn keep_whole_parts(&mut self) {
        let mut left = self.body.len();
        let fits = |&&lace: &&u8| {
            let rest = left.checked_sub(usize::from(lace));
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let whole = self.lacing.iter().take_while(fits).count();
        self.lacing.truncate(whole);
        self.flags &= !LAST;
        self.granule = None;
    }
}

fn part<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    std::array::from_fn(|nth| bytes[from + nth])
}

fn find_mark(input: &mut impl BufRead) -> io::Result<()> {
    let mut seen = 0;
    for byte in input.by_ref().bytes() {
        seen = seen << 8 | u32::from(byte?);
        if seen == u32::from_be_bytes(*b"OggS") {
            return Ok(());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// One Vorbis stream.
struct Stream {
    serial: u32,
    /// A packet as it comes together.
    packet: Vec<u8>,
    identification: Option<Vec<u8>>,
    has_comment: bool,
    codec: Option<Codec>,
    /// Samples decoded, and the granule position of the first.
    decoded: u64,
    start: Option<u64>,
}

impl Stream {
    fn new(serial: u32) -> Self {
        Self {
            serial,
            packet: Vec::new(),
            identification: None,
            has_comment: false,
            codec: None,
            decoded: 0,
            start: None,
        }
    }

    fn is_playing(&self) -> bool {
        self.codec.is_some()
    }

    fn page(&mut self, page: &Page, progress: f32, mono: &mut Mono<'_>) -> Step {
        if page.flags & CONTINUED == 0 {
            self.packet.clear();
        }
        let mut body = page.body.as_slice();
        let mut heard = Vec::new();
        let mut rate = 0;
        for &lace in &page.lacing {
            let (now, later) = body.split_at(usize::from(lace));
            body = later;
            if self.packet.len() + now.len() > MAX_PACKET {
                return Err(invalid("the Ogg file holds a packet of megabytes").into());
            }
            self.packet.extend_from_slice(now);
            if lace < 255 {
                let packet = std::mem::take(&mut self.packet);
                rate = self.packet(packet, &mut heard)?.unwrap_or(rate);
            }
        }
        self.trim(page, &mut heard);
        if rate > 0 {
            mono.push(&mut heard, rate, progress)?;
        }
        Ok(())
    }

    /// A header, or audio, which goes to `heard` at the rate returned.
    fn packet(&mut self, packet: Vec<u8>, heard: &mut Vec<f32>) -> Result<Option<u32>> {
        if let Some(codec) = &mut self.codec {
            let Some(rate) = codec.decode_bytes(packet)? else { return Ok(None) };
            heard.extend_from_slice(codec.mono());
            return Ok(Some(rate));
        }
        match &self.identification {
            None => {
                vorbis::check_identification(&packet)?;
                self.identification = Some(packet);
            }
            Some(_) if !self.has_comment => self.has_comment = true,
            Some(identification) => {
                vorbis::check_setup(&packet)?;
                let rate = vorbis::check_identification(identification)?;
                self.codec =
                    Some(Codec::vorbis(rate, &[identification.as_slice(), &packet].concat())?);
            }
        }
        Ok(None)
    }

    /// Cuts what the last page says is behind the end.
    fn trim(&mut self, page: &Page, heard: &mut Vec<f32>) {
        let before = self.decoded;
        self.decoded += heard.len() as u64;
        let Some(granule) = page.granule.filter(|_| self.decoded > 0) else { return };
        let start = match (self.start, page.flags & LAST) {
            (Some(start), _) => start,
            (None, 0) => granule.saturating_sub(self.decoded),
            (None, _) => 0,
        };
        self.start = Some(start);
        if page.flags & LAST != 0 {
            let left = granule.saturating_sub(start).saturating_sub(before);
            heard.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
    }

    fn finish(self, mono: &Mono<'_>) -> Step {
        match self.codec {
            Some(codec) => codec.finish(mono, None),
            None => Err(invalid("the Ogg file ends within its headers").into()),
        }
    }
}
