//! The key-value section of a GGUF file, with typed access.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::reader::{invalid, Source};
use crate::error::Result;

const MAX_KEYS: u64 = 1 << 16;
const MAX_KEY_BYTES: u64 = 1 << 10;
const MAX_STRING_BYTES: u64 = 64 << 20;

/// A value type, numbered as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    U64,
    I64,
    F64,
}

impl Type {
    fn from_code(code: u32) -> Option<Self> {
        use Type::*;
        const CODES: [Option<Type>; 13] = [
            Some(U8),
            Some(I8),
            Some(U16),
            Some(I16),
            Some(U32),
            Some(I32),
            Some(F32),
            Some(Bool),
            Some(Text),
            None,
            Some(U64),
            Some(I64),
            Some(F64),
        ];
        CODES.get(code as usize).copied().flatten()
    }

    /// Bytes of one value; for a string, of its length field, which is its least size.
    fn size(self) -> usize {
        match self {
            Type::U8 | Type::I8 | Type::Bool => 1,
            Type::U16 | Type::I16 => 2,
            Type::U32 | Type::I32 | Type::F32 => 4,
            Type::U64 | Type::I64 | Type::F64 | Type::Text => 8,
        }
    }

    fn integer(self, bytes: &[u8]) -> Option<i128> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let value = u64::from_le_bytes(wide);
        Some(match self {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => value.into(),
            Type::I8 => (value as i8).into(),
            Type::I16 => (value as i16).into(),
            Type::I32 => (value as i32).into(),
            Type::I64 => (value as i64).into(),
            Type::F32 | Type::F64 | Type::Bool | Type::Text => return None,
        })
    }

    fn float(self, bytes: &[u8]) -> Option<f64> {
        match self {
            Type::F32 => bytes.try_into().ok().map(|bytes| f32::from_le_bytes(bytes).into()),
            Type::F64 => bytes.try_into().ok().map(f64::from_le_bytes),
            _ => None,
        }
    }
}

/// Many strings in one allocation, so that a hostile count costs little memory.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    blob: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.blob[start as usize..end as usize])
    }
}

/// One value: a number, a string, or an array of either.
#[derive(Debug)]
pub(crate) enum Value {
    Number { kind: Type, bytes: Vec<u8> },
    Text(Vec<u8>),
    Numbers { kind: Type, bytes: Vec<u8> },
    Texts(Texts),
}

impl Value {
    fn read<R: Read + Seek>(source: &mut Source<R>) -> Result<Self> {
        const ARRAY: u32 = 9;
        let code = source.u32()?;
        if code != ARRAY {
            let kind = known(source, code)?;
            return Ok(match kind {
                Type::Text => Self::Text(source.string(MAX_STRING_BYTES)?),
                _ => Self::Number { kind, bytes: source.bytes(kind.size() as u64)? },
            });
        }
        let code = source.u32()?;
        let kind = known(source, code)?;
        let count = source.u64()?;
        source.fits(count, kind.size() as u64)?;
        if kind != Type::Text {
            return Ok(Self::Numbers { kind, bytes: source.bytes(count * kind.size() as u64)? });
        }
        let mut texts = Texts::default();
        for _ in 0..count {
            texts.blob.extend(source.string(MAX_STRING_BYTES)?);
            // Fits: the whole header is below 4 GiB.
            texts.ends.push(texts.blob.len() as u32);
        }
        Ok(Self::Texts(texts))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::Numbers { .. } | Self::Texts(_))
    }

    /// Elements of an array, 1 for a scalar.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Number { .. } | Self::Text(_) => 1,
            Self::Numbers { kind, bytes } => bytes.len() / kind.size(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// All integers in it; nothing where it holds something else.
    pub(crate) fn integers(&self) -> impl Iterator<Item = i128> + '_ {
        self.numbers().filter_map(|(kind, bytes)| kind.integer(bytes))
    }

    /// All floating-point numbers in it; nothing where it holds something else.
    pub(crate) fn floats(&self) -> impl Iterator<Item = f64> + '_ {
        self.numbers().filter_map(|(kind, bytes)| kind.float(bytes))
    }

    /// All elements as truth values; nothing where it holds no integers or truth values.
    pub(crate) fn flags(&self) -> Vec<bool> {
        let whole = |kind: Type| !matches!(kind, Type::F32 | Type::F64);
        self.numbers()
            .filter(|number| whole(number.0))
            .map(|(_, bytes)| bytes.iter().any(|&byte| byte != 0))
            .collect()
    }

    fn numbers(&self) -> impl Iterator<Item = (Type, &[u8])> {
        let (kind, bytes) = match self {
            Self::Number { kind, bytes } | Self::Numbers { kind, bytes } => {
                (*kind, bytes.as_slice())
            }
            Self::Text(_) | Self::Texts(_) => (Type::U8, &[][..]),
        };
        bytes.chunks_exact(kind.size()).map(move |bytes| (kind, bytes))
    }
}

fn known<R: Read + Seek>(source: &Source<R>, code: u32) -> Result<Type> {
    Type::from_code(code)
        .ok_or_else(|| invalid(format!("{}: value type {code} does not exist", source.place)))
}

/// All keys of one file.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    entries: HashMap<String, Value>,
}

impl Metadata {
    pub(super) fn read<R: Read + Seek>(source: &mut Source<R>, count: u64) -> Result<Self> {
        if count > MAX_KEYS {
            return Err(invalid(format!(
                "header: {count} metadata keys; at most {MAX_KEYS} are allowed"
            )));
        }
        let mut entries = HashMap::new();
        for index in 0..count {
            source.place = format!("metadata key number {index}");
            let key = source.name(MAX_KEY_BYTES)?;
            source.place = format!("key '{key}'");
            let value = Value::read(source)?;
            if entries.contains_key(&key) {
                return Err(invalid(format!("key '{key}' appears twice")));
            }
            entries.insert(key, value);
        }
        Ok(Self { entries })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A string, with what is not UTF-8 replaced.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(bytes)) if !bytes.contains(&0) => {
                Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
            }
            Some(Value::Text(_)) => Err(invalid(format!("key '{key}' holds a NUL byte"))),
            Some(_) => Err(invalid(format!("key '{key}' is not a string"))),
        }
    }

    /// An integer of exactly the type that llama.cpp asks for.
    pub(crate) fn integer(&self, key: &str, wanted: Type) -> Result<Option<i128>> {
        match self.get(key) {
            None => Ok(None),
            Some(value @ Value::Number { kind, .. }) if *kind == wanted => {
                Ok(value.integers().next())
            }
            Some(_) => Err(invalid(format!("key '{key}' is not a {wanted:?} number"))),
        }
    }

    /// An unsigned 32-bit number, the type of nearly all hyperparameters.
    pub(crate) fn u32(&self, key: &str) -> Result<Option<u32>> {
        Ok(self.integer(key, Type::U32)?.map(|value| value as u32))
    }

    /// A 32-bit floating-point number.
    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>> {
        match self.get(key) {
            None => Ok(None),
            Some(value @ Value::Number { kind: Type::F32, .. }) => {
                Ok(value.floats().next().map(|value| value as f32))
            }
            Some(_) => Err(invalid(format!("key '{key}' is not an F32 number"))),
        }
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number { kind: Type::Bool, bytes }) => Ok(Some(bytes[0] != 0)),
            Some(_) => Err(invalid(format!("key '{key}' is not a truth value"))),
        }
    }

    /// An array of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<&Texts>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Texts(texts)) => Ok(Some(texts)),
            Some(_) => Err(invalid(format!("key '{key}' is not an array of strings"))),
        }
    }

    /// An array of numbers of one of the `wanted` types.
    pub(crate) fn numbers(&self, key: &str, wanted: &[Type]) -> Result<Option<&Value>> {
        match self.get(key) {
            None => Ok(None),
            Some(value @ Value::Numbers { kind, .. }) if wanted.contains(kind) => Ok(Some(value)),
            Some(_) => Err(invalid(format!("key '{key}' is not an array of {wanted:?}"))),
        }
    }
}
