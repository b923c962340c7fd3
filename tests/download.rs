//! Downloads from a hub on loopback that speaks the real protocol, with all that can go wrong: at a
//! file's place lies the right file, or none.
#![cfg(feature = "hub")]

#[path = "support/dice.rs"]
mod dice;
#[path = "support/download.rs"]
mod download;
#[path = "support/hub.rs"]
mod hub;
#[path = "support/hub_http.rs"]
mod hub_http;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use download::{client, client_at, fetch, noise, places, prepare, snapshot, Folder};
use fluid::error::{Error, ErrorKind};
use fluid::store::hub::{Hub as Client, HubOptions, Progress};
use hub::{File, Hub, Repo, Trouble, COMMIT, TOKEN};
use hub_http::{Manner, Response};
use serde_json::json;

const REPO: &str = "someone/some-model";
const BIG: usize = 700_000;

/// A hub with one large file, its contents, and where it is to go.
fn one_file() -> (Hub, Vec<u8>, Folder) {
    let (hub, bytes) = (Hub::new(), noise(1, BIG));
    hub.put_files(REPO, &[("model.gguf", bytes.clone())]);
    (hub, bytes, Folder::new())
}

/// The file is there, whole, and nothing beside it.
fn is_whole(folder: &Folder, bytes: &[u8]) {
    assert_eq!(folder.files(), ["model.gguf"]);
    assert!(folder.read("model.gguf") == bytes, "other bytes");
}

/// It failed as `kind`, says `words`, and left no file at a place.
fn refused<T>(outcome: Result<T, Error>, kind: ErrorKind, words: &str, folder: &Folder) {
    let error = outcome.err().unwrap_or_else(|| panic!("it worked, without: {words}"));
    assert!(error.kind() == kind && error.message().contains(words), "{kind:?}: {error}");
    assert!(!error.message().contains(TOKEN) && !error.message().contains("Signature"), "{error}");
    let whole: Vec<_> =
        folder.files().into_iter().filter(|name| !name.ends_with(".part")).collect();
    assert!(whole.is_empty(), "{whole:?}");
}

#[test]
fn a_repository_comes_whole_and_only_once() {
    let (hub, folder) = (Hub::new(), Folder::new());
    let names = [
        "config.json",
        "empty.txt",
        "model.gguf",
        "openvino_model.bin",
        "sub folder/deeper/x+y=z&w.txt",
        "sub folder/é #1 100%.bin",
        "tokenizer.json",
    ];
    let sizes = [300, 0, 400_000, 150_000, 12, 20_000, 70_000];
    let files = names.iter().zip(sizes).enumerate();
    let files: Vec<(&str, Vec<u8>)> =
        files.map(|(seed, (name, size))| (*name, noise(seed as u64, size))).collect();
    hub.put_files(REPO, &files);
    let client = client(&hub, "");
    let fetched = fetch(&client, REPO, &folder).expect("it comes");
    assert_eq!(folder.files(), names);
    for ((name, bytes), file) in files.iter().zip(&fetched) {
        assert!(folder.read(name) == *bytes, "{name}");
        assert_eq!((file.path.as_str(), file.bytes), (*name, bytes.len() as u64));
        assert_eq!(file.received, file.bytes);
        let whole = File { path: String::new(), contents: bytes.clone().into(), lfs: true };
        assert_eq!(file.sha256, whole.sha256());
    }
    let (sent, asked) = (hub.sent("/"), hub.asked("resolve"));
    let again = fetch(&client, REPO, &folder).expect("it is here");
    assert!(again.iter().all(|file| file.received == 0));
    assert_eq!(hub.asked("resolve"), asked, "asked for files that are here");
    assert!(hub.sent("/cdn") + hub.sent("/api/resolve-cache") <= sent);
    // What was altered here is fetched again, and nothing else.
    std::fs::write(folder.0.join("config.json"), noise(99, 300)).expect("it can be written");
    let again = fetch(&client, REPO, &folder).expect("it comes");
    assert_eq!(again.iter().map(|file| file.received).sum::<u64>(), 300);
    assert!(folder.read("config.json") == files[0].1);
}

#[test]
fn pages_are_those_of_the_hub_that_was_asked() {
    let file = |n: u32| File {
        path: format!("{n}.bin"),
        contents: noise(n.into(), 10).into(),
        lfs: n % 2 == 0,
    };
    for mirrored in [false, true] {
        let (hub, folder) = (Hub::new(), Folder::new());
        let files = (10..20).map(file).collect();
        hub.put(REPO, Repo { files, mirrored, ..Repo::default() });
        fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
        assert_eq!((folder.files().len(), hub.asked("/tree/")), (10, 4));
    }
}

#[test]
fn revisions_are_branches_tags_and_commits() {
    let hub = Hub::new();
    let revisions = vec!["v1.0".to_owned(), "refs/pr/1".to_owned()];
    hub.put(REPO, Repo { revisions, ..Repo::default() });
    let client = client(&hub, "");
    for revision in ["main", "v1.0", "refs/pr/1", COMMIT] {
        let found = client.snapshot(REPO, revision, &mut || true).expect(revision);
        assert_eq!(found.expect("nobody stopped it").commit, COMMIT);
    }
    let error = client.snapshot(REPO, "v2", &mut || true).expect_err("it is not there");
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("no such revision"));
}

#[test]
fn the_token_goes_to_the_hub_alone_and_into_no_message() {
    let (hub, bytes, folder) = one_file();
    let file = File { path: "model.gguf".into(), contents: bytes.clone().into(), lfs: true };
    let small = File { path: "config.json".into(), contents: noise(2, 50).into(), lfs: false };
    hub.put(REPO, Repo { files: vec![file, small], private: true, ..Repo::default() });
    refused(fetch(&client(&hub, ""), REPO, &folder), ErrorKind::AccessDenied, "HF_TOKEN", &folder);
    let wrong = format!("{TOKEN}x");
    let outcome = fetch(&client(&hub, &wrong), REPO, &folder);
    refused(outcome, ErrorKind::AccessDenied, "your token does not open it", &folder);
    let before = hub.seen().len();
    fetch(&client(&hub, TOKEN), REPO, &folder).expect("it comes");
    assert_eq!(folder.files(), ["config.json", "model.gguf"]);
    for (server, request) in &hub.seen()[before..] {
        assert_eq!(request.headers.contains_key("authorization"), *server == "hub", "{request:?}");
    }
}

#[test]
fn a_hub_that_refuses_says_why() {
    let (hub, _, folder) = one_file();
    let client = client(&hub, "");
    let outcome = fetch(&client, "someone/nothing", &folder);
    refused(outcome, ErrorKind::AccessDenied, "no such repository, or a private one", &folder);
    let listed = snapshot(&client, REPO).expect("it is there");
    let file = File { path: "model.gguf".into(), contents: noise(1, BIG).into(), lfs: true };
    hub.put(REPO, Repo { files: vec![file], gated: true, ..Repo::default() });
    refused(fetch(&client, REPO, &folder), ErrorKind::AccessDenied, "gated", &folder);
    hub.put(REPO, Repo::default());
    let outcome = client.fetch(&listed, &places(&listed), &folder.0, &mut |_| true);
    refused(outcome, ErrorKind::NotFound, "no such file", &folder);
    for (repo, words) in [("../x", "no repository"), ("a/b/c", "no repository")] {
        refused(fetch(&client, repo, &folder), ErrorKind::InvalidArgument, words, &folder);
    }
}

#[test]
fn broken_connections_go_on_where_they_broke() {
    for chunked in [false, true] {
        let (hub, bytes, folder) = one_file();
        for cut in [1, 300_000, 150_000] {
            let manner = Manner { cut: Some(cut), chunked, ..Manner::default() };
            hub.plan("/cdn/", 1, Trouble::Like(manner));
        }
        fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
        is_whole(&folder, &bytes);
        assert_eq!((hub.sent("/cdn/"), hub.asked("/cdn/")), (BIG as u64, 4));
        let seen = hub.seen();
        let ranges = seen.iter().filter(|(server, _)| *server == "cdn");
        let ranges: Vec<_> = ranges.map(|(_, request)| request.range()).collect();
        assert_eq!(ranges, [None, Some((1, None)), Some((300_001, None)), Some((450_001, None))]);
    }
}

#[test]
fn small_files_go_on_too_and_a_hopeless_one_is_given_up() {
    let (hub, folder) = (Hub::new(), Folder::new());
    hub.put_files(REPO, &[("config.json", noise(1, 900))]);
    let cut = Trouble::Like(Manner { cut: Some(100), ..Manner::default() });
    hub.plan("resolve-cache", 3, cut.clone());
    fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
    assert_eq!(hub.sent("resolve-cache"), 900);
    let (hub, folder) = (Hub::new(), Folder::new());
    hub.put_files(REPO, &[("config.json", noise(1, 900))]);
    hub.plan("resolve-cache", 99, cut);
    let outcome = fetch(&client(&hub, ""), REPO, &folder);
    refused(outcome, ErrorKind::Network, "broke off after 600 of 900", &folder);
    assert_eq!(hub.asked("resolve-cache"), 6);
}

#[test]
fn what_was_stopped_goes_on_later() {
    let (hub, bytes, folder) = one_file();
    hub.plan("/cdn/", 1, hub::slowly(50_000, 20));
    let client = client(&hub, "");
    let listed = snapshot(&client, REPO).expect("it is there");
    let mut half = |progress: &Progress<'_>| match progress {
        Progress::Fetching { bytes, total_bytes, .. } => bytes * 2 < *total_bytes,
        _ => true,
    };
    let stopped = client.fetch(&listed, &places(&listed), &folder.0, &mut half).expect("no error");
    assert_eq!(stopped, None);
    let part = folder.files();
    assert!(part.len() == 1 && part[0].ends_with(".part"), "{part:?}");
    let kept = std::fs::metadata(folder.0.join(&part[0])).expect("a part").len();
    assert!(kept >= BIG as u64 / 2);
    let fetched = fetch(&client, REPO, &folder).expect("it comes");
    assert_eq!(fetched[0].received, BIG as u64 - kept);
    is_whole(&folder, &bytes);
}

/// Puts `bytes` where the part of the one file lies.
fn leave_part(hub: &Hub, folder: &Folder, bytes: &[u8]) {
    let listed = snapshot(&client(hub, ""), REPO).expect("it is there");
    let sha256 = listed.files[0].sha256.clone().expect("a large file");
    let name = format!("model.gguf.{}.part", &sha256[..16]);
    std::fs::write(folder.0.join(name), bytes).expect("it can be written");
}

#[test]
fn a_part_is_used_as_far_as_it_is_right() {
    let half = BIG / 2;
    let same: &dyn Fn(&[u8]) -> Vec<u8> = &|bytes| bytes[..half].to_vec();
    let whole: &dyn Fn(&[u8]) -> Vec<u8> = &|bytes| bytes.to_vec();
    let long: &dyn Fn(&[u8]) -> Vec<u8> = &|bytes| [bytes, b"more"].concat();
    let damaged: &dyn Fn(&[u8]) -> Vec<u8> = &|bytes| {
        let mut bytes = bytes[..half].to_vec();
        bytes[7] ^= 1;
        bytes
    };
    let wrong: &dyn Fn(&[u8]) -> Vec<u8> = &|_| noise(7, BIG);
    for (name, part, received) in [
        ("half of it", same, BIG - half),
        ("all of it", whole, 0),
        ("more than it", long, BIG),
        ("damaged", damaged, BIG - half + BIG),
        ("other contents", wrong, BIG),
    ] {
        let (hub, bytes, folder) = one_file();
        leave_part(&hub, &folder, &part(&bytes));
        // Of other contents for the same place, such as of an older revision.
        let other = folder.0.join("model.gguf.00112233aabbccdd.part");
        std::fs::write(other, "old").expect("it can be written");
        let fetched = fetch(&client(&hub, ""), REPO, &folder).expect(name);
        assert_eq!(fetched[0].received, received as u64, "{name}");
        is_whole(&folder, &bytes);
    }
}

#[test]
fn a_server_that_cannot_resume_starts_over() {
    let (hub, bytes, folder) = one_file();
    leave_part(&hub, &folder, &bytes[..BIG / 2]);
    hub.plan("/cdn/", 1, Trouble::NoRange);
    let fetched = fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
    assert_eq!(fetched[0].received, BIG as u64);
    is_whole(&folder, &bytes);
    for trouble in [
        Trouble::Headers(vec![("Content-Range", format!("bytes 0-{}/{BIG}", BIG - 1))]),
        Trouble::Headers(vec![("Content-Range", "bytes x".to_owned())]),
        Trouble::Instead(Response::new(416)),
    ] {
        let (hub, bytes, folder) = one_file();
        leave_part(&hub, &folder, &bytes[..BIG / 2]);
        hub.plan("/cdn/", 1, trouble);
        fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
        is_whole(&folder, &bytes);
    }
}

#[test]
fn wrong_contents_are_fetched_once_more_and_then_refused() {
    for (path, size) in [("model.gguf", BIG), ("config.json", 500)] {
        let (hub, folder) = (Hub::new(), Folder::new());
        hub.put_files(REPO, &[(path, noise(1, size))]);
        let target = if size == BIG { "/cdn/" } else { "resolve-cache" };
        hub.plan(target, 1, Trouble::Altered(size / 2));
        let fetched = fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
        assert_eq!(fetched[0].received, 2 * size as u64);
        assert!(folder.read(path) == noise(1, size));
        let folder = Folder::new();
        hub.plan(target, 99, Trouble::Altered(0));
        let outcome = fetch(&client(&hub, ""), REPO, &folder);
        refused(outcome, ErrorKind::InvalidModel, "not what the hub lists", &folder);
        assert_eq!(folder.files(), [""; 0], "a wrong part stayed");
    }
}

#[test]
fn other_lengths_and_web_pages_never_become_a_file() {
    let short = noise(1, BIG - 1);
    let long = [noise(1, BIG), vec![0]].concat();
    let chunked = Manner { chunked: true, ..Manner::default() };
    let in_chunks = |body: &[u8]| {
        let response = Response::text(200, "application/octet-stream", body);
        Trouble::Instead(Response { manner: chunked.clone(), ..response })
    };
    let page = Response::text(200, "text/html; charset=utf-8", "<html>Please log in</html>");
    let gzip = Trouble::Headers(vec![("Content-Encoding", "gzip".to_owned())]);
    for (trouble, kind, words) in [
        (Trouble::Contents(short.clone()), ErrorKind::InvalidModel, "bytes instead of"),
        (Trouble::Contents(long.clone()), ErrorKind::InvalidModel, "bytes instead of"),
        (in_chunks(&short), ErrorKind::Network, "broke off after 699999 of 700000"),
        (in_chunks(&long), ErrorKind::InvalidModel, "more than the file"),
        (Trouble::Instead(page), ErrorKind::InvalidModel, "a web page"),
        (gzip, ErrorKind::InvalidModel, "compressed"),
    ] {
        let (hub, _, folder) = one_file();
        hub.plan("/cdn/", 99, trouble);
        refused(fetch(&client(&hub, ""), REPO, &folder), kind, words, &folder);
        // Each try begins somewhere; none goes on for ever.
        assert!(hub.asked("/cdn/") <= 8, "{words}: {} tries", hub.asked("/cdn/"));
    }
    let (hub, bytes, folder) = one_file();
    hub.plan("/cdn/", 99, Trouble::Like(chunked));
    fetch(&client(&hub, ""), REPO, &folder).expect("chunks are fine");
    is_whole(&folder, &bytes);
}

#[test]
fn a_hub_that_contradicts_itself_is_not_believed() {
    for header in
        [("X-Linked-Size", "7".to_owned()), ("X-Linked-ETag", format!("\"{}\"", "ab".repeat(32)))]
    {
        let (hub, _, folder) = one_file();
        hub.plan("/resolve/", 99, Trouble::Headers(vec![header]));
        let outcome = fetch(&client(&hub, ""), REPO, &folder);
        refused(outcome, ErrorKind::InvalidModel, "contradicts", &folder);
        assert_eq!(folder.files(), [""; 0]);
    }
}

#[test]
fn an_overloaded_hub_is_waited_for() {
    let busy = |status: u16| Response::text(status, "text/plain", "");
    let (hub, bytes, folder) = one_file();
    hub.plan("/revision/", 1, Trouble::Instead(busy(429).with("Retry-After", 1)));
    hub.plan("/tree/", 2, Trouble::Instead(busy(503)));
    hub.plan("/resolve/", 2, Trouble::Instead(busy(502)));
    hub.plan("/cdn/", 1, Trouble::Instead(busy(403)));
    let start = Instant::now();
    fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
    assert!(start.elapsed() >= Duration::from_secs(1), "too early: {:?}", start.elapsed());
    is_whole(&folder, &bytes);

    let (hub, _, folder) = one_file();
    hub.plan("/tree/", 1, Trouble::Instead(busy(429).with("Retry-After", 3600)));
    let outcome = fetch(&client(&hub, ""), REPO, &folder);
    refused(outcome, ErrorKind::Network, "asks to wait 3600 s", &folder);
    hub.plan("/resolve/", 99, Trouble::Instead(busy(500)));
    refused(fetch(&client(&hub, ""), REPO, &folder), ErrorKind::Network, "500", &folder);
    assert_eq!(hub.asked("/resolve/"), 6);
}

#[test]
fn a_connection_on_which_nothing_comes_is_given_up() {
    let (hub, bytes, folder) = one_file();
    let stall = |after| Trouble::Like(Manner { stall: Some(after), ..Manner::default() });
    hub.plan("/tree/", 1, stall(10));
    hub.plan("/cdn/", 1, stall(200_000));
    hub.plan("/cdn/", 1, stall(0));
    fetch(&client(&hub, ""), REPO, &folder).expect("it comes");
    is_whole(&folder, &bytes);
    assert_eq!(hub.sent("/cdn/"), BIG as u64);
}

#[test]
fn redirects_lead_to_sound_addresses_or_nowhere() {
    let to = |location: &str| Trouble::Instead(Response::new(302).with("Location", location));
    for (trouble, words) in [
        (to(&format!("/{REPO}/resolve/main/model.gguf")), "more than 5 times"),
        (to("ftp://127.0.0.1/x"), "no usable address"),
        (to("file:///etc/passwd"), "no usable address"),
        (to("http://user:word@127.0.0.1/x"), "no usable address"),
        (to("elsewhere"), "no usable address"),
        (Trouble::Instead(Response::new(302)), "no usable address"),
    ] {
        let (hub, _, folder) = one_file();
        hub.plan("/resolve/", 99, trouble);
        let error = fetch(&client(&hub, ""), REPO, &folder).expect_err(words);
        assert!(error.message().contains(words), "{words}: {error}");
        assert_eq!(folder.files(), [""; 0]);
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for path in ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "a\u{0}b", "nul"] {
        let (hub, outer) = (Hub::new(), Folder::new());
        let folder = Folder(outer.0.join("models"));
        std::fs::create_dir(&folder.0).expect("a folder");
        hub.put_files(REPO, &[("model.gguf", noise(1, BIG)), (path, noise(2, 2000))]);
        let outcome = fetch(&client(&hub, ""), REPO, &folder);
        refused(outcome, ErrorKind::InvalidModel, "cannot be a file here", &folder);
        assert_eq!(outer.files(), [""; 0], "{path}");
    }
    let (hub, _, folder) = one_file();
    let client = client(&hub, "");
    let listed = snapshot(&client, REPO).expect("it is there");
    for place in ["../evil", "/tmp/evil", ""] {
        let files = [(listed.files[0].clone(), PathBuf::from(place))];
        let outcome = client.fetch(&listed, &files, &folder.0, &mut |_| true);
        refused(outcome, ErrorKind::InvalidModel, "cannot be a file here", &folder);
    }
    assert_eq!(hub.asked("/resolve/"), 0);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    for link in ["sub", "sub/model.gguf"] {
        let (hub, folder, other) = (Hub::new(), Folder::new(), Folder::new());
        hub.put_files(REPO, &[("sub/model.gguf", noise(1, BIG))]);
        let target = other.0.join("target");
        match link {
            "sub" => std::fs::create_dir(&target).expect("a folder"),
            _ => {
                std::fs::create_dir(folder.0.join("sub")).expect("a folder");
                std::fs::write(&target, noise(3, BIG)).expect("a file");
            }
        }
        symlink(&target, folder.0.join(link)).expect("a link");
        let error = fetch(&client(&hub, ""), REPO, &folder).expect_err(link);
        assert!(error.kind() == ErrorKind::Io && error.message().contains("remove it"), "{error}");
        assert!(other.files().is_empty() || other.read("target") == noise(3, BIG), "{link}");
    }
}

#[test]
fn lists_that_are_none_are_refused() {
    let file = json!({"type": "file", "path": "a", "size": 1, "oid": "1".repeat(40)});
    for list in [json!({}), json!([file, file]), json!([{"type": "file"}]), json!("x")] {
        let (hub, folder) = (Hub::new(), Folder::new());
        hub.put(REPO, Repo { list: Some(list), ..Repo::default() });
        let outcome = fetch(&client(&hub, ""), REPO, &folder);
        refused(outcome, ErrorKind::Network, "cannot be used", &folder);
    }
    let (hub, folder) = (Hub::new(), Folder::new());
    let list = json!([{"type": "file", "path": "a", "size": 1, "oid": "?"}]);
    hub.put(REPO, Repo { list: Some(list), ..Repo::default() });
    let outcome = fetch(&client(&hub, ""), REPO, &folder);
    refused(outcome, ErrorKind::InvalidModel, "no checksum", &folder);
    let endless = r#"</api/models/someone/some-model/tree/x?cursor=0>; rel="next""#.to_owned();
    hub.put(REPO, Repo::default());
    hub.plan("/tree/", usize::MAX, Trouble::Headers(vec![("Link", endless)]));
    refused(fetch(&client(&hub, ""), REPO, &folder), ErrorKind::Network, "does not end", &folder);
}

#[test]
fn offline_and_unreachable_are_told_apart() {
    prepare();
    let folder = Folder::new();
    let offline = HubOptions { offline: Some(true), ..HubOptions::default() };
    let offline = Client::new(&offline).expect("a hub");
    refused(fetch(&offline, REPO, &folder), ErrorKind::NotFound, REPO, &folder);
    // A port that was just given back: nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let closed = client_at(&format!("http://{}", closed.expect("an address")), "");
    refused(fetch(&closed, REPO, &folder), ErrorKind::Network, "127.0.0.1", &folder);
    let nowhere = client_at("http://no-such-host.invalid", "");
    refused(fetch(&nowhere, REPO, &folder), ErrorKind::Network, "no-such-host.invalid", &folder);
}

#[test]
fn several_come_at_once_largest_first_and_progress_tells() {
    let (hub, folder) = (Hub::new(), Folder::new());
    let files: Vec<(String, Vec<u8>)> =
        (1..=6).map(|n| (format!("{n}.bin"), noise(n, n as usize * 20_000))).collect();
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    hub.put_files(REPO, &files);
    hub.plan("/cdn/", 4, hub::slowly(10_000, 100));
    let client = client(&hub, "");
    let listed = snapshot(&client, REPO).expect("it is there");
    let large = ["3.bin", "4.bin", "5.bin", "6.bin"];
    let (mut last, mut fastest, mut total, mut at_once) = (0, 0, 0, false);
    let mut watch = |progress: &Progress<'_>| {
        if let Progress::Fetching { file, bytes, total_bytes, bytes_per_second } = progress {
            assert!(*bytes >= last && bytes <= total_bytes && file.ends_with(".bin"));
            (last, total, fastest) = (*bytes, *total_bytes, fastest.max(*bytes_per_second));
            let mut whole = large.iter().filter(|name| folder.0.join(name).exists());
            at_once |= hub.asked("/cdn/") == 4 && whole.next().is_none();
        }
        true
    };
    client.fetch(&listed, &places(&listed), &folder.0, &mut watch).expect("it comes");
    assert!(at_once, "one after the other");
    assert_eq!((total, folder.files().len()), (420_000, 6));
    assert!(fastest > 0);
    let seen = hub.seen();
    let first = seen.iter().filter(|(_, request)| request.target.contains("/resolve/"));
    let mut first: Vec<_> = first.take(4).map(|(_, request)| request.target.clone()).collect();
    first.sort();
    assert!(first.iter().zip(large).all(|(target, name)| target.ends_with(name)), "{first:?}");
}
