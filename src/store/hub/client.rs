//! The hub as callers see it: what a repository holds, and its files.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use ureq::http::Uri;

use super::config::Token;
use super::fault::Fault;
use super::fetch::{self, Batch};
use super::http::{self, Ask, Http};
use super::listing::{self, Files};
use super::retry::Retry;
use super::{Fetched, HubOptions, Pauses, Progress, RemoteFile, Snapshot};
use crate::error::{Error, ErrorKind, Result};

/// Failures in a row before a hub counts as out of reach.
const TRIES: u32 = 3;
/// Pages of a list, at most.
const PAGES: usize = 1_000;
/// Bytes of a revision's name.
const REVISION_MAX: usize = 200;

/// A hub that speaks Hugging Face's protocol, over HTTP.
#[derive(Debug)]
pub struct Hub {
    endpoint: String,
    token: Option<Token>,
    offline: bool,
    pauses: Pauses,
}

impl Hub {
    /// Reads options and environment; asks nobody yet. Errors: an address, token or proxy that is none.
    pub fn new(options: &HubOptions) -> Result<Self> {
        let hub = Self {
            endpoint: options.endpoint()?,
            token: options.token()?,
            offline: options.is_offline(),
            pauses: options.pauses.clone(),
        };
        hub.connect().map(|_| hub)
    }

    fn connect(&self) -> Result<Http> {
        Http::new(&self.endpoint, self.token.clone(), &self.pauses)
    }

    /// Whether it may not be asked; then all else is `NotFound`.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// `NotFound` where it may not be asked; `missing` says what for.
    pub fn check_online(&self, missing: &str) -> Result<()> {
        if !self.offline {
            return Ok(());
        }
        let message = format!(
            "{missing}, and may not be fetched: offline (HF_HUB_OFFLINE) is set; put its files into the model folder, or allow downloads"
        );
        Err(Error::new(ErrorKind::NotFound, message))
    }

    /// What `repo` (`owner/name`) holds at `revision`, a branch, a tag or a commit. `go_on` is asked every
    /// 20 ms; `None` when it says no.
    ///
    /// Errors: `NotFound`, `AccessDenied`, `Network`; `InvalidArgument` for a name that is none.
    pub fn snapshot(
        &self,
        repo: &str,
        revision: &str,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Snapshot>> {
        check_names(repo, revision)?;
        self.check_online(&format!("{repo} is not here"))?;
        let http = self.connect()?;
        fetch::attend(&http, go_on, || self.list(&http, repo, revision))
    }

    fn list(
        &self,
        http: &Http,
        repo: &str,
        revision: &str,
    ) -> std::result::Result<Snapshot, Fault> {
        let base = format!("{}/api/models/{repo}", self.endpoint);
        let address = format!("{base}/revision/{}", encode(revision, ""));
        let subject = format!("{repo} at {revision}");
        let (text, _) = self.read(http, &address, &subject)?;
        let commit = listing::commit(&text, &subject)?;
        let mut files = Files::default();
        let mut next = Some(format!("{base}/tree/{commit}?recursive=true"));
        for _ in 0..PAGES {
            let Some(address) = next else {
                let (repo, files) = (repo.to_owned(), files.finish());
                return Ok(Snapshot { repo, commit, files });
            };
            let (text, link) = self.read(http, &address, &subject)?;
            files.add(&text, &subject)?;
            next = link.map(|link| self.page(&address, &link, &subject)).transpose()?;
        }
        let message = format!("{subject}: the hub's list of files does not end");
        Err(Fault::Failed(Error::new(ErrorKind::Network, message)))
    }

    /// A link to a page, on the hub that was asked: mirrors pass on the links of the one they mirror.
    fn page(&self, address: &str, link: &str, subject: &str) -> Result<String> {
        let base: Option<Uri> = address.parse().ok();
        let uri = base.and_then(|base| http::resolve(&base, link));
        let query = uri.as_ref().and_then(Uri::query).ok_or_else(|| {
            let message = format!("{subject}: the hub links to no usable page");
            Error::new(ErrorKind::Network, message)
        })?;
        let front = address.split('?').next().unwrap_or_default();
        Ok(format!("{front}?{query}"))
    }

    /// An answer in text, and where the next one is.
    fn read(
        &self,
        http: &Http,
        address: &str,
        subject: &str,
    ) -> std::result::Result<(String, Option<String>), Fault> {
        let mut retry = Retry::new(&self.pauses, &http.stop, TRIES);
        loop {
            let answer = http.get(&Ask { address, from: 0, subject });
            let read = answer.and_then(|answer| {
                let link = http::header_text(&answer.headers, "link");
                let link = link.as_deref().and_then(listing::next_page).map(str::to_owned);
                http.read_text(answer, subject).map(|text| (text, link))
            });
            match read {
                Err(fault) => retry.wait(fault)?,
                done => return done,
            }
        }
    }

    /// Fetches `files` of `snapshot`, each to its place below `folder`, and checks them: at a place is a
    /// whole file, or none. What is there already, or partly, is not fetched again. `watch` hears of it
    /// every 20 ms; `None` when it says stop. Of the files that did not get ready, what is here stays beside
    /// their places, for the next time. Hold the folder's [`FolderLock`](super::FolderLock).
    ///
    /// Errors: `NotFound`, `AccessDenied`, `Network`, `DiskFull`, `Io`; `InvalidModel` for contents other
    /// than listed, and for names that cannot be files here.
    pub fn fetch(
        &self,
        snapshot: &Snapshot,
        files: &[(RemoteFile, PathBuf)],
        folder: &Path,
        watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<Option<Vec<Fetched>>> {
        let Snapshot { repo, commit, .. } = snapshot;
        check_names(repo, commit)?;
        self.check_online(&format!("{repo} is not here"))?;
        let front = format!("{}/{repo}/resolve/{}", self.endpoint, encode(commit, ""));
        let batch = Batch::new(files, folder, |remote| {
            let path = &remote.path;
            (format!("{front}/{}", encode(path, "/")), format!("{repo}/{path}"))
        })?;
        batch.run(&self.connect()?, &self.pauses, watch)
    }
}

fn check_names(repo: &str, revision: &str) -> Result<()> {
    let is_name = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !name.is_empty() && name.len() <= 96 && name.bytes().all(plain) && !name.starts_with('.')
    };
    let is_repo = repo.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name));
    if !is_repo {
        let message = format!("\"{}\" is no repository; those are owner/name", repo.escape_debug());
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    if revision.is_empty() || revision.len() > REVISION_MAX || !revision.chars().all(plain) {
        let message = "revision: is no branch, tag or commit";
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}

/// `text` as a part of an address; `kept` stands for itself.
fn encode(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let stands = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if stands || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_owner_and_name() {
        check_names("FluidInference/whisper-tiny_1.0", "refs/pr/1").expect("a repository");
        for repo in ["", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/.b", "a b/c", "a/b?c", "a/b#"]
        {
            check_names(repo, "main").expect_err(repo);
        }
        for revision in ["", "a b", "a\nb"] {
            check_names("a/b", revision).expect_err(revision);
        }
    }

    #[test]
    fn addresses_are_encoded() {
        assert_eq!(encode("refs/pr/1", ""), "refs%2Fpr%2F1");
        assert_eq!(encode("a b/é?#%.gguf", "/"), "a%20b/%C3%A9%3F%23%25.gguf");
    }

    #[test]
    fn pages_stay_on_the_hub_that_was_asked() {
        let options = HubOptions {
            endpoint: Some("https://mirror.example".to_owned()),
            token: Some(Token::new("")),
            ..HubOptions::default()
        };
        let hub = Hub::new(&options).expect("a hub");
        let address = "https://mirror.example/api/models/a/b/tree/x?recursive=true";
        let link = "https://hub.example/api/models/c/d/tree/y?recursive=true&cursor=z";
        let page = hub.page(address, link, "a/b").expect("a page");
        assert_eq!(page, "https://mirror.example/api/models/a/b/tree/x?recursive=true&cursor=z");
        assert!(hub.page(address, "ftp://x", "a/b").is_err());
    }

    #[test]
    fn offline_nothing_is_asked() {
        let options = HubOptions { offline: Some(true), ..HubOptions::default() };
        let hub = Hub::new(&options).expect("a hub");
        let error = hub.snapshot("a/b", "main", &mut || true).expect_err("offline");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().starts_with("a/b is not here"), "{error}");
    }
}
