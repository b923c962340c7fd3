//! A scripted backend for tests: says a given text, as slowly or badly as the script wants.
//!
//! The path is `fake:` and a JSON object; see [`Script`]. Tokens 0 to 255 are the bytes, 256 ends
//! an answer. What comes next depends on the tokens alone, as with a real model: the rest of the
//! reply after the longest part of it that the tokens end with, or with `hashed` a letter in which
//! every token before it has a say, and for tokens that a shift has moved those dropped as well,
//! and the adapters they were computed with. Adapters are names alone: their files are not read.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{json, Map, Value};

use super::memory::Memory;
use super::{
    Adapter, AdapterInfo, Backend, BatchToken, ContextSizes, Decoded, Estimate, Interrupt, Limits,
    Listener, Loaded, LoadedText, ModelInfo, Tokenizer, Vocab,
};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{LoadOptions, LoraFile};

const END: u32 = 256;

/// What a test can ask for; every field is optional.
struct Script {
    /// The answer to everything.
    reply: Vec<u8>,
    /// Milliseconds a load takes.
    load_ms: u64,
    /// The load fails with this message.
    load_error: Option<String>,
    /// What the load tells that it does otherwise than asked.
    notice: Option<String>,
    /// The load panics.
    load_panic: bool,
    /// A load or computation in progress does not notice that it should stop.
    deaf: bool,
    /// Microseconds of a computation, for each of its tokens.
    token_us: u64,
    /// The computation that would give this token of an answer fails.
    error_at: Option<u64>,
    /// The computation that would give this token of an answer panics.
    panic_at: Option<u64>,
    /// All logits are NaN.
    nan: bool,
    /// Only whole sequences can be dropped, as in recurrent models.
    recurrent: bool,
    /// In place of the reply, letters that [`hashed`] gives, without an end.
    hashed: bool,
    /// Each letter so many tokens from the start is another one; 0 for none.
    wrong_every: usize,
    /// What it is said to take: weights of so many bytes; none is taken.
    memory: Memory,
}

impl Script {
    fn parse(text: &str) -> Result<Self> {
        let map: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::InvalidModel, format!("fake script: {error}"))
        })?;
        let number = |name: &str| map.get(name).and_then(Value::as_u64);
        let flag = |name: &str| map.get(name).and_then(Value::as_bool).unwrap_or(false);
        let string = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            reply: string("reply").unwrap_or_else(|| "Hello!".to_owned()).into_bytes(),
            load_ms: number("load_ms").unwrap_or(0),
            load_error: string("load_error"),
            notice: string("notice"),
            load_panic: flag("load_panic"),
            deaf: flag("deaf"),
            token_us: number("token_us").unwrap_or(0),
            error_at: number("error_at"),
            panic_at: number("panic_at"),
            nan: flag("nan"),
            recurrent: flag("recurrent"),
            hashed: flag("hashed"),
            wrong_every: number("wrong_every").unwrap_or(0) as usize,
            memory: Memory { weights: number("memory").unwrap_or(1_000), ..Memory::default() },
        })
    }
}

struct Fake {
    script: Script,
    interrupt: Interrupt,
    n_batch: usize,
    n_outputs: usize,
    /// Tokens of each sequence.
    sequences: Vec<Vec<u32>>,
    /// Beside each token what it was computed from, as keys and values are.
    keys: Vec<Vec<u32>>,
    n_cells: usize,
    adapters: Vec<Adapter>,
    outputs: Vec<Option<Vec<f32>>>,
    bytes: Arc<Bytes>,
}

/// The vocabulary of bytes, and one token that is no text.
struct Bytes;

impl Tokenizer for Bytes {
    fn tokenize(&self, text: &str, _special: bool, _parse: bool) -> Result<Vec<u32>> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn piece(&self, token: u32, special: bool) -> Result<Vec<u8>> {
        Ok(match u8::try_from(token) {
            Ok(byte) => vec![byte],
            Err(_) if special => b"<end>".to_vec(),
            Err(_) => Vec::new(),
        })
    }

    fn n_tokens(&self) -> usize {
        END as usize + 1
    }

    fn longest_piece(&self) -> usize {
        1
    }

    fn adds_space(&self) -> bool {
        false
    }
}

/// What the script says that the model takes.
pub(super) fn estimate(script: &str, options: &LoadOptions) -> Result<Estimate> {
    let script = Script::parse(script)?;
    let limits = limits(&script, options);
    Ok(Estimate {
        memory: script.memory,
        kept_max: limits.kept_bytes,
        device: "CPU".to_owned(),
        device_why: "the fake backend computes nothing".to_owned(),
        context: Some(ContextSizes {
            n_ctx: limits.n_ctx,
            n_parallel: limits.n_parallel,
            n_cells: limits.n_cells,
            unified: true,
        }),
        ..Estimate::default()
    })
}

fn limits(script: &Script, options: &LoadOptions) -> Limits {
    let n_ctx = options.n_ctx.unwrap_or(4_096);
    Limits {
        n_ctx,
        n_parallel: options.n_parallel,
        n_batch: options.n_ubatch.max(options.n_parallel),
        n_cells: options.kv.kv_cache_tokens.unwrap_or(n_ctx * options.n_parallel).max(n_ctx),
        shares_cells: true,
        wants_neighbours: false,
        whole_only: script.recurrent,
        interruptible: true,
        n_outputs: options.n_parallel + 32,
        kept_bytes: u64::from(options.kv.cache_ram_mb.unwrap_or(1)) << 20,
    }
}

pub(super) fn load(
    script: &str,
    options: &LoadOptions,
    interrupt: &Interrupt,
    Listener { progress, notice }: Listener<'_>,
) -> Result<Option<Loaded>> {
    let mut script = Script::parse(script)?;
    assert!(!script.load_panic, "the fake script asks for a panic");
    let end = Instant::now() + Duration::from_millis(script.load_ms);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
        let left = end.saturating_duration_since(Instant::now()).as_millis() as f32;
        if !progress(1.0 - left / script.load_ms as f32) && !script.deaf {
            return Ok(None);
        }
    }
    if let Some(message) = script.load_error {
        return Err(Error::new(ErrorKind::InvalidModel, message));
    }
    if !progress(1.0) && !script.deaf {
        return Ok(None);
    }
    script.notice.take().into_iter().for_each(notice);
    let limits = limits(&script, options);
    let info = info(&script);
    let fingerprint = format!("model=fake\nrecurrent={}", script.recurrent);
    let bytes = Arc::new(Bytes);
    let tokenizer = Arc::downgrade(&bytes);
    let backend = Fake {
        script,
        bytes,
        interrupt: interrupt.clone(),
        n_batch: limits.n_batch as usize,
        n_outputs: limits.n_outputs as usize,
        sequences: vec![Vec::new(); limits.n_parallel as usize],
        keys: vec![Vec::new(); limits.n_parallel as usize],
        n_cells: limits.n_cells as usize,
        adapters: Vec::new(),
        outputs: Vec::new(),
    };
    Ok(Some(Loaded::Text(Box::new(LoadedText {
        backend: Box::new(backend),
        limits,
        vocab: vocab(),
        tokenizer,
        info,
        fingerprint,
        check_state: Arc::new(check_state),
        adapters: options.lora.iter().map(adapter).collect(),
        draft: None,
    }))))
}

fn adapter(file: &LoraFile) -> AdapterInfo {
    let (name, details) = (file.name.clone(), json!({"path": file.path}));
    AdapterInfo { fingerprint: file.path.clone(), scale: file.scale, name, details }
}

fn check_state(state: &[u8], count: usize) -> Result<()> {
    // Each token and its key.
    match state.len() == 8 * count {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::InvalidState, "is no state of the fake backend")),
    }
}

fn vocab() -> Vocab {
    let mut vocab = Vocab::default();
    for byte in 0..=255u8 {
        vocab.push(&[byte], false);
    }
    vocab.push(b"", true);
    vocab
}

fn info(script: &Script) -> ModelInfo {
    let mut details = Map::new();
    details.insert("backend".into(), json!("fake"));
    details.insert("device".into(), json!("CPU"));
    ModelInfo { name: "fake".into(), memory: script.memory, details, ..ModelInfo::default() }
}

impl Fake {
    /// Passes the time of `count` tokens. False: interrupted.
    fn compute(&self, count: usize) -> bool {
        let end = Instant::now() + Duration::from_micros(self.script.token_us * count as u64);
        loop {
            if self.interrupt.stops() && !self.script.deaf {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
    }

    fn answer(&self, token: &BatchToken) -> Result<Vec<f32>> {
        let tokens = &self.sequences[token.sequence as usize];
        let step = said(tokens, &self.script.reply);
        assert!(self.script.panic_at != Some(step as u64), "the fake script asks for a panic");
        if self.script.error_at == Some(step as u64) {
            return Err(Error::new(ErrorKind::Backend, "the fake script asks for an error"));
        }
        let is_wrong = tokens.len().checked_rem(self.script.wrong_every) == Some(0);
        let next = match self.script.hashed {
            true if is_wrong => u32::from(b'?'),
            true => hashed(&self.keys[token.sequence as usize]),
            false => self.script.reply.get(step).map_or(END, |&byte| u32::from(byte)),
        };
        let low = if self.script.nan { f32::NAN } else { 0.0 };
        let mut logits = vec![low; END as usize + 1];
        if !self.script.nan {
            logits[next as usize] = 50.0;
        }
        Ok(logits)
    }

    /// Cells in use; a token that several sequences begin with is in one cell, once at least.
    fn used(&self) -> usize {
        let mut used = 0;
        for (index, tokens) in self.sequences.iter().enumerate() {
            let before = &self.sequences[..index];
            used +=
                tokens.len() - before.iter().map(|other| common(other, tokens)).max().unwrap_or(0);
        }
        used
    }
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// FNV-1a, 32 bits.
fn fnv(words: &[u32]) -> u32 {
    words.iter().fold(0x811c_9dc5, |hash, word| (hash ^ word).wrapping_mul(0x0100_0193))
}

/// What a token and all before it become with `adapters`.
fn key(said: &[u32], adapters: &[Adapter]) -> u32 {
    let changes = adapters.iter().flat_map(|adapter| [adapter.index, adapter.scale.to_bits()]);
    fnv(&said.iter().copied().chain(changes).collect::<Vec<_>>())
}

/// A letter from a to z that depends on all `keys`.
fn hashed(keys: &[u32]) -> u32 {
    u32::from(b'a') + (fnv(keys) >> 8) % 26
}

/// How much of `reply` the end of `tokens` is.
fn said(tokens: &[u32], reply: &[u8]) -> usize {
    let is_said = |&count: &usize| {
        let end = &tokens[tokens.len() - count..];
        end.iter().zip(reply).all(|(&token, &byte)| token == u32::from(byte))
    };
    (0..=reply.len().min(tokens.len())).rev().find(is_said).unwrap_or(0)
}

impl Backend for Fake {
    fn tokenize(&mut self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.bytes.tokenize(text, special, true)
    }

    fn adapt(&mut self, adapters: &[Adapter]) -> Result<()> {
        self.adapters = adapters.to_vec();
        Ok(())
    }

    fn decode(&mut self, batch: &[BatchToken]) -> Result<Decoded> {
        assert!(batch.len() <= self.n_batch, "a batch of {} tokens", batch.len());
        let outputs = batch.iter().filter(|token| token.output).count();
        assert!(outputs <= self.n_outputs, "{outputs} outputs");
        if !self.compute(batch.len()) {
            return Ok(Decoded::Interrupted);
        }
        let at_most: usize = self.sequences.iter().map(Vec::len).sum();
        if at_most + batch.len() > self.n_cells && self.used() + batch.len() > self.n_cells {
            return Ok(Decoded::Full);
        }
        self.outputs.clear();
        for token in batch {
            let tokens = &mut self.sequences[token.sequence as usize];
            assert_eq!(tokens.len(), token.position as usize, "a gap in a sequence");
            tokens.push(token.token);
            let keys = &mut self.keys[token.sequence as usize];
            // All that is before goes into it, which takes its time.
            let said = [fnv(keys), token.token];
            keys.push(if self.script.hashed { key(&said, &self.adapters) } else { 0 });
            let output = token.output.then(|| self.answer(token)).transpose()?;
            self.outputs.push(output);
        }
        Ok(Decoded::Done)
    }

    fn logits(&mut self, index: usize) -> Result<&mut [f32]> {
        match self.outputs.get_mut(index) {
            Some(Some(logits)) => Ok(logits),
            _ => Err(Error::new(
                ErrorKind::Internal,
                format!("no logits were asked for row {index}"),
            )),
        }
    }

    fn truncate(&mut self, sequence: u32, from: u32) -> bool {
        let tokens = &mut self.sequences[sequence as usize];
        let whole = from == 0 || (self.script.recurrent && tokens.len() > from as usize);
        tokens.truncate(if whole { 0 } else { from as usize });
        self.keys[sequence as usize].truncate(tokens.len());
        from == 0 || !whole
    }

    fn share(&mut self, from: u32, to: u32, count: u32) -> bool {
        let tokens = &self.sequences[from as usize];
        let count = count as usize;
        assert!(count <= tokens.len() && self.sequences[to as usize].is_empty());
        assert!(!self.script.recurrent || count == tokens.len(), "only whole sequences");
        self.sequences[to as usize] = tokens[..count].to_vec();
        self.keys[to as usize] = self.keys[from as usize][..count].to_vec();
        true
    }

    fn shift(&mut self, sequence: u32, at: u32, count: u32) -> bool {
        if self.script.recurrent {
            return false;
        }
        let dropped = at as usize..(at + count) as usize;
        self.sequences[sequence as usize].drain(dropped.clone());
        self.keys[sequence as usize].drain(dropped);
        true
    }

    fn state_bytes(&mut self, sequence: u32) -> Result<u64> {
        Ok(8 * self.sequences[sequence as usize].len() as u64)
    }

    fn save(&mut self, sequence: u32) -> Result<Vec<u8>> {
        let (tokens, keys) = (&self.sequences[sequence as usize], &self.keys[sequence as usize]);
        Ok(tokens.iter().chain(keys).flat_map(|word| word.to_le_bytes()).collect())
    }

    fn restore(&mut self, sequence: u32, count: u32, state: &[u8]) -> Result<()> {
        let words = state.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
        let mut tokens: Vec<u32> = words.map(u32::from_le_bytes).collect();
        assert_eq!(tokens.len(), 2 * count as usize);
        self.keys[sequence as usize] = tokens.split_off(count as usize);
        self.sequences[sequence as usize] = tokens;
        Ok(())
    }
}
