//! The models of one folder: which files they have, and whether all are there.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::gguf_files::{self, GgufModel};
use super::manifest::Manifest;
use crate::log::log;

/// Folders within a model's folder that are looked into: repositories have some for each
/// quantisation, and people one for each owner.
const DEPTH: usize = 2;
/// Far more than any model folder has; a link to a whole disk ends here.
const MOST_ENTRIES: usize = 100_000;
/// What a download has beside the files until it has ended.
const LOCK: &str = ".fluid-lock";

/// A format that models come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One file, or several that are loaded by the first.
    Gguf,
    /// A folder of OpenVINO's networks.
    OpenVino,
}

impl Format {
    /// As lists name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gguf => "gguf",
            Self::OpenVino => "openvino",
        }
    }
}

/// A model of a folder, whole or not.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) format: Format,
    /// The folder it lies in, below the one that was looked at; empty for that one itself.
    pub(super) folder: String,
    /// GGUF: its files.
    pub(super) gguf: Option<GgufModel>,
    /// What is loaded: the first file, or the folder.
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) files: usize,
    pub(super) modified: Option<SystemTime>,
    /// Why it is not whole, as far as names and sizes tell.
    pub(super) lacking: Option<String>,
    pub(super) origin: Option<Origin>,
}

/// Where a model is from: a manifest, and the folder it lies in.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) manifest: Arc<Manifest>,
    pub(super) folder: PathBuf,
    /// The model's folder as the manifest's paths begin with it, with a `/`, or empty.
    pub(super) prefix: String,
}

impl Origin {
    /// What of `local` is not as it was fetched; with `all`, every byte is read.
    fn lacking(&self, local: &Local, all: bool) -> Option<String> {
        let parts: BTreeSet<String> = local
            .gguf
            .iter()
            .flat_map(|model| &model.parts)
            .map(|part| format!("{}{}", self.prefix, file_name(part)))
            .collect();
        let concerns = |path: &str| match local.format {
            Format::Gguf => parts.contains(path),
            Format::OpenVino => path
                .strip_prefix(&*self.prefix)
                .is_some_and(|rest| !rest.contains('/') && !super::names::is_gguf(rest)),
        };
        match all {
            true => self.manifest.altered(&self.folder, concerns),
            false => self.manifest.lacking(&self.folder, concerns),
        }
    }
}

impl Local {
    /// Reads all its files and compares them with what was fetched: what is not the same.
    pub(super) fn altered(&self) -> Option<String> {
        self.origin.as_ref()?.lacking(self, true)
    }

    /// The GGUF model of `folder` whose file, or one of whose files, is at `path` below it; none
    /// where there is none of its files.
    pub(super) fn at(folder: &Path, path: &str) -> Option<Self> {
        let model = GgufModel::of(path);
        let files = model.parts.iter().filter_map(|part| File::look(folder, part.clone()));
        let files: Vec<File> = files.collect();
        let inside = parent(path).to_owned();
        let origin = (!files.is_empty()).then(|| Origins::default().of(folder, &inside));
        Some(Self::gguf(folder, model, &files, &[], origin?)).filter(|it| it.files > 0)
    }

    fn gguf(
        folder: &Path,
        model: GgufModel,
        files: &[File],
        unfinished: &[String],
        origin: Option<Origin>,
    ) -> Self {
        let there: Vec<&File> = model.parts.iter().filter_map(|part| find(files, part)).collect();
        let missing = model.parts.iter().find(|part| find(files, part).is_none());
        let lacking = missing.map(|part| match unfinished.contains(part) {
            true => format!("the download of {part} has not ended"),
            false => format!("{part} is missing"),
        });
        let mut local = Self {
            format: Format::Gguf,
            folder: parent(model.first()).to_owned(),
            path: folder.join(model.first()),
            bytes: there.iter().map(|file| file.bytes).sum(),
            files: there.len(),
            modified: there.iter().filter_map(|file| file.modified).max(),
            gguf: Some(model),
            lacking,
            origin,
        };
        local.compare();
        local
    }

    fn openvino(
        folder: &Path,
        inside: String,
        files: &[&File],
        unfinished: &[String],
        origin: Option<Origin>,
    ) -> Self {
        let path = if inside.is_empty() { folder.to_path_buf() } else { folder.join(&inside) };
        let names: BTreeSet<&str> = files.iter().map(|file| file_name(&file.path)).collect();
        let pending = unfinished.iter().find(|file| parent(file) == inside);
        let unpaired = names.iter().find_map(|name| {
            let (stem, ending) = name.rsplit_once('.')?;
            let other = [("xml", "bin"), ("bin", "xml")].iter().find(|(it, _)| *it == ending)?.1;
            let other = format!("{stem}.{other}");
            (name.starts_with("openvino_") && !names.contains(&*other))
                .then(|| format!("{other} is missing"))
        });
        let begun = origin.is_none() && path.join(LOCK).exists();
        let mut local = Self {
            format: Format::OpenVino,
            folder: inside,
            gguf: None,
            bytes: files.iter().map(|file| file.bytes).sum(),
            files: files.len(),
            modified: files.iter().filter_map(|file| file.modified).max(),
            lacking: pending
                .map(|file| format!("the download of {file} has not ended"))
                .or(unpaired)
                .or(begun.then(|| "its download has not ended".to_owned())),
            path,
            origin,
        };
        local.compare();
        local
    }

    fn compare(&mut self) {
        if self.lacking.is_none() {
            self.lacking = self.origin.as_ref().and_then(|origin| origin.lacking(self, false));
        }
    }
}

/// All models of `folder` and of the folders in it, in the order of their paths. Folders in it that are
/// links are not followed, so there is always an end.
pub(super) fn models_in(folder: &Path) -> Vec<Local> {
    models_within(folder, DEPTH)
}

/// The same, with so many folders one in the other.
pub(super) fn models_within(folder: &Path, depth: usize) -> Vec<Local> {
    let (files, unfinished) = files_below(folder, depth);
    let mut origins = Origins::default();
    let paths = files.iter().map(|file| &*file.path).chain(unfinished.iter().map(|path| &**path));
    let ggufs = gguf_files::models(paths.clone());
    let mut found: Vec<Local> = Vec::new();
    for model in ggufs {
        let origin = origins.of(folder, parent(model.first()));
        found.push(Local::gguf(folder, model, &files, &unfinished, origin));
    }
    let mut folders: BTreeSet<String> =
        paths.filter(|path| is_network(path)).map(|path| parent(path).to_owned()).collect();
    if let Some(manifest) = origins.of(folder, "").map(|origin| origin.manifest) {
        let recorded = manifest.files.keys().filter(|path| is_network(path));
        folders.extend(recorded.map(|path| parent(path).to_owned()));
    }
    for inside in folders {
        let own: Vec<&File> = files
            .iter()
            .filter(|file| parent(&file.path) == inside && !super::names::is_gguf(&file.path))
            .collect();
        let origin = origins.of(folder, &inside);
        found.push(Local::openvino(folder, inside, &own, &unfinished, origin));
    }
    found
}

/// Whether a file is a network in OpenVINO's format, or its weights.
fn is_network(path: &str) -> bool {
    let name = file_name(path);
    name.starts_with("openvino_") && (name.ends_with(".xml") || name.ends_with(".bin"))
}

/// The manifests of a folder and those in it, each read once.
#[derive(Default)]
struct Origins(BTreeMap<String, Option<Arc<Manifest>>>);

impl Origins {
    /// The manifest that speaks of the files in `inside`, a folder of `folder`: the nearest one.
    fn of(&mut self, folder: &Path, inside: &str) -> Option<Origin> {
        let mut at = inside;
        loop {
            let place = if at.is_empty() { folder.to_path_buf() } else { folder.join(at) };
            let manifest = self.0.entry(at.to_owned());
            let manifest = manifest.or_insert_with(|| Manifest::read(&place).map(Arc::new));
            if let Some(manifest) = manifest {
                let below = inside[at.len()..].trim_start_matches('/');
                let prefix = if below.is_empty() { String::new() } else { format!("{below}/") };
                return Some(Origin { manifest: Arc::clone(manifest), folder: place, prefix });
            }
            if at.is_empty() {
                return None;
            }
            at = parent(at);
        }
    }
}

#[derive(Debug)]
struct File {
    /// Below the folder that was looked at, with `/`.
    path: String,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl File {
    /// The plain file at `path` below `folder`, or what a link there leads to.
    fn look(folder: &Path, path: String) -> Option<Self> {
        let entry = fs::metadata(folder.join(&path)).ok().filter(fs::Metadata::is_file)?;
        Some(Self { path, bytes: entry.len(), modified: entry.modified().ok() })
    }
}

/// The files below `folder` in the order of their paths, and the paths of those whose download has not
/// ended. What cannot be read, or vanishes meanwhile, is left out; the log says so.
fn files_below(folder: &Path, depth: usize) -> (Vec<File>, Vec<String>) {
    let (mut files, mut unfinished, mut count) = (Vec::new(), Vec::new(), 0);
    let mut waiting = vec![(String::new(), depth)];
    while let Some((inside, depth)) = waiting.pop() {
        for (name, is_folder) in entries(&folder.join(&inside), &mut count) {
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if is_folder {
                waiting.extend(depth.checked_sub(1).map(|depth| (path, depth)));
            } else if let Some(part) = path.strip_suffix(".part") {
                unfinished.push(without_key(part).to_owned());
            } else {
                files.extend(File::look(folder, path));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    (files, unfinished)
}

/// The names in `folder` that may be those of models, and whether each is a folder itself.
pub(super) fn entries(folder: &Path, count: &mut usize) -> Vec<(String, bool)> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) => {
            log!(Warn, "{}: left out of the list: {error}", folder.display());
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for entry in listed {
        *count += 1;
        if *count > MOST_ENTRIES {
            log!(
                Warn,
                "{}: more than {MOST_ENTRIES} files; the rest is left out",
                folder.display()
            );
            break;
        }
        // One that vanished, or a disk that fails: the others still count.
        let Ok(entry) = entry else { continue };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match entry.file_name().into_string() {
            Ok(name) if name.starts_with('.') => {}
            Ok(name) => names.push((name, is_folder)),
            Err(name) => log!(
                Warn,
                "{}: left out of the list: its name is not UTF-8",
                folder.join(name).display()
            ),
        }
    }
    names.sort();
    names
}

/// The name of a file on its way, without the checksum that downloads add to it.
fn without_key(part: &str) -> &str {
    let is_key = |key: &str| key.len() >= 8 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    part.rsplit_once('.').filter(|(_, key)| is_key(key)).map_or(part, |(name, _)| name)
}

fn find<'a>(files: &'a [File], path: &str) -> Option<&'a File> {
    files.binary_search_by(|file| (*file.path).cmp(path)).ok().map(|at| &files[at])
}

/// The folder part of a path with `/`; empty where it has none.
pub(super) fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..at])
}

fn file_name(path: &str) -> &str {
    path.rfind('/').map_or(path, |at| &path[at + 1..])
}
