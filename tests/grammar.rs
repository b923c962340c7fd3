//! Answers of a given form, over SmolLM2's vocabulary with random logits: what is drawn is valid,
//! what is valid can be drawn, and nothing hostile takes the process or much time.
//!
//! `FLUID_GRAMMAR_SAMPLES` sets how many answers are drawn of each grammar, `FLUID_GRAMMAR_FUZZ`
//! how many hostile grammars are tried.
#![cfg(feature = "llama")]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

#[path = "support/dice.rs"]
mod dice;
#[path = "support/grammar.rs"]
mod grammar;
#[path = "support/grammar_mutate.rs"]
mod grammar_mutate;
#[path = "support/json_schema.rs"]
mod json_schema;

use std::time::{Duration, Instant};

use dice::Dice;
use fancy_regex::Regex;
use fluid::grammar::Source;
use grammar::{bench, with_stack};
use grammar_mutate::{mutate_schema, mutate_text};
use json_schema::validate;
use serde_json::{json, Value};

fn number_of(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("data/json_schemas.json")).expect("JSON")
}

#[test]
fn a_schema_takes_what_is_valid_and_nothing_else() {
    with_stack(|| {
        for case in cases() {
            let (about, schema) = (&case["about"], &case["schema"]);
            let constraint =
                bench().schema(schema, true).unwrap_or_else(|error| panic!("{about}: {error}"));
            for value in case["valid"].as_array().expect("valid ones") {
                assert_eq!(validate(schema, schema, value), Ok(()), "{about}");
                assert!(bench().takes(&constraint, &value.to_string()), "{about}: {value}");
                let pretty = serde_json::to_string_pretty(value).expect("JSON");
                assert!(bench().takes(&constraint, &pretty), "{about}: {pretty}");
            }
            for value in case["invalid"].as_array().expect("invalid ones") {
                assert!(validate(schema, schema, value).is_err(), "{about}: {value}");
                assert!(!bench().takes(&constraint, &value.to_string()), "{about}: {value}");
            }
        }
    });
}

#[test]
fn what_is_drawn_is_valid_for_its_schema() {
    with_stack(|| {
        let samples = number_of("FLUID_GRAMMAR_SAMPLES", 12);
        let (mut whole, mut unfinished) = (0, 0);
        for case in cases() {
            let (about, schema) = (&case["about"], &case["schema"]);
            let constraint = bench().schema(schema, true).expect("a schema");
            for seed in 0..samples {
                let answer = bench()
                    .draw(&constraint, seed)
                    .unwrap_or_else(|error| panic!("{about}, {seed}: {error}"));
                let Some(answer) = answer else {
                    unfinished += 1;
                    continue;
                };
                let value: Value = serde_json::from_str(&answer)
                    .unwrap_or_else(|error| panic!("{about}, {seed}: {error}: {answer}"));
                validate(schema, schema, &value)
                    .unwrap_or_else(|error| panic!("{about}, {seed}: {error}: {answer}"));
                whole += 1;
            }
        }
        eprintln!("{whole} answers, {unfinished} unfinished");
        assert!(unfinished * 20 < whole, "{unfinished} of {whole} do not end");
    });
}

#[test]
fn a_mask_allows_what_single_tokens_are_allowed() {
    with_stack(|| {
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let json = bench().schema(&schema, true).expect("a schema");
        let gbnf = bench().constraint(Source::Gbnf(JSON_GBNF.to_owned())).expect("a grammar");
        for constraint in [json, gbnf] {
            bench().check_mask(&constraint, "at the start");
            let mut within = constraint.another("grammar");
            for piece in ["{", "\"", "a"] {
                within.accept(bench().id(piece)).expect("a token");
                bench().check_mask(&within, piece);
            }
        }
    });
}

/// The grammar of JSON that llama.cpp's users know, written anew: recursive, and with white space
/// that only the whole grammar tells from what follows.
const JSON_GBNF: &str = r##"
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (member ("," ws member)*)? "}" ws   # members
member ::= string ":" ws value
array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]+)? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"##;

#[test]
fn gbnf_is_followed_by_the_letter() {
    // Each with a pattern that matches the same texts, and texts that it takes and does not take.
    let cases: [(&str, &str, &[&str], &[&str]); 12] = [
        (r#"root ::= "yes" | "no""#, "^(yes|no)$", &["yes", "no"], &["", "yesno", "y"]),
        (
            "root ::= [a-c]+ [0-9]{2,3}",
            "^[a-c]+[0-9]{2,3}$",
            &["a12", "cab123"],
            &["12", "a1", "a1234"],
        ),
        // The longest match of the first part would leave nothing for the second.
        (
            "root ::= word tail\nword ::= [a-z]+\ntail ::= \"end\" | \"b\"",
            "^[a-z]+(end|b)$",
            &["xend", "bb", "endend"],
            &["b", "end1", "xen"],
        ),
        (
            "root ::= (\"a\" | \"ab\") (\"c\" | \"bcd\")",
            "^(a|ab)(c|bcd)$",
            &["ac", "abc", "abcd", "abbcd"],
            &["ab", "abcdc"],
        ),
        ("root ::= [^a-z\\n]* \"!\"?", "^[^a-z\\n]*!?$", &["", "!", "AÄ東🎉!"], &["a", "\n"]),
        ("root ::= [äöü京-東🎉]{3}", "^[äöü京-東🎉]{3}$", &["äöü", "東京🎉"], &["aou", "äö"]),
        ("root ::= . .", "(?s)^..$", &["ab", "\n🎉"], &["a", "abc"]),
        (
            "root ::= \"\\x41\\u00e4\\U0001F389\\t\\\"\\\\\" [\\]\\-x]",
            "^Aä🎉\\t\"\\\\[\\]\\-x]$",
            &["Aä🎉\t\"\\]", "Aä🎉\t\"\\-"],
            &["A"],
        ),
        (
            "root ::= # a comment\n  \"a\" (\n \"b\"\n | # another\n \"c\"\n)* \"d\"\n\n",
            "^a[bc]*d$",
            &["ad", "abcbd"],
            &["a", "abc"],
        ),
        ("root ::= (\"a\"*)* (\"b\"?)+", "^a*b*$", &["", "aab", "bb"], &["ba"]),
        ("root ::= (\"ab\"){2}{1,2}", "^(abab){1,2}$", &["abab", "abababab"], &["ab", "ababab"]),
        (
            "root ::= (a-rule a_rule2)?\na-rule ::= \"x\"\na_rule2 ::= \"y\"",
            "^(xy)?$",
            &["", "xy"],
            &["x", "y"],
        ),
    ];
    with_stack(move || {
        for (text, pattern, taken, refused) in cases {
            let constraint = bench()
                .constraint(Source::Gbnf(text.to_owned()))
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            let regex = Regex::new(pattern).expect("a pattern");
            for (texts, expected) in [(taken, true), (refused, false)] {
                for one in texts {
                    assert_eq!(
                        regex.is_match(one).expect("a match"),
                        expected,
                        "{pattern}: {one:?}"
                    );
                    assert_eq!(bench().takes(&constraint, one), expected, "{text}: {one:?}");
                }
            }
            for seed in 0..number_of("FLUID_GRAMMAR_SAMPLES", 12) {
                if let Some(answer) = bench().draw(&constraint, seed).expect("an answer") {
                    assert!(regex.is_match(&answer).expect("a match"), "{text}: {answer:?}");
                }
            }
        }
        let json = bench().constraint(Source::Gbnf(JSON_GBNF.to_owned())).expect("a grammar");
        for seed in 0..50 {
            if let Some(answer) = bench().draw(&json, seed).expect("an answer") {
                let value: Value = serde_json::from_str(&answer)
                    .unwrap_or_else(|error| panic!("{error}: {answer}"));
                assert!(value.is_object(), "{answer}");
            }
        }
    });
}

#[test]
fn gbnf_and_lark_name_tokens() {
    with_stack(|| {
        let id = |name: &str| (0..49_152).find(|&id| bench().vocab.control_name(id) == Some(name));
        let start = id("<|im_start|>").expect("a control token");
        let by_name = "root ::= \"a\" <|im_start|> [b-d]".to_owned();
        let by_id = format!("root ::= \"a\" <[{start}]> [b-d]");
        let lark = "start: \"a\" <|im_start|> /[b-d]/".to_owned();
        for source in [Source::Gbnf(by_name), Source::Gbnf(by_id), Source::Lark(lark)] {
            let mut constraint = bench().constraint(source).expect("a grammar");
            for token in [bench().id("a"), start, bench().id("c")] {
                bench().check_mask(&constraint, "by name");
                assert!(constraint.allows(token).expect("an answer"));
                constraint.accept(token).expect("a token");
            }
            assert!(constraint.is_complete());
        }
    });
}

#[test]
fn patterns_and_lark_hold() {
    let patterns = [
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]",
        r"(yes|no|perhaps)( indeed)?",
        r"\(\d{3}\) \d{3}-\d{4}",
        r"[A-Za-zäöüß]{1,12}( [A-Za-z]{1,12}){0,3}\.",
        r"(a|b)*abb",
        r#"name="[^"\n]{0,20}""#,
    ];
    with_stack(move || {
        let samples = number_of("FLUID_GRAMMAR_SAMPLES", 12);
        for pattern in patterns {
            let constraint =
                bench().constraint(Source::Regex(pattern.to_owned())).expect("a pattern");
            let regex = Regex::new(&format!("^(?:{pattern})$")).expect("a pattern");
            for seed in 0..samples {
                if let Some(answer) = bench().draw(&constraint, seed).expect("an answer") {
                    assert!(regex.is_match(&answer).expect("a match"), "{pattern}: {answer:?}");
                }
            }
        }
        let sums = "start: sum\nsum: term (\" + \" term)*\nterm: NUMBER | \"(\" sum \")\"\nNUMBER: /[0-9]{1,3}/";
        let constraint = bench().constraint(Source::Lark(sums.to_owned())).expect("a grammar");
        for seed in 0..samples {
            let Some(answer) = bench().draw(&constraint, seed).expect("an answer") else {
                continue;
            };
            assert_eq!(answer.matches('(').count(), answer.matches(')').count(), "{answer}");
            assert!(answer.chars().all(|c| c.is_ascii_digit() || "+() ".contains(c)), "{answer}");
        }
    });
}

#[test]
fn what_cannot_be_held_is_named() {
    let crowd: serde_json::Map<String, Value> =
        (0..1_001).map(|n| (format!("p{n}"), json!(true))).collect();
    let strict = [
        (json!({"type": "strin"}), "schema.type: \"strin\" is no type"),
        (
            json!({"properties": {"a": {"minLength": -1}}}),
            "schema.properties.a.minLength: expected a whole number",
        ),
        (json!({"items": [{"type": 3}]}), "schema.items[0].type: expected"),
        (
            json!({"properties": {"a": {"not": {}}}}),
            "schema.properties.a.not: this keyword cannot be held",
        ),
        (json!({"type": "array", "uniqueItems": true}), "schema.uniqueItems"),
        (json!({"format": "zip"}), "schema.format: the format \"zip\" is not known"),
        (json!({"pattern": "(?=a)b"}), "schema.pattern"),
        (json!({"pattern": "("}), "schema.pattern"),
        (
            json!({"$ref": "https://example.com/a.json"}),
            "schema.$ref: \"https://example.com/a.json\" leads outside",
        ),
        (json!({"$ref": "#/$defs/none"}), "schema.$ref: \"#/$defs/none\" names nothing"),
        (json!({"$ref": "#"}), "leads back to itself"),
        (
            json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            "leads back to itself",
        ),
        (
            json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
            "no finite JSON is valid",
        ),
        (
            json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1}),
            "no finite JSON is valid",
        ),
        (json!(false), "no JSON is valid"),
        (json!({"enum": []}), "schema.enum: is empty"),
        (json!({"type": "integer", "minimum": 5, "maximum": 4}), "Unsatisfiable"),
        (json!({"allOf": [{"type": "integer"}, {"type": "string"}]}), "Unsatisfiable"),
        (
            json!({"type": "string", "minLength": 10_000_000}),
            "schema.minLength: 10000000 is more than",
        ),
        (json!({"oneOf": [{"type": "integer"}, {"minimum": 2}]}), "oneOf"),
        (json!({"minProperties": 2}), "schema.minProperties: a name that comes twice"),
        (json!({"properties": crowd}), "schema.properties: has 1001 members, more than 1000"),
        (json!("string"), "schema: expected a schema"),
    ];
    let texts = [
        (Source::Gbnf("root ::= \"a".into()), "line 1, column 12"),
        (Source::Gbnf("root ::= [b-a]".into()), "line 1, column 11: the range"),
        (Source::Gbnf("a ::= \"x\"".into()), "no rule named root"),
        (Source::Gbnf("root ::= a\nb ::= a".into()), "line 1, column 10: rule a is not defined"),
        (Source::Gbnf("root ::= root \"a\" | \"b\"".into()), "rule root"),
        (Source::Gbnf("root ::= a\na ::= b? root".into()), "line 2, column 7: rule b"),
        (Source::Gbnf("root ::= \"a\"{3000}".into()), "more than 2000 times"),
        (Source::Gbnf("root ::= \"\\q\"".into()), "\\q is no escape"),
        (
            Source::Gbnf("root ::= \"a\"\nroot ::= \"b\"".into()),
            "line 2, column 1: rule root is defined a second time",
        ),
        (Source::Gbnf("root ::= <|nothing|>".into()), "none of the model's tokens"),
        (Source::Gbnf("root ::= \"a\" )".into()), "line 1, column 14: expected a line break"),
        (Source::Lark("start: missing".into()), "missing"),
        (Source::Lark("start: \"a".into()), "grammar:"),
        (Source::Regex("a(b".into()), "grammar:"),
        (Source::Regex("[^\\x00-\\U{10FFFF}]".into()), "grammar:"),
    ];
    with_stack(move || {
        for (schema, expected) in strict {
            let error =
                bench().schema(&schema, true).err().unwrap_or_else(|| panic!("{schema} was taken"));
            assert!(error.contains(expected), "{schema}: {error}");
        }
        for (source, expected) in texts {
            let error = bench()
                .constraint(source.clone())
                .err()
                .unwrap_or_else(|| panic!("{source:?} was taken"));
            assert!(error.contains(expected), "{source:?}: {error}");
        }
    });
}

#[test]
fn without_strict_what_is_not_held_is_told() {
    let schema = json!({"type": "array", "uniqueItems": true, "x-mine": 1, "items": {"format": "zip", "type": "string"}, "maxItems": 1_000_000});
    let prepared = fluid::grammar::schema::prepare(&schema, "s", false).expect("a schema");
    let told = prepared.notices.join("\n");
    for part in ["s.uniqueItems", "s.x-mine: ignored", "s.items.format", "s.maxItems"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(prepared.notices.len(), 4, "{told}");
}

/// How long any grammar may take to be compiled or refused.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn huge_grammars_end_in_time() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{}\"a\"{}", open.repeat(depth), close.repeat(depth))
    };
    let many: Vec<Value> = (0..2_000).map(|n| json!({"const": format!("v{n}")})).collect();
    let wide: serde_json::Map<String, Value> =
        (0..1_000).map(|n| (format!("p{n}"), json!({"type": "integer", "minimum": n}))).collect();
    let pattern = |n: usize| json!({"type": "string", "format": "email", "pattern": format!("^(\\w+[.-]?)*{n}@(\\w+[.]){{1,5}}$")});
    let patterns: Vec<Value> = (0..1_000).map(pattern).collect();
    let choices =
        |n: usize| json!({"anyOf": (0..n).map(|n| json!({"minLength": n})).collect::<Vec<_>>()});
    let schemas = [
        json!({"anyOf": many}),
        json!({"enum": (0..10_000).map(|n| format!("value {n}")).collect::<Vec<_>>()}),
        json!({"type": "array", "prefixItems": patterns}),
        json!({"type": "object", "properties": wide}),
        json!({"allOf": (0..20).map(|_| choices(10)).collect::<Vec<_>>()}),
        json!({"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 10_000, "minItems": 10_000}, "maxItems": 10_000, "minItems": 10_000}),
        json!({"type": "string", "pattern": "((a{1,100}b{1,100}){1,100}c){1,100}"}),
        json!({"type": "string", "pattern": "(a|b)*a(a|b){200}"}),
        json!({"type": "string", "minLength": 10_000, "maxLength": 100_000}),
        json!({"type": "integer", "minimum": -1e300, "maximum": 1e300}),
        json!({"type": "number", "minimum": 1e-300, "maximum": 1.797e308}),
        json!({"type": "number", "multipleOf": 0.000001, "minimum": 0.5}),
        json!({"allOf": [{"multipleOf": 999_983}, {"multipleOf": 999_979}]}),
        json!({"type": "object", "patternProperties": {"^(a|b)*$": {}, "^(b|c)+$": {}}}),
    ];
    let texts = [
        Source::Gbnf(format!("root ::= {}", nested(90, "(", ")"))),
        Source::Gbnf(format!("root ::= {}", nested(100_000, "(", ")"))),
        Source::Gbnf(format!("root ::= {}", "(".repeat(60) + "\"a\"" + &"){1000}".repeat(60))),
        Source::Gbnf("root ::= (([a-z]*)* ([a-z]*)*)*".into()),
        Source::Gbnf("root ::= s\ns ::= \"a\" s \"b\" s | \"a\" s | ".into()),
        Source::Gbnf(format!("root ::= {}\n", "[^a] | ".repeat(20_000))),
        Source::Lark(format!("start: {}", nested(90, "(", ")"))),
        Source::Lark(format!("start: {}", nested(100_000, "(", ")"))),
        Source::Lark("start: /(a|b)*a(a|b){100}/".into()),
        Source::Regex("(((((((x{1,99}){1,99}){1,99}){1,99}){1,99}){1,99}){1,99})".into()),
        Source::Regex("(".repeat(5_000)),
    ];
    with_stack(move || {
        for schema in schemas {
            in_time(&schema.to_string(), || bench().schema(&schema, false));
        }
        for source in texts {
            in_time(&format!("{source:?}"), || bench().constraint(source.clone()));
        }
    });
}

/// Compiles, and where that works draws some tokens, all within [`PATIENCE`].
fn in_time(what: &str, make: impl Fn() -> Result<fluid::grammar::Constraint, String>) {
    let what: String = what.chars().take(160).collect();
    let begun = Instant::now();
    let outcome = match make() {
        Ok(constraint) => match bench().draw_some(&constraint, 1, 80) {
            Ok(answer) => format!("{:?}", answer.map(|answer| answer.len())),
            Err(error) => format!("stopped: {error}"),
        },
        Err(error) => format!("refused: {error:.120}"),
    };
    if begun.elapsed() > Duration::from_millis(500) {
        eprintln!("{:?} {what:.80}: {outcome:.120}", begun.elapsed());
    }
    assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", begun.elapsed());
}

// The request is read on the caller's thread, whose stack may be small.
#[test]
fn chains_of_references_need_no_deep_stack() {
    for count in [100, 1_000, 20_000] {
        let name = |number: usize| format!("#/$defs/a{number}");
        let mut definitions = serde_json::Map::new();
        for number in 0..count {
            definitions.insert(format!("a{number}"), json!({"$ref": name(number + 1)}));
        }
        definitions.insert(format!("a{count}"), json!({"type": "integer"}));
        let schema = json!({"$ref": name(0), "$defs": definitions});
        let request = json!({"prompt": "x", "json_schema": schema}).to_string();
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let parse = move || fluid::request::GenerateRequest::parse(&request).map(drop);
        let parsed = thread.spawn(parse).expect("a thread").join().expect("no overflow");
        match count {
            100 => parsed.expect("a short chain"),
            _ => {
                let error = parsed.expect_err("a long chain");
                assert!(error.message().starts_with("json_schema"), "{error}");
            }
        }
    }
}

// At temperature 0 no mask is asked for as long as the likeliest token fits, and all answers of a
// grammar share llguidance's lexer with its fuel.
#[test]
fn answers_without_masks_do_not_run_out_of_fuel() {
    with_stack(|| {
        let schema = json!({"type": "object", "required": ["a", "b"], "additionalProperties": false, "properties": {
            "a": {"type": "string", "maxLength": 400, "pattern": "^([a-z]{2,12}[ ,.]){5,60}$"},
            "b": {"type": "string", "maxLength": 300}}});
        let constraint = bench().schema(&schema, true).expect("a schema");
        let vocab = &bench().vocab;
        let pieces = (0..vocab.len() as u32).map(|id| (vocab.piece(id).to_vec(), id));
        let ids: std::collections::HashMap<Vec<u8>, u32> = pieces.collect();
        let mut dice = Dice::new(3);
        for answer in 0..60 {
            let letter = |dice: &mut Dice| (b'a' + dice.below(26) as u8) as char;
            let word = |dice: &mut Dice| -> String {
                let letters: String = (0..2 + dice.below(9)).map(|_| letter(dice)).collect();
                letters + dice.pick(&[" ", ",", "."])
            };
            let a: String = (0..30).map(|_| word(&mut dice)).collect();
            let b: String = (0..250).map(|_| letter(&mut dice)).collect();
            let text = json!({"a": a, "b": b}).to_string();
            let mut constraint = constraint.another("x");
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let longest =
                    (1..=rest.len().min(16)).rev().find(|&n| ids.contains_key(&rest[..n]));
                let (first, behind) = rest.split_at(longest.expect("a token for each letter"));
                let token = ids[first];
                assert_eq!(constraint.allows(token), Ok(true), "answer {answer}");
                constraint.accept(token).unwrap_or_else(|error| panic!("answer {answer}: {error}"));
                rest = behind;
            }
        }
    });
}

#[test]
fn mutants_end_in_time() {
    let rounds = number_of("FLUID_GRAMMAR_FUZZ", 150);
    with_stack(move || {
        let cases = cases();
        for seed in 0..rounds {
            let mut dice = Dice::new(seed);
            let case = &cases[dice.below(cases.len())]["schema"];
            let schema = mutate_schema(case, &cases, &mut dice, 0);
            in_time(&schema.to_string(), || bench().schema(&schema, dice_is_even(seed)));
            let text = mutate_text(JSON_GBNF, &mut dice);
            in_time(&text, || bench().constraint(Source::Gbnf(text.clone())));
            let text = mutate_text("start: a+ | \"x\"{2,5} /[a-z]+/\na: B | %json {\"type\": \"integer\"}\nB: /(x|y)*/ \"z\"", &mut dice);
            in_time(&text, || bench().constraint(Source::Lark(text.clone())));
            let text = mutate_text(r"(a|[b-z]{2,9}|\d+\.\d*)*(x?y+z{3})[^q\n]", &mut dice);
            in_time(&text, || bench().constraint(Source::Regex(text.clone())));
        }
    });
}

fn dice_is_even(seed: u64) -> bool {
    seed % 2 == 0
}
