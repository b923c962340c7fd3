//! What comes of embedding and ranking, whole or as far as it came.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Value};

/// Counts and times of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Usage {
    /// Tokens of all texts.
    pub(super) tokens: usize,
    /// Texts that were cut, by their place in the request.
    pub(super) truncated: Vec<usize>,
    /// Waiting for the worker.
    pub(super) queued: Duration,
    /// From then to the end.
    pub(super) computed: Duration,
}

impl Usage {
    fn usage_json(&self) -> Value {
        json!({"prompt_tokens": self.tokens, "total_tokens": self.tokens})
    }

    fn timings_json(&self) -> Value {
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        json!({"queued_ms": ms(self.queued), "prompt_n": self.tokens, "prompt_ms": ms(self.computed)})
    }
}

/// Vectors, one for each text.
#[derive(Debug, Clone, Default)]
pub struct Embeddings {
    pub(super) model: String,
    /// One vector after the other.
    pub(super) values: Arc<Vec<f32>>,
    pub(super) dimensions: usize,
    pub(super) usage: Usage,
}

impl Embeddings {
    /// The vectors one after the other, and the numbers of each.
    pub(in crate::engine) fn values(&self) -> (Arc<Vec<f32>>, usize) {
        (Arc::clone(&self.values), self.dimensions)
    }

    /// OpenAI's object, in which `data` is missing: the vectors are floats in memory.
    pub(in crate::engine) fn to_json(&self) -> String {
        json!({
            "object": "list",
            "model": self.model,
            "count": self.values.len() / self.dimensions.max(1),
            "dimensions": self.dimensions,
            "truncated": self.usage.truncated,
            "usage": self.usage.usage_json(),
            "timings": self.usage.timings_json(),
        })
        .to_string()
    }
}

/// Documents in the order of their scores.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    pub(super) model: String,
    /// Of the first documents of the request, in its order.
    pub(super) scores: Vec<f32>,
    pub(super) top_n: Option<usize>,
    /// What the result repeats, if anything.
    pub(super) documents: Option<Vec<String>>,
    pub(super) usage: Usage,
}

impl Ranking {
    /// Jina's object: the best document first.
    pub(in crate::engine) fn to_json(&self) -> String {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        order.sort_by(|&a, &b| self.scores[b].total_cmp(&self.scores[a]));
        order.truncate(self.top_n.unwrap_or(usize::MAX));
        let results: Vec<Value> = order.into_iter().map(|index| self.result(index)).collect();
        json!({
            "object": "list",
            "model": self.model,
            "results": results,
            "truncated": self.usage.truncated,
            "usage": self.usage.usage_json(),
            "timings": self.usage.timings_json(),
        })
        .to_string()
    }

    fn result(&self, index: usize) -> Value {
        let mut result = json!({"index": index, "relevance_score": self.scores[index]});
        if let Some(document) = self.documents.as_ref().and_then(|texts| texts.get(index)) {
            result["document"] = json!({"text": document});
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_document_comes_first() {
        let ranking = Ranking {
            scores: vec![-1.0, 2.5, 0.0],
            top_n: Some(2),
            documents: Some(["a", "b", "c"].map(str::to_owned).to_vec()),
            ..Ranking::default()
        };
        let json: Value = serde_json::from_str(&ranking.to_json()).expect("JSON");
        let expected = json!([
            {"index": 1, "relevance_score": 2.5, "document": {"text": "b"}},
            {"index": 2, "relevance_score": 0.0, "document": {"text": "c"}},
        ]);
        assert_eq!(json["results"], expected);
    }
}
