//! One GGUF file: header, metadata and tensor table, sound in themselves.

use std::io::{Read, Seek};

use super::metadata::{Metadata, Type};
use super::reader::{invalid, unsupported, Source};
use super::tensors::{self, Tensor};
use crate::error::Result;

/// ggml's CPU buffers need it of the mapped data, and assert it.
const MIN_ALIGNMENT: u32 = 32;
const MAX_ALIGNMENT: u32 = 1 << 16;

/// A file of a model that may have several.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) bytes: u64,
}

impl Part {
    pub(super) fn read(reader: impl Read + Seek) -> Result<Self> {
        let mut source = Source::new(reader)?;
        check_magic(&mut source)?;
        check_version(source.u32()?)?;
        let n_tensors = source.u64()?;
        let n_keys = source.u64()?;
        let metadata = Metadata::read(&mut source, n_keys)?;
        let alignment = alignment(&metadata)?;
        let tensors = tensors::read(&mut source, n_tensors, alignment)?;
        Ok(Self { metadata, tensors, bytes: source.len() })
    }

    /// Parts of the whole model, 0 where nothing is said.
    pub(super) fn part_count(&self) -> Result<u16> {
        Ok(self.metadata.integer("split.count", Type::U16)?.unwrap_or(0) as u16)
    }

    /// This is the part numbered `index`, from 0.
    pub(super) fn check_index(&self, index: usize) -> Result<()> {
        match self.metadata.integer("split.no", Type::U16)? {
            Some(number) if number == index as i128 => Ok(()),
            Some(number) => Err(invalid(format!(
                "key 'split.no' says part {number} where part {index} belongs; name the model's first file"
            ))),
            None => Err(invalid("key 'split.no' is missing in a model of several parts")),
        }
    }

    /// All parts together hold as many tensors as the first part says.
    pub(super) fn check_tensor_count(&self, count: usize) -> Result<()> {
        if count == 0 {
            return Err(invalid("holds no tensors; it is not a model"));
        }
        if self.part_count()? < 2 {
            return Ok(());
        }
        match self.metadata.integer("split.tensors.count", Type::I32)? {
            Some(claimed) if claimed == count as i128 => Ok(()),
            claimed => Err(invalid(format!(
                "key 'split.tensors.count' is {claimed:?}, but the parts hold {count} tensors"
            ))),
        }
    }
}

fn check_magic<R: Read + Seek>(source: &mut Source<R>) -> Result<()> {
    if source.len() == 0 {
        return Err(invalid("is empty"));
    }
    match source.bytes(source.len().min(4))?.as_slice() {
        b"GGUF" => Ok(()),
        b"ggml" | b"lmgg" | b"fmgg" | b"tjgg" | b"algg" => {
            Err(unsupported("is of a format older than GGUF; convert the model again"))
        }
        start => {
            Err(invalid(format!("is not a GGUF file; it starts with '{}'", start.escape_ascii())))
        }
    }
}

fn check_version(version: u32) -> Result<()> {
    match version {
        2 | 3 => Ok(()),
        0 => Err(invalid("header: GGUF version 0 does not exist")),
        _ if version & 0xffff == 0 => {
            Err(unsupported("is a big-endian GGUF file; convert the model again"))
        }
        _ => Err(unsupported(format!(
            "is of GGUF version {version}; versions 2 and 3 are supported"
        ))),
    }
}

fn alignment(metadata: &Metadata) -> Result<u64> {
    let alignment = metadata.u32("general.alignment")?.unwrap_or(MIN_ALIGNMENT);
    if !alignment.is_power_of_two() || !(MIN_ALIGNMENT..=MAX_ALIGNMENT).contains(&alignment) {
        return Err(invalid(format!(
            "key 'general.alignment' is {alignment}; it has to be a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}"
        )));
    }
    Ok(alignment.into())
}
