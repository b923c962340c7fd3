//! A model's chat template: from messages to the prompt.
#![forbid(unsafe_code)]

use std::thread;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Jinja};
use minijinja::Environment;
use serde_json::{Map, Value};

use super::{functions, messages, source};
use crate::error::{Error, ErrorKind, Result};

/// The template for models that bring none: OpenAI's chat markup, as most small models use it.
pub const CHATML: &str = "{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] or '') + '<|im_end|>' + '\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Steps and data of one rendering (minijinja's fuel: an instruction, or 64 bytes). A thousand
/// messages need some 300,000; running this dry takes a fraction of a second and 128 MiB.
const FUEL: u64 = 2_000_000;

/// Stack of the threads that compile and render: several times what `source` lets through.
const STACK: usize = 32 << 20;

/// A compiled chat template. `Send + Sync`: any number of threads may render at once.
///
/// Jinja as Hugging Face's transformers set it up (`utils/chat_template_utils.py`): blocks
/// trimmed, `break` and `continue`, `raise_exception`, `strftime_now` in UTC, `tojson` without
/// HTML escapes, Python's string methods.
#[derive(Debug)]
pub struct Template {
    env: Environment<'static>,
    bos: String,
    eos: String,
}

impl Template {
    /// Compiles `source`. `bos` and `eos` are the texts of the model's first and last token,
    /// which templates see as `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] when the source is not Jinja, or too large or too deep.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        let source = source::prepare(source)?;
        let env = on_large_stack(move || compile(source))?;
        Ok(Self { env, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The prompt for `messages`, an array in OpenAI's form.
    ///
    /// Content given as an array of text parts becomes one string, joined by line breaks, and
    /// `arguments` of tool calls become objects, as templates expect. `tools` is OpenAI's array;
    /// `extra` holds further variables (`enable_thinking`, ...), which cannot replace the others.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] at `messages` when the template refuses them by
    /// `raise_exception`, or when they are not an array or nested too deeply;
    /// [`ErrorKind::Unsupported`] for parts that are not text; [`ErrorKind::InvalidModel`] when
    /// the template fails, or exceeds its limits of work and memory.
    pub fn render(
        &self,
        messages: &Value,
        tools: Option<&Value>,
        add_generation_prompt: bool,
        extra: &Map<String, Value>,
    ) -> Result<String> {
        let messages = messages::for_template(messages)?;
        let others = extra.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in others.clone().chain(tools.map(|tools| ("tools", tools))) {
            messages::check_depth(name, value)?;
        }
        let mut names: Vec<(&str, Jinja)> = Vec::new();
        names.extend(others.map(|(name, value)| (name, Jinja::from(Serde(value)))));
        names.push(("messages", Jinja::from(Serde(&messages))));
        names.push(("tools", Jinja::from(Serde(tools))));
        names.push(("add_generation_prompt", add_generation_prompt.into()));
        names.push(("bos_token", self.bos.as_str().into()));
        names.push(("eos_token", self.eos.as_str().into()));
        let context = Jinja::from_pairs(names);
        on_large_stack(|| {
            let template = self.env.get_template("chat").map_err(failed)?;
            template.render(context).map_err(failed)
        })
    }
}

fn compile(source: String) -> Result<Environment<'static>> {
    let mut env = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    env.set_syntax(syntax.build().map_err(failed)?);
    env.set_fuel(Some(FUEL));
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    functions::install(&mut env);
    env.add_template_owned("chat", source).map_err(|error| {
        let message = format!("the model's chat template does not compile: {error}");
        Error::new(ErrorKind::InvalidModel, message)
    })?;
    Ok(env)
}

/// Runs `work` on a thread of its own with a stack of known size: the caller's may be small, and
/// an overflow would abort the process.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("fluid-chat".into()).stack_size(STACK);
        let thread = builder.spawn_scoped(scope, work).map_err(|error| {
            Error::new(ErrorKind::OutOfMemory, format!("no thread for the chat template: {error}"))
        })?;
        let internal = |_| Error::new(ErrorKind::Internal, "the chat template engine panicked");
        thread.join().map_err(internal)?
    })
}

/// What a failed rendering means to the caller.
fn failed(error: minijinja::Error) -> Error {
    if error.kind() == minijinja::ErrorKind::OutOfFuel {
        let message = "the model's chat template exceeded its limit of work and memory";
        return Error::new(ErrorKind::InvalidModel, message);
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(raised) = cause.downcast_ref::<functions::Raised>() {
            return Error::invalid_request("messages", raised);
        }
        source = cause.source();
    }
    let message = format!("the model's chat template failed: {error}");
    Error::new(ErrorKind::InvalidModel, message)
}
