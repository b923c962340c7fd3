//! Values of options and variables.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::ffi::OsString;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use super::Problem;

/// A key that requests must have. No message, log line or help text has it.
#[derive(Clone)]
pub(crate) struct Key(String);

impl Key {
    /// Takes as long whatever `given` is, but for its length.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }

    /// Whether a header can carry it.
    pub(super) fn is_sendable(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// Takes anything: clap would say what is wrong together with the key.
impl FromStr for Key {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, form: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        form.write_str("Key(..)")
    }
}

/// An origin as browsers send it: a scheme, a host, a port where it is not the usual one.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
    let is_place = |place: &str| {
        !place.is_empty()
            && !place.contains(|c: char| c == '/' || c == '*' || !c.is_ascii_graphic())
    };
    let is_origin = text.split_once("://").is_some_and(|(scheme, place)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && is_place(place)
    });
    match text.as_str() {
        "*" | "null" => Ok(text),
        _ if is_origin => Ok(text),
        _ => Err("expected such as https://example.org, or *".to_owned()),
    }
}

/// A number from 0 to 1,000,000.
pub(super) fn count(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1e6)
}

/// At most ten years.
pub(super) fn minutes(text: &str) -> Result<f64, String> {
    within(text, 0.0, 5_256_000.0)
}

/// What the library takes for looks at idle models.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.01, 86_400.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}

/// A variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that turns something off; true where it is not set.
pub(super) fn switch(name: &str) -> Result<bool, Problem> {
    let Some(value) = variable(name) else { return Ok(true) };
    match value.to_string_lossy().trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Problem::usage(format!("{name}: {value:?} is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_itself_alone() {
        let key = Key("secret-1".into());
        assert!(key.is(b"secret-1"));
        for other in ["", "secret-2", "Secret-1", "secret-", "secret-11", "secret-1\0"] {
            assert!(!key.is(other.as_bytes()), "{other:?}");
        }
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    #[test]
    fn origins_have_a_scheme_and_no_path() {
        assert_eq!(origin("https://Example.org/"), Ok("https://example.org".into()));
        assert_eq!(origin("tauri://localhost"), Ok("tauri://localhost".into()));
        for text in ["*", "null", "http://[::1]:80"] {
            assert_eq!(origin(text).as_deref(), Ok(text));
        }
        for text in ["", "example.org", "https://", "https://a/b", "https://*.org", "://a"] {
            assert!(origin(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for text in ["nan", "inf", "-1", "", "1e9", "five", "0x5"] {
            assert!(count(text).is_err(), "{text:?}");
        }
        assert_eq!(count(" 4.0 "), Ok(4.0));
        assert!(seconds("0").is_err() && minutes("0").is_ok());
    }
}
