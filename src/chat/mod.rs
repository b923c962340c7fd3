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
//! | `text` | [`TextFilter`]: whole characters, no stop strings |
//! | `matcher` | looks for one string in bytes that come |
#![forbid(unsafe_code)]

mod clock;
mod functions;
mod matcher;
mod messages;
mod operands;
mod source;
mod template;
mod text;
mod write;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod text_tests;

pub(crate) use matcher::Matcher;
pub use template::{Template, CHATML};
pub use text::{Chunk, TextFilter};
