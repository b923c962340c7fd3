//! What a request says of the model's reasoning: whether, how long, and where it goes.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::error::{Error, Result};

/// How a chat's answer is thought over; of no meaning to raw completions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reasoning {
    /// Leave it in the content, markup and all, instead of telling it apart.
    pub inline: bool,
    /// Tokens it may take, of which the end of it is forced; `None` is no limit.
    pub budget: Option<u32>,
    /// `reasoning_effort`, for the template.
    effort: Option<String>,
    /// `enable_thinking`, for the template.
    enabled: Option<bool>,
}

const EFFORTS: [&str; 6] = ["none", "minimal", "low", "medium", "high", "xhigh"];

/// `reasoning_budget` as our peers call it: llama-server's two names, and that of Qwen's service.
const BUDGETS: [&str; 4] =
    ["reasoning_budget", "reasoning_budget_tokens", "thinking_budget_tokens", "thinking_budget"];

impl Reasoning {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let effort = effort(fields)?;
        let in_kwargs =
            fields.object("chat_template_kwargs")?.and_then(|map| map.get("enable_thinking"));
        let enabled = match (fields.boolean("enable_thinking")?, in_kwargs) {
            (_, Some(Value::Bool(inner))) => Some(*inner),
            (outer, _) => outer,
        };
        let mut budget = None;
        for name in BUDGETS {
            let given = fields.integer(name, -1..=i64::from(i32::MAX))?;
            budget = budget.or(given);
        }
        // -1 is no limit.
        let budget = budget.and_then(|tokens| u32::try_from(tokens).ok());
        let is_off =
            enabled == Some(false) || (enabled.is_none() && effort.as_deref() == Some("none"));
        Ok(Self {
            inline: inline(fields)?,
            budget: if is_off { Some(0) } else { budget },
            enabled: enabled.or((is_off || budget == Some(0)).then_some(false)),
            effort,
        })
    }

    /// The template's variables: those of the request, and what they leave open of ours.
    pub fn variables(&self, given: &Map<String, Value>) -> Map<String, Value> {
        let mut variables = Map::new();
        if let Some(effort) = &self.effort {
            variables.insert("reasoning_effort".into(), effort.as_str().into());
        }
        if let Some(enabled) = self.enabled {
            // DeepSeek's and Granite's templates know it by the second name.
            variables.insert("enable_thinking".into(), enabled.into());
            variables.insert("thinking".into(), enabled.into());
        }
        variables.extend(given.clone());
        variables
    }
}

fn effort(fields: &mut Fields<'_>) -> Result<Option<String>> {
    match fields.string("reasoning_effort")? {
        Some(given) if !EFFORTS.contains(&given) => {
            let message = format!("\"{given}\" is not one of: {}", EFFORTS.join(", "));
            Err(Error::invalid_request("reasoning_effort", message))
        }
        given => Ok(given.map(str::to_owned)),
    }
}

fn inline(fields: &mut Fields<'_>) -> Result<bool> {
    match fields.string("reasoning_format")? {
        None | Some("auto" | "deepseek") => Ok(false),
        Some("none") => Ok(true),
        Some(other) => {
            let message = format!("\"{other}\" is not one of: auto, deepseek, none");
            Err(Error::invalid_request("reasoning_format", message))
        }
    }
}
