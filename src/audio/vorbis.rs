//! Vorbis headers, checked before the decoder trusts them: it allocates a codebook's vectors by
//! the header's claim, which may be terabytes.
//!
//! Vorbis I specification, sections 3.2.1 and 4.2.
#![forbid(unsafe_code)]

use super::{check_claims, invalid};
use crate::error::{Error, Result};

/// Entries of a codebook; real ones stay below 10,000.
const MAX_ENTRIES: u64 = 1 << 16;
/// Numbers in the vectors of all codebooks together, of 4 bytes each.
const MAX_NUMBERS: u64 = 1 << 22;

/// Whether `packet` is the first one of a Vorbis stream.
pub(super) fn is_identification(packet: &[u8]) -> bool {
    packet.starts_with(b"\x01vorbis")
}

/// The sample rate of an identification header, if it can be read.
pub(super) fn check_identification(packet: &[u8]) -> Result<u32> {
    let Some(&[channels, a, b, c, d]) = packet.get(11..16) else {
        return Err(invalid("the Vorbis stream's first header is cut off"));
    };
    let rate = u32::from_le_bytes([a, b, c, d]);
    check_claims(rate, u32::from(channels))?;
    Ok(rate)
}

/// Checks the codebooks of a setup header, which come first in it.
pub(super) fn check_setup(packet: &[u8]) -> Result<()> {
    let Some(&[count, ref rest @ ..]) = packet.strip_prefix(b"\x05vorbis") else {
        return Err(invalid("the Vorbis stream's third header is not a setup header"));
    };
    let mut bits = Bits { bytes: rest, position: 0 };
    let mut numbers = 0;
    for _ in 0..=count {
        numbers += check_codebook(&mut bits)?;
        if numbers > MAX_NUMBERS {
            return Err(damaged());
        }
    }
    Ok(())
}

/// Steps over one codebook; returns how many numbers its vectors have.
fn check_codebook(bits: &mut Bits<'_>) -> Result<u64> {
    let (sync, dimensions, entries) = (bits.take(24)?, bits.take(16)?, bits.take(24)?);
    if sync != 0x56_4342 || dimensions == 0 || entries > MAX_ENTRIES {
        return Err(damaged());
    }
    skip_lengths(bits, entries)?;
    let lookup = bits.take(4)?;
    if lookup == 0 {
        return Ok(0);
    }
    bits.skip(64)?;
    let value_bits = bits.take(4)? + 1;
    bits.skip(1)?;
    let values = match lookup {
        1 => root(entries, dimensions),
        2 => entries * dimensions,
        _ => return Err(damaged()),
    };
    bits.skip(values * value_bits)?;
    Ok(entries * dimensions)
}

fn skip_lengths(bits: &mut Bits<'_>, entries: u64) -> Result<()> {
    let is_ordered = bits.take(1)? == 1;
    if is_ordered {
        bits.skip(5)?;
        let mut at = 0;
        while at < entries {
            at += bits.take(u64::BITS - (entries - at).leading_zeros())?;
        }
        return if at == entries { Ok(()) } else { Err(damaged()) };
    }
    let is_sparse = bits.take(1)? == 1;
    for _ in 0..entries {
        if !is_sparse || bits.take(1)? == 1 {
            bits.skip(5)?;
        }
    }
    Ok(())
}

/// The greatest number whose power of `dimensions` is at most `entries`.
fn root(entries: u64, dimensions: u64) -> u64 {
    let fits =
        |number: u64| number.checked_pow(dimensions as u32).is_some_and(|power| power <= entries);
    (1..).take_while(|&number| fits(number)).last().unwrap_or(0)
}

fn damaged() -> Error {
    invalid("the Vorbis stream's setup header is damaged")
}

/// Bits from the lowest of each byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    position: u64,
}

impl Bits<'_> {
    /// The next `count` bits, at most 32.
    fn take(&mut self, count: u32) -> Result<u64> {
        let first = self.position;
        self.skip(u64::from(count))?;
        let bit = |at: u64| u64::from(self.bytes[(at / 8) as usize] >> (at % 8) & 1);
        Ok((0..u64::from(count)).fold(0, |value, nth| value | bit(first + nth) << nth))
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        self.position += count;
        if self.position <= self.bytes.len() as u64 * 8 {
            Ok(())
        } else {
            Err(damaged())
        }
    }
}
