//! From the text of a grammar to its rules.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::read::{Reader, Result};
use super::rules::{Rules, Symbol};
use crate::grammar::Tokens;

/// How often a part may be repeated, by number; llama.cpp has the same bound.
const MOST_REPEATS: u32 = 2_000;

/// The rules of `text`, and the number of the one called "root". Nesting is bounded by the caller.
pub(super) fn parse(text: &str, tokens: &Tokens) -> Result<(Rules, u32)> {
    let reader = Reader::new(text);
    let mut parser = Parser {
        reader,
        tokens,
        rules: Rules::default(),
        named: HashMap::new(),
        names: Vec::new(),
    };
    parser.reader.space(true);
    while parser.reader.peek().is_some() {
        parser.rule()?;
    }
    parser.finish()
}

struct Parser<'a> {
    reader: Reader<'a>,
    tokens: &'a Tokens,
    rules: Rules,
    named: HashMap<&'a str, u32>,
    names: Vec<Named<'a>>,
}

/// A rule that has a name: where it was named first, and whether it is defined.
struct Named<'a> {
    name: &'a str,
    number: u32,
    place: usize,
    is_defined: bool,
}

impl<'a> Parser<'a> {
    fn rule(&mut self) -> Result<()> {
        let place = self.reader.at();
        let name = self.reader.name();
        if name.is_empty() {
            return Err(self
                .reader
                .wrong("expected the name of a rule (letters, digits, - and _)"));
        }
        let number = self.number(name, place);
        let named = self.names.iter_mut().find(|named| named.number == number);
        if let Some(named) = named {
            if std::mem::replace(&mut named.is_defined, true) {
                let place = self.reader.place(place);
                return Err(format!("{place}: rule {name} is defined a second time"));
            }
        }
        self.reader.space(false);
        self.reader.expect("::=", "after the name of a rule")?;
        self.reader.space(true);
        self.alternatives(number, false)?;
        match self.reader.peek() {
            None => {}
            Some('\r' | '\n') => self.reader.space(true),
            Some(_) => return Err(self.reader.wrong("expected a line break after a rule")),
        }
        Ok(())
    }

    fn number(&mut self, name: &'a str, place: usize) -> u32 {
        if let Some(&number) = self.named.get(name) {
            return number;
        }
        let number = self.rules.reserve();
        self.named.insert(name, number);
        self.names.push(Named { name, number, place, is_defined: false });
        number
    }

    fn alternatives(&mut self, number: u32, is_nested: bool) -> Result<()> {
        loop {
            let sequence = self.sequence(is_nested)?;
            self.rules.add(number, &sequence)?;
            if !self.reader.take("|") {
                return Ok(());
            }
            self.reader.space(true);
        }
    }

    fn sequence(&mut self, is_nested: bool) -> Result<Vec<Symbol>> {
        let mut sequence = Vec::new();
        loop {
            let Some(mut item) = self.item()? else { return Ok(sequence) };
            self.reader.space(is_nested);
            while let Some((least, most)) = self.repetition()? {
                item = self.repeat(&item, least, most)?;
                self.reader.space(is_nested);
            }
            sequence.append(&mut item);
            self.rules.check_room(sequence.len())?;
        }
    }

    /// The next part of a sequence, if it goes on.
    fn item(&mut self) -> Result<Option<Vec<Symbol>>> {
        let place = self.reader.at();
        let symbol = match self.reader.peek() {
            Some('"') => return self.literal().map(Some),
            Some('[') => self.class()?,
            Some('.') => {
                self.reader.next();
                self.rules.class(vec![('\0', char::MAX)])?
            }
            Some('(') => self.group()?,
            Some('<') => self.token()?,
            Some('!') => return Err(self.reader.wrong("tokens cannot be excluded here")),
            Some(c) if c.is_ascii_alphanumeric() || c == '-' || c == '_' => {
                let name = self.reader.name();
                Symbol::Rule(self.number(name, place))
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![symbol]))
    }

    fn literal(&mut self) -> Result<Vec<Symbol>> {
        self.reader.next();
        let mut symbols = Vec::new();
        while !self.reader.take("\"") {
            if self.reader.peek().is_none() {
                return Err(self.reader.wrong("expected \" at the end of a text"));
            }
            let character = self.reader.character()?;
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                symbols.push(Symbol::Byte(one(byte)));
            }
        }
        Ok(symbols)
    }

    fn class(&mut self) -> Result<Symbol> {
        self.reader.next();
        let is_negated = self.reader.take("^");
        let mut ranges = Vec::new();
        while !self.reader.take("]") {
            if self.reader.peek().is_none() {
                return Err(self.reader.wrong("expected ] at the end of a class"));
            }
            let place = self.reader.at();
            let first = self.reader.character()?;
            let mut last = first;
            if self.reader.peek() == Some('-') {
                self.reader.next();
                // A hyphen before the end stands for itself.
                if self.reader.peek() == Some(']') {
                    ranges.push(('-', '-'));
                } else {
                    last = self.reader.character()?;
                }
            }
            if last < first {
                let place = self.reader.place(place);
                return Err(format!("{place}: the range {first:?} to {last:?} goes backwards"));
            }
            ranges.push((first, last));
        }
        let ranges = merge(ranges);
        self.rules.class(if is_negated { invert(&ranges) } else { ranges })
    }

    fn group(&mut self) -> Result<Symbol> {
        self.reader.next();
        self.reader.space(true);
        let number = self.rules.reserve();
        self.alternatives(number, true)?;
        self.reader.expect(")", "at the end of a group")?;
        Ok(Symbol::Rule(number))
    }

    /// `<[123]>` is a token by its id, `<|name|>` by its text.
    fn token(&mut self) -> Result<Symbol> {
        let place = self.reader.at();
        self.reader.next();
        let mut name = String::from("<");
        while !name.ends_with('>') {
            match self.reader.next() {
                Some(c) if !c.is_control() => name.push(c),
                _ => return Err(self.reader.wrong("expected > at the end of a token")),
            }
        }
        let id = match name.strip_prefix("<[").and_then(|name| name.strip_suffix("]>")) {
            Some(digits) => digits.parse().ok(),
            None => self.tokens.find(&name),
        };
        let id = id.filter(|&id: &u32| (id as usize) < self.tokens.len());
        id.map(Symbol::Token).ok_or_else(|| {
            let place = self.reader.place(place);
            format!("{place}: {name} is none of the model's tokens; write <[ID]> or <TEXT>")
        })
    }

    /// What follows an item and says how often it comes; `None` in second place has no bound.
    fn repetition(&mut self) -> Result<Option<(u32, Option<u32>)>> {
        let place = self.reader.at();
        let (least, most) = match self.reader.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.counts(place).map(Some),
            _ => return Ok(None),
        };
        self.reader.next();
        Ok(Some((least, most)))
    }

    fn counts(&mut self, place: usize) -> Result<(u32, Option<u32>)> {
        self.reader.next();
        self.reader.space(false);
        let least = if self.reader.peek() == Some(',') { 0 } else { self.reader.number()? };
        self.reader.space(false);
        let mut most = Some(least);
        if self.reader.take(",") {
            self.reader.space(false);
            let is_open = self.reader.peek() == Some('}');
            most = if is_open { None } else { Some(self.reader.number()?) };
            self.reader.space(false);
        }
        self.reader.expect("}", "at the end of a repetition")?;
        if most.is_some_and(|most| most < least) {
            let place = self.reader.place(place);
            return Err(format!("{place}: {least} is more than {}", most.unwrap_or_default()));
        }
        if least.max(most.unwrap_or(0)) > MOST_REPEATS {
            let place = self.reader.place(place);
            return Err(format!("{place}: a part is repeated more than {MOST_REPEATS} times"));
        }
        Ok((least, most))
    }

    fn repeat(&mut self, item: &[Symbol], least: u32, most: Option<u32>) -> Result<Vec<Symbol>> {
        let item = match item {
            [symbol] => *symbol,
            _ => {
                let number = self.rules.reserve();
                self.rules.add(number, item)?;
                Symbol::Rule(number)
            }
        };
        let mut symbols = vec![item; least as usize];
        match most {
            None => {
                let more = self.rules.reserve();
                self.rules.add(more, &[item, Symbol::Rule(more)])?;
                self.rules.add(more, &[])?;
                symbols.push(Symbol::Rule(more));
            }
            Some(most) => {
                let mut rest = None;
                for _ in least..most {
                    let more = self.rules.reserve();
                    let sequence: Vec<Symbol> = [Some(item), rest].into_iter().flatten().collect();
                    self.rules.add(more, &sequence)?;
                    self.rules.add(more, &[])?;
                    rest = Some(Symbol::Rule(more));
                }
                symbols.extend(rest);
            }
        }
        Ok(symbols)
    }

    fn finish(self) -> Result<(Rules, u32)> {
        if let Some(named) = self.names.iter().find(|named| !named.is_defined) {
            let place = self.reader.place(named.place);
            return Err(format!("{place}: rule {} is not defined", named.name));
        }
        if let Some(number) = self.rules.left_recursive() {
            // Parts without a name belong to the rule named last before them.
            let named = self
                .names
                .iter()
                .filter(|named| named.number <= number)
                .max_by_key(|named| named.number);
            let name = named.map_or("root", |named| named.name);
            return Err(format!("rule {name}, or a part of it, calls itself before it takes a character; put what comes first in front"));
        }
        match self.named.get("root") {
            Some(&root) => Ok((self.rules, root)),
            None => Err("there is no rule named root, with which the answer begins".to_owned()),
        }
    }
}

fn one(byte: u8) -> super::rules::ByteSet {
    let mut set = super::rules::ByteSet::default();
    set.insert(byte, byte);
    set
}

/// The same characters as sorted ranges that neither overlap nor touch.
fn merge(mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    ranges.sort_unstable();
    let mut merged: Vec<(char, char)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if before.1 >= first || after(before.1) == Some(first) => {
                before.1 = before.1.max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// All other characters.
fn invert(ranges: &[(char, char)]) -> Vec<(char, char)> {
    let mut others = Vec::new();
    let mut next = Some('\0');
    for &(first, last) in ranges {
        if let (Some(start), Some(end)) = (next, before(first)) {
            if start <= end {
                others.push((start, end));
            }
        }
        next = after(last);
    }
    others.extend(next.map(|start| (start, char::MAX)));
    others
}

fn after(character: char) -> Option<char> {
    (character..=char::MAX).nth(1)
}

fn before(character: char) -> Option<char> {
    ('\0'..character).next_back()
}
