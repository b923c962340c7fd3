//! Who may ask: by the host they think they talk to, the page they ask from, and their key.
//!
//! A web page that anybody visits can send requests to servers on the visitor's own machine. Its origin tells on
//! it; where it has its name lead here (DNS rebinding), the host does.
#![forbid(unsafe_code)]

use axum::body::Body;
use axum::http::{
    header, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version,
};
use axum::response::Response;

use super::place::{host, is_local, web};
use crate::cli::{Config, Key};
use crate::error::ApiError;

/// What needs no key: whether the server is there, its page, what it can do.
const OPEN: [&str; 4] = ["/", "/health", "/docs", "/openapi.json"];

const PRIVATE_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) struct Gate {
    is_loopback: bool,
    host: String,
    origins: Vec<String>,
    key: Option<Key>,
}

impl Gate {
    pub(super) fn new(config: &Config, is_loopback: bool) -> Self {
        let (host, origins) = (config.host.clone(), config.cors_origin.clone());
        Self { is_loopback, host, origins, key: config.api_key.clone() }
    }

    /// Whether a request may come in, as far as its sender's browser tells.
    pub(super) fn check(&self, request: &Request<Body>) -> Result<Pass, ApiError> {
        let authority = self.authority(request)?;
        let headers = request.headers();
        let Some(origin) = headers.get(header::ORIGIN) else {
            // Browsers that leave the origin out say where a page is.
            let cross = headers.get(&FETCH_SITE).is_some_and(|site| site == "cross-site");
            if cross && !request.method().is_safe() {
                return Err(forbidden("a page of another site asks", ORIGIN_HELP));
            }
            return Ok(Pass::default());
        };
        if !self.trusts(origin, authority) {
            let what = format!("a page of {} asks", shown(origin));
            return Err(forbidden(&what, ORIGIN_HELP));
        }
        Ok(Pass::of(origin, request))
    }

    /// The host that a request is meant for.
    fn authority<'a>(&self, request: &'a Request<Body>) -> Result<&'a str, ApiError> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (first, more) = (hosts.next(), hosts.next());
        let in_path = request.uri().authority().map(|authority| authority.as_str());
        let is_missing = first.is_none() && request.version() > Version::HTTP_10;
        if is_missing || more.is_some() {
            return Err(ApiError::invalid("Host", "a request has one Host header"));
        }
        let Some(first) = first else { return Ok(in_path.unwrap_or_default()) };
        let given = first.to_str().unwrap_or_default();
        for authority in [Some(given), in_path].into_iter().flatten() {
            if !self.is_own(host(authority)) {
                let what = format!("the host {} is not this server", shown(first));
                return Err(forbidden(&what, "ask for localhost, or start it with that --host"));
            }
        }
        Ok(given)
    }

    /// Where others can reach the server, it has names that it does not know.
    fn is_own(&self, host: &str) -> bool {
        !self.is_loopback || is_local(host) || host.eq_ignore_ascii_case(&self.host)
    }

    fn trusts(&self, origin: &HeaderValue, authority: &str) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let listed = |one: &String| one == "*" || one.eq_ignore_ascii_case(origin);
        let place = web(origin);
        let is_this = place.is_some_and(|place| place.eq_ignore_ascii_case(authority));
        is_this
            || place.is_some_and(|place| is_local(host(place)))
            || self.origins.iter().any(listed)
    }

    /// Whether a request has the key, where there is one.
    pub(super) fn key(&self, request: &Request<Body>) -> Result<(), ApiError> {
        let Some(key) = &self.key else { return Ok(()) };
        let is_open = request.method().is_safe() && OPEN.contains(&request.uri().path());
        let given = given(request.headers());
        if is_open || given.is_some_and(|given| key.is(given)) {
            return Ok(());
        }
        let message = match given {
            Some(_) => "the API key is not that of this server",
            None => "an API key is needed: send \"Authorization: Bearer KEY\"",
        };
        let code = Some("invalid_api_key");
        Err(ApiError::new(StatusCode::UNAUTHORIZED, code, message.to_owned()))
    }
}

const ORIGIN_HELP: &str = "start the server with its --cors-origin to allow that";

fn forbidden(what: &str, help: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, Some("forbidden"), format!("{what}: {help}"))
}

/// A header's value for a message.
fn shown(value: &HeaderValue) -> String {
    value.to_str().unwrap_or("?").chars().take(100).collect()
}

/// The key that a request has, where OpenAI's and Anthropic's clients put it.
fn given(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    let of = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    bearer.or_else(|| of("x-api-key")).or_else(|| of("api-key"))
}

/// What a page's browser is told about an answer; nothing for requests of no page.
#[derive(Default)]
pub(super) struct Pass {
    origin: Option<HeaderValue>,
    preflight: Option<Preflight>,
}

/// A browser's question before the request itself.
struct Preflight {
    headers: Option<HeaderValue>,
    private: bool,
}

impl Pass {
    fn of(origin: &HeaderValue, request: &Request<Body>) -> Self {
        let asked = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let preflight = is_preflight.then(|| Preflight {
            headers: asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            private: asked.contains_key(&PRIVATE_ASKED),
        });
        Self { origin: Some(origin.clone()), preflight }
    }

    /// Whether the request only asks whether another may be sent.
    pub(super) fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Adds the headers to an answer.
    pub(super) fn mark(self, response: &mut Response) {
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        if self.origin.is_some() {
            set(header::ACCESS_CONTROL_EXPOSE_HEADERS, "x-request-id, retry-after");
        }
        if let Some(preflight) = self.preflight {
            set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE, OPTIONS");
            set(header::ACCESS_CONTROL_MAX_AGE, "600");
            if preflight.private {
                set(PRIVATE, "true");
            }
            if let Some(asked) = preflight.headers {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
            }
        }
        if let Some(origin) = self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}
