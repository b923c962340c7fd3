//! An embedding: OpenAI's fields, and how vectors are made of what the model computes.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::Value;

use super::fields::{kind, Fields};
use super::{options, parse_object};
use crate::error::{Error, Result};

/// Texts of one request at most.
pub(super) const MOST_TEXTS: usize = 65_536;

/// A text to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedInput {
    /// As it stands; the model adds the special tokens it wants around it.
    Text(String),
    /// Token ids, taken as they stand.
    Tokens(Vec<u32>),
}

/// How the states of a text's tokens become its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one, which in BERT is that of `[CLS]`.
    Cls,
    /// The last one.
    Last,
}

impl Pooling {
    /// As requests and model information name it.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
            Pooling::Last => "last",
        }
    }
}

/// A checked request for vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// The texts, 1 to 65,536; none without tokens.
    pub inputs: Vec<EmbedInput>,
    /// Numbers of a vector to keep, the first ones; by default all.
    pub dimensions: Option<usize>,
    /// In place of the model's own.
    pub pooling: Option<Pooling>,
    /// Whether vectors have the length 1.
    pub normalize: bool,
    /// Whether a text that is too long is cut (true) or an error (false).
    pub truncate: bool,
    /// The job ends with `FLUID_DEADLINE` after this time, waiting included.
    pub deadline: Option<Duration>,
    /// `model` as the request names it, for the result.
    pub model: Option<String>,
}

impl EmbedRequest {
    /// Reads `text`, a JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        let map = parse_object(text, "request")?;
        let mut fields = Fields::new("", &map);
        // Accounting of OpenAI's service.
        fields.value("user");
        check_format(&mut fields)?;
        let request = Self {
            inputs: inputs(&mut fields)?,
            dimensions: fields.integer("dimensions", 1..=1 << 20)?.map(|count| count as usize),
            pooling: pooling(&mut fields)?,
            normalize: fields.boolean("normalize")?.unwrap_or(true),
            truncate: fields.boolean("truncate")?.unwrap_or(false),
            deadline: options::deadline(&mut fields)?,
            model: fields.string("model")?.map(str::to_owned),
        };
        fields.ignore_unknown();
        Ok(request)
    }
}

/// Vectors are floats in memory whatever it says.
fn check_format(fields: &mut Fields<'_>) -> Result<()> {
    match fields.string("encoding_format")? {
        None | Some("float" | "base64") => Ok(()),
        Some(other) => Err(Error::invalid_request(
            "encoding_format",
            format!("\"{other}\" is not known; use \"float\", or leave it out"),
        )),
    }
}

fn pooling(fields: &mut Fields<'_>) -> Result<Option<Pooling>> {
    let Some(name) = fields.string("pooling")? else {
        return Ok(None);
    };
    let known = [Pooling::Mean, Pooling::Cls, Pooling::Last];
    let found = known.into_iter().find(|pooling| pooling.name() == name);
    found.map(Some).ok_or_else(|| {
        let message = format!("\"{name}\" is not known; use \"mean\", \"cls\" or \"last\"");
        Error::invalid_request("pooling", message)
    })
}

fn inputs(fields: &mut Fields<'_>) -> Result<Vec<EmbedInput>> {
    let expected =
        "expected a string, an array of strings, an array of token ids, or an array of such arrays";
    match fields.value("input") {
        None => Err(Error::invalid_request("input", format!("is missing; {expected}"))),
        Some(Value::String(text)) => Ok(vec![EmbedInput::Text(checked(text, "input")?)]),
        Some(Value::Array(items)) => match items.first() {
            None => Err(Error::invalid_request("input", "is empty; give at least one text")),
            Some(Value::Number(_)) => Ok(vec![EmbedInput::Tokens(tokens(items, "input")?)]),
            Some(_) => many(items),
        },
        Some(other) => {
            Err(Error::invalid_request("input", format!("{expected}, got {}", kind(other))))
        }
    }
}

fn many(items: &[Value]) -> Result<Vec<EmbedInput>> {
    check_count("input", items.len())?;
    let inputs = items.iter().enumerate().map(|(index, item)| {
        let path = format!("input[{index}]");
        match item {
            Value::String(text) => Ok(EmbedInput::Text(checked(text, &path)?)),
            Value::Array(ids) if !ids.is_empty() => Ok(EmbedInput::Tokens(tokens(ids, &path)?)),
            Value::Array(_) => Err(Error::invalid_request(&path, "is empty; give token ids")),
            other => {
                let message = format!("expected a string or token ids, got {}", kind(other));
                Err(Error::invalid_request(&path, message))
            }
        }
    });
    inputs.collect()
}

/// A text that is not empty, as OpenAI asks for; one of white space alone has its special tokens.
fn checked(text: &str, path: &str) -> Result<String> {
    match text.is_empty() {
        true => Err(Error::invalid_request(path, "is empty; give a text")),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn check_count(path: &str, count: usize) -> Result<()> {
    if count > MOST_TEXTS {
        let message = format!("{count} texts are more than {MOST_TEXTS}; use several requests");
        return Err(Error::invalid_request(path, message));
    }
    Ok(())
}

/// The token ids of `items` at `path`.
pub(super) fn tokens(items: &[Value], path: &str) -> Result<Vec<u32>> {
    let ids = items.iter().enumerate().map(|(index, item)| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| {
            let message = format!("expected a token id, got {item}");
            Error::invalid_request(&format!("{path}[{index}]"), message)
        })
    });
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs_of(input: &str) -> Result<Vec<EmbedInput>> {
        Ok(EmbedRequest::parse(&format!("{{\"input\": {input}}}"))?.inputs)
    }

    #[test]
    fn the_four_forms_of_an_input() {
        let text = |text: &str| EmbedInput::Text(text.to_owned());
        let tokens = |ids: &[u32]| EmbedInput::Tokens(ids.to_vec());
        let cases = [
            ("\"a\"", vec![text("a")]),
            ("[\"a\", \" \"]", vec![text("a"), text(" ")]),
            ("[1, 2]", vec![tokens(&[1, 2])]),
            ("[[1, 2], [3]]", vec![tokens(&[1, 2]), tokens(&[3])]),
        ];
        for (input, expected) in cases {
            assert_eq!(inputs_of(input).expect(input), expected);
        }
    }

    #[test]
    fn bad_fields_are_named() {
        let cases = [
            ("{}", "input: is missing"),
            (r#"{"input": ""}"#, "input: is empty"),
            (r#"{"input": []}"#, "input: is empty"),
            (r#"{"input": 3}"#, "got a number"),
            (r#"{"input": ["a", 3]}"#, "input[1]: expected a string or token ids"),
            (r#"{"input": ["a", ""]}"#, "input[1]: is empty"),
            (r#"{"input": [[1], []]}"#, "input[1]: is empty"),
            (r#"{"input": [[1], [-1]]}"#, "input[1][0]: expected a token id, got -1"),
            (r#"{"input": [1, "a"]}"#, "input[1]: expected a token id"),
            (r#"{"input": [1.5]}"#, "input[0]: expected a token id, got 1.5"),
            (r#"{"input": "a", "dimensions": 0}"#, "dimensions: 0 is outside"),
            (r#"{"input": "a", "pooling": "max"}"#, "use \"mean\", \"cls\" or \"last\""),
            (r#"{"input": "a", "normalize": 2}"#, "normalize: expected a boolean"),
            (r#"{"input": "a", "encoding_format": "hex"}"#, "encoding_format: \"hex\""),
            (r#"{"input": "a", "deadline_ms": 0}"#, "deadline_ms"),
        ];
        for (text, words) in cases {
            let error = EmbedRequest::parse(text).expect_err(text);
            assert!(error.message().contains(words), "{text}: {error}");
        }
        let many = format!("{{\"input\": [{}\"a\"]}}", "\"a\",".repeat(MOST_TEXTS));
        let error = EmbedRequest::parse(&many).expect_err("too many");
        assert!(error.message().contains("65537 texts are more than 65536"), "{error}");
    }
}
