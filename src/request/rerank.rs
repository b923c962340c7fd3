//! A ranking of documents by how well they answer a query, in Jina's and llama-server's field names.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::Value;

use super::embed::check_count;
use super::fields::{kind, Fields};
use super::{options, parse_object};
use crate::error::{Error, Result};

/// A checked request for a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct RerankRequest {
    /// What is asked; not empty.
    pub query: String,
    /// What may answer it, 1 to 65,536.
    pub documents: Vec<String>,
    /// How many of the best the result names; by default all.
    pub top_n: Option<usize>,
    /// Whether the result repeats the documents.
    pub return_documents: bool,
    /// Whether a document that is too long is cut (true) or an error (false).
    pub truncate: bool,
    /// The job ends with `FLUID_DEADLINE` after this time, waiting included.
    pub deadline: Option<Duration>,
    /// `model` as the request names it, for the result.
    pub model: Option<String>,
}

impl RerankRequest {
    /// Reads `text`, a JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        let map = parse_object(text, "request")?;
        let mut fields = Fields::new("", &map);
        let query = fields.string("query")?.filter(|query| !query.is_empty());
        let query = query.ok_or_else(|| {
            Error::invalid_request("query", "is missing or empty; give the question as a string")
        })?;
        let request = Self {
            query: query.to_owned(),
            documents: documents(&mut fields)?,
            top_n: fields.integer("top_n", 1..=i64::from(i32::MAX))?.map(|count| count as usize),
            return_documents: fields.boolean("return_documents")?.unwrap_or(false),
            truncate: fields.boolean("truncate")?.unwrap_or(false),
            deadline: options::deadline(&mut fields)?,
            model: fields.string("model")?.map(str::to_owned),
        };
        fields.ignore_unknown();
        Ok(request)
    }
}

fn documents(fields: &mut Fields<'_>) -> Result<Vec<String>> {
    let documents = fields.array("documents")?.filter(|documents| !documents.is_empty());
    let documents = documents.ok_or_else(|| {
        let message = "is missing or empty; give an array of strings, or of objects with a text";
        Error::invalid_request("documents", message)
    })?;
    check_count("documents", documents.len())?;
    let texts = documents.iter().enumerate().map(|(index, document)| {
        let path = format!("documents[{index}]");
        match document {
            Value::String(text) => Ok(text.clone()),
            Value::Object(map) => match Fields::new(path.clone(), map).string("text")? {
                Some(text) => Ok(text.to_owned()),
                None => Err(Error::invalid_request(&format!("{path}.text"), "is missing")),
            },
            other => {
                let message =
                    format!("expected a string or an object with a text, got {}", kind(other));
                Err(Error::invalid_request(&path, message))
            }
        }
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_texts_or_objects() {
        let text = r#"{"query": "q", "documents": ["a", {"text": "b", "id": 1}, ""], "top_n": 2}"#;
        let request = RerankRequest::parse(text).expect("sound");
        assert_eq!(request.documents, ["a", "b", ""]);
        assert_eq!(request.top_n, Some(2));
    }

    #[test]
    fn bad_fields_are_named() {
        let cases = [
            (r#"{"documents": ["a"]}"#, "query: is missing"),
            (r#"{"query": "", "documents": ["a"]}"#, "query: is missing or empty"),
            (r#"{"query": 1, "documents": ["a"]}"#, "query: expected a string"),
            (r#"{"query": "q"}"#, "documents: is missing"),
            (r#"{"query": "q", "documents": []}"#, "documents: is missing or empty"),
            (r#"{"query": "q", "documents": "a"}"#, "documents: expected an array"),
            (r#"{"query": "q", "documents": [1]}"#, "documents[0]: expected a string or an object"),
            (r#"{"query": "q", "documents": [{}]}"#, "documents[0].text: is missing"),
            (r#"{"query": "q", "documents": ["a", {"text": 1}]}"#, "documents[1].text: expected"),
            (r#"{"query": "q", "documents": ["a"], "top_n": 0}"#, "top_n: 0 is outside"),
        ];
        for (text, words) in cases {
            let error = RerankRequest::parse(text).expect_err(text);
            assert!(error.message().contains(words), "{text}: {error}");
        }
    }
}
