//! Grammars of calls: whatever they let through is read as good calls, in every format, with
//! markup in text and in control tokens.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::answer_tests::{joined, Joined};
use super::dialect_tests::{dialect, STYLES};
use super::syntax::Syntax;
use super::{AnswerParser, Begins, Forms, Rules, Thinking, Tool};
use crate::backend::Vocab;
use crate::error::Result;
use crate::grammar::{schema, Compiler, Constraint, Grammar, Source, Tokens};

/// A vocabulary of bytes, some words, and control tokens for `names`.
fn vocabulary(names: &[&str]) -> Vocab {
    let mut vocab = Vocab::default();
    for byte in 0..=255u8 {
        vocab.push(&[byte], false);
    }
    for word in
        ["\":", "{\"", " \"", "\"}", "}}", "get_", "name", "</", "<tool", ">\n", "\n\n", "ab", "]["]
    {
        vocab.push(word.as_bytes(), false);
    }
    for name in names {
        vocab.push(b"", false);
        vocab.name_control((*name).to_owned());
    }
    vocab.push(b"", true);
    vocab
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

fn tools() -> Vec<Tool> {
    let tool = |name: &str, schema: Value| Tool {
        name: name.to_owned(),
        schema,
        path: format!("tools.{name}"),
        strict: false,
    };
    vec![
        tool(
            "get",
            json!({"type": "object", "properties": {
            "city": {"type": "string", "enum": ["Bonn", "K\u{f6}ln"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "deep": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
        }, "required": ["city", "days"]}),
        ),
        tool(
            "get_more",
            json!({"type": "object", "properties": {
            "note": {"type": "string"},
            "code": {"type": "string", "pattern": "^[A-Z]{2}$"},
            "node": {"$ref": "#/$defs/node"},
        }, "required": ["note"], "$defs": {"node": {"type": "array", "maxItems": 2, "items": {"type": "null"}}}}),
        ),
        tool("nothing", json!({"type": "object", "properties": {}})),
    ]
}

/// Whether `arguments` are good for the function `name` of [`tools`].
fn check(name: &str, arguments: &str) {
    let value: Value =
        serde_json::from_str(arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"));
    let map = value.as_object().expect("an object");
    for (key, value) in map {
        let is_good = match (name, key.as_str()) {
            ("get", "city") => value == "Bonn" || value == "K\u{f6}ln",
            ("get", "days") => value.as_i64().is_some_and(|days| (1..=14).contains(&days)),
            ("get", "deep") => {
                value.as_object().is_some_and(|deep| deep.len() == 1 && deep["on"].is_boolean())
            }
            ("get_more", "note") => value.is_string(),
            ("get_more", "code") => value.as_str().is_some_and(|code| {
                code.len() == 2 && code.bytes().all(|c| c.is_ascii_uppercase())
            }),
            ("get_more", "node") => value
                .as_array()
                .is_some_and(|list| list.len() <= 2 && list.iter().all(Value::is_null)),
            _ => false,
        };
        assert!(is_good, "{name}: {arguments}");
    }
    let required: &[&str] = match name {
        "get" => &["city", "days"],
        "get_more" => &["note"],
        _ => &[],
    };
    assert!(required.iter().all(|key| map.contains_key(*key)), "{name}: {arguments}");
}

struct Case {
    syntax: &'static Syntax,
    required: bool,
    parallel: bool,
    thinking: Option<(&'static Thinking, Begins)>,
    /// Whether markup is made of control tokens.
    control: bool,
}

struct Bench {
    vocab: Vocab,
    specials: BTreeMap<u32, String>,
    constraint: Constraint,
}

impl Case {
    fn bench(&self) -> Result<Bench> {
        let texts = "<tool_call> </tool_call> <seed:tool_call> </seed:tool_call> [TOOL_CALLS] [ARGS] [CALL_ID] \
            <|python_tag|> <|tool_call|> <|/tool_call|> <|START_ACTION|> <|END_ACTION|> <think> </think> [THINK] \
            [/THINK] <seed:think> </seed:think> <|START_THINKING|> <|END_THINKING|> <arg_key> </arg_key> <arg_value> \
            </arg_value> <｜tool▁calls▁begin｜> <｜tool▁call▁begin｜> <｜tool▁sep｜> <｜tool▁call▁end｜> <｜tool▁calls▁end｜>";
        let names: Vec<&str> = texts.split_whitespace().filter(|_| self.control).collect();
        let vocab = vocabulary(&names);
        let ids =
            (0..vocab.len() as u32).filter_map(|id| Some((id, vocab.control_name(id)?.to_owned())));
        let specials = ids.collect();
        let tools = tools();
        let rules = Rules {
            syntax: self.syntax,
            tools: &tools,
            required: self.required,
            parallel: self.parallel,
            thinking: self.thinking,
            specials: &specials,
        };
        let lark = rules.to_lark(&mut |value, path, strict| {
            schema::prepare(value, path, strict).map(|prepared| prepared.schema)
        })?;
        let compiler = Compiler::new(Tokens::new(&vocab)?)?;
        let grammar = Grammar::new(Source::Lark(lark.clone()), "tools");
        let compiled = compiler.compile(&grammar).unwrap_or_else(|error| panic!("{error}\n{lark}"));
        let constraint = compiled.constraint("tools");
        Ok(Bench { vocab, specials, constraint })
    }

    fn parser(&self) -> AnswerParser {
        let calls = Some((self.syntax, tools().into()));
        AnswerParser::new(Forms { thinking: self.thinking, inline: false, calls, ids: 1 })
    }
}

impl Bench {
    /// A random answer, and whether it came to an end. `hints` are texts that it tends to.
    fn draw(&self, dice: &mut Dice, hints: &[&str]) -> (String, bool) {
        let mut constraint = self.constraint.another("tools");
        let mut bytes: Vec<u8> = Vec::new();
        let mut hint: &[u8] = b"";
        for _ in 0..600 {
            if constraint.is_complete() {
                return (String::from_utf8(bytes).expect("UTF-8"), true);
            }
            let mut logits = vec![0.0; self.vocab.len()];
            constraint.mask(&mut logits).expect("a mask");
            let open: Vec<u32> =
                (0..).zip(&logits).filter(|(_, logit)| **logit == 0.0).map(|(id, _)| id).collect();
            assert!(!open.is_empty(), "stuck after {}", String::from_utf8_lossy(&bytes));
            if hint.is_empty() && dice.below(4) == 0 {
                hint = hints[dice.below(hints.len())].as_bytes();
            }
            let fits = |id: &&u32| {
                let text = self.text(**id);
                !text.is_empty() && hint.starts_with(text)
            };
            // Ends, quotes and braces are likelier than others: otherwise a text seldom ends.
            let ends = |id: &&u32| {
                self.vocab.is_end_of_generation(**id)
                    || b"\"}]".contains(&(**id as u8)) && **id < 256
            };
            let favoured: Vec<&u32> = open.iter().filter(ends).collect();
            let token = match open.iter().find(fits) {
                Some(&token) => token,
                None if !favoured.is_empty() && dice.below(3) == 0 => {
                    *favoured[dice.below(favoured.len())]
                }
                None => open[dice.below(open.len())],
            };
            if self.vocab.is_end_of_generation(token) {
                return (String::from_utf8_lossy(&bytes).into_owned(), true);
            }
            let text = self.text(token);
            hint = hint.strip_prefix(text).unwrap_or(b"");
            bytes.extend_from_slice(text);
            constraint.accept(token).expect("a token that it allows");
        }
        (String::from_utf8_lossy(&bytes).into_owned(), false)
    }

    fn text(&self, token: u32) -> &[u8] {
        match self.specials.get(&token) {
            Some(text) => text.as_bytes(),
            None => self.vocab.piece(token),
        }
    }
}

fn read(case: &Case, text: &str) -> Joined {
    let mut parser = case.parser();
    let mut deltas = Vec::new();
    for letter in text.chars() {
        deltas.extend(parser.push(letter.encode_utf8(&mut [0; 4])));
    }
    deltas.extend(parser.finish());
    joined(&deltas)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (_, source) in STYLES {
        let (_, dialect) = dialect(source);
        let thinking = dialect.thinking("").0;
        for control in [false, true] {
            for (required, parallel) in [(true, false), (true, true), (false, true)] {
                let begins = match (required, parallel) {
                    (true, false) => None,
                    (true, true) => Some((thinking, Begins::Inside)),
                    _ => Some((thinking, Begins::Before)),
                };
                let syntax = dialect.syntax();
                cases.push(Case { syntax, required, parallel, thinking: begins, control });
            }
        }
    }
    cases
}

#[test]
fn what_a_grammar_lets_through_are_good_calls() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for case in cases() {
        let bench = case.bench().expect("a grammar");
        let what = format!(
            "{} required {} parallel {} control {}",
            case.syntax.name, case.required, case.parallel, case.control
        );
        let (thinking_end, trigger) = match case.thinking {
            Some((thinking, _)) => (thinking.close, case.syntax.trigger),
            None => ("\"", case.syntax.trigger),
        };
        let lead = case.syntax.lead();
        let hints: Vec<&str> = [
            thinking_end,
            trigger,
            lead.as_str(),
            "{\"name\": \"",
            "\n</parameter>",
            "</arg_value>",
        ]
        .into_iter()
        .filter(|hint| !hint.is_empty())
        .collect();
        let (mut finished, mut called) = (0, 0);
        for _ in 0..12 {
            let (text, has_ended) = bench.draw(&mut dice, &hints);
            let found = read(&case, &text);
            if !has_ended {
                continue;
            }
            finished += 1;
            called += usize::from(!found.calls.is_empty());
            if case.required {
                assert_eq!(found.content, "", "{what}: {text:?}");
                assert!(!found.calls.is_empty(), "{what}: {text:?}");
            }
            assert!(case.parallel || found.calls.len() <= 1, "{what}: {text:?}");
            for (_, name, arguments) in &found.calls {
                check(name, arguments);
            }
        }
        assert!(finished > 0, "{what}");
        assert!(!case.required || called > 0, "{what}");
    }
}
