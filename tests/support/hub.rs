//! A hub on loopback that speaks Hugging Face's protocol: revisions, lists in pages, redirects to a second
//! server that stands for the CDN, and everything that can go wrong on the way.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{json, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::hub_http::{Manner, Request, Response, Server};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const TOKEN: &str = "hf_aTokenThatNobodyMaySee";
/// Files of one page of a list.
const PAGE: usize = 3;

#[derive(Debug, Clone)]
pub struct File {
    pub path: String,
    pub contents: Arc<Vec<u8>>,
    /// Large files lie at the CDN.
    pub lfs: bool,
}

impl File {
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(&*self.contents))
    }

    pub fn blob(&self) -> String {
        let mut sum = Sha1::new_with_prefix(format!("blob {}\0", self.contents.len()));
        sum.update(&*self.contents);
        hex(&sum.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Clone, Default)]
pub struct Repo {
    pub files: Vec<File>,
    /// Names beside the commit's own.
    pub revisions: Vec<String>,
    /// Only with the token.
    pub private: bool,
    /// Only for those who accepted the conditions, which nobody did.
    pub gated: bool,
    /// The hub is a mirror, which passes on the links of the one it mirrors.
    pub mirrored: bool,
    /// In place of the list of files.
    pub list: Option<Value>,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// This answer instead.
    Instead(Response),
    /// The right answer, sent like this.
    Like(Manner),
    /// The right answer, with headers replaced or added.
    Headers(Vec<(&'static str, String)>),
    /// A range is not heard of.
    NoRange,
    /// The byte at this place is another.
    Altered(usize),
    /// Other contents.
    Contents(Vec<u8>),
}

struct Planned {
    /// What the target has in it.
    target: String,
    trouble: Trouble,
    times: usize,
}

#[derive(Default)]
struct State {
    repos: Mutex<BTreeMap<String, Repo>>,
    planned: Mutex<Vec<Planned>>,
    /// Requests in the order they came, with the server's name in front.
    seen: Mutex<Vec<(&'static str, Request)>>,
    /// Bytes of bodies that went out, by target without its query.
    sent: Mutex<BTreeMap<String, u64>>,
    cdn: Mutex<String>,
}

/// The hub; its servers end when it is dropped.
pub struct Hub {
    state: Arc<State>,
    hub: Server,
    _cdn: Server,
}

impl Hub {
    pub fn new() -> Self {
        let state = Arc::new(State::default());
        let serve = |name: &'static str, answer: fn(&State, &Request) -> Response| {
            let (answering, counting) = (Arc::clone(&state), Arc::clone(&state));
            let answer = move |request: &Request| {
                answering.seen.lock().expect("no panic").push((name, request.clone()));
                answering.trouble(request, answer)
            };
            let sent = move |request: &Request, count: usize| {
                let target = request.target.split('?').next().unwrap_or_default().to_owned();
                *counting.sent.lock().expect("no panic").entry(target).or_default() += count as u64;
            };
            Server::start(Arc::new(answer), Arc::new(sent))
        };
        let (hub, cdn) = (serve("hub", State::hub), serve("cdn", State::cdn));
        *state.cdn.lock().expect("no panic") = format!("http://{}", cdn.address);
        Self { state, hub, _cdn: cdn }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.hub.address
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.hub.address)
    }

    /// Adds or replaces `owner/name`.
    pub fn put(&self, name: &str, repo: Repo) {
        self.state.repos.lock().expect("no panic").insert(name.to_owned(), repo);
    }

    /// A repository with large files, by their paths.
    pub fn put_files(&self, name: &str, files: &[(&str, Vec<u8>)]) {
        let file = |(path, contents): &(&str, Vec<u8>)| File {
            path: (*path).to_owned(),
            contents: Arc::new(contents.clone()),
            lfs: contents.len() > 1000,
        };
        self.put(name, Repo { files: files.iter().map(file).collect(), ..Repo::default() });
    }

    /// The next `times` requests whose target has `target` in it go wrong.
    pub fn plan(&self, target: &str, times: usize, trouble: Trouble) {
        let planned = Planned { target: target.to_owned(), trouble, times };
        self.state.planned.lock().expect("no panic").push(planned);
    }

    pub fn forget_plans(&self) {
        self.state.planned.lock().expect("no panic").clear();
    }

    pub fn seen(&self) -> Vec<(&'static str, Request)> {
        self.state.seen.lock().expect("no panic").clone()
    }

    /// Requests whose target has `target` in it.
    pub fn asked(&self, target: &str) -> usize {
        self.seen().iter().filter(|(_, request)| request.target.contains(target)).count()
    }

    /// Bytes that went out for targets with `target` in them.
    pub fn sent(&self, target: &str) -> u64 {
        let sent = self.state.sent.lock().expect("no panic");
        sent.iter().filter(|(name, _)| name.contains(target)).map(|(_, count)| count).sum()
    }
}

impl State {
    fn trouble(&self, request: &Request, answer: fn(&Self, &Request) -> Response) -> Response {
        let trouble = {
            let mut planned = self.planned.lock().expect("no panic");
            let next = planned
                .iter_mut()
                .find(|plan| plan.times > 0 && request.target.contains(&plan.target));
            next.map(|plan| {
                plan.times -= 1;
                plan.trouble.clone()
            })
        };
        match trouble {
            None => answer(self, request),
            Some(Trouble::Instead(response)) => response,
            Some(Trouble::Like(manner)) => Response { manner, ..answer(self, request) },
            Some(Trouble::Headers(headers)) => {
                let mut response = answer(self, request);
                for (name, value) in headers {
                    response.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                    response = response.with(name, value);
                }
                response
            }
            Some(Trouble::NoRange) => {
                let mut request = request.clone();
                request.headers.remove("range");
                answer(self, &request)
            }
            Some(Trouble::Altered(place)) => {
                let mut response = answer(self, request);
                if let Some(byte) = response.body.get_mut(place) {
                    *byte ^= 1;
                }
                response
            }
            Some(Trouble::Contents(body)) => Response { body, ..answer(self, request) },
        }
    }

    fn hub(&self, request: &Request) -> Response {
        let path = decode(request.target.split('?').next().unwrap_or_default());
        let parts: Vec<&str> = path.trim_start_matches('/').splitn(6, '/').collect();
        let (repo, rest): (String, Vec<&str>) = match parts.as_slice() {
            ["api", "models", owner, name, rest @ ..] => {
                (format!("{owner}/{name}"), ["api"].iter().chain(rest).copied().collect())
            }
            ["api", "resolve-cache", "models", owner, name, rest @ ..] => {
                (format!("{owner}/{name}"), ["cache"].iter().chain(rest).copied().collect())
            }
            [owner, name, rest @ ..] => (format!("{owner}/{name}"), rest.to_vec()),
            _ => return refuse(404, "RepoNotFound", "Repository not found"),
        };
        let repos = self.repos.lock().expect("no panic");
        let known = repos.get(&repo).cloned();
        drop(repos);
        let authorization = request.headers.get("authorization");
        let is_known_user = authorization.is_some_and(|text| *text == format!("Bearer {TOKEN}"));
        if authorization.is_some() && !is_known_user {
            return Response::text(401, "text/plain", "").with(
                "X-Error-Message",
                // A hub would not; a mirror might.
                format!("Invalid credentials: {}", authorization.cloned().unwrap_or_default()),
            );
        }
        let Some(known) = known.filter(|repo| !repo.private || is_known_user) else {
            let status = if is_known_user { 404 } else { 401 };
            return refuse(status, "RepoNotFound", "Repository not found");
        };
        let joined = rest.get(1..).map(|rest| rest.join("/")).unwrap_or_default();
        match rest.first() {
            Some(&"api") if joined.is_empty() => info(&repo, &known),
            Some(&"api") => match joined.split_once('/') {
                Some(("revision", revision)) if known.knows(revision) => info(&repo, &known),
                Some(("tree", revision)) if known.knows(revision) => {
                    self.tree(&repo, revision, &known, request)
                }
                _ => refuse(404, "RevisionNotFound", "Invalid rev id"),
            },
            Some(&"resolve") => match joined.split_once('/') {
                Some((revision, file)) if known.knows(revision) => {
                    self.resolve(&repo, &known, file)
                }
                _ => refuse(404, "RevisionNotFound", "Invalid rev id"),
            },
            Some(&"cache") => match joined.split_once('/') {
                Some((_, file)) => known.file(file).map_or_else(no_entry, |file| {
                    let response = contents(&file.contents, request);
                    response.with("ETag", quoted(&file.blob())).with("X-Repo-Commit", COMMIT)
                }),
                None => no_entry(),
            },
            _ => no_entry(),
        }
    }

    fn tree(&self, repo: &str, revision: &str, known: &Repo, request: &Request) -> Response {
        let entry = |file: &File| {
            let size = file.contents.len();
            let mut entry =
                json!({"type": "file", "oid": file.blob(), "size": size, "path": file.path});
            if file.lfs {
                let lfs = json!({"oid": file.sha256(), "size": size, "pointerSize": 134});
                entry["lfs"] = lfs;
                entry["oid"] = json!("1".repeat(40));
            }
            entry
        };
        if let Some(list) = &known.list {
            return Response::text(200, "application/json", list.to_string());
        }
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let cursor = query.split('&').find_map(|part| part.strip_prefix("cursor="));
        let start: usize = cursor.and_then(|text| text.parse().ok()).unwrap_or(0);
        let folder =
            json!({"type": "directory", "oid": "2".repeat(40), "size": 0, "path": "folder"});
        let files = known.files.iter().skip(start).take(PAGE).map(entry);
        let page: Vec<Value> = std::iter::once(folder).chain(files).collect();
        let response = Response::text(200, "application/json", json!(page).to_string());
        if start + PAGE >= known.files.len() {
            return response;
        }
        let host = match known.mirrored {
            true => "https://hub.invalid".to_owned(),
            false => format!("http://{}", request.headers.get("host").cloned().unwrap_or_default()),
        };
        let front = format!("{host}/api/models/{repo}/tree/{revision}");
        let next = start + PAGE;
        response.with("Link", format!("<{front}?recursive=true&cursor={next}>; rel=\"next\""))
    }

    fn resolve(&self, repo: &str, known: &Repo, path: &str) -> Response {
        if known.gated {
            return refuse(403, "GatedRepo", "Access to this model is restricted");
        }
        let Some(file) = known.file(path) else { return no_entry() };
        let response = Response::new(302).with("X-Repo-Commit", COMMIT);
        if !file.lfs {
            let location = format!("/api/resolve-cache/models/{repo}/{COMMIT}/{}", encode(path));
            let response = Response { status: 307, ..response };
            return response.with("Location", location).with("ETag", quoted(&file.blob()));
        }
        let (sha256, cdn) = (file.sha256(), self.cdn.lock().expect("no panic"));
        response
            .with("X-Linked-Size", file.contents.len())
            .with("X-Linked-ETag", quoted(&sha256))
            .with("Location", format!("{cdn}/cdn/{repo}/{sha256}?Signature=secret"))
    }

    fn cdn(&self, request: &Request) -> Response {
        let path = request.target.split('?').next().unwrap_or_default();
        let sha256 = path.rsplit('/').next().unwrap_or_default();
        let repos = self.repos.lock().expect("no panic");
        let mut files = repos.values().flat_map(|repo| &repo.files);
        match files.find(|file| file.lfs && file.sha256() == sha256) {
            Some(file) => contents(&file.contents, request).with("ETag", "\"cdn\""),
            None => Response::text(403, "application/xml", "<Error>AccessDenied</Error>"),
        }
    }
}

impl Repo {
    fn knows(&self, revision: &str) -> bool {
        revision == "main" || revision == COMMIT || self.revisions.iter().any(|r| r == revision)
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn info(repo: &str, known: &Repo) -> Response {
    let siblings: Vec<Value> =
        known.files.iter().map(|file| json!({"rfilename": file.path})).collect();
    let info = json!({
        "_id": "1", "id": repo, "modelId": repo, "sha": COMMIT, "private": known.private,
        "gated": known.gated, "disabled": false, "tags": [], "siblings": siblings,
    });
    Response::text(200, "application/json", info.to_string())
}

fn contents(bytes: &[u8], request: &Request) -> Response {
    let kind = "application/octet-stream";
    let Some((start, end)) = request.range() else {
        return Response::text(200, kind, bytes).with("Accept-Ranges", "bytes");
    };
    let length = bytes.len() as u64;
    if start >= length {
        return Response::new(416).with("Content-Range", format!("bytes */{length}"));
    }
    let end = end.unwrap_or(length - 1).min(length - 1);
    let part = &bytes[start as usize..=end as usize];
    let range = format!("bytes {start}-{end}/{length}");
    Response::text(206, kind, part).with("Content-Range", range)
}

fn refuse(status: u16, code: &str, message: &str) -> Response {
    let body = json!({"error": message}).to_string();
    let response = Response::text(status, "application/json", body);
    response.with("X-Error-Code", code).with("X-Error-Message", message)
}

fn no_entry() -> Response {
    refuse(404, "EntryNotFound", "Entry not found")
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn decode(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encode(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encoded = path.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// A body that comes in steps, with a pause between them.
pub fn slowly(step: usize, pause_ms: u64) -> Trouble {
    let slow = Some((step, Duration::from_millis(pause_ms)));
    Trouble::Like(Manner { slow, ..Manner::default() })
}
