//! MP4's boxes, checked before the demuxer trusts them: it allocates tables by their claimed
//! counts and boxes by their claimed sizes.
//!
//! ISO 14496-12; the sample entries of sound also as QuickTime has them.
#![forbid(unsafe_code)]

use super::invalid;
use super::mono::{Mono, Step};
use super::source::Source;
use crate::error::{Error, Result};
use crate::log::log;

/// Boxes are nested this deep at most: moov, trak, mdia, minf, stbl, stsd, mp4a, wave, esds.
const MAX_DEPTH: u32 = 12;
/// Far more than a day in fragments has.
const MAX_BOXES: u32 = 2_000_000;
/// Boxes that are read at once hold less than a table's entries or a cover picture.
const MAX_BOX: u64 = 256 << 20;

/// Where the sound of the first sound track begins: the encoder's delay.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Start {
    /// Units of time before it, and units in a second.
    pub(super) time: u64,
    pub(super) timescale: u32,
}

/// Checks that no box claims more than the file holds; finds where the sound begins. A file that
/// was cut off behind its `moov` is made one that can be read as far as it goes.
pub(super) fn check(source: &mut Source, mono: &mut Mono<'_>) -> Step<Start> {
    let end = source.len();
    let mut walk = Walk { source, mono, boxes: 0, track: Track::default(), start: None };
    walk.boxes(0, end, 0)?;
    Ok(walk.start.unwrap_or_default())
}

#[derive(Default)]
struct Track {
    is_sound: bool,
    timescale: u32,
    begins: u64,
}

struct Walk<'s, 'm, 'a> {
    source: &'s mut Source,
    mono: &'m mut Mono<'a>,
    boxes: u32,
    track: Track,
    start: Option<Start>,
}

impl Walk<'_, '_, '_> {
    /// The boxes between two positions.
    fn boxes(&mut self, mut at: u64, end: u64, depth: u32) -> Step {
        while at < end {
            self.mono.ask(0.0)?;
            self.boxes += 1;
            if depth > MAX_DEPTH || self.boxes > MAX_BOXES {
                return Err(damaged("nests too deep or has too many boxes").into());
            }
            let header = self.source.peek(at, 16)?;
            let Some((kind, length, skip)) = parse(&header, end - at) else {
                return Err(damaged("has a box without a header").into());
            };
            if length > end - at && depth == 0 && at > 0 {
                self.cut(kind, at);
                return Ok(());
            }
            if length > end - at {
                let name = kind.escape_ascii();
                return Err(damaged(&format!(
                    "has a box \"{name}\" of {length} bytes where {} are left",
                    end - at
                ))
                .into());
            }
            self.one(kind, at + skip, at.saturating_add(length).min(end), depth)?;
            at = at.saturating_add(length);
        }
        Ok(())
    }

    /// The file ends within its outer box at `at`. A demuxer that looks for what comes behind it
    /// would fail; one that reads on from `moov` does not. Other boxes are of no use in part.
    fn cut(&mut self, kind: [u8; 4], at: u64) {
        log!(Warn, "the MP4 file was cut off in a box \"{}\"", kind.escape_ascii());
        self.source.only_forward();
        if kind != *b"mdat" {
            self.source.cut_end(at);
        }
    }

    fn one(&mut self, kind: [u8; 4], from: u64, to: u64, depth: u32) -> Step {
        let inside = |skip: u64| from.saturating_add(skip).min(to);
        match &kind {
            b"trak" => {
                self.track = Track::default();
                self.boxes(from, to, depth + 1)?;
                if self.track.is_sound && self.start.is_none() {
                    let Track { begins, timescale, .. } = self.track;
                    self.start = Some(Start { time: begins, timescale });
                }
            }
            b"moov" | b"mdia" | b"minf" | b"stbl" | b"moof" | b"traf" | b"mvex" | b"udta"
            | b"edts" | b"ilst" | b"wave" => self.boxes(from, to, depth + 1)?,
            b"meta" => self.boxes(inside(4), to, depth + 1)?,
            b"stsd" => self.boxes(inside(8), to, depth + 1)?,
            // Their own fields, longer in QuickTime's later versions, come before inner boxes.
            b"mp4a" | b"alac" | b"fLaC" | b"Opus" | b".mp3" if depth >= 6 => {
                let version = self.number(from + 8, 2)?;
                self.boxes(inside([28, 44, 64][version.min(2) as usize]), to, depth + 1)?;
            }
            b"mdat" if depth == 0 => {}
            _ if to - from > MAX_BOX => return Err(damaged("has a box of megabytes").into()),
            _ => self.table(kind, from, to)?,
        }
        Ok(())
    }

    /// A box with a count, whose entries must be there, or one with a field that is wanted.
    fn table(&mut self, kind: [u8; 4], from: u64, to: u64) -> Result<()> {
        let (count_at, entry) = match &kind {
            b"stts" | b"co64" | b"ctts" => (4, 8),
            b"stsc" => (4, 12),
            b"stco" | b"stss" => (4, 4),
            b"stsz" if self.number(from + 4, 4)? == 0 => (8, 4),
            b"elst" => (4, 12),
            _ => return self.field(kind, from),
        };
        let count = self.number(from + count_at, 4)?;
        if count * entry > (to - from).saturating_sub(count_at + 4) {
            return Err(damaged(&format!(
                "has a table \"{}\" of {count} entries in {} bytes",
                kind.escape_ascii(),
                to - from
            )));
        }
        if kind == *b"elst" && count > 0 {
            self.track.begins = self.edit(from)?;
        }
        Ok(())
    }

    fn field(&mut self, kind: [u8; 4], from: u64) -> Result<()> {
        match &kind {
            b"hdlr" => {
                self.track.is_sound |=
                    self.number(from + 8, 4)? == u64::from(u32::from_be_bytes(*b"soun"))
            }
            b"mdhd" => {
                let at = if self.number(from, 1)? == 1 { 20 } else { 12 };
                self.track.timescale = self.number(from + at, 4)? as u32;
            }
            _ => {}
        }
        Ok(())
    }

    /// The media time of the first edit; an empty edit, which delays the track, is none.
    fn edit(&mut self, from: u64) -> Result<u64> {
        let time = match self.number(from, 1)? {
            1 => self.number(from + 16, 8)? as i64,
            _ => i64::from(self.number(from + 12, 4)? as u32 as i32),
        };
        Ok(u64::try_from(time).unwrap_or(0))
    }

    fn number(&mut self, at: u64, bytes: u64) -> Result<u64> {
        let bytes = self.source.peek(at, bytes)?;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}

/// A box's kind, its length with its header, and that header's.
fn parse(header: &[u8], left: u64) -> Option<([u8; 4], u64, u64)> {
    let length = u64::from(u32::from_be_bytes(*header.first_chunk()?));
    let kind = *header.get(4..)?.first_chunk()?;
    let (length, skip) = match length {
        0 => (left, 8),
        1 => (u64::from_be_bytes(*header.get(8..)?.first_chunk()?), 16),
        length => (length, 8),
    };
    (length >= skip).then_some((kind, length, skip))
}

fn damaged(how: &str) -> Error {
    invalid(format!("the MP4 file is damaged: it {how}"))
}
