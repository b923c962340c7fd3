//! The tensor table of a GGUF file: names, shapes, types, and where their data lies.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::reader::{invalid, unsupported, Source};
use crate::error::Result;

/// llama.cpp looks tensors up by linear search, so a wild count would also be an endless load.
const MAX_TENSORS: u64 = 1 << 14;
/// `GGML_MAX_NAME` with its NUL.
const MAX_NAME_BYTES: u64 = 63;
const MAX_DIMS: u32 = 4;
const F32: u32 = 0;

/// ggml's types that can be computed with: code, name, elements in a block, bytes in a block.
const TYPES: &[(u32, &str, u64, u64)] = &[
    (F32, "f32", 1, 4),
    (1, "f16", 1, 2),
    (2, "q4_0", 32, 18),
    (3, "q4_1", 32, 20),
    (6, "q5_0", 32, 22),
    (7, "q5_1", 32, 24),
    (8, "q8_0", 32, 34),
    (10, "q2_K", 256, 84),
    (11, "q3_K", 256, 110),
    (12, "q4_K", 256, 144),
    (13, "q5_K", 256, 176),
    (14, "q6_K", 256, 210),
    (16, "iq2_xxs", 256, 66),
    (17, "iq2_xs", 256, 74),
    (18, "iq3_xxs", 256, 98),
    (19, "iq1_s", 256, 50),
    (20, "iq4_nl", 32, 18),
    (21, "iq3_s", 256, 110),
    (22, "iq2_s", 256, 82),
    (23, "iq4_xs", 256, 136),
    (29, "iq1_m", 256, 56),
    (30, "bf16", 1, 2),
    (34, "tq1_0", 256, 54),
    (35, "tq2_0", 256, 66),
    (39, "mxfp4", 32, 17),
    (40, "nvfp4", 64, 36),
    (41, "q1_0", 128, 18),
    (42, "q2_0", 64, 18),
];

/// Weights that are only ever the left side of a matrix product or a table of rows. ggml's
/// element-wise operations abort, on a worker thread, on anything but `f32`.
const MATRICES: &[&str] = &[
    "attn_gate",
    "attn_k",
    "attn_k_b",
    "attn_kv_a_mqa",
    "attn_kv_b",
    "attn_output",
    "attn_q",
    "attn_q_a",
    "attn_q_b",
    "attn_qkv",
    "attn_v",
    "attn_v_b",
    "channel_mix_key",
    "channel_mix_receptance",
    "channel_mix_value",
    "cls",
    "cls.output",
    "dense_2",
    "dense_3",
    "ffn_down",
    "ffn_down_exps",
    "ffn_down_shexp",
    "ffn_gate",
    "ffn_gate_exps",
    "ffn_gate_inp",
    "ffn_gate_inp_shexp",
    "ffn_gate_shexp",
    "ffn_gate_up_exps",
    "ffn_up",
    "ffn_up_exps",
    "ffn_up_shexp",
    "inp_gate",
    "output",
    "per_layer_model_proj",
    "per_layer_token_embd",
    "position_embd",
    "proj",
    "shortconv.in_proj",
    "shortconv.out_proj",
    "ssm_alpha",
    "ssm_ba",
    "ssm_beta",
    "ssm_dt",
    "ssm_in",
    "ssm_out",
    "ssm_x",
    "time_mix_a1",
    "time_mix_a2",
    "time_mix_decay_w1",
    "time_mix_decay_w2",
    "time_mix_g1",
    "time_mix_g2",
    "time_mix_gate",
    "time_mix_key",
    "time_mix_output",
    "time_mix_receptance",
    "time_mix_v1",
    "time_mix_v2",
    "time_mix_value",
    "time_mix_w1",
    "time_mix_w2",
    "token_embd",
    "nextn.eh_proj",
    "nextn.embed_tokens",
    "nextn.shared_head_head",
];

/// One tensor, as the file describes it.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dims: [u64; 4],
    type_index: usize,
    offset: u64,
}

impl Tensor {
    fn read<R: Read + Seek>(source: &mut Source<R>) -> Result<Self> {
        let name = source.name(MAX_NAME_BYTES)?;
        source.place = format!("tensor '{name}'");
        let n_dims = source.u32()?;
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(invalid(format!(
                "tensor '{name}' has {n_dims} dimensions; 1 to {MAX_DIMS} are possible"
            )));
        }
        let mut dims = [1; 4];
        for dim in &mut dims[..n_dims as usize] {
            *dim = source.u64()?;
        }
        let code = source.u32()?;
        let offset = source.u64()?;
        let type_index = TYPES.iter().position(|entry| entry.0 == code).ok_or_else(|| {
            invalid(format!("tensor '{name}' is of type {code}, which no weight can be"))
        })?;
        let tensor = Self { name, dims, type_index, offset };
        tensor.check_type()?;
        Ok(tensor)
    }

    pub(super) fn type_name(&self) -> &'static str {
        TYPES[self.type_index].1
    }

    fn check_type(&self) -> Result<()> {
        if TYPES[self.type_index].0 == F32 || self.is_matrix() {
            return Ok(());
        }
        Err(unsupported(format!(
            "tensor '{}' is of type {}; it has to be f32",
            self.name,
            self.type_name()
        )))
    }

    fn is_matrix(&self) -> bool {
        // An adapter's are multiplied as the weights are that they change.
        let halves = [".lora_a", ".lora_b"];
        let weight = halves.iter().find_map(|half| self.name.strip_suffix(half));
        let base = weight.unwrap_or(&self.name).strip_suffix(".weight").unwrap_or("");
        let base = match base.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((_, base)) => base,
            None => base,
        };
        MATRICES.contains(&base)
    }

    /// Bytes of its data, if the shape is sane.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let (_, type_name, block, block_bytes) = TYPES[self.type_index];
        let name = &self.name;
        // ggml counts in signed 64 bits, and some callers in 32.
        if self.dims.iter().any(|&dim| dim == 0 || dim > i32::MAX as u64) {
            return Err(invalid(format!(
                "tensor '{name}' has the impossible shape {:?}",
                self.dims
            )));
        }
        if self.dims[0] % block != 0 {
            return Err(invalid(format!(
                "tensor '{name}' has rows of {}, not a multiple of {block} as type {type_name} needs",
                self.dims[0]
            )));
        }
        self.dims
            .iter()
            .try_fold(1, |product: u64, &dim| product.checked_mul(dim))
            .and_then(|count| (count / block).checked_mul(block_bytes))
            .filter(|&bytes| bytes < 1 << 48)
            .ok_or_else(|| {
                invalid(format!("tensor '{name}' has the impossible shape {:?}", self.dims))
            })
    }
}

/// Reads the table and checks that the data of each tensor lies in the file, in order, without gaps.
pub(super) fn read<R: Read + Seek>(
    source: &mut Source<R>,
    count: u64,
    alignment: u64,
) -> Result<Vec<Tensor>> {
    if count > MAX_TENSORS {
        return Err(invalid(format!("header: {count} tensors; at most {MAX_TENSORS} are allowed")));
    }
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut names = HashSet::new();
    for index in 0..count {
        source.place = format!("tensor number {index}");
        let tensor = Tensor::read(source)?;
        if !names.insert(tensor.name.clone()) {
            return Err(invalid(format!("tensor '{}' appears twice", tensor.name)));
        }
        tensors.push(tensor);
    }
    let start = source.position().next_multiple_of(alignment);
    check_layout(&tensors, source.len(), start, alignment)?;
    Ok(tensors)
}

fn check_layout(tensors: &[Tensor], len: u64, start: u64, alignment: u64) -> Result<()> {
    let mut expected = 0_u64;
    for tensor in tensors {
        let (name, offset) = (&tensor.name, tensor.offset);
        if offset != expected {
            return Err(invalid(format!(
                "tensor '{name}' claims offset {offset}; its data would be at {expected}"
            )));
        }
        // No overflow: every term is below 2^48 and there are few of them.
        let end = offset + tensor.bytes()?;
        if start + end > len {
            return Err(invalid(format!(
                "tensor '{name}' ends at byte {} of a file of {len} bytes; the file is cut off",
                start + end
            )));
        }
        expected = end.next_multiple_of(alignment);
    }
    Ok(())
}
