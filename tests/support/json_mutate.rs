//! Seeded damage to JSON texts: of their structure, of their values, of their bytes.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

mod dice;

use serde_json::Value;

use self::dice::Dice;

/// A damaged text and what was done to it.
pub struct Mutant {
    /// Without a NUL, often no JSON, sometimes not even UTF-8.
    pub bytes: Vec<u8>,
    pub description: String,
}

impl Mutant {
    /// The damage and the text, shortened, on one line.
    pub fn show(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let start: String = text.chars().take(400).collect();
        format!("{}: {} bytes: {}", self.description, self.bytes.len(), start.escape_debug())
    }
}

/// One of `texts`, each an object, damaged as the seed says.
pub fn mutant(texts: &[&str], seed: u64) -> Mutant {
    let mut dice = Dice::new(seed);
    let index = dice.below(texts.len());
    let value: Value = serde_json::from_str(texts[index]).expect("the original is JSON");
    let mut root = Node::from(&value);
    let mut done = vec![format!("text {index}")];
    let bytes_only = dice.one_in(5);
    if !bytes_only {
        for _ in 0..1 + dice.below(3) {
            done.push(damage_structure(&mut root, &mut dice));
        }
    }
    let mut bytes = Vec::new();
    root.write(&mut bytes);
    if bytes_only || dice.one_in(15) {
        done.push(damage_bytes(&mut bytes, &mut dice));
    }
    bytes.retain(|&byte| byte != 0);
    Mutant { bytes, description: done.join("; ") }
}

/// JSON as it is written, duplicate keys and impossible numbers included.
#[derive(Clone)]
enum Node {
    Raw(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Map(map.iter().map(|(key, value)| (quoted(key), Self::from(value))).collect())
            }
            other => Self::Raw(other.to_string()),
        }
    }
}

impl Node {
    fn write(&self, out: &mut Vec<u8>) {
        let comma = |index| if index == 0 { b"".as_slice() } else { b"," };
        match self {
            Self::Raw(text) => out.extend_from_slice(text.as_bytes()),
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    out.extend_from_slice(comma(index));
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Map(fields) => {
                out.push(b'{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.extend_from_slice(comma(index));
                    out.extend_from_slice(key.as_bytes());
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Raw(_) => 0,
            Self::List(items) => items.len(),
            Self::Map(fields) => fields.len(),
        }
    }

    /// A node somewhere below, or this one.
    fn pick(&mut self, dice: &mut Dice) -> &mut Self {
        let count = self.len();
        if count == 0 || dice.one_in(8) {
            return self;
        }
        let index = dice.below(count);
        match self {
            Self::Raw(_) => self,
            Self::List(items) => items[index].pick(dice),
            Self::Map(fields) => fields[index].1.pick(dice),
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn damage_structure(root: &mut Node, dice: &mut Dice) -> String {
    match dice.below(8) {
        0..=3 => {
            let (what, value) = strange(dice);
            *root.pick(dice) = value;
            format!("a value became {what}")
        }
        4 => add_field(root, dice),
        5 => bury(root.pick(dice), dice),
        6 => repeat_or_drop(root.pick(dice), dice),
        _ => {
            let part = root.clone().pick(dice).clone();
            *root.pick(dice) = part;
            "a value became a copy of another".to_owned()
        }
    }
}

/// A field that a request, an engine or a load knows, or nobody, with a strange value.
fn add_field(root: &mut Node, dice: &mut Dice) -> String {
    const NAMES: &[&str] = &[
        "messages",
        "prompt",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "logit_bias",
        "presence_penalty",
        "frequency_penalty",
        "repeat_penalty",
        "repeat_last_n",
        "deadline_ms",
        "chat_template_kwargs",
        "tools",
        "tool_choice",
        "response_format",
        "json_schema",
        "grammar",
        "regex",
        "lark",
        "schema",
        "strict",
        "anyOf",
        "n",
        "logprobs",
        "stream",
        "stream_options",
        "model",
        "user",
        "role",
        "content",
        "type",
        "text",
        "name",
        "tool_calls",
        "max_queue",
        "event_queue",
        "n_ctx",
        "n_parallel",
        "n_threads",
        "n_ubatch",
        "use_mmap",
        "device",
        "chat_template",
        "",
        "\u{202e}",
        "nobody\nknows",
    ];
    let name = quoted(dice.pick(NAMES));
    let (what, value) = strange(dice);
    let Node::Map(fields) = root.pick(dice) else {
        return "nothing".to_owned();
    };
    let place = dice.below(fields.len() + 1);
    fields.insert(place, (name.clone(), value));
    format!("a field {name} was added: {what}")
}

/// Wraps a value in many lists or objects; parsers count the levels.
fn bury(node: &mut Node, dice: &mut Dice) -> String {
    let depth = dice.pick(&[1, 2, 60, 126, 127, 128, 129, 1_000, 20_000]);
    let (open, close) = dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
    let mut text = Vec::new();
    node.write(&mut text);
    let inner = String::from_utf8(text).expect("nothing was cut yet");
    *node = Node::Raw(format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)));
    format!("a value went {depth} levels down")
}

/// Doubles or drops an item; of an object, that makes duplicate keys.
fn repeat_or_drop(node: &mut Node, dice: &mut Dice) -> String {
    let times = dice.pick(&[0, 2, 3, 70, 1_000]);
    if node.len() == 0 {
        return "nothing".to_owned();
    }
    let index = dice.below(node.len());
    match node {
        Node::Raw(_) => {}
        Node::List(items) => {
            let item = items.remove(index);
            items.splice(index..index, vec![item; times]);
        }
        Node::Map(fields) => {
            let field = fields.remove(index);
            fields.splice(index..index, vec![field; times]);
        }
    }
    format!("an item is there {times} times")
}

/// A value that few would send.
fn strange(dice: &mut Dice) -> (String, Node) {
    const LITERALS: &[&str] = &[
        "null",
        "true",
        "false",
        "{}",
        "[]",
        "\"\"",
        "0",
        "-0",
        "-0.0",
        "1",
        "2",
        "-1",
        "1.0",
        "0.5",
        "-1e-7",
        "1e-320",
        "1e38",
        "3.5e38",
        "-3.5e38",
        "1e308",
        "1e309",
        "-1e999",
        "1e-999",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "1e18",
        "1e19",
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "0x10",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "--1",
        "1_000",
        "tru",
        "nul",
        "'a'",
        "undefined",
        "[null]",
        "[[]]",
        "[{}]",
        "{\"\":null}",
        "[0]",
        "[-1]",
        "[256]",
        "[49151]",
        "[49152]",
        "[1e9]",
        "[1.5]",
        "{\"0\":100}",
        "{\"256\":-100}",
        "{\"-1\":1}",
        "{\"1e3\":1}",
        "{\"99999999999\":1}",
        "{\"1\":1e308}",
        "[\"a\",\"a\"]",
        "[\"\",\"\"]",
        "[\"o\",\"k\"]",
        "\"user\"",
        "\"system\"",
        "\"tool\"",
        "\"text\"",
        "\"none\"",
        "[{\"role\":\"user\",\"content\":[]}]",
        "[{\"role\":\"assistant\",\"tool_calls\":[1]}]",
        "[{\"role\":\"user\",\"content\":null}]",
        "{\"type\":\"text\",\"text\":\"a\"}",
        "{\"messages\":1}",
    ];
    const STRINGS: &[&str] = &[
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud83c\udf89""#,
        r#""\u0000""#,
        r#""a\u0000b""#,
        r#""\uZZZZ""#,
        r#""\x41""#,
        r#""\u12""#,
        "\"\\",
        "\"open",
        r#""{{ 1 }}{% for %}""#,
        r#""{{ messages[99].content }}""#,
        r#""<|im_start|><|im_end|><|endoftext|>""#,
        "\"\t\"",
        "\"\n\"",
        "\"\u{7f}\u{85}\u{2028}\"",
        "\"\u{feff}\"",
        "\"\u{10ffff}\u{fffd}e\u{301}\"",
        r#""%s%n%x""#,
        r#""../../etc/passwd""#,
    ];
    match dice.below(20) {
        0..=11 => literal(dice.pick(LITERALS)),
        12..=17 => literal(dice.pick(STRINGS)),
        18 => {
            let length = dice.pick(&[10, 300, 5_000, 30_000]);
            let letter = dice.pick(&[
                "a",
                "\u{e9}",
                " ",
                "\\n",
                "\\u0000",
                "<|im_start|>",
                "\u{1f389}",
                "{{",
            ]);
            (
                format!("{length} times {letter}"),
                Node::Raw(format!("\"{}\"", letter.repeat(length))),
            )
        }
        _ => {
            let digits = dice.pick(&[20, 400, 5_000]);
            let number = dice.pick(&["9", "0.0", "1.1", "-7"]);
            (
                format!("{number} and {digits} digits"),
                Node::Raw(format!("{number}{}", "3".repeat(digits))),
            )
        }
    }
}

fn literal(text: &str) -> (String, Node) {
    (text.escape_debug().to_string(), Node::Raw(text.to_owned()))
}

fn damage_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    const PARTS: &[&[u8]] = &[
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f",
        b"\x80",
        b"\xef\xbb\xbf",
        b"\"",
        b"\\",
        b"\\u",
        b"\\ud83d",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b"\x01",
        b"/*",
        b"//",
        b"#",
    ];
    let place = dice.below(bytes.len() + 1);
    match dice.below(6) {
        0 => {
            bytes.truncate(place);
            "the end was cut".to_owned()
        }
        1 => {
            bytes.drain(..place);
            "the beginning was cut".to_owned()
        }
        2 => {
            for _ in 0..1 + dice.below(4) {
                let place = dice.below(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            "bits were flipped".to_owned()
        }
        3 => {
            let part = dice.pick(PARTS);
            bytes.splice(place..place, part.iter().copied());
            format!("bytes {part:x?} came in at {place}")
        }
        4 => {
            bytes.extend_from_within(..place);
            "the beginning follows once more".to_owned()
        }
        _ => {
            let end = bytes.len().min(place + dice.below(12));
            bytes.drain(place..end);
            format!("bytes {place} to {end} were cut")
        }
    }
}
