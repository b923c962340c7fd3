//! The file of a saved sequence: what is in it, and what is checked before any of it is used.
//!
//! All numbers are little endian. In this order:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `FLUIDKV`, a NUL |
//! | 4 | format version, 1 |
//! | 4 | F, bytes of the fingerprint |
//! | 4 | N, tokens |
//! | 8 | S, bytes of the state |
//! | F | the fingerprint: lines of `name=value` that tell the model and its options; `lora=` last, if any |
//! | 4 N | token ids |
//! | S | the model library's own bytes |
//! | 32 | SHA-256 of all before |
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

const MAGIC: [u8; 8] = *b"FLUIDKV\0";
const VERSION: u32 = 1;
/// Bytes in front of the fingerprint, and behind the state.
const HEADER: u64 = 28;
const DIGEST: u64 = 32;
const LONGEST_FINGERPRINT: u32 = 8_192;
/// What the line of adapters begins with.
const ADAPTERS: &str = "\nlora=";
/// What is read or written between two looks at whether to go on.
const PIECE: usize = 1 << 20;

/// A sequence out of a KV cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) tokens: Vec<u32>,
    pub(super) state: Vec<u8>,
    /// What they were computed with, as `Adapters::label` writes it.
    pub(super) adapters: String,
}

/// What a file must fit.
pub(super) struct Fit<'a> {
    pub(super) fingerprint: &'a str,
    pub(super) n_ctx: u32,
    pub(super) n_vocab: usize,
    /// Room for the state and its tokens.
    pub(super) most_bytes: u64,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Fault {
    /// Whoever watches gave it up.
    Stopped,
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Failed(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Failed(match error.kind() {
            io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "there is no such file"),
            _ => Error::new(ErrorKind::Io, error.to_string()),
        })
    }
}

type Outcome<T> = std::result::Result<T, Fault>;

/// Told how far it is, 0 to 1; false gives it up.
pub(super) type Progress<'a> = &'a mut dyn FnMut(f32) -> bool;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidState, message)
}

/// Bytes that pass through, counted and hashed.
struct Passage<'a, T> {
    inner: T,
    hash: Sha256,
    passed: u64,
    total: u64,
    progress: Progress<'a>,
}

impl<'a, T> Passage<'a, T> {
    fn new(inner: T, total: u64, progress: Progress<'a>) -> Self {
        Self { inner, hash: Sha256::new(), passed: 0, total, progress }
    }

    fn pass(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.hash.update(bytes);
        self.passed += bytes.len() as u64;
        match (self.progress)((self.passed as f64 / self.total.max(1) as f64).min(1.0) as f32) {
            true => Ok(()),
            false => Err(Fault::Stopped),
        }
    }
}

impl<T: Write> Passage<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        for piece in bytes.chunks(PIECE) {
            self.inner.write_all(piece)?;
            self.pass(piece)?;
        }
        Ok(())
    }
}

impl<T: Read> Passage<'_, T> {
    /// The next `count` bytes, of which the file has so many.
    fn read(&mut self, count: u64) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        let no_memory = |_| {
            let message = format!("{} MiB find no memory", count >> 20);
            Error::new(ErrorKind::OutOfMemory, message)
        };
        let count = usize::try_from(count).map_err(|_| invalid("is larger than the memory"))?;
        bytes.try_reserve_exact(count).map_err(no_memory)?;
        bytes.resize(count, 0);
        for piece in bytes.chunks_mut(PIECE) {
            self.inner.read_exact(piece)?;
            self.pass(piece)?;
        }
        Ok(bytes)
    }

    fn number(&mut self) -> Outcome<u32> {
        let bytes = self.read(4)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// Bytes of a file with so much in it; `None` beyond what a number holds.
fn file_bytes(fingerprint: u32, tokens: u32, state: u64) -> Option<u64> {
    let front = HEADER + DIGEST + u64::from(fingerprint) + 4 * u64::from(tokens);
    front.checked_add(state)
}

/// Writes a file; returns its length in bytes.
pub(super) fn write(
    out: impl Write,
    fingerprint: &str,
    saved: &Saved,
    progress: Progress<'_>,
) -> Outcome<u64> {
    let too_large = || Error::new(ErrorKind::Internal, "the state is too large for a file");
    let fingerprint = match saved.adapters.is_empty() {
        true => fingerprint.to_owned(),
        false => [fingerprint, ADAPTERS, &saved.adapters].concat(),
    };
    let lengths = [fingerprint.len(), saved.tokens.len()].map(u32::try_from);
    let [Ok(names), Ok(tokens)] = lengths else { return Err(too_large().into()) };
    let state = saved.state.len() as u64;
    let total = file_bytes(names, tokens, state).ok_or_else(too_large)?;
    let mut front = Vec::with_capacity((total - DIGEST - state) as usize);
    front.extend(MAGIC);
    front.extend([VERSION, names, tokens].iter().flat_map(|number| number.to_le_bytes()));
    front.extend(state.to_le_bytes());
    front.extend(fingerprint.as_bytes());
    front.extend(saved.tokens.iter().flat_map(|token| token.to_le_bytes()));
    let mut passage = Passage::new(out, total - DIGEST, progress);
    passage.write(&front)?;
    passage.write(&saved.state)?;
    let digest = passage.hash.finalize();
    passage.inner.write_all(&digest)?;
    Ok(total)
}

/// Reads a file of `length` bytes that must fit. The error is `InvalidState`, `OutOfMemory` or
/// one of reading; its message does not name the file.
pub(super) fn read(
    input: impl Read,
    length: u64,
    fit: &Fit<'_>,
    progress: Progress<'_>,
) -> Outcome<Saved> {
    let mut passage = Passage::new(input, length.saturating_sub(DIGEST), progress);
    if passage.read(length.min(MAGIC.len() as u64))? != MAGIC {
        return Err(invalid("is no saved state").into());
    }
    if length < HEADER + DIGEST {
        return Err(cut(length, HEADER + DIGEST).into());
    }
    let version = passage.number()?;
    if version != VERSION {
        let message =
            format!("is of format version {version}, this build reads {VERSION}; save it again");
        return Err(invalid(message).into());
    }
    let (names, tokens) = (passage.number()?, passage.number()?);
    let state = u64::from(passage.number()?) | u64::from(passage.number()?) << 32;
    check_length(names, tokens, state, length)?;
    let fingerprint = passage.read(u64::from(names))?;
    let fingerprint = String::from_utf8_lossy(&fingerprint);
    let (model, adapters) = fingerprint.split_once(ADAPTERS).unwrap_or((&fingerprint, ""));
    check_fingerprint(model, fit.fingerprint)?;
    check_size(tokens, state, fit)?;
    let tokens = words(&passage.read(4 * u64::from(tokens))?).collect();
    let saved = Saved { tokens, state: passage.read(state)?, adapters: adapters.to_owned() };
    check_digest(passage)?;
    check_tokens(&saved.tokens, fit.n_vocab)?;
    Ok(saved)
}

fn cut(length: u64, whole: u64) -> Error {
    invalid(format!("is cut: {length} of {whole} bytes are there; save it again"))
}

fn check_length(names: u32, tokens: u32, state: u64, length: u64) -> Result<()> {
    let whole = file_bytes(names, tokens, state);
    match whole {
        _ if names > LONGEST_FINGERPRINT => Err(invalid("is damaged; save it again")),
        Some(whole) if whole == length => Ok(()),
        Some(whole) if whole < length => {
            Err(invalid(format!("has {} bytes more than it says; save it again", length - whole)))
        }
        whole => Err(cut(length, whole.unwrap_or(u64::MAX))),
    }
}

fn check_fingerprint(found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let lines = found.lines().map(named).zip(expected.lines().map(named));
    let detail = match lines.into_iter().find(|(found, own)| found != own) {
        // Digests tell nobody anything.
        Some(((name, found), (own_name, own))) if name == own_name && name != "model" => {
            format!(": its {name} is {found}, here {own}")
        }
        _ => String::new(),
    };
    Err(invalid(format!("was saved by another model or with other options{detail}")))
}

fn named(line: &str) -> (&str, &str) {
    line.split_once('=').unwrap_or((line, ""))
}

fn check_size(tokens: u32, state: u64, fit: &Fit<'_>) -> Result<()> {
    if tokens == 0 {
        return Err(invalid("has no tokens; save it again"));
    }
    if tokens > fit.n_ctx {
        return Err(invalid(format!(
            "has {tokens} tokens, the context holds {}; load the model with a larger n_ctx",
            fit.n_ctx
        )));
    }
    let needed = state.saturating_add(4 * u64::from(tokens));
    if needed > fit.most_bytes {
        let message = format!(
            "takes {needed} bytes of main memory, the model keeps {} for states; load it with a larger cache_ram_mb",
            fit.most_bytes
        );
        return Err(Error::new(ErrorKind::OutOfMemory, message));
    }
    Ok(())
}

fn check_digest(mut passage: Passage<'_, impl Read>) -> Outcome<()> {
    let mut found = [0; DIGEST as usize];
    passage.inner.read_exact(&mut found)?;
    if passage.hash.finalize().as_slice() != found {
        return Err(invalid("is damaged: its checksum is wrong; save it again").into());
    }
    Ok(())
}

fn check_tokens(tokens: &[u32], n_vocab: usize) -> Result<()> {
    match tokens.iter().position(|&token| token as usize >= n_vocab) {
        None => Ok(()),
        Some(index) => Err(invalid(format!(
            "names token {}, the model has {n_vocab}; save it again",
            tokens[index]
        ))),
    }
}

#[cfg(test)]
#[path = "state_file_tests.rs"]
mod tests;
