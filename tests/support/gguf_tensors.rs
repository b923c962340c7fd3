//! Damage to the tensors of a GGUF file: to their names, their shapes, their numbers.
#![allow(unreachable_pub, reason = "part of a test")]

use super::gguf_names::TENSOR_BASES;
use super::{Dice, Gguf, Tensor};

pub fn damage_tensor(model: &mut Gguf, dice: &mut Dice) -> String {
    let at = dice.below(model.tensors.len());
    let name = model.tensors.get(at).map(|tensor| tensor.name.clone()).unwrap_or_default();
    let what = dice.below(10);
    let Some(tensor) = model.tensors.get_mut(at) else {
        return "no tensors".to_owned();
    };
    match what {
        0 | 1 => drop(model.tensors.remove(at)),
        2 => tensor.name = rename(&name, dice),
        3 => tensor.offset = Some(dice.number(tensor.data.len() as u64)),
        4 => reshape(tensor, dice),
        5 => tensor.dims.push(dice.number(1)),
        6 => retype(tensor, dice),
        7 => poison(tensor, dice),
        8 => drop(tensor.dims.pop()),
        _ => {
            let other = dice.below(model.tensors.len());
            model.tensors.swap(at, other);
        }
    }
    format!("tensor {name}: damage {what}")
}

fn rename(name: &str, dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => format!("blk.{}.{}.weight", dice.number(1), dice.pick(TENSOR_BASES)),
        1 => format!("{name}\0x"),
        2 => name.replace(".weight", ".bias"),
        _ => "x".repeat(dice.below(80)),
    }
}

/// Another shape, with as much data as it asks for where that is little.
fn reshape(tensor: &mut Tensor, dice: &mut Dice) {
    let at = dice.below(tensor.dims.len());
    match tensor.dims.get_mut(at) {
        Some(dim) if dice.one_in(2) => *dim = dice.number(*dim),
        _ => tensor.dims.reverse(),
    }
    let bytes = tensor.dims.iter().try_fold(4_u64, |product, &dim| product.checked_mul(dim));
    if let Some(bytes) = bytes.filter(|&bytes| bytes < 1 << 20) {
        tensor.data.resize(bytes as usize, 0);
    }
}

fn retype(tensor: &mut Tensor, dice: &mut Dice) {
    tensor.kind = dice.number(20) as u32 % 64;
    let count: u64 = tensor.dims.iter().product();
    let (block, bytes) = match tensor.kind {
        1 | 30 => (1, 2),
        2 | 20 => (32, 18),
        3 => (32, 20),
        8 => (32, 34),
        24 => (1, 1),
        25 => (1, 2),
        27 | 28 => (1, 8),
        39 => (32, 17),
        _ => (1, 4),
    };
    tensor.data.resize((count / block * bytes) as usize, 1);
}

/// Numbers that no sum survives.
fn poison(tensor: &mut Tensor, dice: &mut Dice) {
    let bytes = dice.float().to_le_bytes();
    let every = 1 + dice.below(3) * 8;
    tensor.data.chunks_exact_mut(4).step_by(every).for_each(|chunk| chunk.copy_from_slice(&bytes));
}
