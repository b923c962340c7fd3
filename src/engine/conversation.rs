//! The chat side of a text model: what a request for a chat means for the prompt, for what may be
//! drawn, and for how the answer is read.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::writer::Reading;
use crate::backend::{ModelInfo, Vocab};
use crate::chat::{Begins, Dialect, Forms, Rules, Template, Thinking, Tool, CHATML};
use crate::error::{Error, Result};
use crate::grammar::{schema, Grammar, Source};
use crate::log::log;
use crate::request::{Function, Reasoning, Tools};

/// A model's template, and what it shows of tools and reasoning.
pub(super) struct Conversation {
    template: Template,
    source: String,
    dialect: Dialect,
    /// Control tokens that the markup is made of; the parser has to see their names.
    markers: Arc<BTreeMap<u32, String>>,
    /// What ends the reasoning when its budget is spent.
    close: Arc<[u32]>,
}

/// A request for a chat, as far as it concerns this room.
pub(super) struct Chat<'a> {
    pub(super) messages: &'a Value,
    pub(super) variables: &'a Map<String, Value>,
    pub(super) tools: Option<&'a Tools>,
    pub(super) reasoning: &'a Reasoning,
    /// Whether the answer has a form already.
    pub(super) has_grammar: bool,
}

/// What a chat comes to.
pub(super) struct Prepared {
    pub(super) prompt: String,
    /// What calls may look like.
    pub(super) grammar: Option<Grammar>,
    pub(super) reading: Reading,
}

impl Conversation {
    /// The template of the load options, `given`, else the model's own, else ChatML. `tokenize`
    /// gives the tokens of a text.
    pub(super) fn new(
        info: &ModelInfo,
        given: Option<String>,
        vocab: &Vocab,
        tokenize: impl FnOnce(&str) -> Result<Vec<u32>>,
    ) -> Result<Self> {
        let (template, source) = choose_template(info, given)?;
        let dialect = Dialect::new(&template, &source);
        let markers = Arc::new(markers(&dialect, vocab));
        let close = tokenize(dialect.thinking("").0.close)?.into();
        Ok(Self { template, source, dialect, markers, close })
    }

    /// What model information says of it.
    pub(super) fn describe(&self, info: &mut Map<String, Value>) {
        info.insert("chat_template".into(), self.source.as_str().into());
        info.insert("tool_format".into(), self.dialect.format().into());
    }

    /// The prompt for `chat`, what may be drawn, and how that is read.
    pub(super) fn prepare(&self, chat: &Chat<'_>) -> Result<Prepared> {
        let variables = chat.reasoning.variables(chat.variables);
        let definitions = chat.tools.map(|tools| &tools.definitions);
        let prompt = self.dialect.render(&self.template, chat.messages, definitions, &variables)?;
        let thinking = self.dialect.thinking(&prompt);
        let thinking = match chat.tools {
            // A form leaves no room for reasoning; neither does that of calls, where the model
            // is not known to reason.
            _ if chat.has_grammar => None,
            Some(_) if !self.dialect.reasons() => None,
            _ => Some(thinking),
        };
        let functions = chat.tools.map(|tools| tools.callable.iter().map(tool).collect::<Vec<_>>());
        let grammar = match (chat.tools, &functions) {
            (Some(tools), Some(functions)) => Some(self.grammar(tools, functions, thinking)?),
            _ => None,
        };
        let calls = functions.map(|functions| (self.dialect.syntax(), functions.into()));
        let forms = Forms { thinking, inline: chat.reasoning.inline, calls, ids: 0 };
        let reading = Reading {
            forms,
            markers: Arc::clone(&self.markers),
            budget: chat.reasoning.budget.map(|tokens| tokens as usize),
            close: Arc::clone(&self.close),
        };
        Ok(Prepared { prompt, grammar, reading })
    }

    fn grammar(
        &self,
        tools: &Tools,
        functions: &[Tool],
        thinking: Option<(&Thinking, Begins)>,
    ) -> Result<Grammar> {
        let rules = Rules {
            syntax: self.dialect.syntax(),
            tools: functions,
            required: tools.required,
            parallel: tools.parallel,
            thinking,
            specials: &self.markers,
        };
        let mut notices = Vec::new();
        let lark = rules.to_lark(&mut |schema, path, strict| {
            let prepared = schema::prepare(schema, path, strict)?;
            notices.extend(prepared.notices);
            Ok(prepared.schema)
        })?;
        Ok(Grammar { source: Source::Lark(lark), field: "tools".to_owned(), notices })
    }
}

fn tool(function: &Function) -> Tool {
    Tool {
        name: function.name.clone(),
        schema: function.parameters.clone(),
        path: function.path.clone(),
        strict: function.strict,
    }
}

/// The control tokens of `vocab` whose names are in the markup of `dialect`.
fn markers(dialect: &Dialect, vocab: &Vocab) -> BTreeMap<u32, String> {
    let texts: Vec<&str> = dialect.markers().filter(|text| !text.is_empty()).collect();
    let named = (0..vocab.len() as u32).filter_map(|id| Some((id, vocab.control_name(id)?)));
    let in_markup =
        named.filter(|(_, name)| !name.is_empty() && texts.iter().any(|text| text.contains(name)));
    in_markup.map(|(id, name)| (id, name.to_owned())).collect()
}

fn choose_template(info: &ModelInfo, given: Option<String>) -> Result<(Template, String)> {
    let is_given = given.is_some();
    let source = given.or_else(|| info.chat_template.clone()).unwrap_or_else(|| {
        log!(Warn, "{}: has no chat template; using ChatML", info.name);
        CHATML.to_owned()
    });
    let template =
        Template::new(&source, &info.bos, &info.eos).map_err(|error| match is_given {
            true => Error::invalid_request("chat_template", error.message()),
            false => error,
        })?;
    Ok((template, source))
}
