//! From the text of tool calls to their names and arguments, as the text comes in.
#![forbid(unsafe_code)]

mod parts;

use std::sync::Arc;

use super::answer::Delta;
use super::expect::{expect, expect_any, Found};
use super::syntax::{Body, Syntax};
use super::tool::Tool;

/// What a text turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Calls, so far; more text may belong to them.
    On,
    /// Calls, which are over; this is behind them.
    Over(String),
    /// No calls; this is all of the text.
    None(String),
}

/// Where in a series of calls the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Open,
    Lead,
    Name,
    /// Between the name and the arguments.
    Head,
    /// Inside the arguments' JSON.
    Json {
        depth: usize,
        string: bool,
        escaped: bool,
    },
    /// Before an argument's name, or behind the last argument.
    Key {
        first: bool,
    },
    /// In an argument's name.
    KeyName {
        first: bool,
    },
    /// In its value: a plain string, or JSON.
    Plain {
        begun: bool,
    },
    Value {
        begun: bool,
        string: bool,
        escaped: bool,
    },
    /// Behind the arguments.
    Tail,
    /// Behind a call.
    Next,
}

/// What became of one step.
enum Step {
    Done,
    /// It takes more text.
    Wait,
    /// The text is not what a call has here.
    Wrong,
    Over,
}

/// Reads one series of calls after the other.
#[derive(Debug)]
pub(super) struct CallParser {
    syntax: &'static Syntax,
    tools: Arc<[Tool]>,
    ids: u64,
    at: At,
    /// Text that is not decided: from a call's beginning until it has a name that is known.
    held: String,
    /// How much of it was understood.
    read: usize,
    /// The function of the call, an index into `tools`.
    tool: usize,
    /// Calls so far.
    count: usize,
    /// Whether a call of this series was told.
    told: bool,
}

impl CallParser {
    /// `ids` makes the calls' ids.
    pub(super) fn new(syntax: &'static Syntax, tools: Arc<[Tool]>, ids: u64) -> Self {
        Self {
            syntax,
            tools,
            ids,
            at: At::Open,
            held: String::new(),
            read: 0,
            tool: 0,
            count: 0,
            told: false,
        }
    }

    pub(super) fn syntax(&self) -> &'static Syntax {
        self.syntax
    }

    /// Reads on in a series of calls, or begins one.
    pub(super) fn push(&mut self, text: &str, out: &mut Vec<Delta>) -> Read {
        self.held.push_str(text);
        loop {
            match self.step(out) {
                Step::Done => {}
                Step::Wait => return Read::On,
                Step::Over => {
                    self.forget();
                    return self.end();
                }
                Step::Wrong => return self.end(),
            }
        }
    }

    /// The answer ends within a series: what of it is left to show as text.
    pub(super) fn finish(&mut self, out: &mut Vec<Delta>) -> String {
        // The end of a value, held back because it could have been that of the markup.
        if let At::Plain { .. } = self.at {
            let rest = parts::escaped(&self.held);
            self.say(rest, out);
        }
        let held = std::mem::take(&mut self.held);
        match self.at {
            At::Open | At::Lead | At::Name | At::Head => held,
            _ => String::new(),
        }
    }

    fn end(&mut self) -> Read {
        let rest = std::mem::take(&mut self.held);
        let was_told = std::mem::replace(&mut self.told, false);
        (self.at, self.read) = (At::Open, 0);
        match was_told {
            true => Read::Over(rest),
            false => Read::None(rest),
        }
    }

    /// What was understood is done with.
    fn forget(&mut self) {
        self.held.drain(..self.read);
        self.read = 0;
    }

    fn rest(&self) -> &str {
        &self.held[self.read..]
    }

    fn say(&self, text: String, out: &mut Vec<Delta>) {
        Delta::Arguments { index: self.count - 1, text }.add_to(out);
    }

    /// Goes on to `next` behind `pattern`.
    fn expect(&mut self, pattern: &str, next: At) -> Step {
        match expect(self.rest(), pattern) {
            Found::Yes(length) => {
                self.read += length;
                self.at = next;
                Step::Done
            }
            Found::Perhaps => Step::Wait,
            Found::No => Step::Wrong,
        }
    }

    fn step(&mut self, out: &mut Vec<Delta>) -> Step {
        let syntax = self.syntax;
        match self.at {
            At::Open => self.open(),
            At::Lead => self.expect(&lead(syntax), At::Name),
            At::Name => self.name(),
            At::Head => self.head(out),
            At::Json { .. } => self.json(out),
            At::Key { first } => self.key(first, out),
            At::KeyName { first } => self.key_name(first, out),
            At::Plain { begun } => self.plain(begun, out),
            At::Value { .. } => self.value(out),
            At::Tail => {
                let step = match syntax.body {
                    Body::Object { .. } => self.expect(&format!("}} {}", syntax.end), At::Next),
                    Body::Named { .. } | Body::Parts { .. } => self.expect(syntax.end, At::Next),
                };
                if matches!(step, Step::Done) {
                    self.forget();
                }
                step
            }
            At::Next => self.next(),
        }
    }

    fn open(&mut self) -> Step {
        match self.syntax.tag.map(|tag| expect(self.rest(), tag)) {
            Some(Found::Yes(length)) => self.read += length,
            Some(Found::Perhaps) => return Step::Wait,
            Some(Found::No) | None => {}
        }
        self.expect(self.syntax.open, At::Lead)
    }

    fn name(&mut self) -> Step {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let rest = self.rest();
        let Some(length) = rest.find(|c| !is_name(c)) else {
            return Step::Wait;
        };
        let Some(tool) = self.tools.iter().position(|tool| tool.name == rest[..length]) else {
            return Step::Wrong;
        };
        (self.tool, self.at) = (tool, At::Head);
        self.read += length;
        Step::Done
    }

    /// From the name to the arguments. Once they begin, there is no way back.
    fn head(&mut self, out: &mut Vec<Delta>) -> Step {
        let json = At::Json { depth: 0, string: false, escaped: false };
        let (pattern, next) = match self.syntax.body {
            Body::Object { arguments, .. } => (format!("\" , \"{arguments}\" : {{"), json),
            Body::Named { id: "", arguments } => (format!("{arguments} {{"), json),
            Body::Named { id, arguments } => match self.skip_id(id) {
                Step::Done => (format!("{arguments} {{"), json),
                other => return other,
            },
            Body::Parts { named, .. } => (named.to_owned(), At::Key { first: true }),
        };
        let step = self.expect(&pattern, next);
        if matches!(step, Step::Done) {
            if next == json {
                // The brace belongs to the arguments.
                self.read -= 1;
            }
            self.forget();
            let name = self.tools[self.tool].name.clone();
            out.push(Delta::Call { index: self.count, id: self.id(), name });
            self.count += 1;
            self.told = true;
        }
        step
    }

    /// Goes behind `before` and nine letters and digits, once they are all there.
    fn skip_id(&mut self, before: &str) -> Step {
        let length = match expect(self.rest(), before) {
            Found::Yes(length) => length,
            Found::Perhaps => return Step::Wait,
            // It was skipped when this was asked before.
            Found::No => return Step::Done,
        };
        let id = self.rest()[length..].chars().take(9);
        match (id.clone().all(|c| c.is_ascii_alphanumeric()), id.count()) {
            (true, 9) => {
                self.read += length + 9;
                Step::Done
            }
            (true, _) => Step::Wait,
            (false, _) => Step::Wrong,
        }
    }

    fn id(&self) -> String {
        let bits = mixed(self.ids.wrapping_add(self.count as u64));
        match self.syntax.short_ids {
            false => format!("call_{bits:016x}"),
            true => format!("{:09x}", bits >> 28),
        }
    }

    fn json(&mut self, out: &mut Vec<Delta>) -> Step {
        let At::Json { mut depth, mut string, mut escaped } = self.at else { return Step::Wrong };
        let mut end = None;
        for (index, byte) in self.held.bytes().enumerate() {
            match (string, byte) {
                (true, _) if escaped => escaped = false,
                (true, b'\\') => escaped = true,
                (_, b'"') => string = !string,
                (false, b'{' | b'[') => depth += 1,
                (false, b'}' | b']') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                end = Some(index + 1);
                break;
            }
        }
        let length = end.unwrap_or(self.held.len());
        let text: String = self.held.drain(..length).collect();
        self.say(text, out);
        self.at = match end {
            Some(_) => At::Tail,
            None => At::Json { depth, string, escaped },
        };
        if end.is_some() {
            Step::Done
        } else {
            Step::Wait
        }
    }

    fn next(&mut self) -> Step {
        let syntax = self.syntax;
        if syntax.close.is_empty() {
            return Step::Over;
        }
        let again = format!("{} {}", syntax.between.unwrap_or_default(), lead(syntax));
        match expect_any(self.rest(), &[syntax.close, &again]) {
            (0, Found::Yes(length)) => {
                self.read += length;
                Step::Over
            }
            (_, Found::Yes(length)) => {
                self.read += length;
                self.at = At::Name;
                Step::Done
            }
            (_, Found::Perhaps) => Step::Wait,
            (_, Found::No) => Step::Wrong,
        }
    }
}

/// What stands before a name, with spaces where white space may be.
fn lead(syntax: &Syntax) -> String {
    match syntax.body {
        Body::Object { id, name, .. } => format!("{} {{ {id} \"{name}\" : \"", syntax.begin),
        Body::Named { .. } | Body::Parts { .. } => syntax.begin.to_owned(),
    }
}

/// The bits of `number`, well mixed (the end of SplitMix64, Steele et al. 2014).
fn mixed(number: u64) -> u64 {
    let step = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let step = (step ^ (step >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    step ^ (step >> 31)
}
