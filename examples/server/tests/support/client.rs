//! A connection to a server, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// An answer's head and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (given, value) = line.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Checks the status, and that the body is an error in OpenAI's shape; its message and code.
    pub fn error(&self, status: u16) -> (String, String) {
        assert_eq!(self.status, status, "{self:?}");
        let error = &self.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        assert!(!text("message").is_empty() && !text("type").is_empty(), "{self:?}");
        for name in ["param", "code"] {
            assert!(error.get(name).is_some(), "{self:?}");
        }
        (text("message"), text("code"))
    }
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub fn new(port: u16) -> Self {
        Self::of("127.0.0.1", port)
    }

    /// At another address of this machine.
    pub fn of(address: &str, port: u16) -> Self {
        let stream = TcpStream::connect((address, port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_nodelay(true).expect("an option");
        Self { stream, read: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("to be read");
    }

    /// A request of one's own headers, each with its line's end, whose connection is of no further use.
    pub fn ask(mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\n{headers}\r\n{body}"
        ));
        self.answer()
    }

    /// Reads until the server ends the connection.
    pub fn answer(mut self) -> Answer {
        self.read_until(|_| false);
        let text = String::from_utf8_lossy(&self.read).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (head, body) = (head.to_owned(), body.to_owned());
        Answer { status, head, body }
    }

    /// Reads until `text` has come. False: the connection ended before.
    pub fn read_to(&mut self, text: &str) -> bool {
        let has = |read: &[u8]| read.windows(text.len()).any(|part| part == text.as_bytes());
        self.read_until(has)
    }

    fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> bool {
        let mut part = [0; 16 << 10];
        while !is_enough(&self.read) {
            match self.stream.read(&mut part) {
                Ok(0) => return false,
                Ok(count) => self.read.extend(&part[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("{error}; read so far: {}", self.text()),
            }
        }
        true
    }

    /// Whether the server ends the connection within a time; what it says until then is read.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a time limit");
        let mut part = [0; 16 << 10];
        let begun = std::time::Instant::now();
        while begun.elapsed() < time {
            match self.stream.read(&mut part) {
                Ok(0) => return true,
                Ok(count) => self.read.extend(&part[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
        false
    }

    /// What was read so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Says that nothing more will be sent.
    pub fn close_writing(&self) {
        self.stream.shutdown(Shutdown::Write).expect("an open socket");
    }
}

/// A request with a JSON body, as bytes.
pub fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}
