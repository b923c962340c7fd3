//! As much of HTTP/1.1's serving side as a hub needs, over plain sockets.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request without a body.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Some(Self { method, target, headers })
    }

    /// The first byte of the range that is asked for, and the last.
    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let range = self.headers.get("range")?.strip_prefix("bytes=")?;
        let (start, end) = range.split_once('-')?;
        Some((start.parse().ok()?, end.parse().ok()))
    }
}

/// How a body goes out.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The connection ends after so many bytes of it.
    pub cut: Option<usize>,
    /// Nothing more comes after so many bytes of it.
    pub stall: Option<usize>,
    /// Nothing comes at all.
    pub mute: bool,
    /// Bytes per step, and the pause between two.
    pub slow: Option<(usize, Duration)>,
    /// In chunks instead of with a length.
    pub chunked: bool,
    /// The length that is announced, whatever comes.
    pub length: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub manner: Manner,
    /// Sent as it is, in place of all else.
    pub raw: Option<Vec<u8>>,
}

impl Response {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn text(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new(status) }.with("Content-Type", kind)
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

type Answer = dyn Fn(&Request) -> Response + Send + Sync;
type Sent = dyn Fn(&Request, usize) + Send + Sync;

/// A server on a port of its own; it and its connections end when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    closing: Arc<AtomicBool>,
    connections: Arc<Mutex<BTreeMap<usize, TcpStream>>>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    /// `sent` hears how many bytes of a body go out.
    pub fn start(answer: Arc<Answer>, sent: Arc<Sent>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let (closing, connections) = (Arc::<AtomicBool>::default(), Arc::default());
        let closes = Arc::clone(&closing);
        let open: Arc<Mutex<BTreeMap<usize, TcpStream>>> = Arc::clone(&connections);
        let listener = std::thread::spawn(move || {
            let mut threads = Vec::new();
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if closes.load(Ordering::SeqCst) {
                    break;
                }
                let handle = stream.try_clone().expect("a handle");
                open.lock().expect("no thread panicked").insert(number, handle);
                let (answer, sent, closes) = (answer.clone(), sent.clone(), closes.clone());
                let open = Arc::clone(&open);
                threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
                threads.push(std::thread::spawn(move || {
                    serve(stream, &*answer, &*sent, &closes);
                    open.lock().expect("no thread panicked").remove(&number);
                }));
            }
            for thread in threads {
                let _ = thread.join();
            }
        });
        Self { address, closing, connections, listener: Some(listener) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        for stream in self.connections.lock().expect("no thread panicked").values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(stream: TcpStream, answer: &Answer, sent: &Sent, closing: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let mut out = stream.try_clone().expect("a handle");
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream) {
        let response = answer(&request);
        let counted = |count| sent(&request, count);
        if send(&mut out, &request, &response, &counted, closing).is_none() {
            break;
        }
    }
    let _ = out.shutdown(Shutdown::Both);
}

/// `None` where the connection ends with this answer.
fn send(
    out: &mut TcpStream,
    request: &Request,
    response: &Response,
    sent: &dyn Fn(usize),
    closing: &AtomicBool,
) -> Option<()> {
    if let Some(raw) = &response.raw {
        out.write_all(raw).ok()?;
        return None;
    }
    let Manner { cut, stall, mute, slow, chunked, length } = response.manner.clone();
    if mute {
        // Until the other side gives up.
        let _ = out.read(&mut [0]);
        return None;
    }
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", response.status);
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match chunked {
        true => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        false => {
            let length = length.unwrap_or(response.body.len());
            head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        }
    }
    out.write_all(head.as_bytes()).ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    let end = cut.or(stall).unwrap_or(usize::MAX).min(response.body.len());
    let (step, pause) = slow.unwrap_or((1 << 16, Duration::ZERO));
    for piece in response.body[..end].chunks(step) {
        if chunked {
            write!(out, "{:x}\r\n", piece.len()).ok()?;
        }
        // Before: who got all of it may look at the count at once.
        sent(piece.len());
        out.write_all(piece).ok()?;
        if chunked {
            out.write_all(b"\r\n").ok()?;
        }
        if closing.load(Ordering::SeqCst) {
            return None;
        }
        std::thread::sleep(pause);
    }
    if stall.is_some() {
        // Until the other side gives up.
        let _ = out.read(&mut [0]);
        return None;
    }
    if cut.is_some() {
        return None;
    }
    if chunked {
        out.write_all(b"0\r\n\r\n").ok()?;
    }
    length.is_none_or(|length| length == response.body.len()).then_some(())
}
