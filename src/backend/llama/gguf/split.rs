//! The names of a model's parts, by llama.cpp's rule `<name>-00001-of-00003.gguf`.

use std::path::{Path, PathBuf};

use super::reader::invalid;
use crate::error::Result;

/// llama.cpp keeps the count in 16 bits and writes it with five digits.
pub(super) const MAX_PARTS: u16 = 1024;

/// All parts of the model whose first part is `first`.
pub(super) fn part_paths(first: &Path, count: u16) -> Result<Vec<PathBuf>> {
    if count > MAX_PARTS {
        return Err(invalid(format!(
            "key 'split.count' says {count} parts; at most {MAX_PARTS} are possible"
        )));
    }
    let name = first.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = part_ending(0, count);
    let stem = name.strip_suffix(&ending).filter(|stem| !stem.is_empty()).ok_or_else(|| {
        invalid(format!("is the first of {count} parts, but its name does not end in '{ending}'; restore the names"))
    })?;
    Ok((0..count)
        .map(|part| first.with_file_name(format!("{stem}{}", part_ending(part, count))))
        .collect())
}

fn part_ending(part: u16, count: u16) -> String {
    format!("-{:05}-of-{count:05}.gguf", part + 1)
}
