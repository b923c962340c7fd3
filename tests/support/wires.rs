//! What may stand between us and a hub: TLS, and a proxy that connects for others.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The file of the authority that signed the certificate for 127.0.0.1, valid up to 2126.
pub const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/authority.pem");

/// Bytes up to the empty line.
fn head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// Speaks TLS on a port of its own and passes requests on to `hub`; for as long as the process lives.
pub fn secure(hub: SocketAddr) -> SocketAddr {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    let chain = CertificateDer::from_pem_file(format!("{data}/server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(format!("{data}/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![chain], key).expect("they fit"));
    listen(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut secured = StreamOwned::new(connection, stream);
        loop {
            let request = head(&mut secured)?;
            let mut behind = TcpStream::connect(hub)?;
            behind.write_all(&request)?;
            behind.shutdown(std::net::Shutdown::Write)?;
            let mut answer = Vec::new();
            behind.read_to_end(&mut answer)?;
            secured.write_all(&answer)?;
            secured.flush()?;
        }
    })
}

/// A proxy on a port of its own that connects everybody to `hub`, and what it was asked.
pub fn proxy(hub: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&asked);
    let address = listen(move |mut stream| {
        let request = String::from_utf8_lossy(&head(&mut stream)?).into_owned();
        heard.lock().expect("no panic").push(request);
        let mut behind = TcpStream::connect(hub)?;
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        let (mut back, mut forth) = (behind.try_clone()?, stream.try_clone()?);
        std::thread::spawn(move || io::copy(&mut back, &mut forth));
        io::copy(&mut stream, &mut behind).map(drop)
    });
    (address, asked)
}

fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let (address, serve) = (listener.local_addr().expect("it is bound"), Arc::new(serve));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            // The other side ends it, which is no error.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    address
}
