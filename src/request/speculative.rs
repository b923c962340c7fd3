//! Speculative decoding: where drafts come from, and how long they are.
#![forbid(unsafe_code)]

use super::fields::Fields;
use super::kv_options::KvOptions;
use super::options::refuse_unknown;
use crate::error::{Error, Result};

/// Who writes drafts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftKind {
    /// Nobody.
    None,
    /// The job's own tokens: what followed where they were last as they are at the end now.
    PromptLookup,
    /// The model of the load option `draft_model`.
    Model,
}

/// What a request or the load options say of drafts, as far as they do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpeculativeFields {
    /// Who writes them.
    pub kind: Option<DraftKind>,
    /// Tokens of one draft at most; 0 turns drafts off.
    pub n_max: Option<u32>,
    /// Shorter drafts are not tried.
    pub n_min: Option<u32>,
    /// A draft model's draft ends at a token less likely than this, 0 to 1.
    pub p_min: Option<f32>,
    /// Whether drafts are as long as has paid so far (true), or as long as they can be.
    pub adaptive: Option<bool>,
}

/// A draft model and its options.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftOptions {
    /// A GGUF file.
    pub path: String,
    /// Context of one job in tokens; by default that of the model it drafts for.
    pub n_ctx: Option<u32>,
    /// Map the file into memory (true) or read it (false).
    pub use_mmap: bool,
    /// Its KV cache.
    pub kv: KvOptions,
}

const KINDS: [(&str, DraftKind); 4] = [
    ("none", DraftKind::None),
    ("prompt_lookup", DraftKind::PromptLookup),
    ("ngram", DraftKind::PromptLookup),
    ("draft", DraftKind::Model),
];

impl SpeculativeFields {
    /// `speculative`, an object, and llama-server's three fields with a dot in their names.
    /// `None`: nothing is said.
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Option<Self>> {
        let mut said = None;
        if let Some(map) = fields.object("speculative")? {
            let mut inner = Fields::new("speculative", map);
            let kind = kind(&mut inner)?;
            said = Some(Self {
                kind,
                adaptive: inner.boolean("adaptive")?,
                ..numbers(&mut inner, ["n_max", "n_min", "p_min"])?
            });
            refuse_unknown(&inner, "type, n_max, n_min, p_min, adaptive")?;
        }
        let dotted = ["speculative.n_max", "speculative.n_min", "speculative.p_min"];
        let dotted = numbers(fields, dotted)?;
        Ok(match said {
            None if dotted == Self::default() => None,
            said => Some(dotted.or(said.unwrap_or_default())),
        })
    }

    /// These, and `others` where these say nothing.
    pub fn or(self, others: Self) -> Self {
        Self {
            kind: self.kind.or(others.kind),
            n_max: self.n_max.or(others.n_max),
            n_min: self.n_min.or(others.n_min),
            p_min: self.p_min.or(others.p_min),
            adaptive: self.adaptive.or(others.adaptive),
        }
    }
}

fn kind(fields: &mut Fields<'_>) -> Result<Option<DraftKind>> {
    let Some(given) = fields.string("type")? else { return Ok(None) };
    let known = KINDS.iter().find(|(name, _)| *name == given).map(|(_, kind)| *kind);
    known.map(Some).ok_or_else(|| {
        let names = KINDS.map(|(name, _)| format!("\"{name}\"")).join(", ");
        let message = format!("\"{given}\" is not known; use one of {names}");
        Error::invalid_request(&fields.path("type"), message)
    })
}

fn numbers(fields: &mut Fields<'_>, names: [&'static str; 3]) -> Result<SpeculativeFields> {
    let mut count = |name| Ok(fields.integer(name, 0..=65_536)?.map(|count| count as u32));
    let (n_max, n_min) = (count(names[0])?, count(names[1])?);
    let p_min = fields.float(names[2], 0.0..=1.0)?;
    Ok(SpeculativeFields { n_max, n_min, p_min, ..SpeculativeFields::default() })
}

impl DraftOptions {
    /// `draft_model` and `draft_options` of the load options.
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Option<Self>> {
        let path = fields.string("draft_model")?;
        let map = fields.object("draft_options")?;
        let Some(path) = path else {
            return match map {
                None => Ok(None),
                Some(_) => {
                    let message = "is for a draft model; give draft_model, or leave it out";
                    Err(Error::invalid_request("draft_options", message))
                }
            };
        };
        if path.is_empty() || path.contains('\0') {
            return Err(Error::invalid_request("draft_model", "is no path"));
        }
        let none = serde_json::Map::new();
        let mut inner = Fields::new("draft_options", map.unwrap_or(&none));
        let n_ctx = inner.integer("n_ctx", 8..=16_777_216)?.map(|count| count as u32);
        let use_mmap = inner.boolean("use_mmap")?.unwrap_or(true);
        let kv = KvOptions::parse(&mut inner)?;
        refuse_unknown(&inner, &format!("n_ctx, use_mmap, {}", KvOptions::KEYS))?;
        Ok(Some(Self { path: path.to_owned(), n_ctx, use_mmap, kv }))
    }
}
