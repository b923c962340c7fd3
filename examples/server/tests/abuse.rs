//! Clients that do what clients should not: none costs the others a slot, and none costs memory for good.
#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

mod support;

use std::io::Read;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use support::{post, Client, Host};

/// A token each millisecond, for a minute.
const SLOW: &str = r#"{"hashed": true, "token_us": 1000}"#;
/// As many tokens as fit, at once.
const FAST: &str = r#"{"hashed": true}"#;

/// Who measures is alone; the others are many.
static CORES: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    CORES.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    CORES.write().unwrap_or_else(PoisonError::into_inner)
}

fn full() -> bool {
    std::env::var("FLUID_SOAK").is_ok_and(|value| value == "full")
}

fn chat(options: &str) -> String {
    let messages = r#""messages": [{"role": "user", "content": "Tell me a long story."}]"#;
    post("/v1/chat/completions", &format!("{{{messages}, {options}}}"))
}

fn stream(most: usize) -> String {
    chat(&format!(r#""stream": true, "max_tokens": {most}"#))
}

/// A stream of which the first token has come.
fn begun(host: &Host, request: &str) -> Client {
    let mut client = host.client();
    client.send(request);
    assert!(client.read_to("\"content\":\""), "{}", client.text());
    client
}

/// How long a short answer takes now.
fn short_answer(host: &Host) -> Duration {
    let begun = Instant::now();
    let mut client = host.client();
    client.send(chat(r#""max_tokens": 1"#).replace("\r\nHost", "\r\nConnection: close\r\nHost"));
    let answer = client.answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    begun.elapsed()
}

fn is_free(host: &Host) {
    host.wait_until("no job is left", || host.jobs() == 0.0);
}

#[test]
fn two_hundred_clients_are_all_answered() {
    let _cores = shared();
    let workers = ["--workers", "4"];
    let host = match full() {
        true => Host::with_smollm2(&workers),
        false => Host::with_script(SLOW, &workers),
    };
    short_answer(&host);
    let request = stream(4);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..200)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = host.client();
                    client.send(&request);
                    assert!(client.read_to("[DONE]"), "{}", client.text());
                    client.text()
                })
            })
            .collect();
        for client in clients {
            let text = client.join().expect("an answer");
            assert!(text.starts_with("HTTP/1.1 200") && !text.contains("error"), "{text}");
        }
    });
    is_free(&host);
    assert_eq!(host.metric("fluid_http_requests_in_flight "), Some(1.0));
}

#[test]
fn a_client_that_leaves_frees_its_slot_within_100_ms() {
    let _cores = alone();
    let host = Host::with_smollm2(&[]);
    short_answer(&host);
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let client = begun(&host, &stream(4_000));
        assert_eq!(host.jobs(), 1.0);
        let left = Instant::now();
        drop(client);
        is_free(&host);
        worst = worst.max(left.elapsed());
    }
    eprintln!("a slot is free after {worst:?} at most");
    assert!(worst < Duration::from_millis(100), "{worst:?}");
    assert!(host.log().contains("the client left"), "{}", host.log());
}

#[test]
fn who_leaves_before_the_answer_frees_the_slot_too() {
    let _cores = alone();
    let host = Host::with_script(SLOW, &[]);
    short_answer(&host);
    for _ in 0..5 {
        let mut client = host.client();
        client.send(chat(r#""max_tokens": 4000"#));
        host.wait_until("a job runs", || host.jobs() == 1.0);
        let left = Instant::now();
        drop(client);
        is_free(&host);
        assert!(left.elapsed() < Duration::from_millis(100), "{:?}", left.elapsed());
    }
    host.wait_for_log(" 499 ");
}

/// A line's end too many, or the next request, before the answer to the first one.
#[test]
fn who_leaves_behind_unread_bytes_frees_the_slot_too() {
    let host = Host::with_script(SLOW, &[]);
    short_answer(&host);
    let request = chat(r#""max_tokens": 4000"#);
    for behind in ["\r\n", &request] {
        let mut client = host.client();
        client.send(format!("{request}{behind}"));
        host.wait_until("a job runs", || host.jobs() == 1.0);
        let left = Instant::now();
        drop(client);
        is_free(&host);
        assert!(left.elapsed() < Duration::from_secs(3), "{behind:?}: {:?}", left.elapsed());
    }
}

/// Who will send nothing more is taken for gone: most that are gone look no other way.
#[test]
fn half_closed_sockets_free_their_slots() {
    let _cores = shared();
    let host = Host::with_script(SLOW, &[]);
    short_answer(&host);
    let clients: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = host.client();
            client.send(stream(4_000));
            client.close_writing();
            client
        })
        .collect();
    is_free(&host);
    assert!(short_answer(&host) < Duration::from_secs(1));
    for mut client in clients {
        assert!(client.ends_within(Duration::from_secs(5)), "{}", client.text());
    }
}

#[test]
fn who_does_not_read_loses_the_answer_and_nobody_else_waits() {
    let _cores = shared();
    let host = Host::with_script(FAST, &["--client-timeout", "2"]);
    short_answer(&host);
    // Many answers at once are more than sockets hold.
    let mut client = host.client();
    client.send(chat(r#""stream": true, "n": 32"#));
    let mut first = [0];
    client.stream.read_exact(&mut first).expect("a first byte");
    let asked = Instant::now();
    host.wait_until("the stalled connection is gone", || {
        host.metric("fluid_http_connections ") == Some(1.0)
    });
    eprintln!("a reader that stalls is gone after {:?}", asked.elapsed());
    is_free(&host);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(short_answer(&host) < Duration::from_secs(1));
    assert!(client.ends_within(Duration::from_secs(5)));
    assert!(!client.text().contains("[DONE]"), "cut off");
}

#[test]
fn heads_and_bodies_that_trickle_end() {
    let _cores = shared();
    let host = Host::with_script(FAST, &["--client-timeout", "1"]);
    let request = chat(r#""max_tokens": 1"#);
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let mut clients: Vec<Client> = (0..50).map(|_| host.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        match index % 3 {
            0 => {}
            1 => client.send(&head[..20]),
            _ => client.send(format!("{head}\r\n\r\n{}", &body[..5])),
        }
    }
    let begun = Instant::now();
    assert!(short_answer(&host) < Duration::from_secs(1));
    for (index, client) in clients.iter_mut().enumerate() {
        assert!(client.ends_within(Duration::from_secs(5)), "{index}");
        let text = client.text();
        assert_eq!(text.contains("HTTP/1.1 408"), index % 3 == 2, "{index}: {text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // A head that never ends, though it never stops either.
    let mut client = host.client();
    client.send("GET / HTTP/1.1\r\n");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        use std::io::Write;
        if client.stream.write_all(b"x: y\r\n").is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn bodies_that_come_slowly_but_come_are_taken() {
    let _cores = shared();
    let host = Host::with_script(FAST, &["--client-timeout", "1"]);
    let request = chat(r#""max_tokens": 1"#);
    let mut client = host.client();
    let (head, body) = request.split_at(request.len() - 12);
    client.send(head);
    for byte in body.bytes() {
        thread::sleep(Duration::from_millis(200));
        client.send([byte]);
    }
    assert!(client.read_to("chat.completion"), "{}", client.text());
}

#[test]
fn aborted_streams_leave_nothing_behind() {
    let _cores = alone();
    let host = Host::with_script(SLOW, &["--workers", "4"]);
    let round = |count: usize| {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for index in 0..count / 8 {
                        let client = begun(&host, &stream(4_000));
                        // Some with an answer unread, which resets the connection.
                        if index % 2 == 0 {
                            thread::sleep(Duration::from_millis(5));
                        }
                        drop(client);
                    }
                });
            }
        });
        is_free(&host);
        assert!(short_answer(&host) < Duration::from_secs(1));
        host.wait_until("its connection is gone", || {
            host.metric("fluid_http_connections ") == Some(1.0)
        });
        thread::sleep(Duration::from_millis(100));
        (host.resident_kib(), host.threads(), host.handles())
    };
    let before = round(400);
    let count = if full() { 20_000 } else { 1_000 };
    let after = round(count);
    eprintln!("{count} aborted streams: {before:?} KiB, threads, handles; then {after:?}");
    assert!(after.0 < before.0 + 8 * 1024, "memory grew: {before:?} {after:?}");
    // Threads that look at files come when they are needed, and go when they have not been for ten seconds.
    assert!(after.1 < before.1 + 16, "threads: {before:?} {after:?}");
    assert_eq!(before.2, after.2, "handles");
}

#[test]
fn more_connections_than_it_takes_wait_their_turn() {
    let _cores = shared();
    let host = Host::with_script(FAST, &["--client-timeout", "3"]);
    let idle: Vec<Client> = (0..520).map(|_| host.client()).collect();
    // Their time runs out, and then it is this one's turn.
    assert!(short_answer(&host) < Duration::from_secs(10));
    drop(idle);
    assert!(short_answer(&host) < Duration::from_secs(1));
}

#[test]
fn told_to_end_it_ends_at_once_when_nothing_runs() {
    let _cores = shared();
    for signal in ["TERM", "INT", "HUP"] {
        let mut host = Host::with_script(FAST, &[]);
        let mut idle = host.client();
        idle.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(idle.read_to("status"));
        let begun = Instant::now();
        host.signal(signal);
        assert_eq!(host.wait().code(), Some(0), "{signal}: {}", host.log());
        assert!(begun.elapsed() < Duration::from_secs(3), "{signal}: {:?}", begun.elapsed());
    }
}

#[test]
fn told_to_end_it_lets_short_answers_finish_and_stops_long_ones() {
    let _cores = shared();
    let mut host = Host::with_script(r#"{"hashed": true, "token_us": 20000}"#, &["--workers", "2"]);
    short_answer(&host);
    let mut short = begun(&host, &stream(50));
    let mut long = begun(&host, &stream(4_000));
    let asked = Instant::now();
    host.signal("TERM");
    host.wait_for_log("ending:");
    assert!(std::net::TcpStream::connect(("127.0.0.1", host.port)).is_err(), "still listening");
    assert!(short.read_to("[DONE]"), "{}", short.text());
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    assert!(!long.read_to("[DONE]"), "{}", long.text());
    let text = long.text();
    assert!(text.contains("the server is ending") && text.contains("\"error\""), "{text}");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    let took = asked.elapsed();
    assert!((9..14).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn told_twice_it_ends_at_once() {
    let _cores = shared();
    let mut host = Host::with_script(SLOW, &[]);
    let _client = begun(&host, &stream(4_000));
    host.signal("INT");
    host.wait_for_log("ending:");
    let begun = Instant::now();
    host.signal("INT");
    assert_eq!(host.wait().code(), Some(1), "{}", host.log());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
