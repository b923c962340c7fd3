//! The models of the model folder: how many, and which of them cannot be loaded.
#![forbid(unsafe_code)]

use std::path::Path;

use super::{Check, Status};
use crate::store::{Entry, Store};

/// `None` without a folder that can be read, which another check tells of.
pub(super) fn check(folder: Option<&Path>) -> Option<Check> {
    let folder = folder.filter(|folder| std::fs::read_dir(folder).is_ok())?;
    let store = Store::new(folder.to_str(), None);
    let entries = store.list(None, false);
    let is_whole = |entry: &&Entry| entry.missing.is_none() && entry.facts.unsupported.is_none();
    let whole = entries.iter().filter(is_whole).count();
    let found = format!("{whole} of {} can be loaded", entries.len());
    let bad = entries.iter().filter(|entry| !is_whole(entry));
    Some(bad.fold(Check::new("models", Status::Ok, found), |check, entry| {
        let (why, advice) = match (&entry.missing, &entry.facts.unsupported) {
            (Some(why), _) => (why, "fetch it again with fluid_download, or take it away"),
            (None, Some(why)) => (why, "take a GGUF version of it"),
            (None, None) => return check,
        };
        check.and(format!("{}: {why}", entry.name)).but(Status::Warning, advice)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_named() {
        let base = std::env::temp_dir().join(format!("fluid-doctor-models-{}", std::process::id()));
        std::fs::create_dir_all(base.join("llm/cut")).expect("a folder");
        assert_eq!(check(Some(&base)).map(|check| check.status), Some(Status::Ok));
        std::fs::write(base.join("llm/cut/a.gguf"), "GGUF").expect("a file");
        let found = check(Some(&base)).expect("a check");
        assert_eq!((found.status, found.found.len()), (Status::Warning, 2));
        assert!(found.found[0].contains("0 of 1") && found.found[1].contains("cut"), "{found:?}");
        assert!(check(Some(&base.join("nowhere"))).is_none() && check(None).is_none());
        std::fs::remove_dir_all(&base).expect("the folder goes");
    }
}
