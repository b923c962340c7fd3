//! What tells one model and its options from others, for saved states: a state of one is nonsense,
//! or worse, in another.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::context::ContextSize;
use super::gguf::Summary;
use super::sizes::CELLS;
use crate::error::{Error, ErrorKind, Result};
use crate::request::KvOptions;

/// The version of llama-cpp-sys-2, and with it of llama.cpp, whose states have no version of
/// their own; a test compares it with Cargo.lock.
const LLAMA_CPP: &str = "0.1.160";

/// Bytes of a model file that are hashed: its head with the metadata, its tail, and blocks of the
/// weights between. All of it would take as long as loading.
const END: u64 = 64 * 1024;
const BLOCK: u64 = 4 * 1024;
const BLOCKS: u64 = 62;

/// Lines of `name=value`. `streams`: in how many parts the KV cache is laid out.
pub(super) fn of(
    summary: &Summary,
    size: &ContextSize,
    streams: u32,
    options: &KvOptions,
) -> Result<String> {
    let model = digest(&summary.files)?;
    // Some models turn positions by other factors once the context is longer than this.
    let seen = if size.unified { size.n_cells } else { size.n_ctx.next_multiple_of(CELLS) };
    let is_long = summary.short_context.is_some_and(|longest| seen > longest);
    let lines = [
        ("model", model),
        ("file_bytes", summary.file_bytes.to_string()),
        ("tensors", summary.tensors.len().to_string()),
        ("architecture", summary.architecture.name.to_string()),
        ("cache_type_k", options.cache_type_k.name().to_owned()),
        ("cache_type_v", options.cache_type_v.name().to_owned()),
        ("flash_attn", options.flash_attn.name().to_owned()),
        ("number of KV cache parts (n_parallel, or 1 with kv_unified)", streams.to_string()),
        ("rope", if is_long { "long" } else { "short" }.to_owned()),
        ("byte order", if cfg!(target_endian = "big") { "big" } else { "little" }.to_owned()),
        ("llama.cpp", LLAMA_CPP.to_owned()),
    ];
    Ok(lines.map(|(name, value)| format!("{name}={value}")).join("\n"))
}

/// Tells the file at `path` from others: the same for equal files.
pub(super) fn of_file(path: &Path) -> Result<String> {
    digest(&[path])
}

fn digest(files: &[impl AsRef<Path>]) -> Result<String> {
    let mut hash = Sha256::new();
    for path in files {
        let path = path.as_ref();
        sample(path, &mut hash).map_err(|error| {
            Error::new(ErrorKind::Io, format!("{}: cannot be read: {error}", path.display()))
        })?;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Hashes the length of the file at `path` and samples of its bytes.
fn sample(path: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    hash.update(length.to_le_bytes());
    let mut buffer = vec![0; END as usize];
    for (start, count) in places(length) {
        let block = &mut buffer[..count as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        hash.update(&*block);
    }
    Ok(())
}

/// Where the samples of a file of `length` bytes lie, and how long they are: all of a small file.
fn places(length: u64) -> Vec<(u64, u64)> {
    if length <= 2 * END + BLOCKS * BLOCK {
        return (0..length).step_by(END as usize).map(|at| (at, END.min(length - at))).collect();
    }
    // Evenly spread: each block ends before the next one's start.
    let between = length - 2 * END - BLOCK;
    let blocks = (0..BLOCKS).map(|index| (END + between / (BLOCKS - 1) * index, BLOCK));
    [(0, END)].into_iter().chain(blocks).chain([(length - END, END)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_linked() {
        let lock = include_str!("../../../Cargo.lock").replace('\r', "");
        let entry = format!("name = \"llama-cpp-sys-2\"\nversion = \"{LLAMA_CPP}\"\n");
        assert!(lock.contains(&entry), "LLAMA_CPP is not the version in Cargo.lock");
    }

    #[test]
    fn samples_lie_inside_the_file_and_beside_each_other() {
        for length in [0, 1, END, END + 1, 385_023, 385_024, 385_025, 1 << 20, 98_362_432, 1 << 40]
        {
            let places = places(length);
            let mut end = 0;
            for &(start, count) in &places {
                assert!(start >= end && count > 0 && count <= END, "{length}: {places:?}");
                end = start + count;
            }
            assert_eq!(end, length, "the end counts");
            let total: u64 = places.iter().map(|(_, count)| count).sum();
            assert_eq!(total, length.min(2 * END + BLOCKS * BLOCK), "{length}");
        }
    }
}
