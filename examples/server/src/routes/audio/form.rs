//! A form's fields as the library's request: forms know texts only, requests know numbers, lists and objects.
#![forbid(unsafe_code)]

use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::http::StatusCode;
use serde_json::{json, Map, Value};

use crate::error::{ApiError, ApiResult};

/// Fields that one form may have.
const MOST: usize = 64;

/// Bytes of a field that is no file.
const LARGEST: usize = 1 << 20;

/// Fields that are texts, whatever they look like.
const TEXTS: [&str; 9] = [
    "model",
    "language",
    "prompt",
    "initial_prompt",
    "hotwords",
    "response_format",
    "task",
    "user",
    "prefix",
];

/// Fields that are lists, also where one item is given without brackets.
const LISTS: [&str; 4] =
    ["timestamp_granularities", "include", "known_speaker_names", "known_speaker_references"];

/// An upload.
#[derive(Default)]
pub(super) struct Form {
    pub(super) file: Option<Bytes>,
    /// The rest, as JSON.
    pub(super) fields: Map<String, Value>,
}

impl Form {
    pub(super) async fn read(mut multipart: Multipart) -> ApiResult<Self> {
        let mut form = Self::default();
        let mut count = 0;
        while let Some(field) = multipart.next_field().await.map_err(broken)? {
            count += 1;
            if count > MOST {
                let message = format!("the form has more than {MOST} fields");
                return Err(ApiError::new(StatusCode::BAD_REQUEST, None, message));
            }
            form.take(field).await?;
        }
        Ok(form)
    }

    async fn take(&mut self, field: Field<'_>) -> ApiResult<()> {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(broken)?;
        if name == "file" {
            self.file = Some(bytes);
            return Ok(());
        }
        if bytes.len() > LARGEST {
            let message = format!("{name}: {} bytes are more than {LARGEST}", bytes.len());
            let (status, code) = (StatusCode::PAYLOAD_TOO_LARGE, Some("body_too_large"));
            return Err(ApiError::new(status, code, message));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| ApiError::invalid(&name, format!("{name}: is not UTF-8: {error}")))?;
        // Forms send an empty text for what was not filled in.
        if !name.is_empty() && !text.is_empty() {
            put(&mut self.fields, &name, text);
        }
        Ok(())
    }
}

/// 413 for an upload that is too large, 400 for one that is cut or no form.
fn broken(error: MultipartError) -> ApiError {
    let status = error.status();
    let code = (status == StatusCode::PAYLOAD_TOO_LARGE).then_some("body_too_large");
    ApiError::new(status, code, format!("the form cannot be read: {}", error.body_text()))
}

/// Puts a field in place: `name`, an item of a list `name[]`, or a field of an object `name[field]`.
fn put(fields: &mut Map<String, Value>, name: &str, text: &str) {
    let inner = name.strip_suffix(']').and_then(|name| name.split_once('['));
    match inner {
        Some((name, "")) => append(fields, name, value(name, text)),
        Some((name, inner)) => {
            let object = fields.entry(name).or_insert_with(|| json!({}));
            if let Some(object) = object.as_object_mut() {
                object.insert(inner.to_owned(), value(inner, text));
            }
        }
        None => match value(name, text) {
            item if LISTS.contains(&name) && !item.is_array() => append(fields, name, item),
            value => drop(fields.insert(name.to_owned(), value)),
        },
    }
}

fn append(fields: &mut Map<String, Value>, name: &str, item: Value) {
    let list = fields.entry(name).or_insert_with(|| json!([]));
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

/// What a text says: a number, a list or an object as JSON writes them, true and false as Python writes them too.
fn value(name: &str, text: &str) -> Value {
    if TEXTS.contains(&name) {
        return json!(text);
    }
    match text.trim() {
        "True" => json!(true),
        "False" => json!(false),
        trimmed => match serde_json::from_str(trimmed) {
            Ok(Value::String(_)) | Err(_) => json!(text),
            Ok(value) => value,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> Value {
        let mut request = Map::new();
        fields.iter().for_each(|(name, text)| put(&mut request, name, text));
        Value::Object(request)
    }

    #[test]
    fn fields_become_what_they_say() {
        let fields = [
            ("model", "1"),
            ("prompt", "true"),
            ("language", "en"),
            ("temperature", "0.2"),
            ("seed", " 7 "),
            ("stream", "true"),
            ("vad_filter", "False"),
            ("suppress_tokens", "[-1, 5]"),
            ("compression_ratio_threshold", "null"),
            ("chunking_strategy", "auto"),
        ];
        let expected = json!({
            "model": "1", "prompt": "true", "language": "en", "temperature": 0.2, "seed": 7,
            "stream": true, "vad_filter": false, "suppress_tokens": [-1, 5],
            "compression_ratio_threshold": null, "chunking_strategy": "auto",
        });
        assert_eq!(request(&fields), expected);
    }

    #[test]
    fn lists_and_objects_come_in_several_spellings() {
        let words = json!({"timestamp_granularities": ["word", "segment"]});
        for fields in [
            &[("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")][..],
            &[("timestamp_granularities", "word"), ("timestamp_granularities", "segment")],
            &[("timestamp_granularities", "[\"word\", \"segment\"]")],
        ] {
            assert_eq!(request(fields), words, "{fields:?}");
        }
        let object = json!({"chunking_strategy": {"type": "server_vad", "threshold": 0.5}});
        let flat =
            [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.5")];
        assert_eq!(request(&flat), object);
        let whole = [("chunking_strategy", "{\"type\": \"server_vad\", \"threshold\": 0.5}")];
        assert_eq!(request(&whole), object);
    }

    #[test]
    fn odd_names_do_no_harm() {
        let odd = [
            "]", "[]", "[", "a]", "a[", "a[b", "a[b]c", "a[b][c]", "[a]", "a[]]", "stream[]",
            "a[[]]",
        ];
        for name in odd {
            for other in odd {
                request(&[(name, "1"), (other, "x"), (name, "{}"), (other, "[]")]);
            }
        }
    }
}
