//! Calls as a grammar: what a model may write, in the Lark dialect of llguidance.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{json, Map, Value};

use super::syntax::{Body, Syntax};
use super::thinking::{Begins, Thinking};
use super::tool::{choices, is_plain, Tool};
use crate::error::Result;

/// What the answer may be.
#[derive(Debug)]
pub struct Rules<'a> {
    /// How calls are written.
    pub syntax: &'a Syntax,
    /// What may be called; at least one.
    pub tools: &'a [Tool],
    /// It is calls, whatever the model would rather say.
    pub required: bool,
    /// It may be several calls.
    pub parallel: bool,
    /// The markup of the reasoning before it, and whether the prompt has opened or closed that;
    /// `None` for a model that does not reason.
    pub thinking: Option<(&'a Thinking, Begins)>,
    /// The special tokens that texts may hold and that have no text of their own.
    pub specials: &'a BTreeMap<u32, String>,
}

/// A JSON schema's way into the grammar: given it, its path in the request and whether it must be
/// held exactly, says what the compiler of grammars takes.
pub type Prepare<'a> = &'a mut dyn FnMut(&Value, &str, bool) -> Result<Value>;

impl Rules<'_> {
    /// The grammar, with `%json` for the arguments' schemas, which `prepare` has seen.
    ///
    /// # Errors
    /// Those of `prepare`; Unsupported where a schema cannot be written in the model's way.
    pub fn to_lark(&self, prepare: Prepare<'_>) -> Result<String> {
        let mut lark = Lark { rules: self, prepare, out: String::new() };
        lark.start();
        lark.calls();
        for (index, tool) in self.tools.iter().enumerate() {
            lark.body(index, tool)?;
        }
        Ok(lark.out)
    }
}

struct Lark<'a> {
    rules: &'a Rules<'a>,
    prepare: Prepare<'a>,
    out: String,
}

impl<'a> Lark<'a> {
    fn rule(&mut self, name: &str, body: &str) {
        writeln!(self.out, "{name}: {body}").expect("a String takes everything");
    }

    /// `text` as a sequence of strings and special tokens; empty for no text.
    fn literal(&self, text: &str) -> String {
        let mut items = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match self.special_at(rest) {
                Some((id, text)) => {
                    push_string(&mut items, &mut plain);
                    items.push(format!("<[{id}]>"));
                    rest = &rest[text.len()..];
                }
                None => {
                    plain.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        push_string(&mut items, &mut plain);
        items.join(" ")
    }

    /// The special token that `text` begins with, the longest one.
    fn special_at(&self, text: &str) -> Option<(u32, &'a str)> {
        let specials = self.rules.specials.iter().map(|(id, special)| (*id, special.as_str()));
        specials.filter(|(_, special)| text.starts_with(special)).max_by_key(|(_, text)| text.len())
    }

    /// Makes the rule `name`: any text up to `end`, and `end` itself. What is a special token may
    /// also be spelled out, for that is what the parser sees. Spelled, it is lazy: the first one
    /// ends the text, as in the parser, which does not wait for white space either.
    fn text_until(&mut self, name: &str, end: &str) {
        let begun = end.trim_start();
        let special = self.special_at(begun);
        let marker = special.map_or(begun.trim_end(), |(_, text)| text);
        let rest = self.literal(&begun[marker.len()..]);
        let or_special = match special {
            Some((id, _)) => format!(" | ANY <[{id}]> {rest}"),
            None => String::new(),
        };
        self.rule(name, &format!("{name}-spelled {rest}{or_special}"));
        self.rule(&format!("{name}-spelled[lazy]"), &format!("ANY {}", Value::from(marker)));
    }

    /// The beginning: reasoning, where there may be some, and then calls or anything.
    fn start(&mut self) {
        self.rule("ANY", "/(?s:.*)/");
        let (goal, after) = match self.rules.required {
            // Between the two most models write empty lines.
            true => ("calls", "(\"\\n\\n\" | \"\\n\")? calls"),
            false => ("free", "free"),
        };
        match self.rules.thinking {
            None | Some((_, Begins::Behind)) => self.rule("start", goal),
            Some((thinking, Begins::Inside)) => {
                self.rule("start", &format!("thought {after}"));
                self.text_until("thought", thinking.close);
            }
            Some((thinking, Begins::Before)) => {
                self.rule("start", &format!("open thought {after} | {goal}"));
                let open = thinking.open.trim_end();
                let literal = self.literal(open);
                self.rule("open", &format!("{literal} | open-spelled"));
                let spelled = format!("/[ \\n]{{0,4}}/ {}", Value::from(open));
                self.rule("open-spelled[lazy]", &spelled);
                self.text_until("thought", thinking.close);
            }
        }
        if !self.rules.required {
            self.free();
        }
    }

    /// Any text, until what begins a call: from there on, calls.
    fn free(&mut self) {
        let syntax = self.rules.syntax;
        if syntax.trigger.is_empty() {
            return self.free_bare();
        }
        self.text_until("head", syntax.trigger);
        self.rule("free", "ANY | head more");
        let rest = |text: &str| text[syntax.trigger.len()..].to_owned();
        let (open, lead) = match syntax.open.is_empty() {
            true => (String::new(), rest(&syntax.lead())),
            false => (rest(syntax.open), syntax.lead()),
        };
        let first = format!("{} {} body", self.literal(&open), self.literal(&lead));
        self.series("more", &first);
    }

    /// The same where a call has no marker: what looks like one from its first letter on.
    fn free_bare(&mut self) {
        let syntax = self.rules.syntax;
        let Body::Object { name, .. } = syntax.body else {
            return self.rule("free", "ANY");
        };
        let tag = syntax.tag.unwrap_or_default();
        let spelled = tag.replace('|', "\\|");
        let blank = "[ \\n\\t\\r]*";
        let object = format!("\\{{{blank}\"{name}\"{blank}:{blank}\"");
        self.rule("head[lazy]", &format!("/{blank}({spelled}{blank})?{object}/"));
        let tagged = match self.rules.specials.values().any(|text| text == tag) {
            true => format!(" | {} {} more", self.literal(tag), self.literal(&syntax.lead())),
            false => String::new(),
        };
        self.rule("free", &format!("ANY | head more{tagged}"));
        self.series("more", "body");
    }

    /// Nothing but calls.
    fn calls(&mut self) {
        if self.rules.required {
            let syntax = self.rules.syntax;
            let (open, lead) = (self.literal(syntax.open), self.literal(&syntax.lead()));
            self.series("calls", &format!("{open} {lead} body"));
        }
        let names: Vec<String> = (0..self.rules.tools.len()).map(|i| format!("body-{i}")).collect();
        self.rule("body", &names.join(" | "));
    }

    /// Makes the rule `name`: `first`, the first call with what is before it, and further ones.
    fn series(&mut self, name: &str, first: &str) {
        let syntax = self.rules.syntax;
        let close = self.literal(syntax.close);
        let next = syntax.between.filter(|_| self.rules.parallel).map(|between| {
            format!("({} body)*", self.literal(&format!("{between}{}", syntax.lead())))
        });
        self.rule(name, &format!("{first} {} {close}", next.unwrap_or_default()));
    }

    /// What follows a call's lead if it is one of `tool`.
    fn body(&mut self, index: usize, tool: &Tool) -> Result<()> {
        let syntax = self.rules.syntax;
        let (before, after) = match syntax.body {
            Body::Object { arguments, .. } => {
                let before = format!("{}\", \"{arguments}\": ", tool.name);
                (self.literal(&before), format!("}}{}", syntax.end))
            }
            Body::Named { id, arguments } => {
                let name = self.literal(&format!("{}{id}", tool.name));
                let id = if id.is_empty() { "" } else { "/[a-zA-Z0-9]{9}/" };
                (format!("{name} {id} {}", self.literal(arguments)), syntax.end.to_owned())
            }
            Body::Parts { named, .. } => {
                let parts = self.parts(index, tool)?;
                let before = self.literal(&format!("{}{named}", tool.name));
                let end = self.literal(syntax.end);
                self.rule(&format!("body-{index}"), &format!("{before} {parts} {end}"));
                return Ok(());
            }
        };
        let after = self.literal(&after);
        self.rule(&format!("body-{index}"), &format!("{before} args-{index} {after}"));
        let schema = (self.prepare)(&closed(&tool.schema), &tool.path, tool.strict)?;
        self.json(&format!("args-{index}"), schema);
        Ok(())
    }

    fn json(&mut self, name: &str, mut schema: Value) {
        if let Value::Object(map) = &mut schema {
            let layout = map.entry("x-guidance").or_insert_with(|| json!({}));
            // As Python's json.dumps writes it, which models have seen most. White space is not
            // left to the model: small ones know no end of it.
            layout["whitespace_flexible"] = false.into();
            layout["whitespace_pattern"] = Value::Null;
            layout["item_separator"] = ", ?".into();
            layout["key_separator"] = ": ?".into();
        }
        self.rule(name, &format!("%json {schema}"));
    }

    /// The arguments of `tool` one by one: rules for each, and their sequence.
    fn parts(&mut self, index: usize, tool: &Tool) -> Result<String> {
        let Body::Parts { key, value, done, .. } = self.rules.syntax.body else {
            return Ok(String::new());
        };
        let mut sequence = String::new();
        for (number, part) in tool.parts()?.into_iter().enumerate() {
            let name = format!("part-{index}-{number}");
            let before = self.literal(&format!("{key}{}{value}", part.name));
            let after = self.literal(done);
            let text = format!("value-{index}-{number}");
            if let Some(choices) = choices(part.schema) {
                let choices: Vec<String> = choices.iter().map(|text| self.literal(text)).collect();
                self.rule(&name, &format!("{before} ({}) {after}", choices.join(" | ")));
            } else if is_plain(part.schema) {
                self.rule(&name, &format!("{before} {text}"));
                self.text_until(&text, done);
            } else {
                self.rule(&name, &format!("{before} {text} {after}"));
                let path = format!("{}.properties.{}", tool.path, part.name);
                let schema = with_definitions(closed(part.schema), &tool.schema);
                let schema = (self.prepare)(&schema, &path, tool.strict)?;
                self.json(&text, schema);
            }
            let many = if part.required { "" } else { "?" };
            write!(sequence, " {name}{many}").expect("a String takes everything");
        }
        Ok(sequence)
    }
}

fn push_string(items: &mut Vec<String>, plain: &mut String) {
    if !plain.is_empty() {
        items.push(Value::from(std::mem::take(plain)).to_string());
    }
}

/// `schema`, with every object that has properties closed for others where it does not say:
/// a schema that leaves that open would have a small model invent arguments.
fn closed(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let mut map: Map<String, Value> = map.clone();
    let is_open = |map: &Map<String, Value>| {
        let says = ["additionalProperties", "patternProperties", "unevaluatedProperties"];
        let joined = ["$ref", "allOf", "anyOf", "oneOf", "if", "dependentSchemas"];
        !says.iter().chain(&joined).any(|keyword| map.contains_key(*keyword))
    };
    if map.contains_key("properties") && is_open(&map) {
        map.insert("additionalProperties".into(), false.into());
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(|schema| *schema = closed(schema));
    }
    if let Some(items @ Value::Object(_)) = map.get_mut("items") {
        *items = closed(items);
    }
    Value::Object(map)
}

/// `schema`, a part of `root`, with the definitions that it may refer to.
fn with_definitions(mut schema: Value, root: &Value) -> Value {
    if let Value::Object(map) = &mut schema {
        for name in ["$defs", "definitions"] {
            if let Some(definitions) = root.get(name) {
                map.entry(name).or_insert_with(|| definitions.clone());
            }
        }
    }
    schema
}
