//! Where models are downloaded from, by the environment's word. Whether there is a token is told, never the
//! token.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::{Check, Status};

pub(super) fn settings() -> Check {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    check(&variable)
}

fn check(variable: &dyn Fn(&str) -> Option<String>) -> Check {
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
    let offline = variable("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value));
    let token = match (variable("HF_TOKEN"), token_file(variable)) {
        (Some(_), _) => "a token in HF_TOKEN".to_owned(),
        (None, Some(path)) if path.is_file() => format!("a token in {}", path.display()),
        _ => "no token".to_owned(),
    };
    let state = if offline { "offline" } else { "online" };
    let found = format!("{}, {state}, {token}", without_password(&endpoint));
    let check = Check::new("hub", Status::Info, found);
    match endpoint.starts_with("https://") || endpoint.starts_with("http://") {
        true => check,
        false => check.but(
            Status::Error,
            "HF_ENDPOINT is no address of a hub; write it as https://huggingface.co, or unset it",
        ),
    }
}

fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

/// Where Hugging Face's own tools keep a token.
fn token_file(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if let Some(path) = variable("HF_TOKEN_PATH") {
        return Some(path.into());
    }
    if let Some(home) = variable("HF_HOME") {
        return Some(PathBuf::from(home).join("token"));
    }
    let home = variable("HOME").or_else(|| variable("USERPROFILE"))?;
    Some(PathBuf::from(home).join(".cache/huggingface/token"))
}

/// An address may have a name and a password before its host.
fn without_password(endpoint: &str) -> String {
    let Some((scheme, rest)) = endpoint.split_once("://") else { return endpoint.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> (Status, String) {
        let variable = |name: &str| {
            let given = variables.iter().find(|(known, _)| *known == name);
            given.map(|(_, value)| (*value).to_owned())
        };
        let check = check(&variable);
        (check.status, check.found.join("\n"))
    }

    #[test]
    fn settings_are_told_and_secrets_are_not() {
        assert_eq!(found(&[]), (Status::Info, "https://huggingface.co, online, no token".into()));
        let secret = [
            ("HF_ENDPOINT", "https://me:pass@hub.example/a@b"),
            ("HF_TOKEN", "hf_secret"),
            ("HF_HUB_OFFLINE", "1"),
        ];
        let (status, text) = found(&secret);
        assert_eq!(text, "https://hub.example/a@b, offline, a token in HF_TOKEN");
        assert_eq!(status, Status::Info);
        assert_eq!(found(&[("HF_ENDPOINT", "hub.example")]).0, Status::Error);
        let file = std::env::temp_dir().join(format!("fluid-token-{}", std::process::id()));
        std::fs::write(&file, "hf_secret").expect("a file");
        let path = file.to_str().expect("UTF-8");
        let (_, text) = found(&[("HF_TOKEN_PATH", path)]);
        assert!(
            text.ends_with(&format!("a token in {path}")) && !text.contains("secret"),
            "{text}"
        );
        std::fs::remove_file(file).ok();
    }
}
