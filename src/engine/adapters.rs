//! A model's LoRA adapters: what a request chooses of them, and how a set is told from others.
#![forbid(unsafe_code)]

use std::sync::Arc;

use serde_json::{json, Value};

use crate::backend::{Adapter, AdapterInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{LoraChoice, LoraId};

/// Digits of an adapter's fingerprint that a saved state keeps: 128 bits.
const DIGITS: usize = 32;

/// Adapters at work together, in the order of their numbers. Only what the same set computed can
/// be taken over by a job, and only its jobs share a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AdapterSet(Arc<[Adapter]>);

impl AdapterSet {
    fn new(mut adapters: Vec<Adapter>) -> Self {
        adapters.retain(|adapter| adapter.scale != 0.0);
        adapters.sort_by_key(|adapter| adapter.index);
        Self(adapters.into())
    }

    pub(super) fn adapters(&self) -> &[Adapter] {
        &self.0
    }
}

/// All adapters of one model.
#[derive(Debug)]
pub(super) struct Adapters {
    infos: Vec<AdapterInfo>,
}

impl Adapters {
    pub(super) fn new(infos: Vec<AdapterInfo>) -> Self {
        Self { infos }
    }

    /// What a request wants; without a choice, what the load options say.
    pub(super) fn choose(&self, choices: Option<&[LoraChoice]>) -> Result<AdapterSet> {
        let Some(choices) = choices else {
            let scales = self.infos.iter().map(|info| info.scale);
            let all = (0..).zip(scales).map(|(index, scale)| Adapter { index, scale });
            return Ok(AdapterSet::new(all.collect()));
        };
        let mut chosen: Vec<Adapter> = Vec::new();
        for (place, choice) in choices.iter().enumerate() {
            let index = self.find(place, &choice.adapter)?;
            if chosen.iter().any(|adapter| adapter.index == index) {
                let name = &self.infos[index as usize].name;
                let message = format!("\"{name}\" is there already; name each adapter once");
                return Err(Error::invalid_request(&format!("lora[{place}]"), message));
            }
            chosen.push(Adapter { index, scale: choice.scale });
        }
        Ok(AdapterSet::new(chosen))
    }

    fn find(&self, place: usize, wanted: &LoraId) -> Result<u32> {
        let (found, field, given) = match wanted {
            LoraId::Number(id) => {
                (Some(*id as usize).filter(|&id| id < self.infos.len()), "id", id.to_string())
            }
            LoraId::Name(name) => {
                let found = self.infos.iter().position(|info| info.name == *name);
                (found, "name", format!("\"{name}\""))
            }
        };
        found.map(|index| index as u32).ok_or_else(|| {
            let names: Vec<&str> = self.infos.iter().map(|info| info.name.as_str()).collect();
            let known = match names.is_empty() {
                true => "it was loaded without; give lora in the load options".to_owned(),
                false => format!("it has {}, numbered from 0", names.join(", ")),
            };
            let message = format!("{given} is none of the model's adapters: {known}");
            Error::invalid_request(&format!("lora[{place}].{field}"), message)
        })
    }

    /// What `fluid_model_info` says of them.
    pub(super) fn to_json(&self) -> Value {
        let entries = self.infos.iter().enumerate().map(|(id, info)| {
            let mut entry = json!({"id": id, "name": info.name, "scale": info.scale});
            if let (Some(entry), Some(details)) = (entry.as_object_mut(), info.details.as_object())
            {
                entry.extend(details.clone());
            }
            entry
        });
        entries.collect()
    }

    /// `set` for a saved state: what its files hold, not what they are called here. Empty for none.
    pub(super) fn label(&self, set: &AdapterSet) -> String {
        let entries = set
            .adapters()
            .iter()
            .map(|adapter| format!("{}*{}", self.digest(adapter.index as usize), adapter.scale));
        entries.collect::<Vec<_>>().join(" ")
    }

    /// The set that [`label`](Self::label) names, in this model or another.
    pub(super) fn find_label(&self, label: &str) -> Result<AdapterSet> {
        let mut found: Vec<Adapter> = Vec::new();
        for entry in label.split(' ').filter(|entry| !entry.is_empty()) {
            let parts = entry.split_once('*').and_then(|(digest, scale)| {
                let is_new =
                    |index: &usize| found.iter().all(|known| known.index as usize != *index);
                let same = (0..self.infos.len()).filter(|&index| self.digest(index) == digest);
                Some((same.into_iter().find(is_new)?, scale.parse().ok()?))
            });
            let Some((index, scale)) = parts else {
                let message = "was saved with a LoRA adapter that this model was loaded without";
                return Err(Error::new(ErrorKind::InvalidState, message));
            };
            found.push(Adapter { index: index as u32, scale });
        }
        Ok(AdapterSet::new(found))
    }

    fn digest(&self, index: usize) -> &str {
        let whole = &self.infos[index].fingerprint;
        whole.get(..DIGITS).unwrap_or(whole)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn adapters() -> Adapters {
        let info = |(name, scale): (&str, f32)| AdapterInfo {
            name: name.to_owned(),
            scale,
            fingerprint: format!("{name:x<40}"),
            details: json!({"rank": 8}),
        };
        Adapters::new([("a", 0.0), ("b", 0.5), ("b2", 1.0)].map(info).to_vec())
    }

    /// A set of these numbers and scales.
    pub(in crate::engine) fn set(adapters: &[(u32, f32)]) -> AdapterSet {
        AdapterSet::new(adapters.iter().map(|&(index, scale)| Adapter { index, scale }).collect())
    }

    fn choice(adapter: LoraId, scale: f32) -> LoraChoice {
        LoraChoice { adapter, scale }
    }

    #[test]
    fn a_choice_replaces_the_defaults_and_a_scale_of_0_is_none() {
        let adapters = adapters();
        let choose = |choices: &[LoraChoice]| adapters.choose(Some(choices));
        assert_eq!(adapters.choose(None), Ok(set(&[(1, 0.5), (2, 1.0)])));
        assert_eq!(choose(&[]), Ok(AdapterSet::default()));
        let two = [choice(LoraId::Number(2), 2.0), choice(LoraId::Name("a".into()), 1.0)];
        assert_eq!(choose(&two), Ok(set(&[(0, 1.0), (2, 2.0)])));
        assert_eq!(choose(&[choice(LoraId::Number(1), 0.0)]), Ok(AdapterSet::default()));
    }

    #[test]
    fn a_wrong_choice_is_named() {
        let adapters = adapters();
        for (adapter, path) in
            [(LoraId::Number(3), "lora[0].id"), (LoraId::Name("c".into()), "lora[0].name")]
        {
            let error = adapters.choose(Some(&[choice(adapter, 1.0)])).expect_err(path);
            assert!(error.message().starts_with(path), "{error}");
            assert!(error.message().contains("a, b, b2"), "{error}");
        }
        let twice = [choice(LoraId::Number(1), 1.0), choice(LoraId::Name("b".into()), 1.0)];
        let error = adapters.choose(Some(&twice)).expect_err("named twice");
        assert!(error.message().starts_with("lora[1]"), "{error}");
    }

    #[test]
    fn labels_find_their_sets_again_wherever_the_files_are() {
        let adapters = adapters();
        for wanted in [set(&[]), set(&[(1, 0.1)]), set(&[(0, -2.5), (2, 1.0 / 3.0)])] {
            assert_eq!(adapters.find_label(&adapters.label(&wanted)), Ok(wanted));
        }
        let fewer = Adapters::new(adapters.infos[1..].to_vec());
        assert_eq!(fewer.find_label(&adapters.label(&set(&[(2, 1.0)]))), Ok(set(&[(1, 1.0)])));
        for label in [&*adapters.label(&set(&[(0, 1.0)])), "x", "*", "a*b"] {
            let error = fewer.find_label(label).expect_err(label);
            assert_eq!(error.kind(), ErrorKind::InvalidState);
        }
    }
}
