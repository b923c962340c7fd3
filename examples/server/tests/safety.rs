//! Who may ask, how much, and what they are told.
#![cfg(unix)]

mod support;

use support::{post, Answer, Client, Host, Scratch};

fn host(options: &[&str]) -> Host {
    Host::start(Scratch::new(), options, &[])
}

/// A request whose whole head is one's own.
fn raw(host: &Host, text: &str) -> Answer {
    let mut client = host.client();
    client.send(text);
    client.answer()
}

fn with_host(host: &Host, name: &str) -> Answer {
    raw(host, &format!("GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"))
}

#[test]
fn foreign_hosts_are_refused_on_loopback() {
    let host = host(&[]);
    let port = host.port;
    for own in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(with_host(&host, own).status, 200, "{own}");
        assert_eq!(with_host(&host, &format!("{own}:{port}")).status, 200, "{own}");
        assert_eq!(with_host(&host, &format!("{own}:1")).status, 200, "{own}");
    }
    for foreign in
        ["evil.example", "localhost.evil.example", "evil.example:80", "10.0.0.1", "localhost@evil"]
    {
        let (message, code) = with_host(&host, foreign).error(403);
        assert!(message.contains(foreign) && code == "forbidden", "{message}");
    }
    let close = "Connection: close\r\n\r\n";
    let cases = [
        (format!("GET /health HTTP/1.1\r\n{close}"), 400),
        (format!("GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n{close}"), 400),
        (format!("GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n{close}"), 403),
        (format!("GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n{close}"), 200),
        ("GET /health HTTP/1.0\r\n\r\n".to_owned(), 200),
    ];
    for (text, status) in cases {
        assert_eq!(raw(&host, &text).status, status, "{text}");
    }
}

#[test]
fn the_host_of_the_command_line_is_the_servers() {
    let host = host(&["--host", "127.0.0.2"]);
    let mut client = Client::of("127.0.0.2", host.port);
    client.send("GET /health HTTP/1.1\r\nHost: 127.0.0.2\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(!host.log().contains("WARNING"), "{}", host.log());
}

#[test]
fn a_server_that_others_reach_warns_and_knows_no_hosts() {
    let open = host(&["--host", "0.0.0.0"]);
    open.wait_for_log("WARNING whoever reaches 0.0.0.0");
    assert_eq!(with_host(&open, "box.example").status, 200);
    // A page of its own may ask; others not.
    let asked = |origin: &str| {
        let head = format!("GET /health HTTP/1.1\r\nHost: box.example:1\r\nOrigin: {origin}");
        raw(&open, &format!("{head}\r\nConnection: close\r\n\r\n")).status
    };
    assert_eq!(asked("http://box.example:1"), 200);
    assert_eq!(asked("http://box.example"), 403);
    let closed = host(&["--host", "0.0.0.0", "--api-key", "k"]);
    assert!(!closed.log().contains("WARNING"), "{}", closed.log());
}

#[test]
fn pages_of_localhost_may_ask_and_others_not() {
    let host = host(&[]);
    for origin in
        ["http://localhost", "http://localhost:3000", "https://127.0.0.1:8", "http://[::1]:5173"]
    {
        let answer = host.client().ask("GET", "/health", &format!("Origin: {origin}\r\n"), "");
        assert_eq!(answer.status, 200, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("vary"), Some("origin"));
        assert!(answer
            .header("access-control-expose-headers")
            .is_some_and(|names| names.contains("x-request-id")));
    }
    for origin in [
        "https://evil.example",
        "http://localhost.evil.example",
        "null",
        "file://",
        "http://localhost@evil",
    ] {
        for (method, path) in [("GET", "/health"), ("POST", "/v1/chat/completions")] {
            let answer = host.client().ask(method, path, &format!("Origin: {origin}\r\n"), "{}");
            answer.error(403);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        }
    }
    let simple = "Sec-Fetch-Site: cross-site\r\n";
    host.client().ask("POST", "/v1/chat/completions", simple, "{}").error(403);
    assert_eq!(host.client().ask("GET", "/health", simple, "").status, 200, "a link to it");
    assert_eq!(host.client().ask("GET", "/health", "", "").header("vary"), None);
}

#[test]
fn browsers_are_answered_before_they_ask() {
    let host = host(&["--api-key", "k"]);
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-own\r\n\
                 Access-Control-Request-Private-Network: true\r\n";
    let preflight = |origin: &str| {
        let headers = format!("Origin: {origin}\r\n{asked}");
        host.client().ask("OPTIONS", "/v1/chat/completions", &headers, "")
    };
    let answer = preflight("http://localhost:3000");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "http://localhost:3000"),
        ("access-control-allow-headers", "authorization,x-own"),
        ("access-control-allow-private-network", "true"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert!(answer.header("access-control-allow-methods").is_some_and(|all| all.contains("POST")));
    let answer = preflight("https://evil.example");
    answer.error(403);
    assert!(!answer.head.contains("access-control-allow"), "{answer:?}");
}

#[test]
fn origins_that_are_named_may_ask() {
    let host = host(&["--cors-origin", "https://App.example/", "--cors-origin", "null"]);
    let asked = |origin: &str| {
        host.client().ask("GET", "/health", &format!("Origin: {origin}\r\n"), "").status
    };
    for origin in ["https://app.example", "null", "http://localhost:1"] {
        assert_eq!(asked(origin), 200, "{origin}");
    }
    for origin in ["http://app.example", "https://app.example:8", "https://evil.example"] {
        assert_eq!(asked(origin), 403, "{origin}");
    }
    let all = self::host(&["--cors-origin", "*"]);
    all.wait_for_log("any web page may use the server");
    let answer = all.client().ask("GET", "/health", "Origin: https://any.example\r\n", "");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.example"));
}

#[test]
fn a_key_opens_and_nothing_else() {
    let host = host(&["--api-key", "sk-1"]);
    let asked = |path: &str, headers: &str| host.client().ask("GET", path, headers, "");
    for path in ["/health", "/", "/docs", "/openapi.json"] {
        assert_eq!(asked(path, "").status, 200, "{path}");
    }
    asked("/favicon.ico", "").error(401);
    for headers in [
        "Authorization: Bearer sk-1\r\n",
        "authorization: bearer  sk-1 \r\n",
        "x-api-key: sk-1\r\n",
        "api-key: sk-1\r\n",
    ] {
        assert_eq!(asked("/metrics", headers).status, 200, "{headers}");
    }
    for headers in [
        "",
        "Authorization: Bearer sk-2\r\n",
        "Authorization: Bearer sk-\r\n",
        "Authorization: Bearer sk-11\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: sk-1\r\n",
        "Authorization: Basic sk-1\r\n",
        "Authorization: B\u{fc}arer sk-1\r\n",
        "x-api-key: SK-1\r\n",
        "Cookie: key=sk-1\r\n",
    ] {
        for path in
            ["/metrics", "/v1/models", "/v1/nothing", "//health", "/health/", "/health?sk-1=/v1"]
        {
            if path.starts_with("/health?") {
                continue;
            }
            let answer = asked(path, headers);
            assert_eq!(answer.error(401).1, "invalid_api_key", "{path} {headers}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let answer = host.client().ask("POST", "/health", "", "");
    answer.error(401);
}

#[test]
fn bodies_have_limits() {
    let host = host(&["--max-body-mb", "1", "--max-upload-mb", "2"]);
    let sized = |path: &str, mib: usize, extra: usize| {
        host.client().ask("POST", path, "", &"x".repeat((mib << 20) + extra))
    };
    let (message, code) = sized("/v1/chat/completions", 1, 1).error(413);
    assert!(message.contains("1 MiB") && code == "body_too_large", "{message}");
    sized("/v1/chat/completions", 1, 0).error(400);
    sized("/v1/audio/transcriptions", 2, 1).error(413);
    assert_ne!(sized("/v1/audio/transcriptions", 2, 0).status, 413);
    // Nobody says before how much it will be.
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let part = "x".repeat(1 << 16);
    let chunks = format!("10000\r\n{part}\r\n").repeat(17);
    raw(&host, &format!("{head}{chunks}0\r\n\r\n")).error(413);
    // A client that asks first is told before it sends anything.
    let text =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\
                Expect: 100-continue\r\n\r\n";
    raw(&host, text).error(413);
}

#[test]
fn what_is_not_there_is_said_in_openais_shape() {
    let host = host(&[]);
    let answer = host.client().ask("GET", "/v1/nothing", "", "");
    let (message, code) = answer.error(404);
    assert!(message.contains("GET /v1/nothing") && code == "unknown_url", "{message}");
    let answer = host.client().ask("GET", "/v1/chat/completions", "", "");
    answer.error(405);
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = host.client().ask("DELETE", "/health", "", "");
    answer.error(405);
    let long = format!("/{}", "x".repeat(20_000));
    assert!(host.client().ask("GET", &long, "", "").error(404).0.len() < 400);
    assert!(host.log().lines().all(|line| line.len() < 400), "{}", host.log());
    let mut client = host.client();
    client.send("\u{1}\u{2}nonsense\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    let head =
        format!("GET /health HTTP/1.1\r\nHost: localhost\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let mut client = host.client();
    let _ = std::io::Write::write_all(&mut client.stream, head.as_bytes());
    assert_eq!(client.answer().status, 431);
}

#[test]
fn requests_are_noted_without_what_they_say() {
    let host = host(&[]);
    let first = host.client().ask("GET", "/health?secret=1", "", "");
    let second = host.client().ask("POST", "/v1/chat/completions", "", "{\"secret\": ");
    second.error(400);
    let id = |answer: &Answer| answer.header("x-request-id").expect("an id").to_owned();
    assert_ne!(id(&first), id(&second));
    host.wait_for_log(&id(&second));
    let log = host.log();
    let line = log.lines().find(|line| line.contains(&id(&first))).expect("a line");
    assert!(line.contains("INFO GET /health 200 ") && line.contains(" ms"), "{line}");
    assert!(log.contains("POST /v1/chat/completions 400 ") && !log.contains("secret"), "{log}");
    for header in ["x-content-type-options: nosniff", "content-type: application/json"] {
        assert!(first.head.contains(header), "{first:?}");
    }
}

#[test]
fn what_is_done_is_counted() {
    let host = host(&[]);
    for _ in 0..3 {
        host.client().ask("GET", "/health", "", "");
    }
    for index in 0..5 {
        host.client().ask("GET", &format!("/v1/nothing-{index}"), "", "");
    }
    host.client().ask("BREW", "/health", "", "");
    let page = host.client().ask("GET", "/metrics", "", "");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        r#"fluid_http_requests_total{method="GET",route="/health",status="200"} 3"#,
        r#"fluid_http_requests_total{method="GET",route="other",status="404"} 5"#,
        r#"fluid_http_requests_total{method="OTHER",route="/health",status="405"} 1"#,
        r#"fluid_http_request_duration_seconds_count{method="GET",route="/health"} 3"#,
        "fluid_http_requests_in_flight 1",
        "fluid_models_loaded 0",
        "# TYPE fluid_http_request_duration_seconds histogram",
    ] {
        assert!(page.body.lines().any(|given| given == line), "{line} in {}", page.body);
    }
    let mut names = std::collections::HashSet::new();
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(names.insert(name.to_owned()), "twice: {line}");
    }
}

#[test]
fn one_connection_takes_many_requests() {
    let host = host(&[]);
    let mut client = host.client();
    for _ in 0..3 {
        client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    client.send(
        post("/v1/chat/completions", "{")
            .replace("\r\nContent-Type", "\r\nConnection: close\r\nContent-Type"),
    );
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.matches("HTTP/1.1 200").count(), 2, "{answer:?}");
    assert_eq!(answer.body.matches("HTTP/1.1 400").count(), 1, "{answer:?}");
}
