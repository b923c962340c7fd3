//! Requests to the hub and to where it redirects: who gets the token, what an answer's status means,
//! and how a request that waits is stopped.
#![forbid(unsafe_code)]

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use ureq::http::{header, HeaderMap, HeaderName, Request, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::config::Token;
use super::fault::Fault;
use super::proxy::Proxies;
use super::stop::Stop;
use super::{retry, Pauses};
use crate::error::{Error, ErrorKind, Result};
use crate::own_thread::OwnThread;

/// Addresses that one request may be sent on to.
const REDIRECTS: usize = 5;
/// For a name to be found, and for each connection to be made.
const CONNECT: Duration = Duration::from_secs(15);
/// Bytes of an answer that is read as text, at most.
const TEXT_MAX: u64 = 64 << 20;
/// Address space for the stack of a thread that connects; TLS handshakes need some.
const STACK: usize = 1 << 20;

/// What is asked for, and in whose words an error speaks of it.
pub(super) struct Ask<'a> {
    /// A full address.
    pub(super) address: &'a str,
    /// The first byte to send, for the rest of a file.
    pub(super) from: u64,
    /// Such as `owner/name/file`.
    pub(super) subject: &'a str,
}

/// An answer whose status says that a body follows, or 416.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Of the hub's own first answer, which tells of a file it redirects to.
    pub(super) hub_headers: HeaderMap,
    pub(super) body: Body,
    /// Who sent it, for messages.
    pub(super) host: String,
}

/// Connections of one act; its threads share them.
pub(super) struct Http {
    agent: Agent,
    origin: Origin,
    token: Option<Token>,
    proxies: Proxies,
    pub(super) stop: Arc<Stop>,
}

impl Http {
    pub(super) fn new(endpoint: &str, token: Option<Token>, pauses: &Pauses) -> Result<Self> {
        let uri: Uri = endpoint.parse().map_err(|_| {
            Error::new(ErrorKind::InvalidArgument, "the hub's address cannot be read as one")
        })?;
        let origin = Origin::of(&uri).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "the hub's address names no host")
        })?;
        let provider = rustls::crypto::ring::default_provider();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("libfluid/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(pauses.stall))
            .timeout_per_write(Some(pauses.stall))
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            origin,
            token,
            proxies: Proxies::from_environment()?,
            stop: Arc::new(Stop::new()),
        })
    }

    /// Ends all requests, those that wait for a byte included; none can be made any more.
    pub(super) fn stop(&self) {
        self.stop.raise();
        self.agent.clone().shutdown();
    }

    /// The fault of what failed: the stop, where there was one.
    pub(super) fn unless_stopped(&self, fault: Fault) -> Fault {
        match self.stop.is_raised() {
            true => Fault::Stopped,
            false => fault,
        }
    }

    /// Asks, and goes where the hub redirects to. The token goes to the hub alone.
    pub(super) fn get(&self, ask: &Ask<'_>) -> std::result::Result<Answer, Fault> {
        let mut uri: Uri = parse(ask.address).ok_or_else(|| unreadable(ask.subject))?;
        let mut hub_headers = None;
        for _ in 0..=REDIRECTS {
            let origin = Origin::of(&uri).ok_or_else(|| unreadable(ask.subject))?;
            let is_hub = origin == self.origin;
            let response = self.send(&uri, is_hub, ask)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let (parts, body) = response.into_parts();
                let (headers, host) = (parts.headers, origin.host);
                let hub_headers = hub_headers.unwrap_or_else(|| headers.clone());
                let answer = Answer { status, headers, hub_headers, body, host };
                return self.check(answer, is_hub, ask.subject);
            }
            let headers = response.headers();
            let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| resolve(&uri, location));
            let sound = |next: &Uri| Origin::of(next).is_some() && !is_downgrade(&uri, next);
            uri = next.filter(sound).ok_or_else(|| {
                let message =
                    format!("{}: {} redirects to no usable address", ask.subject, origin.host);
                Fault::Failed(Error::new(ErrorKind::Network, message))
            })?;
            if hub_headers.is_none() {
                hub_headers = Some(headers.clone());
            }
        }
        let message = format!("{}: redirected more than {REDIRECTS} times", ask.subject);
        Err(Fault::Failed(Error::new(ErrorKind::Network, message)))
    }

    /// One request. Names and connections are waited for on a thread of their own, which nothing
    /// can interrupt: after a stop it ends by itself.
    fn send(
        &self,
        uri: &Uri,
        is_hub: bool,
        ask: &Ask<'_>,
    ) -> std::result::Result<Response<Body>, Fault> {
        let mut request = Request::get(uri.clone()).header(header::ACCEPT_ENCODING, "identity");
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(token) = self.token.as_ref().filter(|_| is_hub) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        let request = request.body(()).map_err(|_| unreadable(ask.subject))?;
        let request = self.agent.configure_request(request).proxy(self.proxies.find(uri)).build();
        let (agent, (send, answer)) = (self.agent.clone(), bounded(1));
        let thread = std::thread::Builder::new().name("fluid-connect".into()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            OwnThread::default().enter();
            // Nobody waits any more after a stop.
            let _ = send.send(agent.run(request));
        });
        spawned.map_err(|error| {
            let message = format!("cannot start a thread: {error}");
            Fault::Failed(Error::new(ErrorKind::OutOfMemory, message))
        })?;
        let host = uri.host().unwrap_or_default();
        match self.stop.wait(&answer) {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(self.unless_stopped(of_ureq(ask.subject, host, &error))),
            None => Err(self.unless_stopped(Fault::passing(format!(
                "{}: the request to {host} broke off",
                ask.subject
            )))),
        }
    }

    fn check(
        &self,
        answer: Answer,
        is_hub: bool,
        subject: &str,
    ) -> std::result::Result<Answer, Fault> {
        if matches!(answer.status, 200 | 206 | 416) {
            return Ok(answer);
        }
        let said = header_text(&answer.headers, "x-error-message").unwrap_or_default();
        let said: String = said.chars().take(200).collect();
        let said = match &self.token {
            Some(token) => token.hide_in(&said),
            None => said,
        };
        let code = header_text(&answer.headers, "x-error-code");
        let refusal = Refusal {
            subject,
            host: &answer.host,
            status: answer.status,
            code: code.as_deref().unwrap_or_default(),
            said: &said,
            has_token: self.token.is_some(),
        };
        // A signed address of a CDN is valid for a while only.
        let expired = !is_hub && matches!(answer.status, 400 | 401 | 403 | 404 | 410);
        if expired || matches!(answer.status, 408 | 425 | 429 | 500..=599) {
            let wait = header_text(&answer.headers, "retry-after");
            let wait = wait.and_then(|text| retry::after(&text, std::time::SystemTime::now()));
            return Err(Fault::Passing(refusal.error(ErrorKind::Network), wait));
        }
        Err(Fault::Failed(refusal.explain()))
    }

    /// The whole body as text.
    pub(super) fn read_text(
        &self,
        mut answer: Answer,
        subject: &str,
    ) -> std::result::Result<String, Fault> {
        let (mut bytes, host) = (Vec::new(), &answer.host);
        let read = answer.body.as_reader().take(TEXT_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| {
            let message = format!("{subject}: the answer of {host} broke off: {error}");
            self.unless_stopped(Fault::passing(message))
        })?;
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= TEXT_MAX);
        text.ok_or_else(|| Fault::passing(format!("{subject}: {host} does not answer in text")))
    }
}

/// An answer that is none of what was asked for.
struct Refusal<'a> {
    subject: &'a str,
    host: &'a str,
    status: u16,
    code: &'a str,
    said: &'a str,
    has_token: bool,
}

impl Refusal<'_> {
    fn error(&self, kind: ErrorKind) -> Error {
        let Self { subject, host, status, said, .. } = self;
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Error::new(kind, format!("{subject}: {host} answers {status}{said}"))
    }

    /// What the status and the hub's code stand for, and what helps.
    fn explain(&self) -> Error {
        let (kind, cause) = match (self.status, self.code) {
            (_, "GatedRepo") => (
                ErrorKind::AccessDenied,
                "the repository is gated: accept its conditions on the hub's page and give your token (hub_token, HF_TOKEN)",
            ),
            (404, "RevisionNotFound") => {
                (ErrorKind::NotFound, "the repository has no such revision")
            }
            (404, "EntryNotFound") => (ErrorKind::NotFound, "the repository has no such file"),
            (404, _) => (ErrorKind::NotFound, "no such repository; check the name"),
            (401 | 403, _) if self.has_token => (
                ErrorKind::AccessDenied,
                "no such repository, or your token does not open it; check the name and the token",
            ),
            (401 | 403, _) => (
                ErrorKind::AccessDenied,
                "no such repository, or a private one; check the name, or give a token (hub_token, HF_TOKEN)",
            ),
            _ => return self.error(ErrorKind::Network),
        };
        Error::new(kind, format!("{}; {cause}", self.error(kind).message()))
    }
}

/// Who an address belongs to.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(usual) })
    }
}

fn is_downgrade(from: &Uri, to: &Uri) -> bool {
    from.scheme_str() == Some("https") && to.scheme_str() != Some("https")
}

/// A header's text.
pub(super) fn header_text(headers: &HeaderMap, name: &'static str) -> Option<String> {
    let value = headers.get(HeaderName::from_static(name))?.to_str().ok()?;
    Some(value.trim().to_owned())
}

fn parse(address: &str) -> Option<Uri> {
    // A fragment is no part of a request, and an address with a user in it is none of a hub's.
    let address = address.split('#').next()?;
    let uri: Uri = address.parse().ok()?;
    (!uri.authority()?.as_str().contains('@')).then_some(uri)
}

/// Where `location` leads, read on the page `base`.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with("//") {
        return parse(&format!("{}:{location}", base.scheme_str()?));
    }
    if location.starts_with('/') {
        return parse(&format!("{}://{}{location}", base.scheme_str()?, base.authority()?));
    }
    parse(location)
}

fn unreadable(subject: &str) -> Fault {
    let message = format!("{subject}: its address cannot be used");
    Fault::Failed(Error::new(ErrorKind::InvalidArgument, message))
}

/// A fault of the way to `host`. What will not change by itself is told at once.
fn of_ureq(subject: &str, host: &str, error: &ureq::Error) -> Fault {
    let untrusted = |error: &dyn std::fmt::Display| {
        let message = format!(
            "{subject}: no secure connection to {host}: {error}; a proxy's certificate must be known to the system, or lie in the file that SSL_CERT_FILE names"
        );
        Fault::Failed(Error::new(ErrorKind::Network, message))
    };
    match error {
        ureq::Error::Rustls(error) => untrusted(error),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            untrusted(error)
        }
        ureq::Error::HostNotFound => Fault::passing(format!("{subject}: {host} is not found")),
        ureq::Error::Timeout(_) => {
            Fault::passing(format!("{subject}: {host} does not answer in time"))
        }
        ureq::Error::Io(error) => Fault::passing(format!("{subject}: {host}: {error}")),
        // Not all of them are shown: some quote the address, which may be signed.
        ureq::Error::ConnectProxyFailed(cause) => {
            Fault::passing(format!("{subject}: the proxy does not connect to {host}: {cause}"))
        }
        ureq::Error::Protocol(error) => {
            Fault::passing(format!("{subject}: {host} does not speak HTTP: {error}"))
        }
        _ => Fault::passing(format!("{subject}: {host} cannot be reached")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_has_scheme_host_and_port() {
        let origin = |text: &str| Origin::of(&text.parse().expect("an address"));
        assert_eq!(origin("https://Hub.example/a"), origin("https://hub.example:443/b"));
        assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
        assert_ne!(origin("http://hub.example"), origin("http://hub.example:8080"));
        assert_ne!(origin("https://hub.example"), origin("https://hub.example.org"));
    }

    #[test]
    fn a_location_is_read_on_its_page() {
        let base: Uri = "https://hub.example:8443/a/b?c".parse().expect("an address");
        let go = |location: &str| resolve(&base, location).map(|uri| uri.to_string());
        assert_eq!(go("/x?y").as_deref(), Some("https://hub.example:8443/x?y"));
        assert_eq!(go("//cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        assert_eq!(go("http://cdn.example/x#y").as_deref(), Some("http://cdn.example/x"));
        for none in ["", "x/y", "https://user:word@cdn.example/", "https://", "/\u{7f}"] {
            assert_eq!(go(none), None, "{none}");
        }
    }
}
