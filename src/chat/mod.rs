//! From messages to a prompt, and from a model's bytes back to text.
//!
//! | file | holds |
//! |---|---|
//! | `template` | [`Template`]: a model's Jinja template, compiled once, rendered under limits |
//! | `source` | the template's source, checked and adapted before the engine sees it |
//! | `operands` | filters around the operands of `+`, `*`, `~`, against lists that explode |
//! | `messages` | OpenAI's messages, made into what templates expect |
//! | `functions` | the functions, filters and methods that templates may call |
//! | `write` | values as Python would write them: `tojson`, `str` |
//! | `clock` | the date, for `strftime_now` |
//! | `dialect` | [`Dialect`]: what a template shows of tools and reasoning; the prompt with tools |
//! | `syntax`, `thinking` | how models write calls and reasoning: tables |
//! | `history` | tools, calls and results as text, for templates that know none |
//! | `tool` | [`Tool`]: a function as grammar and parser need it |
//! | `grammar` | [`Rules`]: what calls may look like, in Lark |
//! | `answer`, `call`, `expect` | [`AnswerParser`]: reasoning, content and calls out of an answer |
//! | `text` | [`TextFilter`]: whole characters, no stop strings |
//! | `matcher` | looks for one string in bytes that come |
#![forbid(unsafe_code)]

mod answer;
mod call;
mod clock;
mod dialect;
mod expect;
mod functions;
mod grammar;
mod history;
mod matcher;
mod messages;
mod operands;
mod source;
mod syntax;
mod template;
mod text;
mod thinking;
mod tool;
mod write;

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod dialect_tests;
#[cfg(test)]
mod grammar_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod text_tests;

pub use answer::{AnswerParser, Delta, Forms};
pub use dialect::Dialect;
pub use grammar::{Prepare, Rules};
pub(crate) use matcher::Matcher;
pub use syntax::{Body, Syntax, ToolsIn};
pub use template::{Template, CHATML};
pub use text::{Chunk, TextFilter};
pub use thinking::{Begins, Thinking};
pub use tool::Tool;
