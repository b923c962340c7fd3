//! Downloads from the loopback hub, through the Rust interface.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;
use std::time::Duration;

use fluid::error::Result;
use fluid::store::hub::{
    Fetched, Hub as Client, HubOptions, Pauses, Progress, RemoteFile, Snapshot, Token,
};

use super::dice::Dice;
use super::hub::Hub;

/// An empty folder, removed with all in it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fluid-download-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    /// Files of the folder and below, without those of ours.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.0, "", &mut found);
        found.retain(|name| name != ".fluid-lock");
        found.sort();
        found
    }

    pub fn text(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect("it is there")
    }
}

fn collect(folder: &Path, front: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let name = format!("{front}{}", entry.file_name().to_string_lossy());
        match entry.file_type().expect("a type").is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), found),
            false => found.push(name),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The tests' own machine is not to be reached through a proxy, and nobody's token is used.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for name in ["NO_PROXY", "no_proxy"] {
            std::env::set_var(name, "127.0.0.1");
        }
        for name in ["HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"] {
            std::env::remove_var(name);
        }
        std::env::set_var("HF_TOKEN_PATH", "/nowhere");
    });
}

pub fn pauses() -> Pauses {
    Pauses {
        stall: Duration::from_millis(400),
        first: Duration::from_millis(2),
        longest_asked: Duration::from_secs(2),
    }
}

pub fn client(hub: &Hub, token: &str) -> Client {
    client_at(&hub.endpoint(), token)
}

pub fn client_at(endpoint: &str, token: &str) -> Client {
    prepare();
    let options = HubOptions {
        endpoint: Some(endpoint.to_owned()),
        token: Some(Token::new(token)),
        offline: Some(false),
        pauses: pauses(),
    };
    Client::new(&options).expect("options of a hub")
}

/// Each file at its own path.
pub fn places(snapshot: &Snapshot) -> Vec<(RemoteFile, PathBuf)> {
    snapshot.files.iter().map(|file| (file.clone(), PathBuf::from(&file.path))).collect()
}

pub fn snapshot(client: &Client, repo: &str) -> Result<Snapshot> {
    client.snapshot(repo, "main", &mut || true).map(|found| found.expect("nobody stopped it"))
}

/// All of a repository.
pub fn fetch(client: &Client, repo: &str, folder: &Folder) -> Result<Vec<Fetched>> {
    let snapshot = snapshot(client, repo)?;
    let mut watch = |_: &Progress<'_>| true;
    let fetched = client.fetch(&snapshot, &places(&snapshot), &folder.0, &mut watch)?;
    Ok(fetched.expect("nobody stopped it"))
}

/// Bytes that do not compress or repeat.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let words = (0..length.div_ceil(8)).flat_map(|_| dice.next().to_le_bytes());
    words.take(length).collect()
}
