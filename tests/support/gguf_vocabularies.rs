//! Small vocabularies of the three kinds that llama.cpp's models have.

use super::{Gguf, Value, CHAT_TEMPLATE};

/// BERT's special tokens and the letters, as words and within them; returns the size.
pub fn wordpiece_vocabulary(model: &mut Gguf) -> u64 {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let letters = 'a'..='z';
    let words = letters.clone().map(|letter| format!("\u{2581}{letter}"));
    let tokens: Vec<String> =
        special.into_iter().chain(words).chain(letters.map(String::from)).collect();
    model.text("tokenizer.ggml.model", "bert").texts("tokenizer.ggml.tokens", &tokens);
    model.u32("tokenizer.ggml.token_type_count", 2);
    for (id, name) in ["padding", "unknown", "bos", "seperator", "mask"].into_iter().enumerate() {
        model.u32(&format!("tokenizer.ggml.{name}_token_id"), id as u32);
    }
    tokens.len() as u64
}

/// GPT-2's 256 byte tokens, a few merges and ChatML's special tokens; returns the size.
pub fn bpe_vocabulary(model: &mut Gguf) -> u64 {
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_char(byte).to_string()).collect();
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġ t"];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let mut types = vec![1; tokens.len()];
    tokens.extend(["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned));
    types.resize(tokens.len(), 3);
    let n_vocab = tokens.len() as u32;
    model.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "gpt-2");
    model.texts("tokenizer.ggml.tokens", &tokens).texts("tokenizer.ggml.merges", &merges);
    model.set("tokenizer.ggml.token_type", Value::I32s(types));
    model
        .u32("tokenizer.ggml.bos_token_id", n_vocab - 3)
        .u32("tokenizer.ggml.eos_token_id", n_vocab - 1);
    model.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    model.text("tokenizer.chat_template", CHAT_TEMPLATE);
    n_vocab.into()
}

/// GPT-2 shows bytes that are no printable character as others from U+0100 on.
fn byte_char(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match printable(byte) {
        true => char::from(byte),
        false => char::from_u32(256 + (0..byte).filter(|&other| !printable(other)).count() as u32)
            .unwrap_or('?'),
    }
}

/// Unknown, begin, end, 256 byte tokens and a few pieces; returns the size.
pub fn spm_vocabulary(model: &mut Gguf) -> u64 {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let mut types = vec![2, 3, 3];
    types.resize(tokens.len(), 6);
    tokens.extend(
        ["▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "▁t", "t"]
            .map(str::to_owned),
    );
    types.resize(tokens.len(), 1);
    let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
    model.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", &tokens);
    model
        .set("tokenizer.ggml.scores", Value::F32s(scores))
        .set("tokenizer.ggml.token_type", Value::I32s(types));
    model.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
    model.text("tokenizer.chat_template", CHAT_TEMPLATE);
    tokens.len() as u64
}
