//! Why the command line leads nowhere.
#![forbid(unsafe_code)]

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::CommandFactory;

use super::Config;

/// The end of a process that has not begun.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Somebody asked for the help or the version.
    Asked(clap::Error),
    /// One line: what is wrong, and what would be right.
    Wrong(String),
}

impl Problem {
    /// A wrong value.
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self::Wrong(line.into())
    }

    /// What clap has come to.
    pub(super) fn of<T>(read: Result<T, clap::Error>) -> Result<T, Self> {
        read.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Asked(error),
            _ => Self::Wrong(line(&error)),
        })
    }
}

/// clap's message up to its first empty line, on one line.
fn line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let variable = variable_of(error).map(|name| format!(" (set by {name})")).unwrap_or_default();
    format!("{}{variable}; --help lists what there is", words.join(" "))
}

/// The variable that a wrong value comes from, unless it is the command line's.
fn variable_of(error: &clap::Error) -> Option<String> {
    let ContextValue::String(argument) = error.get(ContextKind::InvalidArg)? else { return None };
    let long = argument.split_whitespace().next()?.trim_start_matches("--");
    let is_given = |given: String| {
        given.strip_prefix("--").is_some_and(|rest| rest.split('=').next() == Some(long))
    };
    let command = Config::command();
    let option = command.get_arguments().find(|option| option.get_long() == Some(long))?;
    let name = option.get_env()?.to_string_lossy().into_owned();
    let from_line = std::env::args_os().any(|given| is_given(given.to_string_lossy().into_owned()));
    (!from_line && std::env::var_os(&name).is_some()).then_some(name)
}
