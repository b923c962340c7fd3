//! The markup around a model's reasoning.
#![forbid(unsafe_code)]

/// What stands before and after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Thinking {
    /// The opening text.
    pub open: &'static str,
    /// The closing text.
    pub close: &'static str,
}

/// Qwen 3, DeepSeek R1, GLM, Nemotron and most others.
static THINK: Thinking = Thinking { open: "<think>", close: "</think>" };

static OTHERS: [Thinking; 5] = [
    // Apriel.
    Thinking { open: "<thinking>", close: "</thinking>" },
    // Magistral, Ministral 3.
    Thinking { open: "[THINK]", close: "[/THINK]" },
    // Seed-OSS.
    Thinking { open: "<seed:think>", close: "</seed:think>" },
    // Command R7B and Command A.
    Thinking { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
    // Gemma 4.
    Thinking { open: "<|channel>thought\n", close: "<channel|>" },
];

/// Where an answer begins, as the prompt leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// Before the reasoning, if there will be any.
    Before,
    /// Inside it: the template has opened it.
    Inside,
    /// Behind it: the template has closed it, which keeps the model from reasoning.
    Behind,
}

impl Thinking {
    /// The markup that `template`, a chat template's source, has; most likely `<think>` where it
    /// has none, for some models write it without their template's help.
    pub(super) fn of_template(template: &str) -> &'static Self {
        let found = OTHERS.iter().find(|other| template.contains(other.close));
        found.unwrap_or(&THINK)
    }

    /// Whether `template` has this markup.
    pub(super) fn is_in(&self, template: &str) -> bool {
        template.contains(self.close)
    }

    /// Where the answer to `prompt` begins.
    pub fn begins(&self, prompt: &str) -> Begins {
        let end = prompt.trim_end();
        match end {
            _ if end.ends_with(self.open.trim_end()) => Begins::Inside,
            _ if end.ends_with(self.close) => Begins::Behind,
            _ => Begins::Before,
        }
    }
}
