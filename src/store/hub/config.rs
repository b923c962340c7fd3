//! Which hub, and who asks: from options, else from the variables that Hugging Face's tools read.
#![forbid(unsafe_code)]

use std::env;
use std::fmt;
use std::path::PathBuf;

use super::Pauses;
use crate::error::{Error, ErrorKind, Result};

const PUBLIC_HUB: &str = "https://huggingface.co";
/// Bytes of a token, or of the file that holds it, at most.
const TOKEN_MAX: usize = 4096;

/// How a hub is reached. What is not given here comes from the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HubOptions {
    /// The hub's address, such as `https://huggingface.co`; else `HF_ENDPOINT`.
    pub endpoint: Option<String>,
    /// A user's token; else `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, or what the file at `HF_TOKEN_PATH`,
    /// `$HF_HOME/token` or `~/.cache/huggingface/token` holds. An empty one means none.
    pub token: Option<Token>,
    /// Ask no hub; else whether `HF_HUB_OFFLINE` says so.
    pub offline: Option<bool>,
    /// How long is waited for what may pass.
    pub pauses: Pauses,
}

/// A secret, which nothing shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

impl Token {
    /// A token as a user gave it; space around it does not count.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The token, where there is one. Errors name its origin, never the token.
    pub(super) fn check(self, origin: &str) -> Result<Option<Self>> {
        if self.0.len() > TOKEN_MAX || !self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                format!("{origin} is no token: those have no spaces and nothing but ASCII");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Some(self).filter(|token| !token.0.is_empty()))
    }

    /// For the one header that carries it.
    #[cfg(feature = "hub")]
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without the token, should a server have sent it back.
    #[cfg(feature = "hub")]
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.0, "...")
    }
}

impl HubOptions {
    /// The hub's address without a `/` at its end.
    pub(super) fn endpoint(&self) -> Result<String> {
        if let Some(given) = &self.endpoint {
            return address(given, "hub_endpoint");
        }
        match variable("HF_ENDPOINT") {
            Some(set) => address(&set, "HF_ENDPOINT"),
            None => Ok(PUBLIC_HUB.to_owned()),
        }
    }

    /// Whether what is given here can be used. Errors: `InvalidRequest`, with the option's name.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, error: Error| Error::invalid_request(field, error.message());
        if let Some(given) = &self.endpoint {
            address(given, "it").map_err(|error| wrong("hub_endpoint", error))?;
        }
        if let Some(given) = &self.token {
            given.clone().check("it").map_err(|error| wrong("hub_token", error))?;
        }
        Ok(())
    }

    /// The token to show to the hub.
    pub(super) fn token(&self) -> Result<Option<Token>> {
        if let Some(given) = &self.token {
            return given.clone().check("hub_token");
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(text) = variable(name) {
                return Token::new(&text).check(name);
            }
        }
        let Some(path) = token_file() else { return Ok(None) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Token::new(&text).check(&path.to_string_lossy()),
            // Nobody has logged in here.
            Err(_) => Ok(None),
        }
    }

    /// Where, whether and as whom a hub is asked, for reading, without secrets.
    pub fn describe(&self) -> Result<String> {
        let endpoint = self.endpoint()?;
        let state = if self.is_offline() { "offline" } else { "online" };
        let token = if self.token()?.is_some() { "a token" } else { "no token" };
        Ok(format!("{endpoint}, {state}, {token}"))
    }

    /// Whether no hub may be asked.
    pub(super) fn is_offline(&self) -> bool {
        self.offline.unwrap_or_else(|| {
            let text = variable("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_uppercase();
            ["1", "ON", "YES", "TRUE"].contains(&text.as_str())
        })
    }
}

/// `given` as a hub's address. Errors name its `origin`; it may hold a password, and is not shown.
fn address(given: &str, origin: &str) -> Result<String> {
    let address = given.trim().trim_end_matches('/');
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let is_address = rest.is_some_and(|rest| {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#\\\"<>".contains(&byte);
        !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.bytes().all(plain)
    });
    if is_address {
        return Ok(address.to_owned());
    }
    let message = format!(
        "{origin} is no hub's address: those are like {PUBLIC_HUB}, without a user or a query"
    );
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// A variable that is set, in UTF-8 and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.trim().is_empty())
}

fn token_file() -> Option<PathBuf> {
    if let Some(path) = variable("HF_TOKEN_PATH") {
        return Some(path.into());
    }
    if let Some(home) = variable("HF_HOME") {
        return Some(PathBuf::from(home).join("token"));
    }
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")))?;
    Some(cache.join("huggingface").join("token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<String> {
        HubOptions { endpoint: Some(text.to_owned()), ..Default::default() }.endpoint()
    }

    #[test]
    fn an_address_is_taken_as_it_is() {
        assert_eq!(endpoint("https://hub.example/").expect("one"), "https://hub.example");
        assert_eq!(endpoint(" http://[::1]:80/a/b ").expect("one"), "http://[::1]:80/a/b");
        for text in ["", "hub.example", "ftp://a", "https://", "https:///x", "https://a b"] {
            let error = endpoint(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn settings_are_told_without_secrets() {
        let options = HubOptions {
            endpoint: Some("https://hub.example/".to_owned()),
            token: Some(Token::new("hf_secret")),
            offline: Some(true),
            ..Default::default()
        };
        assert_eq!(options.describe().expect("fine"), "https://hub.example, offline, a token");
        let broken = HubOptions { endpoint: Some("hub.example".to_owned()), ..options };
        assert_eq!(broken.describe().expect_err("no address").kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn no_message_shows_a_secret() {
        let error = endpoint("https://user:hf_secret@hub.example").expect_err("a password");
        assert!(!error.message().contains("hf_secret"));
        let error = Token::new("hf_secret\nX: y").check("hub_token").expect_err("two lines");
        assert!(!error.message().contains("hf_secret"), "{error}");
        assert!(!format!("{:?}", Token::new("hf_secret")).contains("hf_secret"));
        assert_eq!(Token::new(" \n").check("hub_token").expect("none"), None);
    }
}
