//! Answers taken apart: by hand, and cut anywhere.
#![forbid(unsafe_code)]

use super::dialect_tests::{dialect, parser, tools, STYLES};
use super::syntax::{Body, Syntax};
use super::{AnswerParser, Begins, Delta, Forms, Thinking};

/// What deltas join to: reasoning, content, and of each call its id, name and arguments.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Joined {
    pub(super) reasoning: String,
    pub(super) content: String,
    pub(super) calls: Vec<(String, String, String)>,
}

pub(super) fn joined(deltas: &[Delta]) -> Joined {
    let mut all = Joined::default();
    for delta in deltas {
        match delta {
            Delta::Reasoning(text) => all.reasoning.push_str(text),
            Delta::Content(text) => all.content.push_str(text),
            Delta::Call { index, id, name } => {
                assert_eq!(*index, all.calls.len(), "calls come in order");
                all.calls.push((id.clone(), name.clone(), String::new()));
            }
            Delta::Arguments { index, text } => {
                assert_eq!(*index + 1, all.calls.len(), "arguments belong to the last call");
                all.calls[*index].2.push_str(text);
            }
        }
    }
    all
}

fn thinking() -> &'static Thinking {
    dialect("").1.thinking("").0
}

fn reader(begins: Begins, syntax: Option<&'static Syntax>) -> AnswerParser {
    AnswerParser::new(Forms {
        thinking: Some((thinking(), begins)),
        calls: syntax.map(|syntax| (syntax, tools())),
        ids: 7,
        inline: false,
    })
}

fn hermes() -> &'static Syntax {
    Syntax::all().find(|syntax| syntax.name == "hermes").expect("hermes")
}

fn all_at_once(mut parser: AnswerParser, text: &str) -> Joined {
    let mut deltas = parser.push(text);
    deltas.extend(parser.finish());
    joined(&deltas)
}

fn both(joined: &Joined) -> (&str, &str) {
    (&joined.reasoning, &joined.content)
}

#[test]
fn reasoning_is_told_apart() {
    for (begins, text, expected) in [
        (Begins::Before, "<think>\nHm.\n\nSo.\n</think>\n\nYes.\n", ("Hm.\n\nSo.", "Yes.\n")),
        (Begins::Before, " \n<think>a</think>b", ("a", "b")),
        (Begins::Before, "<think></think>b", ("", "b")),
        (Begins::Before, "<think>a", ("a", "")),
        (Begins::Inside, "a\n</think>\nb", ("a", "b")),
        (Begins::Inside, "a </thin", ("a </thin", "")),
        (Begins::Behind, "\na <think>b</think>", ("", "a <think>b</think>")),
        (Begins::Before, "a</think>b", ("", "a</think>b")),
        (Begins::Before, "\n<thin", ("", "\n<thin")),
        (Begins::Before, "  a", ("", "  a")),
        (Begins::Before, "<think>a</think>b</think>c<think>", ("a", "b</think>c<think>")),
    ] {
        assert_eq!(both(&all_at_once(reader(begins, None), text)), expected, "{text:?}");
    }
}

#[test]
fn reasoning_can_stay_where_it_is() {
    let inline = |begins, text: &str| {
        let thinking = Some((thinking(), begins));
        let calls = Some((hermes(), tools()));
        let forms = Forms { thinking, inline: true, calls, ids: 0 };
        all_at_once(AnswerParser::new(forms), text)
    };
    let text = "<think>\n<tool_call> ? \n</think>\n\nNo.";
    assert_eq!(both(&inline(Begins::Before, text)), ("", text));
    let called = inline(
        Begins::Inside,
        "a\n</think>\n\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {}}\n</tool_call>",
    );
    assert_eq!((called.content.trim_end(), called.calls.len()), ("a\n</think>", 1));
}

#[test]
fn content_calls_and_what_is_between() {
    let text = "<think>x</think> Look:\n\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": \
        {\"city\": \"a}\\\"\"}}\n</tool_call>\n<tool_call>{\"name\":\"get_weather_map\",\"arguments\":{}}</tool_call>\nDone.";
    let found = all_at_once(reader(Begins::Before, Some(hermes())), text);
    assert_eq!(both(&found), ("x", "Look:Done."));
    let calls: Vec<(&str, &str)> =
        found.calls.iter().map(|call| (call.1.as_str(), call.2.as_str())).collect();
    assert_eq!(calls, [("get_weather", "{\"city\": \"a}\\\"\"}"), ("get_weather_map", "{}")]);
    assert_ne!(found.calls[0].0, found.calls[1].0, "ids differ");
    assert!(found.calls.iter().all(|call| call.0.starts_with("call_")));
}

#[test]
fn what_is_no_call_stays_content() {
    for text in [
        "<tool_call>",
        "<tool_call>\n{\"name\": \"get_we",
        "a <tool_call>\n{\"name\": \"other\", \"arguments\": {}}\n</tool_call> b",
        "<tool_call>\n{\"arguments\": {}, \"name\": \"get_weather\"}\n</tool_call>",
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": []}\n</tool_call>",
        "a <tool_cal",
        "  \n ",
    ] {
        let found = all_at_once(reader(Begins::Before, Some(hermes())), text);
        assert_eq!((both(&found), found.calls.len()), (("", text), 0), "{text:?}");
    }
    // A second attempt within the first.
    let text = "<tool_call><tool_call>{\"name\": \"get_weather\", \"arguments\": {}}</tool_call>";
    let found = all_at_once(parser(hermes()), text);
    assert_eq!((found.content.as_str(), found.calls.len()), ("<tool_call>", 1));
}

#[test]
fn a_call_that_is_cut_off_keeps_what_there_is() {
    let text = "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Bo";
    let found = all_at_once(parser(hermes()), text);
    assert_eq!((found.content.as_str(), found.calls[0].2.as_str()), ("", "{\"city\": \"Bo"));
}

#[test]
fn short_ids_are_nine_letters_and_digits() {
    let mistral = Syntax::all().find(|syntax| syntax.name == "mistral").expect("mistral");
    let text = "[TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {}}]";
    let found = all_at_once(parser(mistral), text);
    assert!(found.calls[0].0.len() == 9, "{found:?}");
    assert!(found.calls[0].0.bytes().all(|byte| byte.is_ascii_alphanumeric()));
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

/// An answer made of what there is in `syntax`, in a good or a bad order.
fn random_answer(syntax: &Syntax, dice: &mut Dice) -> String {
    let json = "{\"city\": \"K\u{f6}\\\"}]\", \"area\": {\"x\": [1]}}";
    let body = match syntax.body {
        Body::Object { arguments, .. } => format!("get_weather\", \"{arguments}\": {json}}}"),
        Body::Named { id: "", arguments } => format!("get_weather{arguments}{json}"),
        Body::Named { id, arguments } => format!("get_weather{id}a1B2c3D4e{arguments}{json}"),
        Body::Parts { named, key, value, done } => {
            format!(
                "get_weather{named}{key}city{value}K\u{f6}\"<x\n{done}{key}days{value} [12, \"a{done}\\\\\\\"]\"] {done}"
            )
        }
    };
    let call = format!("{}{body}{}", syntax.lead(), syntax.end);
    let whole = format!("{}{call}{}", syntax.open, syntax.close);
    let between = syntax.between.unwrap_or(";");
    let two = format!("{}{call}{between}{call}{}", syntax.open, syntax.close);
    let half: String = whole.chars().take(dice.below(whole.chars().count())).collect();
    let pieces = [
        "<think>",
        "</think>",
        "\n",
        "  ",
        "a\u{20ac}",
        "{",
        "}",
        "\"",
        "]",
        syntax.trigger,
        syntax.open,
        syntax.begin,
        syntax.end,
        syntax.close,
        &whole,
        &whole,
        &two,
        &half,
    ];
    (0..1 + dice.below(8)).map(|_| pieces[dice.below(pieces.len())]).collect()
}

#[test]
fn how_the_text_is_cut_makes_no_difference() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for syntax in Syntax::all() {
        for round in 0..150 {
            let text = random_answer(syntax, &mut dice);
            let begins = [Begins::Before, Begins::Inside, Begins::Behind][round % 3];
            let whole = all_at_once(reader(begins, Some(syntax)), &text);
            for _ in 0..4 {
                let mut parser = reader(begins, Some(syntax));
                let mut deltas = Vec::new();
                let mut rest = text.as_str();
                let longest = 1 + dice.below(6);
                while !rest.is_empty() {
                    let count = 1 + dice.below(longest);
                    let end = rest.char_indices().nth(count).map_or(rest.len(), |(at, _)| at);
                    deltas.extend(parser.push(&rest[..end]));
                    rest = &rest[end..];
                }
                deltas.extend(parser.finish());
                assert_eq!(joined(&deltas), whole, "{}: {text:?}", syntax.name);
            }
        }
    }
}

#[test]
fn nothing_is_lost_where_there_are_no_calls() {
    let mut dice = Dice(7);
    let pieces = [
        "<",
        "tool_call>",
        "<tool_call>",
        "{",
        "\"name",
        " ",
        "\n",
        "a",
        "\"",
        ": ",
        "get_weather",
    ];
    for _ in 0..2_000 {
        let text: String = (0..dice.below(12)).map(|_| pieces[dice.below(pieces.len())]).collect();
        let mut parser = parser(hermes());
        let mut deltas = Vec::new();
        text.chars().for_each(|c| deltas.extend(parser.push(c.encode_utf8(&mut [0; 4]))));
        deltas.extend(parser.finish());
        let found = joined(&deltas);
        if found.calls.is_empty() {
            assert_eq!(found.content, text);
        }
    }
}

#[test]
fn a_long_answer_takes_no_longer_than_its_length() {
    let begin = std::time::Instant::now();
    for (_, source) in STYLES {
        let mut parser = parser(dialect(source).1.syntax());
        let mut bytes = 0;
        for _ in 0..5_000 {
            for delta in parser.push("word < [{ \n\n") {
                if let Delta::Content(text) = delta {
                    bytes += text.len();
                }
            }
        }
        assert!(bytes > 50_000, "{bytes}");
    }
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

#[test]
fn markup_inside_json_is_not_markup() {
    let coder = Syntax::all().find(|syntax| syntax.name == "qwen3-coder").expect("qwen3-coder");
    let text = "<tool_call>\n<function=get_weather_map>\n<parameter=area>\n{\"a\": \"\n</parameter>\\\"\"}\n</parameter>\n\
        </function>\n</tool_call>";
    let found = all_at_once(parser(coder), text);
    assert_eq!(found.calls[0].2, "{\"area\": {\"a\": \"\n</parameter>\\\"\"}}");
}
