//! How a model is told of tools, and how it writes calls and reasoning: what its template shows.
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::history;
use super::syntax::{self, Syntax, ToolsIn};
use super::template::Template;
use super::thinking::{Begins, Thinking};
use crate::error::Result;

/// What a chat template says of tools and reasoning.
///
/// The way of writing calls goes by texts in the template's source ([`syntax`] has the table);
/// whether the template lists the tools itself, and whether it takes a system message, is tried
/// out. A model whose way is not known is told of the tools, and of how to call them, in a text of
/// ours; calls and results in its history are written in the same way.
#[derive(Debug)]
pub struct Dialect {
    syntax: &'static Syntax,
    /// Whether the template writes calls and results of the history.
    knows_calls: bool,
    /// Whether it lists the tools.
    lists_tools: bool,
    has_system: bool,
    thinking: &'static Thinking,
    /// Whether the template itself has the markup of reasoning.
    reasons: bool,
}

/// What the probes look for.
const PROBE: &str = "fluid_probe";

impl Dialect {
    /// What `template`, compiled from `source`, shows.
    pub fn new(template: &Template, source: &str) -> Self {
        let known = syntax::of_template(source);
        let syntax = known.unwrap_or_else(syntax::generic);
        let thinking = Thinking::of_template(source);
        let mut dialect = Self {
            syntax,
            knows_calls: known.is_some(),
            lists_tools: false,
            has_system: true,
            thinking,
            reasons: thinking.is_in(source),
        };
        dialect.lists_tools = known.is_some() && dialect.shows_tools(template);
        dialect.has_system = shows_system(template);
        dialect
    }

    /// The name of the way in which calls are written.
    pub fn format(&self) -> &'static str {
        self.syntax.name
    }

    /// How calls are written.
    pub fn syntax(&self) -> &'static Syntax {
        self.syntax
    }

    /// The markup of reasoning, and where an answer to `prompt` begins.
    pub fn thinking(&self, prompt: &str) -> (&'static Thinking, Begins) {
        (self.thinking, self.thinking.begins(prompt))
    }

    /// Whether the template has markup for reasoning, so that an answer may begin with some.
    pub fn reasons(&self) -> bool {
        self.reasons
    }

    /// The special tokens that the markup has, and whose texts the parser has to see.
    pub fn markers(&self) -> impl Iterator<Item = &'static str> {
        self.syntax.texts().chain([self.thinking.open, self.thinking.close])
    }

    /// The prompt for `messages`; errors as of [`Template::render`].
    pub fn render(
        &self,
        template: &Template,
        messages: &Value,
        tools: Option<&Value>,
        variables: &Map<String, Value>,
    ) -> Result<String> {
        let mut messages = match self.knows_calls {
            true => messages.clone(),
            false => history::written_out(messages),
        };
        let variable = match (tools, self.lists_tools, self.syntax.tools) {
            (Some(tools), true, ToolsIn::SystemField) => {
                history::put_into_system(&mut messages, tools);
                None
            }
            (Some(tools), true, ToolsIn::Variable) => Some(tools),
            (Some(tools), false, _) => {
                let text = history::instruction(tools, self.syntax);
                history::tell(&mut messages, &text, self.has_system);
                None
            }
            (None, ..) => None,
        };
        template.render(&messages, variable, true, variables)
    }

    fn shows_tools(&self, template: &Template) -> bool {
        let tools = json!([{"type": "function", "function": {
            "name": PROBE, "description": PROBE, "parameters": {"type": "object", "properties": {}},
        }}]);
        let mut messages = json!([{"role": "user", "content": "?"}]);
        let variable = match self.syntax.tools {
            ToolsIn::Variable => Some(&tools),
            ToolsIn::SystemField => {
                history::put_into_system(&mut messages, &tools);
                None
            }
        };
        let text = template.render(&messages, variable, true, &Map::new());
        text.is_ok_and(|text| text.contains(PROBE))
    }
}

fn shows_system(template: &Template) -> bool {
    let messages = json!([{"role": "system", "content": PROBE}, {"role": "user", "content": "?"}]);
    let text = template.render(&messages, None, true, &Map::new());
    text.is_ok_and(|text| text.contains(PROBE))
}
