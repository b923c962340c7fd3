//! Rules over bytes, in one flat list.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use regex_syntax::utf8::Utf8Sequences;

use super::read::Result;

/// Symbols in all rules together.
const MOST_SYMBOLS: usize = 200_000;

/// One byte of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) fn insert(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }
}

/// A step of an alternative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    /// A byte of this set.
    Byte(ByteSet),
    /// What rule number so-and-so says.
    Rule(u32),
    /// This one token.
    Token(u32),
    /// The alternative is over.
    End,
}

/// All rules; an alternative is where it begins in the list of symbols.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) symbols: Vec<Symbol>,
    pub(super) alternatives: Vec<Vec<u32>>,
    classes: HashMap<Vec<(char, char)>, u32>,
}

impl Rules {
    /// The number of a rule that has no alternatives yet.
    pub(super) fn reserve(&mut self) -> u32 {
        self.alternatives.push(Vec::new());
        self.alternatives.len() as u32 - 1
    }

    /// Refuses `count` symbols more than there is room for.
    pub(super) fn check_room(&self, count: usize) -> Result<()> {
        match self.symbols.len() + count >= MOST_SYMBOLS {
            true => {
                Err(format!("the grammar comes to more than {MOST_SYMBOLS} symbols; repeat less"))
            }
            false => Ok(()),
        }
    }

    /// Gives rule `number` one more alternative.
    pub(super) fn add(&mut self, number: u32, alternative: &[Symbol]) -> Result<()> {
        let start = self.symbols.len();
        self.check_room(alternative.len())?;
        self.symbols.extend_from_slice(alternative);
        self.symbols.push(Symbol::End);
        self.alternatives[number as usize].push(start as u32);
        Ok(())
    }

    /// One character of `ranges`, which are sorted and apart from each other.
    pub(super) fn class(&mut self, ranges: Vec<(char, char)>) -> Result<Symbol> {
        let mut ascii = ByteSet::default();
        for &(first, last) in &ranges {
            if first.is_ascii() {
                ascii.insert(first as u8, last.min('\x7f') as u8);
            }
        }
        if ranges.last().is_none_or(|(_, last)| last.is_ascii()) {
            return Ok(Symbol::Byte(ascii));
        }
        if let Some(&number) = self.classes.get(&ranges) {
            return Ok(Symbol::Rule(number));
        }
        let number = self.reserve();
        if ascii != ByteSet::default() {
            self.add(number, &[Symbol::Byte(ascii)])?;
        }
        for &(first, last) in &ranges {
            if last.is_ascii() {
                continue;
            }
            for sequence in Utf8Sequences::new(first.max('\u{80}'), last) {
                let bytes = sequence.as_slice().iter().map(|range| {
                    let mut set = ByteSet::default();
                    set.insert(range.start, range.end);
                    Symbol::Byte(set)
                });
                self.add(number, &bytes.collect::<Vec<_>>())?;
            }
        }
        self.classes.insert(ranges, number);
        Ok(Symbol::Rule(number))
    }

    /// A rule that calls itself before it has taken a byte, and so without end.
    pub(super) fn left_recursive(&self) -> Option<u32> {
        let edges = self.first_edges();
        let components = components(&edges);
        let within = |from: usize, &(to, is_last): &(u32, bool)| {
            // A call in last place leaves nothing behind: going round again changes nothing.
            !is_last && components[from] == components[to as usize]
        };
        let mut rules = edges.iter().enumerate();
        rules
            .find(|(from, edges)| edges.iter().any(|edge| within(*from, edge)))
            .map(|(from, _)| from as u32)
    }

    /// For each rule, the rules that it may call before it has taken a byte, and whether that
    /// call is the last thing it does.
    fn first_edges(&self) -> Vec<Vec<(u32, bool)>> {
        let nullable = self.nullable();
        let of_alternative = |&start: &u32| {
            let mut found = Vec::new();
            for at in start as usize.. {
                let Symbol::Rule(rule) = self.symbols[at] else { break };
                found.push((rule, self.symbols[at + 1] == Symbol::End));
                if !nullable[rule as usize] {
                    break;
                }
            }
            found
        };
        self.alternatives
            .iter()
            .map(|starts| starts.iter().flat_map(of_alternative).collect())
            .collect()
    }

    /// Which rules may take nothing.
    fn nullable(&self) -> Vec<bool> {
        let mut nullable = vec![false; self.alternatives.len()];
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); self.alternatives.len()];
        for (number, starts) in self.alternatives.iter().enumerate() {
            for &start in starts {
                for symbol in
                    self.symbols[start as usize..].iter().take_while(|&&one| one != Symbol::End)
                {
                    if let Symbol::Rule(rule) = symbol {
                        callers[*rule as usize].push(number as u32);
                    }
                }
            }
        }
        let mut work: Vec<u32> = (0..self.alternatives.len() as u32).collect();
        while let Some(number) = work.pop() {
            let index = number as usize;
            let is_empty = |start: &u32| {
                let mut symbols = self.symbols[*start as usize..].iter();
                symbols.find_map(|symbol| match symbol {
                    Symbol::Rule(rule) if nullable[*rule as usize] => None,
                    Symbol::End => Some(true),
                    _ => Some(false),
                })
            };
            if !nullable[index]
                && self.alternatives[index].iter().any(|start| is_empty(start) == Some(true))
            {
                nullable[index] = true;
                work.extend(&callers[index]);
            }
        }
        nullable
    }
}

/// The strongly connected component of each node (Tarjan 1972, without recursion).
fn components(edges: &[Vec<(u32, bool)>]) -> Vec<u32> {
    const NEW: u32 = u32::MAX;
    let count = edges.len();
    let (mut index, mut low, mut component) = (vec![NEW; count], vec![0; count], vec![NEW; count]);
    let (mut next, mut open) = (0, Vec::new());
    for root in 0..count {
        let mut calls = vec![(root, 0)];
        while let Some((node, edge)) = calls.pop() {
            if edge == 0 {
                if index[node] != NEW {
                    continue;
                }
                (index[node], low[node]) = (next, next);
                next += 1;
                open.push(node);
            } else {
                let child = edges[node][edge - 1].0 as usize;
                if component[child] == NEW {
                    low[node] = low[node].min(low[child]);
                }
            }
            if let Some(&(child, _)) = edges[node].get(edge) {
                calls.push((node, edge + 1));
                calls.push((child as usize, 0));
            } else if low[node] == index[node] {
                while let Some(member) = open.pop() {
                    component[member] = index[node];
                    if member == node {
                        break;
                    }
                }
            }
        }
    }
    component
}
