//! From texts to tokens and back, in llama-server's field names.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::embed::tokens;
use super::fields::{kind, Fields};
use super::{parse_object, GenerateRequest};
use crate::error::{Error, Result};

/// What to make tokens of.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenizeInput {
    /// A text.
    Content {
        /// As it stands.
        text: String,
        /// Whether the tokens are added that the model wants around a text.
        add_special: bool,
        /// Whether special tokens that the text spells out are read as such.
        parse_special: bool,
    },
    /// The prompt that a generation would begin with.
    Prompt(Box<GenerateRequest>),
}

/// A checked request for the tokens of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizeRequest {
    /// What to make tokens of.
    pub input: TokenizeInput,
    /// Whether the result spells the tokens out.
    pub with_pieces: bool,
}

impl TokenizeRequest {
    /// Reads `text`, a JSON object: with `content`, or a request as of `fluid_generate`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut map = parse_object(text, "request")?;
        let with_pieces = Fields::new("", &map).boolean("with_pieces")?.unwrap_or(false);
        let input = match map.get("content") {
            Some(_) => content(&map)?,
            None => {
                map.shift_remove("with_pieces");
                prompt(map)?
            }
        };
        Ok(Self { input, with_pieces })
    }
}

fn content(map: &Map<String, Value>) -> Result<TokenizeInput> {
    let mut fields = Fields::new("", map);
    let text = fields.string("content")?;
    let input = TokenizeInput::Content {
        text: text.ok_or_else(|| Error::invalid_request("content", "is null; give a text"))?.into(),
        add_special: fields.boolean("add_special")?.unwrap_or(false),
        parse_special: fields.boolean("parse_special")?.unwrap_or(true),
    };
    fields.value("with_pieces");
    fields.value("model");
    for name in ["messages", "prompt"] {
        if fields.value(name).is_some() {
            return Err(Error::invalid_request(name, "give content or a prompt, not both"));
        }
    }
    warn_of_unknown(&fields);
    Ok(input)
}

fn prompt(map: Map<String, Value>) -> Result<TokenizeInput> {
    if !map.contains_key("messages") && !map.contains_key("prompt") {
        let message = "is missing; give content, or messages or a prompt as for a generation";
        return Err(Error::invalid_request("content", message));
    }
    let request = GenerateRequest::parse(&Value::Object(map).to_string())?;
    Ok(TokenizeInput::Prompt(Box::new(request)))
}

/// A checked request for the text of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetokenizeRequest {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Whether special tokens are spelled out.
    pub special: bool,
}

impl DetokenizeRequest {
    /// Reads `text`, a JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        let map = parse_object(text, "request")?;
        let mut fields = Fields::new("", &map);
        let ids = match fields.value("tokens") {
            Some(Value::Array(items)) => tokens(items, "tokens")?,
            None => return Err(Error::invalid_request("tokens", "is missing; give token ids")),
            Some(other) => {
                let message = format!("expected an array of token ids, got {}", kind(other));
                return Err(Error::invalid_request("tokens", message));
            }
        };
        let special = fields.boolean("special")?.unwrap_or(true);
        fields.value("model");
        warn_of_unknown(&fields);
        Ok(Self { tokens: ids, special })
    }
}

fn warn_of_unknown(fields: &Fields<'_>) {
    fields.ignore_unknown();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_or_what_a_generation_begins_with() {
        let request = TokenizeRequest::parse(r#"{"content": "a", "add_special": true}"#);
        let expected =
            TokenizeInput::Content { text: "a".to_owned(), add_special: true, parse_special: true };
        assert_eq!(request.expect("sound").input, expected);
        let request = TokenizeRequest::parse(r#"{"prompt": "a", "with_pieces": true}"#);
        let request = request.expect("sound");
        assert!(matches!(request.input, TokenizeInput::Prompt(_)) && request.with_pieces);
    }

    #[test]
    fn bad_fields_are_named() {
        let tokenize = [
            ("{}", "content: is missing"),
            (r#"{"content": null}"#, "content: is null"),
            (r#"{"content": 1}"#, "content: expected a string"),
            (r#"{"content": "a", "messages": []}"#, "messages: give content or a prompt"),
            (r#"{"content": "a", "add_special": 1}"#, "add_special: expected a boolean"),
            (r#"{"prompt": "a", "with_pieces": 1}"#, "with_pieces: expected a boolean"),
            (r#"{"messages": []}"#, "messages: is empty"),
        ];
        for (text, words) in tokenize {
            let error = TokenizeRequest::parse(text).expect_err(text);
            assert!(error.message().contains(words), "{text}: {error}");
        }
        let detokenize = [
            ("{}", "tokens: is missing"),
            (r#"{"tokens": "a"}"#, "tokens: expected an array"),
            (r#"{"tokens": [1, -1]}"#, "tokens[1]: expected a token id"),
            (r#"{"tokens": [], "special": 1}"#, "special: expected a boolean"),
        ];
        for (text, words) in detokenize {
            let error = DetokenizeRequest::parse(text).expect_err(text);
            assert!(error.message().contains(words), "{text}: {error}");
        }
    }
}
