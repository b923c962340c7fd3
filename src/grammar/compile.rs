//! From a grammar's source to a constraint, under limits on time and memory.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::InferenceCapabilities;
use llguidance::{Logger, Matcher, ParserFactory};
use parking_lot::Mutex;

use super::constraint::Engine;
use super::gbnf::Machine;
use super::{schema, Constraint, Grammar, Source, Tokens, LONGEST_SOURCE};
use crate::error::{Error, Result};

/// Grammars that are kept compiled.
const KEPT: usize = 16;

/// Parentheses, brackets and braces within each other in a grammar's text.
const DEEPEST: usize = 100;

/// Characters of a message of llguidance, which may quote the grammar.
const LONGEST_REASON: usize = 400;

/// What llguidance may spend; a grammar that needs more ends in an error. The model's other jobs
/// wait while a token's mask is computed, and items are what costs: the worst grammar that we found
/// took some 40 ms for 30,000. Those of a schema are cheap, for they are not ambiguous; an object
/// of 1,000 optional members has 4,000 wherever the next may begin.
fn limits(source: &Source) -> ParserLimits {
    let is_schema = matches!(source, Source::JsonObject | Source::JsonSchema(_));
    ParserLimits {
        max_items_in_row: 5_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: if is_schema { 150_000 } else { 30_000 },
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

/// A compiled grammar, of which any number of answers can have a [`Constraint`].
pub struct Compiled {
    key: String,
    constraint: Mutex<Constraint>,
    /// What of the grammar is not held, one line each.
    pub notices: Vec<String>,
}

impl Compiled {
    /// A constraint for one answer; errors name `field`.
    pub fn constraint(&self, field: &str) -> Constraint {
        self.constraint.lock().another(field)
    }
}

/// Compiles grammars for one vocabulary, and keeps the last ones.
pub struct Compiler {
    tokens: Tokens,
    factory: ParserFactory,
    kept: Mutex<VecDeque<Arc<Compiled>>>,
}

impl Compiler {
    /// A compiler for the vocabulary `tokens`.
    pub fn new(tokens: Tokens) -> Result<Self> {
        let slices = SlicedBiasComputer::general_slices();
        let capabilities = InferenceCapabilities::default();
        let factory = ParserFactory::new(tokens.env(), capabilities, &slices)
            .map_err(|error| Error::new(crate::error::ErrorKind::Internal, error.to_string()))?;
        Ok(Self { tokens, factory, kept: Mutex::default() })
    }

    /// `grammar` as it was compiled before, if it is still kept.
    pub fn find(&self, grammar: &Grammar) -> Option<Arc<Compiled>> {
        let key = key(&grammar.source);
        let mut kept = self.kept.lock();
        kept.retain(|compiled| !compiled.constraint.lock().is_spoilt());
        let index = kept.iter().position(|compiled| compiled.key == key)?;
        let compiled = kept.remove(index)?;
        kept.push_front(Arc::clone(&compiled));
        Some(compiled)
    }

    /// Compiles `grammar`, and keeps it. Deep grammars take stack: call it where there are 64 MiB.
    pub fn compile(&self, grammar: &Grammar) -> Result<Arc<Compiled>> {
        if let Some(compiled) = self.find(grammar) {
            return Ok(compiled);
        }
        // llguidance answers bad grammars with errors, and panics where it was not prepared.
        let compiled = catch_unwind(AssertUnwindSafe(|| self.make(grammar))).unwrap_or_else(|_| {
            let message = "is beyond what the grammar compiler takes; make it simpler";
            Err(Error::invalid_request(&grammar.field, message))
        });
        let compiled = Arc::new(compiled?);
        let mut kept = self.kept.lock();
        kept.truncate(KEPT - 1);
        kept.push_front(Arc::clone(&compiled));
        Ok(compiled)
    }

    fn make(&self, grammar: &Grammar) -> Result<Compiled> {
        let wrong = |message: &str| Error::invalid_request(&grammar.field, reason(message));
        check_text(&grammar.source).map_err(|message| wrong(&message))?;
        let (engine, notices) = match &grammar.source {
            Source::Gbnf(text) => {
                let machine = Machine::new(text, &self.tokens).map_err(|error| wrong(&error))?;
                (Engine::Gbnf(Box::new(machine)), Vec::new())
            }
            source => {
                let parser = self.factory.create_parser_from_init_ext(
                    GrammarInit::Serialized(top_level(source)),
                    Logger::new(0, 0),
                    InferenceCapabilities::default(),
                    limits(source),
                );
                let mut parser = parser.map_err(|error| wrong(&format!("{error:#}")))?;
                let warnings = parser.grammar_warnings();
                (Engine::Guidance(Box::new(Matcher::new(Ok(parser)))), warnings)
            }
        };
        let mut constraint = Constraint::new(engine, self.tokens.clone(), grammar.field.clone());
        constraint.warm_up()?;
        let field = &grammar.field;
        let notices = notices.iter().map(|notice| format!("{field}: {}", reason(notice)));
        Ok(Compiled {
            key: key(&grammar.source),
            notices: notices.collect(),
            constraint: Mutex::new(constraint),
        })
    }
}

/// What tells sources apart; the order of a schema's properties counts.
fn key(source: &Source) -> String {
    match source {
        Source::JsonObject => "o".to_owned(),
        Source::JsonSchema(schema) => format!("s{schema}"),
        Source::Regex(pattern) => format!("r{pattern}"),
        Source::Lark(text) => format!("l{text}"),
        Source::Gbnf(text) => format!("g{text}"),
    }
}

fn top_level(source: &Source) -> TopLevelGrammar {
    match source {
        Source::JsonObject => TopLevelGrammar::from_json_schema(schema::any_object()),
        Source::JsonSchema(schema) => TopLevelGrammar::from_json_schema(schema.clone()),
        Source::Regex(pattern) => TopLevelGrammar::from_regex(pattern),
        Source::Lark(text) | Source::Gbnf(text) => TopLevelGrammar::from_lark(text.clone()),
    }
}

/// Refuses texts that are too long, or nested too deeply for parsers that recurse.
fn check_text(source: &Source) -> std::result::Result<(), String> {
    let (Source::Regex(text) | Source::Lark(text) | Source::Gbnf(text)) = source else {
        return Ok(());
    };
    if text.len() > LONGEST_SOURCE {
        return Err(format!(
            "has {} bytes, more than the {LONGEST_SOURCE} that are taken",
            text.len()
        ));
    }
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("has more than {DEEPEST} brackets within each other"));
        }
    }
    Ok(())
}

/// A message of llguidance in one line, without the state and backtrace that it appends.
pub(super) fn reason(message: &str) -> String {
    let end = ["<state>", "<non-verbose/>", "<backtrace>"];
    let end = end.iter().filter_map(|mark| message.find(mark)).min().unwrap_or(message.len());
    let words = message[..end].split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST_REASON) {
        Some((cut, _)) => format!("{}...", &words[..cut]),
        None => words,
    }
}
