//! What a list of the models that are here is asked for.
#![forbid(unsafe_code)]

use super::fields::Fields;
use super::options::{kind, refuse_unknown};
use super::parse_object;
use crate::error::Result;
use crate::store::Kind;

/// Options of `fluid_models`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelsRequest {
    /// Only models of this kind.
    pub kind: Option<Kind>,
    /// Compare checksums too, for which all files are read.
    pub verify: bool,
}

impl ModelsRequest {
    /// Reads `text`, a JSON object; an empty text means the defaults.
    pub fn parse(text: &str) -> Result<Self> {
        let mut request = Self::default();
        if text.is_empty() {
            return Ok(request);
        }
        let map = parse_object(text, "options")?;
        let mut fields = Fields::new("", &map);
        request.kind = kind(&mut fields, "type")?;
        request.verify = fields.boolean("verify")?.unwrap_or(false);
        refuse_unknown(&fields, "type, verify")?;
        Ok(request)
    }
}
