//! A GGUF file's own token table, read and turned into bytes by hand: a second opinion on what
//! token ids mean that shares no line with the library.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this")]

use std::collections::HashMap;
use std::io::{BufReader, Read};

/// The bytes of each token; control tokens have none.
pub struct Vocabulary {
    pieces: Vec<Vec<u8>>,
}

impl Vocabulary {
    /// The vocabulary of a GPT-2 style byte-level model.
    pub fn read(path: &str) -> Self {
        let file = std::fs::File::open(path).expect("the model can be opened");
        let (tokens, types) = Header(BufReader::new(file)).tokens();
        assert_eq!(tokens.len(), types.len());
        let bytes = byte_alphabet();
        let pieces = tokens.iter().zip(types).map(|(token, kind)| match kind {
            NORMAL => token.chars().map(|letter| bytes[&letter]).collect(),
            CONTROL => Vec::new(),
            _ => token.as_bytes().to_vec(),
        });
        Self { pieces: pieces.collect() }
    }

    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The bytes that `ids` stand for.
    pub fn bytes(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.pieces[id as usize].iter().copied()).collect()
    }

    /// The text that `ids` stand for; what is no UTF-8 becomes U+FFFD.
    pub fn text(&self, ids: &[u32]) -> String {
        String::from_utf8_lossy(&self.bytes(ids)).into_owned()
    }

    /// The token that is this one byte and nothing else.
    pub fn byte(&self, byte: u8) -> Option<u32> {
        let index = self.pieces.iter().position(|piece| *piece == [byte])?;
        u32::try_from(index).ok()
    }
}

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// GPT-2's alphabet: printable bytes stand for themselves, the others, in order, for the letters
/// from U+0100 on (`bytes_to_unicode` in OpenAI's `encoder.py`).
fn byte_alphabet() -> HashMap<char, u8> {
    let mut stand_ins = '\u{100}'..;
    let letter = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => Some((char::from(byte), byte)),
        _ => stand_ins.next().map(|letter| (letter, byte)),
    };
    (0..=255).filter_map(letter).collect()
}

/// The beginning of a GGUF file: keys and values.
struct Header<R>(R);

impl<R: Read> Header<R> {
    /// Texts and types of all tokens.
    fn tokens(mut self) -> (Vec<String>, Vec<i32>) {
        assert_eq!(&self.array(), b"GGUF");
        assert_eq!(self.u32(), 3, "the version");
        let (_tensors, keys) = (self.u64(), self.u64());
        let (mut tokens, mut types) = (Vec::new(), Vec::new());
        for _ in 0..keys {
            let (key, kind) = (self.text(), self.u32());
            match key.as_str() {
                "tokenizer.ggml.tokens" => {
                    let count = self.array_of(TEXT);
                    tokens = (0..count).map(|_| self.text()).collect();
                }
                "tokenizer.ggml.token_type" => {
                    let count = self.array_of(INT32);
                    types = (0..count).map(|_| self.u32() as i32).collect();
                }
                _ => self.skip(kind),
            }
        }
        (tokens, types)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("a whole file");
        bytes
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn text(&mut self) -> String {
        let length = self.u64();
        let mut text = String::new();
        let read = self.0.by_ref().take(length).read_to_string(&mut text);
        assert_eq!(read.expect("UTF-8") as u64, length);
        text
    }

    /// The length of an array whose type was read before; its items are of `kind`.
    fn array_of(&mut self, kind: u32) -> u64 {
        assert_eq!(self.u32(), kind, "the type of an array's items");
        self.u64()
    }

    fn skip(&mut self, kind: u32) {
        match kind {
            TEXT => drop(self.text()),
            ARRAY => {
                let (items, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip(items));
            }
            _ => {
                let size = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind as usize];
                let skipped = std::io::copy(&mut self.0.by_ref().take(size), &mut std::io::sink());
                assert_eq!(skipped.expect("a whole file"), size);
            }
        }
    }
}

const INT32: u32 = 5;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
