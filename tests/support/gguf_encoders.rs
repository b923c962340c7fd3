//! Tiny random encoders: models that turn texts into vectors and scores.

use super::gguf_vocabularies::wordpiece_vocabulary;
use super::{biased, norm_with_bias, sizes, Gguf, Value, WIDTH};

/// An encoder, of even seeds for vectors, of odd ones for scores.
pub fn bert(seed: u64) -> Gguf {
    let mut model = encoder("bert", seed);
    model.matrix("position_embd.weight", &[WIDTH, 256]);
    if seed % 2 == 1 {
        model.u32("bert.pooling_type", 4);
        model.matrix("cls.weight", &[WIDTH, WIDTH]).ones("cls.bias", WIDTH);
        model.matrix("cls.output.weight", &[WIDTH, 1]).ones("cls.output.bias", 1);
    }
    model
}

/// An encoder with rotary positions and a gated feed-forward.
pub fn nomic_bert(seed: u64) -> Gguf {
    let mut model = encoder("nomic-bert", seed);
    for layer in 0..2 {
        model.matrix(&format!("blk.{layer}.ffn_gate.weight"), &[WIDTH, 64]);
    }
    model
}

/// An encoder whose attention falls off with distance (ALiBi); the gate lies in `ffn_up`.
pub fn jina_bert(seed: u64) -> Gguf {
    let mut model = encoder("jina-bert-v2", seed);
    model.tensors.retain(|tensor| !tensor.name.contains("ffn_up"));
    for layer in 0..2 {
        model.matrix(&format!("blk.{layer}.ffn_up.weight"), &[WIDTH, 128]);
    }
    model
}

/// What the families of BERT have in common.
fn encoder(family: &str, seed: u64) -> Gguf {
    let mut model = Gguf::new(seed);
    sizes(&mut model, family);
    model.f32(&format!("{family}.attention.layer_norm_epsilon"), 1e-12);
    model.u32(&format!("{family}.attention.head_count_kv"), 2);
    model.u32(&format!("{family}.pooling_type"), 1);
    model.set(&format!("{family}.attention.causal"), Value::Bool(false));
    let n_vocab = wordpiece_vocabulary(&mut model);
    model.matrix("token_embd.weight", &[WIDTH, n_vocab]).matrix("token_types.weight", &[WIDTH, 2]);
    norm_with_bias(&mut model, "token_embd_norm");
    for layer in 0..2 {
        let name = |base: &str| format!("blk.{layer}.{base}");
        norm_with_bias(&mut model, &name("attn_output_norm"));
        norm_with_bias(&mut model, &name("layer_output_norm"));
        let square = ["attn_q", "attn_k", "attn_v", "attn_output"].map(|base| (base, 32, 32));
        biased(&mut model, layer, &square);
        biased(&mut model, layer, &[("ffn_up", 32, 64), ("ffn_down", 64, 32)]);
    }
    model
}
