//! The model families that we have read llama.cpp's sources for, and what each needs to hold.

/// How a family's attention heads relate to its other sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heads {
    /// Query width is `embedding_length`, key and value length are equal, all of it is rotated.
    Square,
    /// As `Square`, but only a part is rotated, or nothing.
    Partial,
    /// Key length, value length and rotated part are equal; query width is free.
    Whole,
    /// Key and value length are equal; query width and rotated part are free.
    Equal,
    /// Nothing has to be equal.
    Free,
    /// Latent attention: what is cached is not what the heads see.
    Latent,
    /// Some layers have no attention, and sizes may differ between layers.
    Mixed,
    /// No attention at all.
    None,
}

/// What a family is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Predicts the next token.
    Generation,
    /// Turns a text into a vector; it cannot generate.
    Embedding,
}

/// One model family, by its name in `general.architecture`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Architecture {
    pub(crate) name: &'static str,
    pub(crate) heads: Heads,
    pub(crate) task: Task,
}

impl Architecture {
    pub(crate) fn find(name: &str) -> Option<Self> {
        let heads = FAMILIES.iter().find(|(_, names)| names.contains(&name));
        let (task, (heads, names)) = match heads {
            Some(family) => (Task::Generation, family),
            None => (Task::Embedding, ENCODERS.iter().find(|(_, names)| names.contains(&name))?),
        };
        let name = names.iter().find(|&&known| known == name)?;
        Some(Self { name, heads: *heads, task })
    }

    /// Every layer has a router and experts; without them llama.cpp divides by zero.
    pub(crate) fn needs_experts(&self) -> bool {
        MIXTURES.contains(&self.name)
    }

    /// Positions are four numbers each, split by `rope.dimension_sections`.
    pub(crate) fn needs_rope_sections(&self) -> bool {
        ["qwen2vl", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe"].contains(&self.name)
    }

    /// Layers keep a running state instead of, or beside, keys and values.
    pub(crate) fn has_state(&self) -> bool {
        self.heads == Heads::None || STATEFUL.contains(&self.name)
    }
}

const FAMILIES: &[(Heads, &[&str])] = &[
    (
        Heads::Square,
        &[
            "arctic",
            "baichuan",
            "codeshell",
            "dbrx",
            "deepseek",
            "falcon",
            "internlm2",
            "olmo",
            "olmo2",
            "olmoe",
            "orion",
            "plamo",
            "qwen2",
            "qwen2moe",
            "qwen2vl",
            "starcoder2",
            "xverse",
        ],
    ),
    (
        Heads::Partial,
        &[
            "bitnet",
            "bloom",
            "cohere2",
            "command-r",
            "gpt2",
            "gptneox",
            "mpt",
            "nemotron",
            "phi2",
            "phi3",
            "phimoe",
            "qwen",
            "stablelm",
            "starcoder",
        ],
    ),
    (
        Heads::Whole,
        &[
            "apertus",
            "arcee",
            "dots1",
            "ernie4_5",
            "ernie4_5-moe",
            "exaone",
            "exaone4",
            "granite",
            "granitemoe",
            "hunyuan-dense",
            "hunyuan-moe",
            "llama",
            "llama4",
            "mistral3",
            "qwen3",
            "qwen3moe",
            "qwen3vl",
            "qwen3vlmoe",
            "seed_oss",
            "smollm3",
        ],
    ),
    (Heads::Equal, &["chatglm", "glm4", "glm4moe", "minimax-m2", "refact"]),
    (Heads::Free, &["bailingmoe", "gemma", "gemma2", "gemma3", "gpt-oss", "minicpm"]),
    (Heads::Latent, &["deepseek2", "minicpm3"]),
    (
        Heads::Mixed,
        &[
            "deci",
            "falcon-h1",
            "gemma3n",
            "gemma4",
            "granitehybrid",
            "jamba",
            "lfm2",
            "lfm2moe",
            "nemotron_h",
            "nemotron_h_moe",
            "openelm",
            "qwen35",
            "qwen35moe",
            "qwen3next",
        ],
    ),
    (Heads::None, &["mamba", "mamba2", "rwkv6", "rwkv7"]),
];

const ENCODERS: &[(Heads, &[&str])] = &[
    (
        Heads::Partial,
        &[
            "bert",
            "eurobert",
            "jina-bert-v2",
            "jina-bert-v3",
            "modern-bert",
            "neo-bert",
            "nomic-bert",
            "nomic-bert-moe",
        ],
    ),
    (Heads::Free, &["gemma-embedding"]),
    (Heads::Whole, &["llama-embed"]),
];

const MIXTURES: &[&str] = &[
    "arctic",
    "bailingmoe",
    "dbrx",
    "deepseek",
    "ernie4_5-moe",
    "glm4moe",
    "gpt-oss",
    "granitemoe",
    "hunyuan-moe",
    "minimax-m2",
    "nemotron_h_moe",
    "olmoe",
    "phimoe",
    "qwen2moe",
    "qwen35moe",
    "qwen3moe",
    "qwen3next",
    "qwen3vlmoe",
];

const STATEFUL: &[&str] = &[
    "falcon-h1",
    "granitehybrid",
    "jamba",
    "lfm2",
    "lfm2moe",
    "nemotron_h",
    "nemotron_h_moe",
    "qwen35",
    "qwen35moe",
    "qwen3next",
];
