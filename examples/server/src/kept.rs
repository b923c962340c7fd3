//! Responses that are kept in memory for a while, so that a later request can go on from them.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// So many are kept; then the one goes that was not used for longest.
const MOST: usize = 256;
/// Bytes that all of them may take.
const MOST_BYTES: usize = 64 << 20;

/// A response and what it answered. As text, which takes a fraction of the memory.
struct One {
    id: String,
    response: String,
    items: String,
}

impl One {
    fn bytes(&self) -> usize {
        self.response.len() + self.items.len()
    }
}

/// Kept until others take their place, they are deleted or the process ends.
#[derive(Default)]
pub(crate) struct Kept {
    /// Least recently used first.
    all: Mutex<VecDeque<One>>,
}

impl Kept {
    fn all(&self) -> MutexGuard<'_, VecDeque<One>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response, and the items of the whole conversation before it.
    pub(crate) fn keep(&self, id: &str, response: &Value, items: &[Value]) {
        let one = One {
            id: id.to_owned(),
            response: response.to_string(),
            items: serde_json::to_string(items).unwrap_or_default(),
        };
        if one.bytes() > MOST_BYTES {
            return;
        }
        let mut all = self.all();
        all.push_back(one);
        while all.len() > MOST || all.iter().map(One::bytes).sum::<usize>() > MOST_BYTES {
            all.pop_front();
        }
    }

    /// The response `id`, and the items before it.
    pub(crate) fn get(&self, id: &str) -> Option<(Value, Vec<Value>)> {
        let (response, items) = self.used(id)?;
        let response = serde_json::from_str(&response).unwrap_or_default();
        Some((response, serde_json::from_str(&items).unwrap_or_default()))
    }

    /// Copies, so that others do not wait while they are parsed.
    fn used(&self, id: &str) -> Option<(String, String)> {
        let mut all = self.all();
        let place = all.iter().position(|one| one.id == id)?;
        let one = all.remove(place)?;
        let texts = (one.response.clone(), one.items.clone());
        all.push_back(one);
        Some(texts)
    }

    /// Forgets the response `id`. False: there is none.
    pub(crate) fn delete(&self, id: &str) -> bool {
        let mut all = self.all();
        let place = all.iter().position(|one| one.id == id);
        place.is_some_and(|place| all.remove(place).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_least_recently_used_goes_first() {
        let kept = Kept::default();
        for id in 0..MOST {
            kept.keep(&id.to_string(), &json!({"id": id}), &[json!(id)]);
        }
        assert_eq!(kept.get("0"), Some((json!({"id": 0}), vec![json!(0)])));
        kept.keep("new", &json!({}), &[]);
        assert!(kept.get("0").is_some() && kept.get("1").is_none() && kept.get("2").is_some());
        assert!(kept.delete("2") && !kept.delete("2") && kept.get("2").is_none());
    }

    #[test]
    fn bytes_are_bounded() {
        let kept = Kept::default();
        let large = json!("x".repeat(MOST_BYTES / 2 - 100));
        for id in ["a", "b", "c"] {
            kept.keep(id, &large, &[]);
        }
        assert!(kept.get("a").is_none() && kept.get("b").is_some() && kept.get("c").is_some());
        kept.keep("d", &json!("x".repeat(MOST_BYTES)), &[]);
        assert!(kept.get("d").is_none() && kept.get("c").is_some());
    }
}
