//! Tells an answer's reasoning, content and tool calls apart, as its text comes in.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::call::{CallParser, Read};
use super::expect::find;
use super::syntax::Syntax;
use super::thinking::{Begins, Thinking};
use super::tool::Tool;

/// A piece of an answer, of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// Reasoning.
    Reasoning(String),
    /// What the answer is.
    Content(String),
    /// A call begins; its arguments follow.
    Call {
        /// Its number, from 0.
        index: usize,
        /// What a message with its result names it by.
        id: String,
        /// The function.
        name: String,
    },
    /// The next piece of a call's arguments, which are JSON when joined.
    Arguments {
        /// The call's number.
        index: usize,
        /// The piece.
        text: String,
    },
}

impl Delta {
    /// Appends this to `out`; text that goes on with the last one's becomes one with it.
    pub(super) fn add_to(self, out: &mut Vec<Self>) {
        match (out.last_mut(), &self) {
            (_, Self::Reasoning(text) | Self::Content(text) | Self::Arguments { text, .. })
                if text.is_empty() => {}
            (Some(Self::Reasoning(old)), Self::Reasoning(new))
            | (Some(Self::Content(old)), Self::Content(new)) => old.push_str(new),
            (
                Some(Self::Arguments { index: at, text: old }),
                Self::Arguments { index, text: new },
            ) if at == index => old.push_str(new),
            _ => out.push(self),
        }
    }
}

/// What to look for in an answer.
#[derive(Debug, Clone, Default)]
pub struct Forms {
    /// The markup of reasoning, and whether the prompt has opened or closed it.
    pub thinking: Option<(&'static Thinking, Begins)>,
    /// Reasoning stays in the content, with its markup.
    pub inline: bool,
    /// How calls are written, and what may be called.
    pub calls: Option<(&'static Syntax, Arc<[Tool]>)>,
    /// Makes the ids of the calls; best drawn at random.
    pub ids: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// White space, or the opening of the reasoning, may come.
    Start,
    Thinking {
        begun: bool,
    },
    /// White space behind reasoning or calls.
    Gap {
        fresh: bool,
    },
    /// The content begins.
    Fresh,
    Content,
    Call,
}

/// Turns the text of one answer, in pieces cut anywhere, into [`Delta`]s.
///
/// What the deltas join to does not depend on how the text was cut. Text that could be the
/// beginning of markup is held back until that is decided. White space around reasoning and calls
/// is dropped with the markup; all else is told: what only looks like a call comes as content, and
/// so does a closing mark without an opening one.
#[derive(Debug)]
pub struct AnswerParser {
    thinking: Option<&'static Thinking>,
    inline: bool,
    calls: Option<CallParser>,
    state: State,
    held: String,
}

impl AnswerParser {
    /// A parser for one answer.
    pub fn new(forms: Forms) -> Self {
        let state = match forms.thinking {
            Some((_, Begins::Before)) => State::Start,
            Some((_, Begins::Inside)) => State::Thinking { begun: false },
            Some((_, Begins::Behind)) => State::Gap { fresh: true },
            None => State::Fresh,
        };
        Self {
            thinking: forms.thinking.map(|(thinking, _)| thinking),
            inline: forms.inline,
            calls: forms.calls.map(|(syntax, tools)| CallParser::new(syntax, tools, forms.ids)),
            state,
            held: String::new(),
        }
    }

    /// Takes the next piece of text; returns what is decided.
    pub fn push(&mut self, text: &str) -> Vec<Delta> {
        self.held.push_str(text);
        let mut out = Vec::new();
        while self.step(&mut out) {}
        out
    }

    /// The end of the answer: returns what was held back.
    pub fn finish(&mut self) -> Vec<Delta> {
        let mut out = Vec::new();
        let rest = std::mem::take(&mut self.held);
        match self.state {
            State::Thinking { .. } => self.reason(rest, &mut out),
            State::Gap { .. } => {}
            State::Call => {
                let rest = self.calls.as_mut().map(|calls| calls.finish(&mut out));
                Delta::Content(rest.unwrap_or_default()).add_to(&mut out);
            }
            State::Start | State::Fresh | State::Content => {
                Delta::Content(rest).add_to(&mut out);
            }
        }
        self.state = State::Content;
        out
    }

    /// Whether the text so far ends inside the reasoning.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Thinking { .. })
    }

    fn reason(&self, text: String, out: &mut Vec<Delta>) {
        match self.inline {
            true => Delta::Content(text).add_to(out),
            false => Delta::Reasoning(text).add_to(out),
        }
    }

    /// One step; false where it takes more text.
    fn step(&mut self, out: &mut Vec<Delta>) -> bool {
        match self.state {
            State::Start => self.start(out),
            State::Thinking { begun } => self.think(begun, out),
            State::Gap { fresh } => self.gap(fresh, out),
            State::Fresh => {
                let is_bare = |calls: &CallParser| calls.syntax().trigger.is_empty();
                self.state = match self.calls.as_ref().is_some_and(is_bare) {
                    true => State::Call,
                    false => State::Content,
                };
                true
            }
            State::Content => self.content(out),
            State::Call => self.call(out),
        }
    }

    fn gap(&mut self, fresh: bool, out: &mut Vec<Delta>) -> bool {
        let blank = self.held.len() - self.held.trim_start().len();
        let blank: String = self.held.drain(..blank).collect();
        if self.inline {
            Delta::Content(blank).add_to(out);
        }
        if self.held.is_empty() {
            return false;
        }
        self.state = if fresh { State::Fresh } else { State::Content };
        true
    }

    fn start(&mut self, out: &mut Vec<Delta>) -> bool {
        let open = self.thinking.map_or("", |thinking| thinking.open.trim_end());
        let text = self.held.trim_start();
        if text.starts_with(open) {
            let length = self.held.len() - text.len() + open.len();
            let markup: String = self.held.drain(..length).collect();
            if self.inline {
                Delta::Content(markup).add_to(out);
            }
            self.state = State::Thinking { begun: false };
            return true;
        }
        if open.starts_with(text) {
            return false;
        }
        self.state = State::Fresh;
        true
    }

    fn think(&mut self, begun: bool, out: &mut Vec<Delta>) -> bool {
        let close = self.thinking.map_or("", |thinking| thinking.close);
        let (end, is_whole) = find(&self.held, close, !self.inline);
        let text = &self.held[..end];
        let text = if begun || self.inline { text } else { text.trim_start() }.to_owned();
        let begun = begun || !text.is_empty();
        self.reason(text, out);
        self.held.drain(..end);
        if !is_whole {
            self.state = State::Thinking { begun };
            return false;
        }
        let length = self.held.len() - self.held.trim_start().len() + close.len();
        let markup: String = self.held.drain(..length).collect();
        if self.inline {
            Delta::Content(markup).add_to(out);
        }
        self.state = State::Gap { fresh: true };
        true
    }

    fn content(&mut self, out: &mut Vec<Delta>) -> bool {
        let marker = self.calls.as_ref().map(|calls| calls.syntax().trigger);
        let Some(marker) = marker.filter(|marker| !marker.is_empty()) else {
            Delta::Content(std::mem::take(&mut self.held)).add_to(out);
            return false;
        };
        let (end, is_whole) = find(&self.held, marker, true);
        Delta::Content(self.held.drain(..end).collect()).add_to(out);
        if is_whole {
            self.state = State::Call;
        }
        is_whole
    }

    fn call(&mut self, out: &mut Vec<Delta>) -> bool {
        let text = std::mem::take(&mut self.held);
        let Some(calls) = self.calls.as_mut() else { return false };
        match calls.push(&text, out) {
            Read::On => false,
            Read::Over(rest) => {
                self.held = rest;
                self.state = State::Gap { fresh: false };
                true
            }
            Read::None(rest) => {
                // Its first letter is content; what follows may be a call.
                let blank = rest.len() - rest.trim_start().len();
                let first = rest[blank..].chars().next().map_or(0, char::len_utf8);
                Delta::Content(rest[..blank + first].to_owned()).add_to(out);
                self.held = rest[blank + first..].to_owned();
                self.state = State::Content;
                true
            }
        }
    }
}
