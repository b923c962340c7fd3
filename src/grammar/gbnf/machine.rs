//! A pushdown automaton over bytes: all ways to read what came so far, at once.
//!
//! A way is a stack: the symbol that comes next, and where to go on when its rule is over. Stacks
//! and sets of stacks are numbered, and where a set leads by a byte is remembered: going through a
//! vocabulary of 50,000 tokens is mostly a walk from number to number.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use llguidance::toktrie::{Recognizer, SimpleVob};

use super::parse::parse;
use super::read::Result;
use super::rules::{Rules, Symbol};
use crate::grammar::Tokens;

/// Symbols looked at for one token, after which it is an error: the other jobs wait meanwhile, some
/// 20 ms.
const FUEL: u32 = 400_000;

/// Sets of stacks that are remembered from token to token, a kilobyte each.
const MOST_REMEMBERED: usize = 4_000;

/// The stack on which nothing is left: the grammar may end here.
const EMPTY: u32 = 0;

/// The set without stacks: nothing fits.
const DEAD: u32 = 0;

/// Not looked at yet.
const UNKNOWN: u32 = u32::MAX;

/// A grammar, and how far an answer is in it.
#[derive(Clone)]
pub(in crate::grammar) struct Machine {
    rules: Arc<Rules>,
    /// What comes next, and the stack below. The first one stands for [`EMPTY`].
    stacks: Vec<(u32, u32)>,
    stack_numbers: HashMap<(u32, u32), u32>,
    sets: Vec<Set>,
    set_numbers: HashMap<Arc<[u32]>, u32>,
    now: u32,
    fuel: u32,
}

#[derive(Clone)]
struct Set {
    stacks: Arc<[u32]>,
    /// The set that each byte leads to.
    next: Option<Box<[u32; 256]>>,
}

impl Machine {
    /// The automaton of the grammar `text`, at its beginning.
    pub(in crate::grammar) fn new(text: &str, tokens: &Tokens) -> Result<Self> {
        let (rules, root) = parse(text, tokens)?;
        let mut machine = Self {
            rules: Arc::new(rules),
            stacks: Vec::new(),
            stack_numbers: HashMap::new(),
            sets: Vec::new(),
            set_numbers: HashMap::new(),
            now: DEAD,
            fuel: FUEL,
        };
        machine.clear();
        let starts = machine.rules.alternatives[root as usize].clone();
        let ways = starts.into_iter().map(|start| (start, EMPTY)).collect();
        let stacks = machine.expand(ways);
        machine.now = machine.set(stacks);
        machine.check_fuel()?;
        Ok(machine)
    }

    /// Which tokens may come next.
    pub(in crate::grammar) fn mask(&mut self, tokens: &Tokens) -> Result<SimpleVob> {
        self.fuel = FUEL;
        let trie = tokens.trie();
        let mut allowed = trie.alloc_token_set();
        let now = self.now;
        trie.add_bias(&mut Walk { machine: self, path: vec![now] }, &mut allowed, &[]);
        self.check_fuel()?;
        for &stack in self.sets[now as usize].stacks.iter() {
            if let Some(Symbol::Token(id)) = self.symbol(stack) {
                allowed.allow_token(id);
            }
        }
        if self.may_end() {
            trie.eos_tokens().iter().for_each(|&id| allowed.allow_token(id));
        }
        Ok(allowed)
    }

    /// Whether `token` may come next.
    pub(in crate::grammar) fn allows(&mut self, tokens: &Tokens, token: u32) -> Result<bool> {
        if tokens.trie().eos_tokens().contains(&token) {
            return Ok(self.may_end());
        }
        self.after(tokens, token).map(|set| set != DEAD)
    }

    /// Takes `token`.
    pub(in crate::grammar) fn accept(&mut self, tokens: &Tokens, token: u32) -> Result<()> {
        match self.after(tokens, token)? {
            DEAD => Err("it does not allow the token that came".to_owned()),
            next => {
                self.now = next;
                if self.sets.len() > MOST_REMEMBERED {
                    self.forget();
                }
                Ok(())
            }
        }
    }

    /// Whether the end is all that may come.
    pub(in crate::grammar) fn is_complete(&self) -> bool {
        *self.sets[self.now as usize].stacks == [EMPTY]
    }

    fn may_end(&self) -> bool {
        self.sets[self.now as usize].stacks.contains(&EMPTY)
    }

    /// The set that `token` leads to.
    fn after(&mut self, tokens: &Tokens, token: u32) -> Result<u32> {
        self.fuel = FUEL;
        let bytes = tokens.bytes(token);
        let by_bytes = match bytes {
            [] => DEAD,
            bytes => bytes.iter().fold(self.now, |set, &byte| self.step(set, byte)),
        };
        let current = Arc::clone(&self.sets[self.now as usize].stacks);
        let named =
            current.iter().filter(|&&stack| self.symbol(stack) == Some(Symbol::Token(token)));
        let ways: Vec<(u32, u32)> = named.map(|&stack| self.behind(stack)).collect();
        let next = if ways.is_empty() {
            by_bytes
        } else {
            let mut stacks = self.expand(ways);
            stacks.extend_from_slice(&self.sets[by_bytes as usize].stacks);
            self.set(stacks)
        };
        self.check_fuel()?;
        Ok(next)
    }

    fn step(&mut self, set: u32, byte: u8) -> u32 {
        let index = set as usize;
        let known = self.sets[index].next.as_ref().map_or(UNKNOWN, |next| next[usize::from(byte)]);
        if known != UNKNOWN {
            return known;
        }
        let stacks = Arc::clone(&self.sets[index].stacks);
        let takes = |stack: u32| matches!(self.symbol(stack), Some(Symbol::Byte(set)) if set.contains(byte));
        let ways: Vec<(u32, u32)> =
            stacks.iter().filter(|&&stack| takes(stack)).map(|&stack| self.behind(stack)).collect();
        let next = match ways.is_empty() {
            true => DEAD,
            false => {
                let stacks = self.expand(ways);
                self.set(stacks)
            }
        };
        if self.fuel > 0 {
            let row = self.sets[index].next.get_or_insert_with(|| Box::new([UNKNOWN; 256]));
            row[usize::from(byte)] = next;
        }
        next
    }

    fn symbol(&self, stack: u32) -> Option<Symbol> {
        let at = self.stacks[stack as usize].0;
        (stack != EMPTY).then(|| self.rules.symbols[at as usize])
    }

    /// Where `stack` is once its symbol was taken.
    fn behind(&self, stack: u32) -> (u32, u32) {
        let (at, below) = self.stacks[stack as usize];
        (at + 1, below)
    }

    /// Follows the calls and ends of rules up to what takes something.
    fn expand(&mut self, mut ways: Vec<(u32, u32)>) -> Vec<u32> {
        let mut seen: HashSet<(u32, u32)> = HashSet::new();
        let mut stacks = Vec::new();
        while let Some((at, below)) = ways.pop() {
            if self.fuel == 0 {
                return Vec::new();
            }
            self.fuel -= 1;
            if !seen.insert((at, below)) {
                continue;
            }
            match self.rules.symbols[at as usize] {
                Symbol::Byte(_) | Symbol::Token(_) => stacks.push(self.stack(at, below)),
                Symbol::End if below == EMPTY => stacks.push(EMPTY),
                Symbol::End => ways.push(self.stacks[below as usize]),
                Symbol::Rule(rule) => {
                    let is_last = self.rules.symbols[at as usize + 1] == Symbol::End;
                    let below = if is_last { below } else { self.stack(at + 1, below) };
                    let starts = &self.rules.alternatives[rule as usize];
                    ways.extend(starts.iter().map(|&start| (start, below)));
                }
            }
        }
        stacks
    }

    fn stack(&mut self, at: u32, below: u32) -> u32 {
        let stacks = &mut self.stacks;
        *self.stack_numbers.entry((at, below)).or_insert_with(|| {
            stacks.push((at, below));
            stacks.len() as u32 - 1
        })
    }

    fn set(&mut self, mut stacks: Vec<u32>) -> u32 {
        stacks.sort_unstable();
        stacks.dedup();
        let stacks: Arc<[u32]> = stacks.into();
        if let Some(&number) = self.set_numbers.get(&stacks) {
            return number;
        }
        // Memory and time to compare it count as well.
        self.fuel = self.fuel.saturating_sub(stacks.len() as u32 + 16);
        let number = self.sets.len() as u32;
        self.sets.push(Set { stacks: Arc::clone(&stacks), next: None });
        self.set_numbers.insert(stacks, number);
        number
    }

    fn check_fuel(&self) -> Result<()> {
        match self.fuel {
            0 => Err("it can be read in too many ways; make it less ambiguous".to_owned()),
            _ => Ok(()),
        }
    }

    fn clear(&mut self) {
        self.stacks = vec![(u32::MAX, u32::MAX)];
        self.stack_numbers.clear();
        self.sets.clear();
        self.set_numbers.clear();
        // Its number is DEAD.
        self.set(Vec::new());
    }

    /// Drops all that is remembered but the set in which the answer is.
    fn forget(&mut self) {
        let (before, now) =
            (std::mem::take(&mut self.stacks), Arc::clone(&self.sets[self.now as usize].stacks));
        self.clear();
        let mut stacks = Vec::with_capacity(now.len());
        for &stack in now.iter() {
            let mut chain = Vec::new();
            let mut next = stack;
            while next != EMPTY {
                let (at, below) = before[next as usize];
                chain.push(at);
                next = below;
            }
            let bottom_up = chain.into_iter().rev();
            stacks.push(bottom_up.fold(EMPTY, |below, at| self.stack(at, below)));
        }
        self.now = self.set(stacks);
    }
}

/// A walk through the vocabulary's trie.
struct Walk<'a> {
    machine: &'a mut Machine,
    path: Vec<u32>,
}

impl Recognizer for Walk<'_> {
    fn pop_bytes(&mut self, count: usize) {
        self.path.truncate(self.path.len() - count);
    }

    fn collapse(&mut self) {
        self.path.drain(..self.path.len() - 1);
    }

    fn trie_finished(&mut self) {}

    fn try_push_byte(&mut self, byte: u8) -> bool {
        let now = self.path[self.path.len() - 1];
        match self.machine.step(now, byte) {
            DEAD => false,
            next => {
                self.path.push(next);
                true
            }
        }
    }
}
