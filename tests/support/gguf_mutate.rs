//! Seeded damage to GGUF files: of their structure, of their values, of their bytes.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

mod gguf_names;
mod gguf_tensors;
mod gguf_values;

use self::gguf_names::{FAMILIES, GENERAL, SUFFIXES, TEXTS};
use self::gguf_tensors::damage_tensor;
use super::gguf::dice::Dice;
use super::gguf::{self, Gguf, Tensor, Value};

/// A damaged file and what was done to it.
pub struct Mutant {
    pub bytes: Vec<u8>,
    pub description: String,
}

/// The mutant of a seed: one of the tiny models, damaged once to four times.
pub fn mutant(seed: u64) -> Mutant {
    let (name, make) = dice_of(seed).pick(&MODELS);
    let mut mutant = mutate(make(seed % 7), seed);
    mutant.description.insert_str(0, &format!("{name}; "));
    mutant
}

/// `model`, damaged as the seed says.
pub fn mutate(mut model: Gguf, seed: u64) -> Mutant {
    let mut dice = dice_of(!seed);
    let bytes_only = dice.one_in(4);
    let rounds = match bytes_only {
        true => 0,
        false => 1 + dice.below(4) * usize::from(dice.one_in(3)),
    };
    let mut done: Vec<String> =
        (0..rounds).map(|_| damage_structure(&mut model, &mut dice)).collect();
    let mut bytes = model.to_bytes();
    if bytes_only || dice.one_in(20) {
        done.push(damage_bytes(&mut bytes, &mut dice));
    }
    Mutant { bytes, description: done.join("; ") }
}

fn dice_of(seed: u64) -> Dice {
    // Seeds in a row are far apart, and so are a seed and the one with all its bits turned.
    Dice::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d))
}

type Make = fn(u64) -> Gguf;

const MODELS: [(&str, Make); 9] = [
    ("llama", gguf::llama),
    ("llama_spm", gguf::llama_spm),
    ("gemma3", gguf::gemma3),
    ("qwen3moe", gguf::qwen3moe),
    ("gpt2", gguf::gpt2),
    ("mamba", gguf::mamba),
    ("bert", gguf::bert),
    ("nomic_bert", gguf::nomic_bert),
    ("jina_bert", gguf::jina_bert),
];

fn damage_structure(model: &mut Gguf, dice: &mut Dice) -> String {
    match dice.below(12) {
        0..=2 => damage_key(model, dice),
        3 => add_key(model, dice),
        4 => remove_key(model, dice),
        5 => change_family(model, dice),
        6..=7 => damage_array(model, dice),
        8 => change_version(model, dice),
        _ => damage_tensor(model, dice),
    }
}

fn change_version(model: &mut Gguf, dice: &mut Dice) -> String {
    model.version = dice.pick(&[2, 0, 1, 4, 0x0300_0000, u32::MAX]);
    format!("version {}", model.version)
}

fn damage_key(model: &mut Gguf, dice: &mut Dice) -> String {
    let index = dice.below(model.keys.len());
    let (key, value) = &mut model.keys[index];
    match &mut *value {
        Value::U32(number) if !dice.one_in(4) => *number = dice.number(u64::from(*number)) as u32,
        Value::F32(number) if !dice.one_in(4) => *number = dice.float(),
        Value::Text(text) if !dice.one_in(4) => *text = dice.pick(TEXTS).as_bytes().to_vec(),
        _ => *value = dice.value(2),
    }
    describe(&format!("{key} ="), value)
}

fn add_key(model: &mut Gguf, dice: &mut Dice) -> String {
    let family = family(model);
    let key = match dice.one_in(3) {
        true => dice.pick(GENERAL).to_owned(),
        false => format!("{family}.{}", dice.pick(SUFFIXES)),
    };
    let value = dice.value(2);
    model.set(&key, value.clone());
    describe(&format!("add {key} ="), &value)
}

fn describe(what: &str, value: &Value) -> String {
    format!("{what} {:.60}", format!("{value:?}"))
}

fn remove_key(model: &mut Gguf, dice: &mut Dice) -> String {
    let key = model.keys[dice.below(model.keys.len())].0.clone();
    model.remove(&key);
    format!("remove {key}")
}

fn family(model: &Gguf) -> String {
    let known = model.keys.iter().find(|(key, _)| key == "general.architecture");
    match known {
        Some((_, Value::Text(name))) => String::from_utf8_lossy(name).into_owned(),
        _ => "llama".to_owned(),
    }
}

/// The same sizes and tensors under another family's name.
fn change_family(model: &mut Gguf, dice: &mut Dice) -> String {
    let (old, new) = (family(model), dice.pick(FAMILIES));
    model.text("general.architecture", new);
    for (key, _) in &mut model.keys {
        if let Some(rest) = key.strip_prefix(&format!("{old}.")) {
            *key = format!("{new}.{rest}");
        }
    }
    model.f32(&format!("{new}.attention.layer_norm_epsilon"), 1e-5);
    format!("family {new}")
}

/// One element of one of the vocabulary's arrays, or its length.
fn damage_array(model: &mut Gguf, dice: &mut Dice) -> String {
    let arrays: Vec<usize> =
        (0..model.keys.len()).filter(|&at| is_array(&model.keys[at].1)).collect();
    if arrays.is_empty() {
        return "no array".to_owned();
    }
    let (key, value) = &mut model.keys[arrays[dice.below(arrays.len())]];
    match value {
        Value::Texts(texts) if !texts.is_empty() => damage_texts(key, texts, dice),
        Value::I32s(numbers) if !numbers.is_empty() => {
            damage_numbers(key, numbers, dice, |dice| dice.number(3) as i32)
        }
        Value::F32s(numbers) if !numbers.is_empty() => {
            damage_numbers(key, numbers, dice, Dice::float)
        }
        _ => format!("{key} untouched"),
    }
}

fn is_array(value: &Value) -> bool {
    matches!(value, Value::Texts(_) | Value::I32s(_) | Value::F32s(_))
}

fn damage_numbers<T: Copy>(
    key: &str,
    numbers: &mut Vec<T>,
    dice: &mut Dice,
    make: fn(&mut Dice) -> T,
) -> String {
    let at = dice.below(numbers.len());
    match dice.below(4) {
        0 => numbers.truncate(at),
        1 => numbers.push(make(dice)),
        _ => numbers[at] = make(dice),
    }
    format!("{key}: number {at}, now {} long", numbers.len())
}

fn damage_texts(key: &str, texts: &mut Vec<Vec<u8>>, dice: &mut Dice) -> String {
    let at = dice.below(texts.len());
    let what = dice.below(9);
    match what {
        0 => texts.truncate(at),
        1 => texts[at] = texts[dice.below(texts.len())].clone(),
        2 => texts[at] = Vec::new(),
        3 => texts[at] = vec![0xff, 0xfe, b' ', 0xc3],
        4 => texts[at].insert(0, 0),
        5 => texts[at] = vec![b'x'; 1 << dice.below(18)],
        6 => {
            texts[at] =
                dice.pick(&["<mask>", "\n", " ", "a b c", "<0x0A>", "<0xZZ>", "<", "</s>"]).into()
        }
        7 => texts.push(format!("new {}", texts.len()).into()),
        _ => drop(texts.remove(at)),
    }
    format!("{key}: damage {what} to text {at}")
}

fn damage_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    // Most of the header is vocabulary; its first kilobyte holds the counts and sizes.
    let zone = dice.pick(&[1 << 10, 1 << 13, bytes.len()]).min(bytes.len());
    let at = dice.below(zone);
    match dice.below(5) {
        0 => {
            bytes.truncate(at);
            format!("cut at byte {at}")
        }
        1 => {
            let number = dice.number(1).to_le_bytes();
            bytes.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
            format!("8 bytes at {at}")
        }
        2 => {
            bytes.remove(at);
            format!("without byte {at}")
        }
        3 => {
            bytes.insert(at, dice.below(256) as u8);
            format!("one byte more at {at}")
        }
        _ => {
            let count = 1 + dice.below(8);
            for _ in 0..count {
                let flipped = dice.below(zone);
                bytes[flipped] ^= 1 << dice.below(8);
            }
            format!("{count} bits flipped in the first {zone} bytes")
        }
    }
}
