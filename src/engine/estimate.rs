//! Will it fit: a backend's estimate against the memory there is, with advice.
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::{fetch_first, Engine};
use crate::backend::{self, memory, Estimate};
use crate::error::Result;
use crate::request::LoadOptions;
use crate::store::Found;

const MEBIBYTE: u64 = 1 << 20;

impl Engine {
    /// What `fluid_estimate` says of the model that `name` stands for, as JSON.
    pub fn estimate(&self, name: &str, mut options: LoadOptions) -> Result<String> {
        let path = self.path_here(name, &options)?;
        let (most, now) = self.budget.room().unzip();
        options.openvino.clone_from(&self.options.openvino);
        options.memory = most;
        let estimate = backend::estimate_contexts(&path, &options)?;
        let available = memory::available().into_iter().chain(most).min();
        Ok(Value::Object(describe(&estimate, available, now)).to_string())
    }

    fn path_here(&self, name: &str, options: &LoadOptions) -> Result<String> {
        if backend::is_script(name) {
            return Ok(name.to_owned());
        }
        match self.store.find(name, options.model_type)? {
            Found::Here(path) => Ok(path.to_string_lossy().into_owned()),
            Found::Wanted(wanted) => Err(fetch_first(name, &wanted, "")),
        }
    }
}

/// `available` bytes can be had when other models give way, `now` bytes beside them.
fn describe(estimate: &Estimate, available: Option<u64>, now: Option<u64>) -> Map<String, Value> {
    let advice = advice(estimate, available);
    let mut json = estimate.memory.to_json();
    let mut put = |key: &str, value: Value| json.insert(key.to_owned(), value);
    put("runtime_bytes", json!(estimate.runtime));
    put("total_bytes", json!(estimate.total()));
    put("long_audio_bytes", json!(estimate.long_audio));
    put("kept_bytes_max", json!(estimate.kept_max));
    put("available_bytes", json!(available));
    put("fits", json!(advice.is_none()));
    let fits_now = now.is_none_or(|now| estimate.total() <= now);
    put("fits_now", json!(advice.is_none() && fits_now));
    put("device", json!(estimate.device));
    put("device_why", json!(estimate.device_why));
    if let Some(sizes) = &estimate.context {
        put("n_ctx", json!(sizes.n_ctx));
        put("n_parallel", json!(sizes.n_parallel));
        put("kv_cache_tokens", json!(sizes.n_cells));
        put("kv_unified", json!(sizes.unified));
        put("n_ctx_max", json!(estimate.longest));
    }
    let fits = |total: u64| available.is_none_or(|available| total <= available);
    let context = |&(n_ctx, total): &(u32, u64)| json!({"n_ctx": n_ctx, "total_bytes": total, "fits": fits(total)});
    if !estimate.contexts.is_empty() {
        put("contexts", estimate.contexts.iter().map(context).collect());
    }
    if let Some(advice) = advice {
        put("advice", json!(advice));
    }
    json
}

/// What to do where it does not fit; `None` where it does.
fn advice(estimate: &Estimate, available: Option<u64>) -> Option<String> {
    let (total, available) = (estimate.total(), available?);
    if total <= available && estimate.refused.is_none() {
        return None;
    }
    let mib = |bytes: u64| bytes.div_ceil(MEBIBYTE);
    let short = format!("takes {} MiB, {} MiB are free", mib(total), available / MEBIBYTE);
    let what = match (estimate.longest, &estimate.context) {
        (Some(n_ctx), Some(sizes)) if n_ctx < sizes.n_ctx => format!("use an n_ctx of at most {n_ctx}"),
        (None, Some(_)) if estimate.memory.weights > available => {
            "its weights alone do not fit; use a smaller model or quantisation".to_owned()
        }
        (_, Some(_)) => "use a smaller n_parallel, a quantised cache_type_k and cache_type_v, or a smaller model".to_owned(),
        (_, None) => "use a smaller n_parallel or a smaller model".to_owned(),
    };
    Some(format!("{short}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memory::Memory;
    use crate::backend::ContextSizes;

    fn estimate(weights: u64, n_ctx: u32, longest: Option<u32>) -> Estimate {
        let sizes = ContextSizes { n_ctx, n_parallel: 1, n_cells: n_ctx, unified: false };
        Estimate {
            memory: Memory { weights: weights * MEBIBYTE, ..Memory::default() },
            context: Some(sizes),
            longest,
            ..Estimate::default()
        }
    }

    #[test]
    fn what_does_not_fit_gets_advice_that_does() {
        let room = Some(100 * MEBIBYTE);
        assert_eq!(advice(&estimate(100, 512, Some(512)), room), None);
        assert_eq!(advice(&estimate(101, 512, None), None), None);
        let advised = |given: Estimate| advice(&given, room).expect("advice");
        let shorter = advised(estimate(120, 4_096, Some(1_024)));
        assert_eq!(shorter, "takes 120 MiB, 100 MiB are free: use an n_ctx of at most 1024");
        assert!(advised(estimate(101, 512, None)).contains("weights alone"));
        let other = Memory { weights: 1, kv_cache: 101 * MEBIBYTE, ..Memory::default() };
        let given = Estimate { memory: other, ..estimate(0, 512, None) };
        assert!(advised(given).contains("n_parallel"));
    }

    #[test]
    fn the_runtime_counts_in_the_total() {
        let given = Estimate { runtime: 7, ..estimate(1, 512, None) };
        let json = describe(&given, Some(MEBIBYTE + 6), None);
        assert_eq!(json["total_bytes"], MEBIBYTE + 7);
        assert_eq!(json["fits"], false);
    }
    #[test]
    fn beside_others_there_is_less_room() {
        let room = |now: Option<u64>| {
            let json = describe(&estimate(5, 512, Some(512)), Some(10 * MEBIBYTE), now);
            (json["fits"] == true, json["fits_now"] == true)
        };
        assert_eq!(room(None), (true, true));
        assert_eq!(room(Some(5 * MEBIBYTE)), (true, true));
        assert_eq!(room(Some(5 * MEBIBYTE - 1)), (true, false));
    }
}
