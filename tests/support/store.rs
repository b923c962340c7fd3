//! Model folders for the tests of the store.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

use fluid::ffi::*;
use fluid::store::Store;
use serde_json::{json, Value};

use super::gguf::{Gguf, Value as Key};
use super::support::{last_error, take_json, Engine};

/// A model folder of a test's own, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fluid-store-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("the temporary folder can be written to");
        Self(folder.canonicalize().expect("it was made"))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Writes a file and the folders around it.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(&path, contents).expect("it can be written");
        path
    }

    /// The file or folder at `to` under the name `path`.
    pub fn link(&self, to: &str, path: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        std::os::unix::fs::symlink(fs::canonicalize(to).expect("it is there"), path)
            .expect("a link");
    }

    pub fn store(&self) -> Store {
        Store::new(self.0.to_str(), None)
    }

    pub fn engine(&self) -> Engine {
        Engine::new(&json!({"model_dir": self.0}).to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `fluid_models` says.
pub fn models(engine: &Engine, options: &str) -> Value {
    let options = std::ffi::CString::new(options).expect("no NUL");
    let mut json = null_mut();
    // SAFETY: a handle, a C string and a place for the result.
    let status = unsafe { fluid_models(engine.raw(), options.as_ptr(), &mut json) };
    assert_eq!(status, FLUID_OK, "{}", last_error());
    take_json(json)
}

/// The entries of the list.
pub fn listed(engine: &Engine) -> Vec<Value> {
    models(engine, "{}")["data"].as_array().expect("a list").clone()
}

/// The entry called `name`.
pub fn entry(engine: &Engine, name: &str) -> Value {
    let all = listed(engine);
    let found = all.iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all:#?}")).clone()
}

/// `model` in as many parts as `cuts` and one more make, by their names.
pub fn split(model: &Gguf, stem: &str, cuts: &[usize]) -> Vec<(String, Vec<u8>)> {
    let (total, count) = (model.tensors.len(), cuts.len() + 1);
    let mut rest = model.clone();
    let mut parts = Vec::new();
    for &cut in cuts.iter().rev() {
        let mut part = Gguf::new(1);
        part.tensors = rest.tensors.split_off(cut);
        parts.push(part);
    }
    parts.push(rest);
    parts.reverse();
    let named = parts.iter_mut().enumerate().map(|(index, part)| {
        part.set("split.no", Key::U16(index as u16)).set("split.count", Key::U16(count as u16));
        part.set("split.tensors.count", Key::I32(total as i32));
        (format!("{stem}-{:05}-of-{count:05}.gguf", index + 1), part.to_bytes())
    });
    named.collect()
}
