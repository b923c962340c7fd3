//! Reads the outline of llama.cpp's state of one sequence and checks what llama.cpp does not:
//! that its positions are those of so many tokens, and its numbers finite.
//!
//! llama.cpp checks lengths, types and rows when it reads a state; positions it takes as they
//! are, more than one recurrent cell trips an assertion, and a NaN can spread to the answers of
//! other jobs, for cells that are masked are multiplied with zero. Layout: llama.cpp's
//! `llama_kv_cache::state_write` and `llama_memory_recurrent::state_write`.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};

/// What every state begins with.
const MAGIC: u32 = 0xaf14_3cd8;
/// ggml's types: the three that are plain numbers, and more than there are.
const F32: u32 = 0;
const F16: u32 = 1;
const BF16: u32 = 30;
const TYPES: u32 = 256;
const MOST_LAYERS: u32 = 4_096;
/// Bytes that some caches have for each cell beside position and sequence.
const EXTENSION: usize = 12;

/// What the state of a model is made of, as far as the model says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Layers with attention; their cache has so many parts, of which a sequence is in one.
    pub(super) attention: Option<u32>,
    /// Some layers have a window, and a cache of their own.
    pub(super) window: bool,
    /// Some layers have a recurrent state.
    pub(super) recurrent: bool,
}

/// What the model does not say: every form that fits its kind is tried.
#[derive(Debug, Clone, Copy)]
struct Form {
    caches: usize,
    /// Some models keep keys alone.
    has_values: bool,
    /// Positions in three dimensions.
    is_extended: bool,
}

/// Checks that `state` can be one of `count` tokens, from its first byte to its last.
pub(super) fn check(state: &[u8], count: usize, kind: Kind) -> Result<()> {
    match forms(kind).any(|form| parse(state, count, kind, form).is_some()) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::InvalidState,
            format!("holds no state of {count} tokens of this model; save it again"),
        )),
    }
}

fn forms(kind: Kind) -> impl Iterator<Item = Form> {
    let caches = match (kind.attention, kind.window) {
        (None, _) => 0..=0,
        (Some(_), false) => 1..=1,
        // A model can name a window and not use it.
        (Some(_), true) => 1..=2,
    };
    caches.flat_map(|caches| {
        [(true, false), (false, false), (true, true), (false, true)]
            .map(|(has_values, is_extended)| Form { caches, has_values, is_extended })
    })
}

/// `None` where anything is not as it should be.
fn parse(state: &[u8], count: usize, kind: Kind, form: Form) -> Option<()> {
    let mut bytes = Bytes(state);
    (bytes.u32()? == MAGIC).then_some(())?;
    let _sequence = bytes.u32()?;
    for index in 0..form.caches {
        let positions = cache(&mut bytes, count, kind.attention?, form)?;
        let is_whole = positions.len() == count;
        // Behind a window only the last ones are there.
        (is_whole || index > 0).then_some(())?;
        are_the_last_of(positions, count).then_some(())?;
    }
    if kind.recurrent {
        recurrent(&mut bytes, count)?;
    }
    bytes.0.is_empty().then_some(())
}

/// Whether the positions are the last ones of `count`, in any order, each once.
fn are_the_last_of(mut positions: Vec<u32>, count: usize) -> bool {
    positions.sort_unstable();
    let first = count.checked_sub(positions.len());
    let expected = first.into_iter().flat_map(|first| first..count);
    !positions.is_empty() && positions.iter().map(|&at| at as usize).eq(expected)
}

/// The positions in a cache of attention, of at most `count` cells.
fn cache(bytes: &mut Bytes<'_>, count: usize, streams: u32, form: Form) -> Option<Vec<u32>> {
    (bytes.u32()? == streams).then_some(())?;
    let mut found = None;
    for _ in 0..streams {
        let cells = bytes.u32()? as usize;
        if cells == 0 {
            continue;
        }
        (cells <= count && found.is_none()).then_some(())?;
        let positions = (0..cells).map(|_| position(bytes, form)).collect::<Option<_>>()?;
        rows(bytes, cells, form)?;
        found = Some(positions);
    }
    found
}

fn position(bytes: &mut Bytes<'_>, form: Form) -> Option<u32> {
    let position = bytes.u32()?;
    let owners = bytes.u32()?;
    bytes.take(if form.is_extended { EXTENSION } else { 0 })?;
    let _sequence = bytes.u32()?;
    (owners == 1).then_some(position)
}

/// Keys and values of `cells` cells in all layers.
fn rows(bytes: &mut Bytes<'_>, cells: usize, form: Form) -> Option<()> {
    let is_transposed = bytes.u32()?;
    let layers = bytes.u32().filter(|&layers| layers <= MOST_LAYERS)?;
    let _rotations = (bytes.u32()?, bytes.u32()?);
    for _ in 0..layers {
        record(bytes, cells)?;
    }
    if !form.has_values {
        return Some(());
    }
    for _ in 0..layers {
        match is_transposed {
            0 => record(bytes, cells)?,
            1 => columns(bytes, cells)?,
            _ => return None,
        }
    }
    Some(())
}

/// One layer's rows: a type, the bytes of a row, the rows.
fn record(bytes: &mut Bytes<'_>, cells: usize) -> Option<()> {
    let kind = bytes.u32()?;
    let row = usize::try_from(bytes.u64()?).ok()?;
    are_numbers(kind, bytes.take(cells.checked_mul(row)?)?)
}

/// The same of values that lie transposed: a type, the bytes of a number, the numbers of a row.
fn columns(bytes: &mut Bytes<'_>, cells: usize) -> Option<()> {
    let kind = bytes.u32()?;
    let (element, width) = (bytes.u32()? as usize, bytes.u32()? as usize);
    are_numbers(kind, bytes.take(cells.checked_mul(element)?.checked_mul(width)?)?)
}

/// Numbers of type `kind` that are finite, as far as we know the type.
fn are_numbers(kind: u32, data: &[u8]) -> Option<()> {
    // All bits of the exponent are set in infinities and NaN.
    let are_finite = match kind {
        F32 => words::<4>(data)?.all(|word| u32::from_ne_bytes(word) & 0x7f80_0000 != 0x7f80_0000),
        F16 => words::<2>(data)?.all(|word| u16::from_ne_bytes(word) & 0x7c00 != 0x7c00),
        BF16 => words::<2>(data)?.all(|word| u16::from_ne_bytes(word) & 0x7f80 != 0x7f80),
        kind => kind < TYPES,
    };
    are_finite.then_some(())
}

/// `data` as words of `N` bytes, of which it holds a whole number.
fn words<const N: usize>(data: &[u8]) -> Option<impl Iterator<Item = [u8; N]> + '_> {
    let words = data.chunks_exact(N);
    let to_array = |word: &[u8]| word.try_into().expect("a chunk of N bytes");
    words.remainder().is_empty().then(|| words.map(to_array))
}

/// A recurrent state, the last part: one cell, at the last position, with rows of its layers.
fn recurrent(bytes: &mut Bytes<'_>, count: usize) -> Option<()> {
    let (cells, position, owners) = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
    (cells == 1 && position as usize + 1 == count && owners == 0).then_some(())?;
    let (is_transposed, layers) = (bytes.u32()?, bytes.u32()?);
    (is_transposed == 0 && layers <= MOST_LAYERS).then_some(())?;
    let mut records = 0;
    while !bytes.0.is_empty() {
        record(bytes, 1)?;
        records += 1;
    }
    // Two for each layer that has a state.
    (records > 0 && records % 2 == 0 && records <= 2 * layers).then_some(())
}

/// The bytes that are left.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*word))
    }

    fn u64(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Kind = Kind { attention: Some(1), window: false, recurrent: false };
    const PARTS: Kind = Kind { attention: Some(3), window: false, recurrent: false };
    const WINDOW: Kind = Kind { attention: Some(1), window: true, recurrent: false };
    const RECURRENT: Kind = Kind { attention: None, window: false, recurrent: true };
    const HYBRID: Kind = Kind { attention: Some(1), window: false, recurrent: true };

    fn numbers(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// A type, the bytes of a row, rows of that many bytes.
    fn layer(row: u32, cells: usize) -> Vec<u8> {
        let mut bytes = numbers(&[1]);
        bytes.extend(u64::from(row).to_ne_bytes());
        bytes.resize(bytes.len() + row as usize * cells, 7);
        bytes
    }

    /// Cells at `positions` in the last of `streams` parts, two layers.
    fn attention(streams: u32, positions: &[u32], extended: bool, values: bool) -> Vec<u8> {
        let mut bytes = numbers(&[streams]);
        bytes.extend(numbers(&vec![0; streams as usize - 1]));
        bytes.extend(numbers(&[positions.len() as u32]));
        for &position in positions {
            bytes.extend(numbers(&[position, 1]));
            bytes.extend(numbers(if extended { &[9, 9, 9, 0] } else { &[0] }));
        }
        bytes.extend(numbers(&[0, 2, 0, 0]));
        for _ in 0..if values { 4 } else { 2 } {
            bytes.extend(layer(10, positions.len()));
        }
        bytes
    }

    fn recurrence(cells: u32, position: u32) -> Vec<u8> {
        let mut bytes = numbers(&[cells]);
        bytes.extend(numbers(&[position, 0, 0, 3]));
        bytes.extend([layer(8, 1), layer(16, 1)].concat());
        bytes
    }

    fn state(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = numbers(&[MAGIC, 0]);
        bytes.extend(parts.concat());
        bytes
    }

    fn is_fine(parts: &[Vec<u8>], count: usize, kind: Kind) -> bool {
        check(&state(parts), count, kind).is_ok()
    }

    #[test]
    fn every_kind_passes_whole() {
        for (extended, values) in [(false, true), (false, false), (true, true), (true, false)] {
            let cells =
                |streams, positions: &[u32]| attention(streams, positions, extended, values);
            let whole = cells(1, &[2, 0, 1]);
            assert!(is_fine(std::slice::from_ref(&whole), 3, PLAIN));
            assert!(is_fine(&[cells(3, &[0, 1, 2])], 3, PARTS));
            assert!(is_fine(&[whole.clone(), cells(1, &[2, 1])], 3, WINDOW));
            assert!(is_fine(std::slice::from_ref(&whole), 3, WINDOW));
            assert!(is_fine(&[whole, recurrence(1, 2)], 3, HYBRID));
        }
        assert!(is_fine(&[recurrence(1, 6)], 7, RECURRENT));
    }

    #[test]
    fn wrong_positions_are_refused() {
        let cells = |positions: &[u32]| attention(1, positions, false, true);
        for positions in [&[0, 1][..], &[0, 1, 3], &[0, 1, 1], &[1, 2, u32::MAX], &[0, 1, 2, 3]] {
            assert!(!is_fine(&[cells(positions)], 3, PLAIN), "{positions:?}");
        }
        for window in [&[0, 1][..], &[0, 2], &[2, 3], &[2, 2]] {
            assert!(!is_fine(&[cells(&[0, 1, 2]), cells(window)], 3, WINDOW), "{window:?}");
        }
        for (cells, position) in [(0, 6), (2, 6), (1, 5), (1, u32::MAX), (u32::MAX, 6)] {
            assert!(!is_fine(&[recurrence(cells, position)], 7, RECURRENT));
        }
    }

    #[test]
    fn numbers_are_finite() {
        let has = |kind, bytes: &[u8]| are_numbers(kind, bytes).is_some();
        for number in [0.0, -1.5, f32::MAX, f32::MIN_POSITIVE / 2.0] {
            assert!(has(F32, &number.to_ne_bytes()));
        }
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!has(F32, &[1.0f32.to_ne_bytes(), number.to_ne_bytes()].concat()));
        }
        for (kind, largest, infinite) in [(F16, 0x7bff_u16, 0x7c00), (BF16, 0x7f7f, 0x7f80)] {
            assert!(has(kind, &largest.to_ne_bytes()) && !has(kind, &[7]));
            for number in [infinite, infinite | 0x8000, infinite + 1] {
                assert!(!has(kind, &u16::to_ne_bytes(number)), "{number:x}");
            }
        }
        assert!(has(8, &[0xff; 34]) && !has(TYPES, &[]), "blocks are taken as they are");
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        let whole = [attention(1, &[0, 1, 2], false, true), recurrence(1, 2)];
        let bytes = state(&whole);
        for length in 0..bytes.len() {
            assert!(check(&bytes[..length], 3, HYBRID).is_err(), "{length} bytes");
        }
        let surplus = [bytes.clone(), vec![0]].concat();
        assert!(check(&surplus, 3, HYBRID).is_err());
        assert!(check(&bytes, 3, PLAIN).is_err() && check(&bytes, 3, RECURRENT).is_err());
    }

    #[test]
    fn no_length_overflows() {
        let mut bytes = state(&[attention(1, &[0, 1, 2], false, true)]);
        for at in 0..bytes.len() {
            let before = bytes[at];
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                bytes[at] = value;
                let _ = check(&bytes, 3, PLAIN);
            }
            bytes[at] = before;
        }
    }
}
