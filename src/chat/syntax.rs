//! How models write tool calls: one table, which the grammar and the parser both go by.
#![forbid(unsafe_code)]

/// One way to write calls:
/// `open call (between call)* close`, where a call is `begin body end`.
///
/// The texts are what a grammar forces. The parser takes them with more or less white space.
#[derive(Debug, PartialEq, Eq)]
pub struct Syntax {
    /// What it is called in the documentation and in model information.
    pub name: &'static str,
    /// Texts that a model's chat template has if it writes calls so; all of them.
    signs: &'static [&'static str],
    /// The text, a prefix of `open` and `begin`, after which there is no way back to plain text.
    /// Empty where a call has no marker, and only makes up a whole answer.
    pub trigger: &'static str,
    /// A token that may stand before a call and that the parser drops.
    pub tag: Option<&'static str>,
    /// Before the first call.
    pub open: &'static str,
    /// Before each call.
    pub begin: &'static str,
    /// Name and arguments.
    pub body: Body,
    /// After each call.
    pub end: &'static str,
    /// Between two calls; `None` where an answer has only one.
    pub between: Option<&'static str>,
    /// After the last call.
    pub close: &'static str,
    /// Templates want ids of nine letters and digits.
    pub short_ids: bool,
    /// Where the template looks for the tools.
    pub tools: ToolsIn,
}

/// What stands between a call's `begin` and `end`.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// A JSON object with two keys: the name under `name`, then the arguments.
    Object {
        /// Text that goes before the key of the name, inside the braces.
        id: &'static str,
        /// Key of the name.
        name: &'static str,
        /// Key of the arguments.
        arguments: &'static str,
    },
    /// The name, perhaps an id of nine letters and digits, and the arguments as JSON.
    Named {
        /// Before the id; empty where there is none. The id is not read.
        id: &'static str,
        /// Before the arguments.
        arguments: &'static str,
    },
    /// The name, and each argument by itself: `key NAME value VALUE done`. Strings stand as they
    /// are, everything else as JSON.
    Parts {
        /// After the function's name.
        named: &'static str,
        /// Before an argument's name.
        key: &'static str,
        /// Between its name and its value.
        value: &'static str,
        /// After its value.
        done: &'static str,
    },
}

/// Where a template looks for the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolsIn {
    /// In the variable `tools`.
    Variable,
    /// In the field `tools` of the system message, as JSON in a string (Phi-4-mini).
    SystemField,
}

const JSON: Body = Body::Object { id: "", name: "name", arguments: "arguments" };

/// What the others are written as differences to.
const PLAIN: Syntax = Syntax {
    name: "",
    signs: &[],
    trigger: "",
    tag: None,
    open: "",
    begin: "",
    body: JSON,
    end: "",
    between: Some(""),
    close: "",
    short_ids: false,
    tools: ToolsIn::Variable,
};

/// Hermes 2 and 3, Qwen 2.5 and 3, and many after them. Also what models are told to write whose
/// template knows nothing of tools: see [`generic`].
const HERMES: Syntax = Syntax {
    name: "hermes",
    signs: &["<tool_call>", "\"name", "arguments"],
    trigger: "<tool_call>",
    begin: "<tool_call>\n",
    end: "\n</tool_call>",
    between: Some("\n"),
    ..PLAIN
};

/// The ways that are known. The first whose signs are all there is taken.
static KNOWN: [Syntax; 16] = [
    // DeepSeek R1 and V3.
    Syntax {
        name: "deepseek-r1",
        signs: &["<｜tool▁calls▁begin｜>", "```json"],
        trigger: "<｜tool▁calls▁begin｜>",
        open: "<｜tool▁calls▁begin｜>",
        begin: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        body: Body::Named { id: "", arguments: "\n```json\n" },
        end: "\n```<｜tool▁call▁end｜>",
        between: Some("\n"),
        close: "<｜tool▁calls▁end｜>",
        ..PLAIN
    },
    Syntax {
        name: "deepseek-v3.1",
        signs: &["<｜tool▁calls▁begin｜>"],
        trigger: "<｜tool▁calls▁begin｜>",
        open: "<｜tool▁calls▁begin｜>",
        begin: "<｜tool▁call▁begin｜>",
        body: Body::Named { id: "", arguments: "<｜tool▁sep｜>" },
        end: "<｜tool▁call▁end｜>",
        close: "<｜tool▁calls▁end｜>",
        ..PLAIN
    },
    Syntax {
        name: "seed-oss",
        signs: &["<seed:tool_call>"],
        trigger: "<seed:tool_call>",
        begin: "<seed:tool_call>\n<function=",
        body: Body::Parts { named: ">\n", key: "<parameter=", value: ">", done: "</parameter>\n" },
        end: "</function>\n</seed:tool_call>",
        between: Some("\n"),
        ..PLAIN
    },
    // Qwen3-Coder, Qwen 3.5, Nemotron 3, Step 3.5.
    Syntax {
        name: "qwen3-coder",
        signs: &["<tool_call>", "<function=", "<parameter="],
        trigger: "<tool_call>",
        begin: "<tool_call>\n<function=",
        body: Body::Parts {
            named: ">\n",
            key: "<parameter=",
            value: ">\n",
            done: "\n</parameter>\n",
        },
        end: "</function>\n</tool_call>",
        between: Some("\n"),
        ..PLAIN
    },
    // GLM 4.5 and 4.6.
    Syntax {
        name: "glm",
        signs: &["<tool_call>", "<arg_key>", "<arg_value>"],
        trigger: "<tool_call>",
        begin: "<tool_call>",
        body: Body::Parts {
            named: "\n",
            key: "<arg_key>",
            value: "</arg_key>\n<arg_value>",
            done: "</arg_value>\n",
        },
        end: "</tool_call>",
        between: Some("\n"),
        ..PLAIN
    },
    // Apriel.
    Syntax {
        name: "apriel",
        signs: &["<tool_calls>["],
        trigger: "<tool_calls>",
        open: "<tool_calls>[",
        between: Some(", "),
        close: "]</tool_calls>",
        ..PLAIN
    },
    // Nemotron Nano 2.
    Syntax {
        name: "nemotron-v2",
        signs: &["<TOOLCALL>["],
        trigger: "<TOOLCALL>",
        open: "<TOOLCALL>[",
        between: Some(", "),
        close: "]</TOOLCALL>",
        ..PLAIN
    },
    HERMES,
    // Functionary 3.1.
    Syntax {
        name: "functionary-v3.1",
        signs: &["<function=", "</function>"],
        trigger: "<function=",
        begin: "<function=",
        body: Body::Named { id: "", arguments: ">" },
        end: "</function>",
        ..PLAIN
    },
    // Mistral Small 3.2.
    Syntax {
        name: "mistral-call-id",
        signs: &["[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"],
        trigger: "[TOOL_CALLS]",
        begin: "[TOOL_CALLS]",
        body: Body::Named { id: "[CALL_ID]", arguments: "[ARGS]" },
        short_ids: true,
        ..PLAIN
    },
    // Mistral's templates from Magistral and Devstral on.
    Syntax {
        name: "mistral-args",
        signs: &["[TOOL_CALLS]", "[ARGS]"],
        trigger: "[TOOL_CALLS]",
        begin: "[TOOL_CALLS]",
        body: Body::Named { id: "", arguments: "[ARGS]" },
        short_ids: true,
        ..PLAIN
    },
    // Mistral 7B v0.3, Nemo, Large 2407.
    Syntax {
        name: "mistral",
        signs: &["[TOOL_CALLS]"],
        trigger: "[TOOL_CALLS]",
        open: "[TOOL_CALLS][",
        between: Some(", "),
        close: "]",
        short_ids: true,
        ..PLAIN
    },
    // Phi-4-mini.
    Syntax {
        name: "phi-4-mini",
        signs: &["<|tool|>", "<|/tool|>"],
        trigger: "<|tool_call|>",
        open: "<|tool_call|>[",
        between: Some(", "),
        close: "]<|/tool_call|>",
        tools: ToolsIn::SystemField,
        ..PLAIN
    },
    // Granite 3.
    Syntax {
        name: "granite",
        signs: &["<|tool_call|>"],
        trigger: "<|tool_call|>",
        open: "<|tool_call|>[",
        between: Some(", "),
        close: "]",
        ..PLAIN
    },
    // Command R7B and Command A.
    Syntax {
        name: "command-r7b",
        signs: &["<|START_ACTION|>", "\"tool_name\""],
        trigger: "<|START_ACTION|>",
        open: "<|START_ACTION|>[\n    ",
        body: Body::Object {
            id: "\"tool_call_id\": \"0\", ",
            name: "tool_name",
            arguments: "parameters",
        },
        between: Some(",\n    "),
        close: "\n]<|END_ACTION|>",
        ..PLAIN
    },
    // Llama 3.1, 3.2 and 3.3: the whole answer is the call.
    Syntax {
        name: "llama-3",
        signs: &["<|start_header_id|>", "{\"name\": function name, \"parameters\": "],
        tag: Some("<|python_tag|>"),
        body: Body::Object { id: "", name: "name", arguments: "parameters" },
        between: None,
        ..PLAIN
    },
];

static GENERIC: Syntax = Syntax { name: "generic", signs: &[], ..HERMES };

/// The way in which `template`, a chat template's source, writes calls.
pub(super) fn of_template(template: &str) -> Option<&'static Syntax> {
    KNOWN.iter().find(|known| known.signs.iter().all(|sign| template.contains(sign)))
}

/// What models are told to write whose template says nothing of tools.
pub(super) fn generic() -> &'static Syntax {
    &GENERIC
}

impl Syntax {
    /// The special tokens that may be in it, as the parser has to see them.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'static str> {
        let body: [&'static str; 4] = match self.body {
            Body::Object { .. } => [""; 4],
            Body::Named { id, arguments } => [id, arguments, "", ""],
            Body::Parts { named, key, value, done } => [named, key, value, done],
        };
        let around = [self.trigger, self.open, self.begin, self.end, self.close];
        body.into_iter().chain(around).chain(self.tag)
    }

    /// What stands before the name in each call.
    pub(super) fn lead(&self) -> String {
        match self.body {
            Body::Object { id, name, .. } => format!("{}{{{id}\"{name}\": \"", self.begin),
            Body::Named { .. } | Body::Parts { .. } => self.begin.to_owned(),
        }
    }

    /// All ways that are known, and the generic one.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        KNOWN.iter().chain([&GENERIC])
    }
}
