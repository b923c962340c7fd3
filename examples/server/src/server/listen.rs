//! The sockets that take connections in: one for each address that the host's name has.
#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::task::Poll;

use tokio::net::{lookup_host, TcpListener, TcpStream};

/// Sockets of one port. Clients that ask for `localhost` may try either of its addresses, and only that one.
pub(super) struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// At every address that `host` has; an error in one line where another program has the port at one of them,
    /// or this machine has none of them.
    pub(super) async fn new(host: &str, port: u16) -> std::result::Result<Self, String> {
        let bound = async { Self::at(lookup_host((host, port)).await?).await };
        bound.await.map_err(|error| {
            let advice = advice(error.kind());
            format!("cannot listen on {host}:{port}: {error}; {advice}")
        })
    }

    async fn at(addresses: impl Iterator<Item = SocketAddr>) -> Result<Self> {
        let (mut listeners, mut missing) = (Vec::<TcpListener>::new(), None);
        let mut seen = Vec::new();
        for mut address in addresses {
            if seen.contains(&address.ip()) {
                continue;
            }
            seen.push(address.ip());
            // Port 0 is any free one, and then the same for all.
            if let Some(first) = listeners.first() {
                address.set_port(first.local_addr()?.port());
            }
            match TcpListener::bind(address).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if is_for_all(&error) => return Err(error),
                // `localhost` has an address of IPv6 also where that is switched off.
                Err(error) => missing = Some(error),
            }
        }
        if listeners.is_empty() {
            return Err(missing.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()));
        }
        Ok(Self(listeners))
    }

    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        self.0.iter().map(TcpListener::local_addr).collect()
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> Result<TcpStream> {
        poll_fn(|cx| {
            let mut accepted = self.0.iter().map(|listener| listener.poll_accept(cx));
            let accepted = accepted.find(Poll::is_ready).unwrap_or(Poll::Pending);
            accepted.map_ok(|(stream, _)| stream)
        })
        .await
    }
}

/// Not of an address that this machine lacks: half of the clients would reach another program, or nothing.
fn is_for_all(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "another program has it: end that one, or choose another --port",
        ErrorKind::AddrNotAvailable => "--host is no address of this machine",
        ErrorKind::PermissionDenied => "choose a --port above 1023",
        _ => "--host takes an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_are_listened_at() {
        let given = parsed(&["127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0", "192.0.2.1:0"]);
        let listeners = Listeners::at(given.into_iter()).await.expect("two of this machine");
        let addresses = listeners.addresses().expect("addresses");
        assert_eq!(addresses.len(), 2, "{addresses:?}");
        assert_eq!(addresses[0].port(), addresses[1].port());
        for address in addresses {
            let (client, taken) = tokio::join!(TcpStream::connect(address), listeners.accept());
            let (client, taken) = (client.expect("a connection"), taken.expect("a connection"));
            assert_eq!(client.local_addr().ok(), taken.peer_addr().ok());
            assert_eq!(taken.local_addr().ok(), Some(address));
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_at_one_address_is_refused() {
        let taken = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let given = [("127.0.0.1", port), ("127.0.0.2", port)];
        let given = given.map(|(host, port)| SocketAddr::new(host.parse().expect("an IP"), port));
        let refused = Listeners::at(given.into_iter()).await.map(|_| ()).expect_err("taken");
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        let none = Listeners::at(parsed(&["192.0.2.1:0"]).into_iter()).await;
        let kind = none.map(|_| ()).expect_err("no address of this machine").kind();
        assert_eq!(kind, ErrorKind::AddrNotAvailable);
    }
}
