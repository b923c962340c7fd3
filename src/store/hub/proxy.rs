//! Which proxy a request goes through, by the variables that most programs read.
#![forbid(unsafe_code)]

use ureq::http::Uri;
use ureq::Proxy;

use super::config::variable;
use crate::error::{Error, ErrorKind, Result};

/// The environment's proxies, as they were when an act began.
pub(super) struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    direct: Vec<String>,
}

impl Proxies {
    /// `HTTPS_PROXY` and `HTTP_PROXY` by the scheme of the address asked for, `ALL_PROXY` where the one
    /// that counts is not set, `NO_PROXY`; each also in lower case, which goes first.
    pub(super) fn from_environment() -> Result<Self> {
        Self::read(|name| variable(&name.to_ascii_lowercase()).or_else(|| variable(name)))
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let find = |name: &str| match variable(name) {
            Some(text) => parse(name, &text).map(Some),
            None => variable("ALL_PROXY").map(|text| parse("ALL_PROXY", &text)).transpose(),
        };
        let direct = variable("NO_PROXY").unwrap_or_default();
        let direct = direct.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        Ok(Self {
            https: find("HTTPS_PROXY")?,
            http: find("HTTP_PROXY")?,
            direct: direct.filter(|entry| !entry.is_empty()).collect(),
        })
    }

    /// The proxy for `uri`, if it is not reached directly.
    pub(super) fn find(&self, uri: &Uri) -> Option<Proxy> {
        let host = uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = uri.port_u16();
        if self.direct.iter().any(|entry| matches(entry, &host, port)) {
            return None;
        }
        match uri.scheme_str() {
            Some("https") => self.https.clone(),
            _ => self.http.clone(),
        }
    }
}

/// The message does not show the address, which may hold a password.
fn parse(name: &str, text: &str) -> Result<Proxy> {
    let refuse = |cause: &str| {
        let message = format!("{name} {cause}; give it as http://host:port");
        Error::new(ErrorKind::InvalidArgument, message)
    };
    if text.trim().to_ascii_lowercase().starts_with("socks") {
        return Err(refuse("names a SOCKS proxy, which this build cannot use"));
    }
    Proxy::new(text.trim()).map_err(|_| refuse("is no address of a proxy"))
}

/// An entry of `NO_PROXY` stands for a host and all below it, as curl reads it; `*` for all.
fn matches(entry: &str, host: &str, port: Option<u16>) -> bool {
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
    let bare = entry.trim_start_matches('.');
    let (name, wanted) = match bare.rsplit_once(':') {
        // One colon: more are an IPv6 address.
        Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
        _ => (bare.trim_matches(['[', ']']), None),
    };
    if wanted.is_some() && wanted != port {
        return false;
    }
    let below = |name: &str| host.strip_suffix(name).is_some_and(|front| front.ends_with('.'));
    entry == "*" || (!name.is_empty() && (host == name || below(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &[(&str, &str)]) -> Result<Proxies> {
        Proxies::read(|name| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn host(proxies: &Proxies, address: &str) -> Option<String> {
        let uri: Uri = address.parse().expect("an address");
        proxies.find(&uri).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn the_scheme_chooses() {
        let both = proxies(&[("HTTPS_PROXY", "http://one:1"), ("ALL_PROXY", "http://two:2")]);
        let both = both.expect("two proxies");
        assert_eq!(host(&both, "https://hub.example/a").as_deref(), Some("one"));
        assert_eq!(host(&both, "http://hub.example/a").as_deref(), Some("two"));
        let none = proxies(&[]).expect("none");
        assert_eq!(host(&none, "https://hub.example/a"), None);
    }

    #[test]
    fn no_proxy_names_hosts_and_what_is_below() {
        let list = "localhost, .corp.example,*.lab.example,10.0.0.1:80,::1";
        let some = proxies(&[("ALL_PROXY", "proxy:3128"), ("NO_PROXY", list)]).expect("one");
        for direct in [
            "http://localhost:99/",
            "https://a.corp.example",
            "https://corp.example",
            "https://x.y.lab.example",
            "http://10.0.0.1:80",
            "http://[::1]:8080/",
        ] {
            assert_eq!(host(&some, direct), None, "{direct}");
        }
        for proxied in ["http://10.0.0.1:81", "https://notcorp.example", "https://hub.example"] {
            assert_eq!(host(&some, proxied).as_deref(), Some("proxy"), "{proxied}");
        }
        let all = proxies(&[("ALL_PROXY", "proxy:3128"), ("NO_PROXY", "*")]).expect("one");
        assert_eq!(host(&all, "https://hub.example"), None);
    }

    #[test]
    fn a_bad_address_is_refused_without_showing_it() {
        for text in ["socks5://u:secret@p:1", "http://", "http://u:secret@"] {
            let error = proxies(&[("ALL_PROXY", text)]).err().expect(text);
            assert!(!error.message().contains("secret"), "{error}");
        }
    }
}
