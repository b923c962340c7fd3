//! The file of a LoRA adapter: whether it is sound, and fits the model.
//!
//! Low-rank adaptation (Hu et al. 2021), in the format of llama.cpp's `convert_lora_to_gguf.py`: for each
//! weight `W` that it changes there are `W.lora_a` and `W.lora_b`, whose product, times alpha by
//! rank, is added to `W`.

use std::collections::BTreeMap;
use std::path::Path;

use super::part::Part;
use super::reader::{invalid, unsupported};
use super::summary::Summary;
use super::tensors::Tensor;
use super::{at, open};
use crate::error::Result;
use crate::log::log;

/// What adapters are converted to; llama.cpp's products take all of them.
const TYPES: [&str; 4] = ["f32", "f16", "bf16", "q8_0"];

/// An adapter that llama.cpp may be given.
#[derive(Debug)]
pub(crate) struct AdapterSummary {
    /// 0 where the file has none: the scale is then not divided by the rank.
    pub(crate) alpha: f32,
    /// The highest of its pairs.
    pub(crate) rank: u64,
    /// Weights that it changes.
    pub(crate) n_weights: usize,
    /// Bytes it takes in memory.
    pub(crate) bytes: u64,
}

/// The two halves of a change to one weight.
#[derive(Default)]
struct Pair<'a> {
    a: Option<&'a Tensor>,
    b: Option<&'a Tensor>,
}

/// Checks the adapter at `path` for the model of `summary`, as [`check`](super::check) does models.
pub(crate) fn check(path: &Path, summary: &Summary) -> Result<AdapterSummary> {
    let part = open(path)?;
    check_part(&part, summary).map_err(|error| at(path, &error))
}

pub(super) fn check_part(part: &Part, summary: &Summary) -> Result<AdapterSummary> {
    let alpha = check_metadata(part, summary)?;
    let mut checked = AdapterSummary { alpha, rank: 0, n_weights: 0, bytes: 0 };
    for (name, pair) in pairs(part)? {
        let (Some(a), Some(b)) = (pair.a, pair.b) else {
            let half = if pair.a.is_none() { "lora_a" } else { "lora_b" };
            return Err(invalid(format!("tensor '{name}.{half}' is missing")));
        };
        check_pair(name, a, b, summary)?;
        checked.rank = checked.rank.max(b.dims[0]);
        checked.n_weights += 1;
        checked.bytes += a.bytes()? + b.bytes()?;
    }
    match checked.n_weights {
        0 => Err(invalid("holds no tensors; it is not an adapter")),
        _ => Ok(checked),
    }
}

/// Checks what the file says it is; returns its alpha.
fn check_metadata(part: &Part, summary: &Summary) -> Result<f32> {
    let metadata = &part.metadata;
    let text = |key: &str| Ok(metadata.text(key)?.unwrap_or_default());
    let (general, adapter) = (text("general.type")?, text("adapter.type")?);
    if general != "adapter" {
        return Err(unsupported(format!(
            "key 'general.type' is '{general}', not 'adapter'; a LoRA adapter is wanted here"
        )));
    }
    if adapter != "lora" {
        return Err(unsupported(format!("key 'adapter.type' is '{adapter}', not 'lora'")));
    }
    if metadata.get("adapter.alora.invocation_tokens").is_some() {
        let message =
            "is an activated LoRA (aLoRA), which this build cannot switch on at its tokens";
        return Err(unsupported(message));
    }
    let (family, own) = (text("general.architecture")?, summary.architecture.name);
    if family != own {
        return Err(invalid(format!("is an adapter for '{family}' models; this one is a '{own}'")));
    }
    if part.part_count()? > 1 {
        return Err(unsupported("is one of several parts; adapters have to be in one file"));
    }
    let alpha = metadata.f32("adapter.lora.alpha")?.unwrap_or(0.0);
    match alpha.is_finite() {
        true => Ok(alpha),
        false => Err(invalid(format!("key 'adapter.lora.alpha' is {alpha}"))),
    }
}

/// The file's tensors, by the weight that they change.
fn pairs(part: &Part) -> Result<BTreeMap<&str, Pair<'_>>> {
    let mut pairs: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
    for tensor in &part.tensors {
        if let Some(name) = tensor.name.strip_suffix(".lora_a") {
            pairs.entry(name).or_default().a = Some(tensor);
        } else if let Some(name) = tensor.name.strip_suffix(".lora_b") {
            pairs.entry(name).or_default().b = Some(tensor);
        } else if tensor.name.ends_with("_norm.weight") {
            log!(Warn, "an adapter's tensor '{}' has no effect in llama.cpp", tensor.name);
        } else {
            return Err(invalid(format!(
                "tensor '{}' is neither a '.lora_a' nor a '.lora_b'",
                tensor.name
            )));
        }
    }
    Ok(pairs)
}

/// Whether both halves fit the weight `name`, as llama.cpp multiplies them: it asserts some of it
/// only when it computes.
fn check_pair(name: &str, a: &Tensor, b: &Tensor, summary: &Summary) -> Result<()> {
    let Some(base) = summary.tensors.get(name) else {
        return Err(invalid(format!(
            "changes tensor '{name}', which the model does not have; it is an adapter of another model"
        )));
    };
    if let Some(half) = [a, b].into_iter().find(|half| !TYPES.contains(&half.type_name())) {
        return Err(unsupported(format!(
            "tensor '{}' is of type {}; an adapter's are {}",
            half.name,
            half.type_name(),
            TYPES.join(", ")
        )));
    }
    if base.type_name() == "nvfp4" {
        return Err(unsupported(format!("changes tensor '{name}', which is of type nvfp4")));
    }
    let [input, output, experts, _] = base.dims;
    // Rows are looked up in an embedding's first half, not multiplied.
    let is_table = name.ends_with("token_embd.weight");
    if is_table && !summary.tensors.contains_key("output.weight") {
        return Err(unsupported(format!(
            "changes tensor '{name}', which this model uses as its output as well"
        )));
    }
    let rank = b.dims[0];
    let (wanted_a, wanted_b) = match is_table {
        true => ([rank, output, 1, 1], [rank, input, 1, 1]),
        false => ([input, rank, experts, 1], [rank, output, experts, 1]),
    };
    for (half, wanted) in [(a, wanted_a), (b, wanted_b)] {
        if half.dims != wanted || base.dims[3] != 1 {
            return Err(invalid(format!(
                "tensor '{}' has the shape {:?} where {wanted:?} fits the model's {:?}; it is an adapter of another model",
                half.name, half.dims, base.dims
            )));
        }
    }
    Ok(())
}
