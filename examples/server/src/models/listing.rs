//! What the model folder holds, and which of it a name means.
//!
//! Names come from requests, so they are compared with what is listed and never made a path of.
#![forbid(unsafe_code)]

use std::path::Path;

use serde_json::Value;

use super::Purpose;

/// Names that a message tells of.
const NEAR: usize = 3;

/// What `fluid_models` says.
pub(crate) struct Listing(Value);

/// A model of the listing, as the library describes it.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) value: &'a Value,
}

/// A name in its parts: `base:quant`, `base@revision`.
struct Parts<'a> {
    base: &'a str,
    revision: Option<&'a str>,
    quant: Option<&'a str>,
}

impl Listing {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    /// All that is listed, whole or not, as the library describes it: language models, Whisper, embedding models.
    pub(crate) fn data(&self) -> &[Value] {
        self.0["data"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The same, of the kinds that are served.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.data().iter().filter_map(|value| {
            let purpose = Purpose::of(value["type"].as_str()?)?;
            Some(Entry { purpose, value })
        })
    }

    fn of(&self, purpose: Purpose) -> impl Iterator<Item = Entry<'_>> {
        self.entries().filter(move |entry| entry.purpose == purpose)
    }

    /// The repository that a short name of Fluid Server stands for.
    fn short(&self, purpose: Purpose, name: &str) -> Option<&Value> {
        let mut short = self.short_names().iter();
        short.find(|short| short["name"] == name && short["type"] == purpose.name())
    }

    /// `{name, type, repo, quantization}` of each short name.
    pub(crate) fn short_names(&self) -> &[Value] {
        self.0["short_names"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The entry of an id.
    pub(crate) fn with_id(&self, purpose: Purpose, id: &str) -> Option<Entry<'_>> {
        self.of(purpose).find(|entry| entry.id() == id)
    }

    /// The entry that `name` means: by its id, also as Fluid Server spells it (`whisper-NAME`), by its
    /// folder, or by the repository it was fetched from (`owner/repo`, `owner/repo:Q8_0`,
    /// `owner/repo/file.gguf`, a short name). Of several, whole ones before others, then the
    /// quantisation that the library would take.
    pub(crate) fn find(&self, purpose: Purpose, name: &str) -> Option<Entry<'_>> {
        let prefixed = name.strip_prefix(purpose.name()).and_then(|rest| rest.strip_prefix('-'));
        let spelled = [Some(name), prefixed];
        let mut spelled = spelled.into_iter().flatten();
        let exact = spelled.clone().find_map(|name| self.with_id(purpose, name));
        exact.or_else(|| spelled.find_map(|name| self.find_loosely(purpose, name)))
    }

    fn find_loosely(&self, purpose: Purpose, name: &str) -> Option<Entry<'_>> {
        let mut parts = Parts::of(name);
        let short = self.short(purpose, parts.base);
        if let Some(short) = short {
            parts.base = short["repo"].as_str()?;
            parts.quant = parts.quant.or(short["quantization"].as_str());
        }
        let fitting = self.of(purpose).filter(|entry| entry.fits(&parts));
        fitting.min_by_key(|entry| (!entry.is_whole(), entry.quantization().map(rank)))
    }

    /// Names that are spelled nearly as one that nobody has, for messages.
    pub(crate) fn near(&self, purposes: &[Purpose], name: &str) -> String {
        let fits = |entry: &Entry<'_>| purposes.contains(&entry.purpose) && entry.is_whole();
        let wanted = name.to_lowercase();
        let far = |id: &str| {
            let id = id.to_lowercase();
            let file = id.rsplit('/').next().unwrap_or_default().trim_end_matches(".gguf");
            distance(&wanted, &id).min(distance(&wanted, file))
        };
        let fitting = self.entries().filter(fits).map(Entry::id);
        let mut ids: Vec<(usize, &str)> = fitting.map(|id| (far(id), id)).collect();
        ids.sort_unstable();
        let nearest: Vec<&str> = ids.iter().take(NEAR).map(|(_, id)| *id).collect();
        match nearest[..] {
            [] => "no model of that kind is here".to_owned(),
            _ if ids.len() > NEAR => format!("near it are: {}", nearest.join(", ")),
            _ => format!("here are: {}", nearest.join(", ")),
        }
    }
}

impl<'a> Entry<'a> {
    fn text(self, field: &str) -> &'a str {
        self.value[field].as_str().unwrap_or_default()
    }

    pub(crate) fn id(self) -> &'a str {
        self.text("id")
    }

    /// What is loaded: the file or folder.
    pub(crate) fn path(self) -> &'a str {
        self.text("path")
    }

    /// Whether all of it is here.
    pub(crate) fn is_whole(self) -> bool {
        self.value["complete"] == true
    }

    /// `owner/name` of the repository it was fetched from.
    pub(crate) fn repo(self) -> Option<&'a str> {
        self.value["source"]["repo"].as_str()
    }

    fn quantization(self) -> Option<&'a str> {
        self.value["quantization"].as_str()
    }

    fn fits(self, parts: &Parts<'_>) -> bool {
        let quant =
            |wanted: &str| self.quantization().is_some_and(|own| own.eq_ignore_ascii_case(wanted));
        !parts.base.is_empty()
            && parts.quant.is_none_or(quant)
            && (self.is_in(parts) || self.is_of(parts))
    }

    /// Whether it is a file of the folder named, or lacks the ending of its file only.
    fn is_in(self, parts: &Parts<'_>) -> bool {
        let Some(rest) = self.id().strip_prefix(parts.base) else { return false };
        let is_file = |file: &str| file.ends_with(".gguf") && !file.contains('/');
        let is_it = matches!(rest, "" | ".gguf") || rest.strip_prefix('/').is_some_and(is_file);
        is_it && parts.revision.is_none()
    }

    /// Whether it is of the repository named, or a file of that. What was put here by other means is of the
    /// repository whose name its folder has.
    fn is_of(self, parts: &Parts<'_>) -> bool {
        let mut words = parts.base.splitn(3, '/');
        let (Some(owner), Some(name)) = (words.next(), words.next()) else { return false };
        let is_word = |word: &str| word.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !is_word(owner) || !is_word(name) || name.ends_with(".gguf") {
            return false;
        }
        let repo = format!("{owner}/{name}");
        let is_repo = match self.repo() {
            Some(own) => own == repo && parts.revision.is_none_or(|revision| self.has(revision)),
            None => {
                let below = self.id().strip_prefix(&repo);
                let is_cached = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                let is_folder = self.id().split('/').next() == Some(name);
                (is_cached || is_folder) && parts.revision.is_none()
            }
        };
        let is_file = |file: &str| !file.is_empty() && Path::new(self.path()).ends_with(file);
        is_repo && words.next().is_none_or(is_file)
    }

    /// Whether it is of a commit, or lies in the folder of a branch or a tag.
    fn has(self, revision: &str) -> bool {
        let commit = self.value["source"]["commit"].as_str().unwrap_or_default();
        let folder = format!("@{revision}");
        (revision.len() >= 7 && commit.starts_with(revision))
            || (!revision.is_empty() && self.id().split('/').any(|part| part.ends_with(&folder)))
    }
}

impl<'a> Parts<'a> {
    fn of(name: &'a str) -> Self {
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let (name, quant) = match name[last..].split_once(':') {
            Some((before, quant)) => (&name[..last + before.len()], Some(quant)),
            None => (name, None),
        };
        let (base, revision) = match name.split_once('@') {
            Some((base, revision)) => (base, Some(revision)),
            None => (name, None),
        };
        Self { base, revision, quant }
    }
}

/// The library's order of quantisations: Q4_K_M, others of four bits, of five, six, eight and sixteen, then of
/// fewer than four.
fn rank(quantization: &str) -> u8 {
    let digits = quantization.trim_start_matches(|c: char| !c.is_ascii_digit());
    let bits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    match (quantization, bits) {
        ("Q4_K_M", _) => 0,
        (_, "4") => 1,
        (_, "5") => 2,
        (_, "6") => 3,
        (_, "8") => 4,
        (_, "16") => 5,
        (_, "32") => 6,
        _ => 7,
    }
}

/// How far two names are from each other: 0 where one contains the other, else the letters to change, add or
/// leave out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    if a.contains(b) || b.contains(a) {
        return 0;
    }
    // What is longer is near to nothing.
    let letters = |text: &str| -> Vec<char> { text.chars().take(64).collect() };
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = corner + usize::from(letter != other);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(kind: &str, id: &str, whole: bool, quant: &str, source: Option<&str>) -> Value {
        json!({
            "type": kind, "id": id, "complete": whole, "quantization": quant,
            "path": format!("/models/{kind}/{id}"),
            "source": source.map(|repo| json!({"repo": repo, "commit": "0123456789abcdef"})),
        })
    }

    /// As Fluid Server has its default model.
    fn cached() -> Value {
        json!({
            "type": "llm", "id": "unsloth/g3-GGUF", "complete": true, "quantization": "Q4_K_M", "source": null,
            "path": "/models/llm/cache/models--unsloth--g3-GGUF/snapshots/1/g3-Q4_K_M.gguf",
        })
    }

    fn listing() -> Listing {
        Listing::new(json!({
            "data": [
                entry("llm", "smollm2.gguf", true, "Q4_1", None),
                entry("llm", "gemma/gemma-Q8_0.gguf", true, "Q8_0", Some("unsloth/gemma-GGUF")),
                entry("llm", "gemma/gemma-Q4_K_M.gguf", true, "Q4_K_M", Some("unsloth/gemma-GGUF")),
                entry("llm", "gemma/gemma-Q4_0.gguf", false, "Q4_0", Some("unsloth/gemma-GGUF")),
                entry("whisper", "whisper-tiny", true, "int4", Some("FluidInference/whisper-tiny-npu")),
                entry("embedding", "smollm2.gguf", true, "F16", None),
                cached(),
                entry("llm", "by-hand", true, "int8", None),
            ],
            "short_names": [
                {"name": "whisper-tiny", "type": "whisper", "repo": "FluidInference/whisper-tiny-npu"},
                {"name": "g8", "type": "llm", "repo": "unsloth/gemma-GGUF", "quantization": "Q8_0"},
            ],
        }))
    }

    #[track_caller]
    fn means(purpose: Purpose, name: &str, id: &str) {
        let listing = listing();
        let found = listing.find(purpose, name).map(|entry| entry.id().to_owned());
        assert_eq!(found.as_deref(), (!id.is_empty()).then_some(id), "{name}");
    }

    #[test]
    fn a_model_has_several_names() {
        for name in ["whisper-tiny", "whisper-whisper-tiny", "FluidInference/whisper-tiny-npu"] {
            means(Purpose::Whisper, name, "whisper-tiny");
        }
        for name in ["smollm2", "smollm2.gguf", "smollm2:Q4_1"] {
            means(Purpose::Llm, name, "smollm2.gguf");
        }
        for name in ["smollm2", "embedding-smollm2.gguf", "embedding-smollm2"] {
            means(Purpose::Embedding, name, "smollm2.gguf");
        }
    }

    #[test]
    fn of_several_files_one_is_meant() {
        for name in ["gemma", "unsloth/gemma-GGUF", "gemma:q4_k_m", "unsloth/gemma-GGUF@0123456"] {
            means(Purpose::Llm, name, "gemma/gemma-Q4_K_M.gguf");
        }
        for name in
            ["g8", "gemma:Q8_0", "unsloth/gemma-GGUF:Q8_0", "unsloth/gemma-GGUF/gemma-Q8_0.gguf"]
        {
            means(Purpose::Llm, name, "gemma/gemma-Q8_0.gguf");
        }
        means(Purpose::Llm, "gemma:Q4_0", "gemma/gemma-Q4_0.gguf");
        for name in ["unsloth/g3-GGUF", "unsloth/g3-GGUF/g3-Q4_K_M.gguf", "unsloth/g3-GGUF:Q4_K_M"]
        {
            means(Purpose::Llm, name, "unsloth/g3-GGUF");
        }
        means(Purpose::Llm, "FluidInference/by-hand", "by-hand");
    }

    #[test]
    fn no_name_leads_elsewhere() {
        let hostile = [
            "",
            "/",
            ".",
            "..",
            "/etc/passwd",
            "../llm/smollm2.gguf",
            "./smollm2.gguf",
            "gemma/../gemma",
            "gemma/",
            "smollm2.gguf/",
            "C:\\x.gguf",
            "..\\smollm2.gguf",
            "smollm2\0",
            "%2e%2e/smollm2",
            "smollm2:",
            "smollm2:Q8_0",
            "unsloth/gemma-GGUF/",
            "unsloth/gemma-GGUF/Q8_0.gguf",
            "unsloth",
            "unsloth/gemma-GGUF@",
            "unsloth/gemma-GGUF@main",
            "unsloth/g3-GGUF@main",
            "unsloth/g3-GGUF/g3",
            "unsloth/g3-GGUF/../g3-GGUF",
            "FluidInference/by-hand@main",
            "unsloth/gemma-GGUFX",
            "whisper-",
            "ggu",
        ];
        for name in hostile {
            means(Purpose::Llm, name, "");
        }
        means(Purpose::Llm, "whisper-tiny", "");
    }

    #[test]
    fn messages_name_what_is_near() {
        let listing = listing();
        let near = listing.near(&[Purpose::Llm], "gema-Q4_K_M");
        assert!(near.starts_with("near it are: gemma/gemma-Q4_K_M.gguf"), "{near}");
        assert!(!near.contains("Q4_0"), "it is not whole: {near}");
        assert!(listing.near(&[Purpose::Whisper], "x").contains("whisper-tiny"));
        assert_eq!(Listing::new(Value::Null).near(&[], "x"), "no model of that kind is here");
    }
}
