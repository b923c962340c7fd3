//! A small Whisper vocabulary for the tests of this room, and the folders of real ones.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{json, Map, Value};

use super::{Segment, Vocabulary};

/// Merges of the small vocabulary; each result is a token after the 256 bytes.
pub(super) const MERGES: [(&str, &str); 11] = [
    ("h", "e"),
    ("l", "l"),
    ("he", "ll"),
    ("hell", "o"),
    ("Ġ", "hello"),
    ("Ġ", "w"),
    ("Ġ", "-"),
    // The first two bytes of a musical note, U+2669 to U+266F.
    ("â", "Ļ"),
    ("Ġ", "âĻ"),
    ("Ġ", "'"),
    ("'", "s"),
];

/// The JSON of a model folder.
pub(super) struct Files {
    pub(super) config: Value,
    pub(super) generation: Value,
    pub(super) tokenizer: Value,
}

impl Files {
    /// A multilingual model of `English`, `French`, `Japanese` and `Cantonese`.
    pub(super) fn small() -> Self {
        let mut vocab = Map::new();
        let alphabet = super::bytes::alphabet();
        for (i, c) in alphabet.into_iter().enumerate() {
            vocab.insert(c.to_string(), json!(i));
        }
        for (left, right) in MERGES {
            vocab.insert(format!("{left}{right}"), json!(vocab.len()));
        }
        let first = vocab.len();
        let names = [
            "endoftext",
            "startoftranscript",
            "en",
            "fr",
            "ja",
            "yue",
            "translate",
            "transcribe",
            "startoflm",
            "startofprev",
            "nospeech",
            "notimestamps",
        ];
        let added = names.iter().enumerate();
        let added: Vec<Value> = added
            .map(|(i, name)| json!({"id": first + i, "content": format!("<|{name}|>")}))
            .collect();
        let merges: Vec<Value> = MERGES.iter().map(|(a, b)| json!([a, b])).collect();
        Self {
            config: json!({
                "vocab_size": first + names.len() + 1501,
                "max_target_positions": 448,
                "max_source_positions": 1500,
                "num_mel_bins": 128,
                "d_model": 64,
                "decoder_layers": 2,
                "decoder_attention_heads": 4,
            }),
            generation: json!({ "is_multilingual": true, "alignment_heads": [[0, 3], [1, 0]] }),
            tokenizer: json!({
                "model": { "type": "BPE", "vocab": vocab, "merges": merges },
                "added_tokens": added,
            }),
        }
    }

    /// Writes the files into a new folder.
    pub(super) fn write(&self) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fluid-speech-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        for (name, value) in [
            ("config.json", &self.config),
            ("generation_config.json", &self.generation),
            ("tokenizer.json", &self.tokenizer),
        ] {
            std::fs::write(path.join(name), value.to_string()).unwrap();
        }
        Folder(path)
    }
}

/// A folder that is removed at the end of its test.
pub(super) struct Folder(pub(super) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The small vocabulary, read.
pub(super) fn small() -> Vocabulary {
    Vocabulary::read(&Files::small().write().0).unwrap()
}

/// Real models: those that `make models` fetches, and exports that optimum-intel made, in the folder
/// that `FLUID_SHARED` names, else `../shared`. Says which are missing; without any, a test fails.
#[allow(clippy::print_stderr, reason = "says which model a test goes without")]
pub(super) fn real() -> Vec<PathBuf> {
    let folder = |variable: &str, usual: &str| {
        let given = std::env::var_os(variable).map(PathBuf::from);
        given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(usual))
    };
    let own = folder("FLUID_MODELS", "models");
    let shared = folder("FLUID_SHARED", "../shared").join("models");
    let folders = [
        own.join("whisper-base-int8-ov"),
        own.join("whisper-tiny.en-int8-ov"),
        shared.join("whisper-base-int8-ov"),
        shared.join("whisper-tiny.en-int8-stateless-ov"),
    ];
    let is_there = |folder: &PathBuf| folder.join("tokenizer.json").exists();
    let (found, missing): (Vec<_>, Vec<_>) = folders.into_iter().partition(is_there);
    for folder in missing {
        eprintln!("{} is not there: tested with the other models only", folder.display());
    }
    assert!(!found.is_empty(), "no Whisper model in {}: run `make models`", own.display());
    found
}

/// A segment of which only the times and the text matter.
pub(super) fn segment(start: f64, end: f64, text: &str) -> Segment {
    Segment {
        id: 0,
        seek: 0,
        start,
        end,
        text: text.to_owned(),
        tokens: Vec::new(),
        temperature: 0.0,
        avg_logprob: 0.0,
        compression_ratio: 0.0,
        no_speech_prob: 0.0,
        words: Vec::new(),
    }
}
