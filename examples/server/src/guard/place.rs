//! Hosts and origins, as headers have them.
#![forbid(unsafe_code)]

use std::net::Ipv4Addr;

/// The host of a host and port: `localhost:80`, `[::1]:80`, or without the port.
pub(super) fn host(authority: &str) -> &str {
    let end = match authority.rfind(']') {
        Some(end) => end + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    match authority[end..].strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => &authority[..end],
        None if authority.len() == end => authority,
        // No such thing as a port: it is no host that anybody knows.
        _ => "",
    }
}

/// Whether a host can only be this machine. Names lead wherever their owner's DNS says, `localhost` alone not.
pub(super) fn is_local(host: &str) -> bool {
    let loopback = |host: &str| host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback());
    host.eq_ignore_ascii_case("localhost") || host == "[::1]" || loopback(host)
}

/// The host and port of a web page's origin; none of what is not of the web.
pub(super) fn web(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_ports() {
        for local in ["localhost", "LocalHost:1", "127.0.0.1", "127.9.0.1:80", "[::1]", "[::1]:80"]
        {
            assert!(is_local(host(local)), "{local}");
        }
        for foreign in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil@localhost",
            "localhost:80@evil",
            "[::1]evil",
            "[::2]:80",
            "::1",
            "127.0.0.1:80:80",
            "0.0.0.0",
            "2130706433",
            "localhost:http",
            "[evil]localhost",
            "127.1",
            "localhost.",
            "lo\u{212a}calhost",
        ] {
            assert!(!is_local(host(foreign)), "{foreign}");
        }
    }

    #[test]
    fn origins_of_the_web() {
        assert_eq!(web("http://localhost:80"), Some("localhost:80"));
        for other in ["null", "file://", "localhost", "ws://localhost", "xhttp://localhost"] {
            assert_eq!(web(other), None, "{other}");
        }
    }
}
