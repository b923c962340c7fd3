//! From a name to the model that is here, or to what a hub is asked for. What is here wins.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::gguf_files::{self, GgufModel};
use super::local::{models_in, Format, Local};
use super::names::{self, is_gguf, Name, Remote};
use super::short_names::{self, SHORT_NAMES};
use super::{Found, Kind, Manifest, Store, Wanted, MAIN};
use crate::error::{Error, ErrorKind, Result};

impl Store {
    /// What `name` stands for, of `kind` if one is given: a path, a model of the model folder, a
    /// repository of a hub or one file of it, or a short name.
    ///
    /// # Errors
    /// `InvalidArgument`: it cannot be a name, or models of two kinds have it. `NotFound`: no model is
    /// called so; the message names those that are called alike. `InvalidModel`: it is here, but
    /// not whole, and nothing says where it is from.
    pub fn find(&self, name: &str, kind: Option<Kind>) -> Result<Found> {
        if name.is_empty() {
            let message = format!("the model's name is empty; {}", names::FORMS);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let is_there = Path::new(name).exists();
        let may_be_path = is_gguf(name) || name.contains(std::path::is_separator);
        if names::is_path(name) || (is_there && may_be_path) {
            return Ok(Found::Here(name.into()));
        }
        let given = name;
        let name = match Name::parse(name) {
            Ok(name) => name,
            // What the model folder cannot have may still lie in the current folder.
            Err(_) if is_there && !name.contains("..") => return Ok(Found::Here(name.into())),
            Err(error) => return Err(error),
        };
        match self.find_here(&name, kind)? {
            Some(found) => Ok(found),
            None if is_there => Ok(Found::Here(given.into())),
            None => self.find_elsewhere(given, &name, kind),
        }
    }

    fn find_here(&self, name: &Name, kind: Option<Kind>) -> Result<Option<Found>> {
        let kinds = Kind::ALL.into_iter().filter(|it| kind.is_none_or(|kind| kind == *it));
        let hits: Vec<(Kind, Local)> =
            kinds.filter_map(|kind| Some((kind, self.look(name, kind)?))).collect();
        let whole: Vec<_> = hits.iter().filter(|(_, local)| local.lacking.is_none()).collect();
        match (&whole[..], hits.first()) {
            ([], None) => Ok(None),
            ([], Some((kind, local))) => self.mend(name, *kind, local).map(Some),
            ([(_, local)], _) => Ok(Some(Found::Here(local.path.clone()))),
            _ => {
                let kinds: Vec<_> = whole.iter().map(|(kind, _)| kind.name()).collect();
                let message = format!(
                    "\"{}\" is there as {}; say which in \"model_type\"",
                    name.path,
                    kinds.join(" and as ")
                );
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
        }
    }

    /// What a hub is asked for by `name`, whatever of it is here.
    ///
    /// # Errors
    /// `InvalidArgument`: it cannot be a name. `NotFound`: it stands for nothing on a hub, or there is
    /// no model folder.
    pub fn want(&self, name: &str, kind: Option<Kind>) -> Result<Wanted> {
        let parsed = Name::parse(name)?;
        self.wanted(&parsed, kind).ok_or_else(|| {
            let message = match &self.model_dir {
                Some(_) => format!("\"{name}\" stands for nothing on a hub; {}", names::FORMS),
                None => {
                    "the engine has no model folder; give it with the engine option \"model_dir\""
                        .to_owned()
                }
            };
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// A model that is not whole is fetched again, as far as it is known where from.
    fn mend(&self, name: &Name, kind: Kind, local: &Local) -> Result<Found> {
        let why = local.lacking.as_deref().unwrap_or_default();
        let lacking = Some(format!("{}: {why}", local.path.display()));
        if let Some(origin) = &local.origin {
            let file = local.gguf.as_ref().map(|model| {
                let first = model.first();
                format!("{}{}", origin.prefix, &first[first.rfind('/').map_or(0, |at| at + 1)..])
            });
            return Ok(Found::Wanted(Wanted {
                repo: origin.manifest.repo.clone(),
                // The other files are of this commit.
                revision: origin.manifest.commit.clone(),
                file,
                quant: None,
                kind,
                folder: origin.folder.clone(),
                lacking,
            }));
        }
        if let Some(wanted) = self.wanted(name, Some(kind)) {
            return Ok(Found::Wanted(Wanted { lacking, ..wanted }));
        }
        let message = format!("{}: is not whole: {why}; fetch it again", local.path.display());
        Err(Error::new(ErrorKind::InvalidModel, message))
    }

    fn find_elsewhere(&self, given: &str, name: &Name, kind: Option<Kind>) -> Result<Found> {
        if let Some(wanted) = self.wanted(name, kind) {
            return Ok(Found::Wanted(wanted));
        }
        let not_found = |message| Err(Error::new(ErrorKind::NotFound, message));
        let Some(model_dir) = &self.model_dir else {
            return not_found(format!(
                "\"{given}\": there is no such file or folder, and the engine has no model folder \
                 for names; give it with the engine option \"model_dir\""
            ));
        };
        let near = match self.near(&name.path, kind) {
            near if near.is_empty() => String::new(),
            near => format!("; near it are: {}", near.join(", ")),
        };
        not_found(format!(
            "no model \"{given}\" in {}{near}; {}",
            model_dir.display(),
            names::FORMS
        ))
    }

    /// What a hub is asked for, where `name` says it.
    fn wanted(&self, name: &Name, kind: Option<Kind>) -> Option<Wanted> {
        let short = short_names::find(&name.path);
        let short = short.filter(|short| kind.is_none_or(|kind| kind == short.kind));
        let remote = match (short, &name.remote) {
            (Some(short), _) => Remote { repo: short.repo.to_owned(), revision: None, file: None },
            (None, remote) => remote.clone()?,
        };
        let kind = kind.or(short.map(|short| short.kind)).unwrap_or_else(|| guess(&remote.repo));
        let base = self.model_dir.as_ref()?.join(kind.name());
        let own = match short {
            Some(short) => short.name.to_owned(),
            None => folder_name(&remote),
        };
        let is_others = Manifest::read(&base.join(&own)).is_some_and(|it| it.repo != remote.repo);
        let owner = remote.repo.split('/').next().unwrap_or_default();
        let folder =
            if is_others { base.join(owner).join(folder_name(&remote)) } else { base.join(own) };
        let quant = name.quant.clone().or(short.and_then(|short| short.quant).map(str::to_owned));
        Some(Wanted {
            repo: remote.repo,
            revision: remote.revision.unwrap_or_else(|| MAIN.to_owned()),
            file: remote.file,
            quant,
            kind,
            folder,
            lacking: None,
        })
    }

    /// The model that `name` stands for among those of `kind` that are here; a whole one if there is.
    fn look(&self, name: &Name, kind: Kind) -> Option<Local> {
        let base = self.model_dir.as_ref()?.join(kind.name());
        let mut broken = None;
        let mut seek = |found: Option<Local>| match found {
            Some(local) if local.lacking.is_none() => Some(local),
            other => {
                broken = broken.take().or(other);
                None
            }
        };
        let quant = name.quant.as_deref();
        // A file has no quantisations to choose from.
        let file = |path: &str| Local::at(&base, path).filter(|_| quant.is_none());
        let whole = seek(file(&name.path).filter(|_| is_gguf(&name.path)))
            .or_else(|| seek(pick(&base.join(&name.path), None, quant)))
            .or_else(|| seek(file(&format!("{}.gguf", name.path))))
            .or_else(|| {
                let remote = remote_of(name, kind)?;
                let folders = folders_of(&base, &remote);
                let file = remote.file.as_deref();
                folders.iter().find_map(|folder| seek(pick(folder, file, quant)))
            });
        whole.or(broken)
    }
}

/// The repository that `name` means, as itself or by a short name.
fn remote_of(name: &Name, kind: Kind) -> Option<Remote> {
    let short = short_names::find(&name.path).filter(|short| short.kind == kind);
    let short = short.map(|it| Remote { repo: it.repo.to_owned(), revision: None, file: None });
    short.or(name.remote.clone())
}

/// The folders that may hold what was fetched of `remote`: that of its name, as Fluid Server has it,
/// that of its short name, and the cache in which Fluid Server keeps GGUF files.
fn folders_of(base: &Path, remote: &Remote) -> Vec<PathBuf> {
    let (owner, repo) = remote.repo.split_once('/').unwrap_or_default();
    let nested = base.join(owner).join(folder_name(remote));
    let shorts = SHORT_NAMES.iter().filter(|short| short.repo == remote.repo);
    let shorts = shorts.map(|short| short.name.to_owned());
    let names = [folder_name(remote), repo.to_owned()].into_iter().chain(shorts);
    let mut folders = vec![nested];
    for folder in names.map(|name| base.join(name)) {
        let manifest = Manifest::read(&folder);
        let is_it = match (&manifest, &remote.revision) {
            (Some(manifest), None) => manifest.repo == remote.repo,
            (Some(manifest), Some(revision)) => {
                let is_commit = revision.len() >= 7 && manifest.commit.starts_with(&**revision);
                manifest.repo == remote.repo && (manifest.revision == *revision || is_commit)
            }
            // Put there by hand, or by Fluid Server.
            (None, revision) => revision.is_none(),
        };
        if is_it && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.extend(hub_cache(base, owner, repo, remote.revision.as_deref()));
    folders
}

/// The snapshot of a repository in a cache of huggingface_hub's layout.
fn hub_cache(base: &Path, owner: &str, repo: &str, revision: Option<&str>) -> Option<PathBuf> {
    let folder = base.join("cache").join(format!("models--{owner}--{repo}"));
    snapshot(&folder, revision)
}

/// The snapshot of `revision` in a repository's folder of such a cache.
pub(super) fn snapshot(folder: &Path, revision: Option<&str>) -> Option<PathBuf> {
    let reference = folder.join("refs").join(revision.unwrap_or(MAIN));
    let commit = std::fs::read_to_string(reference).ok();
    let commit = commit.as_deref().map(str::trim).or(revision)?;
    names::check_path(commit).ok()?;
    let snapshot = folder.join("snapshots").join(commit);
    snapshot.is_dir().then_some(snapshot)
}

/// The folder that a repository's files come to lie in: its name, without its owner's.
fn folder_name(remote: &Remote) -> String {
    let repo = remote.repo.split('/').next_back().unwrap_or_default();
    match &remote.revision {
        None => repo.to_owned(),
        Some(revision) => format!("{repo}@{revision}"),
    }
}

/// The model of `folder` that is meant: a file of it, the one of a quantisation, else the one that
/// the rule takes; whole ones first, GGUF before OpenVINO.
fn pick(folder: &Path, file: Option<&str>, quant: Option<&str>) -> Option<Local> {
    if let Some(file) = file {
        return Local::at(folder, file);
    }
    if !folder.is_dir() {
        return None;
    }
    let models = models_in(folder);
    let picked = |whole: bool| {
        let fits = models.iter().filter(|local| !whole || local.lacking.is_none());
        let ggufs: Vec<&GgufModel> = fits.clone().filter_map(|local| local.gguf.as_ref()).collect();
        if let Some(model) = gguf_files::pick(&ggufs, quant) {
            return models.iter().find(|local| local.gguf.as_ref() == Some(model));
        }
        let networks = fits.filter(|local| local.format == Format::OpenVino && quant.is_none());
        networks.min_by_key(|local| local.folder.len())
    };
    picked(true).or_else(|| picked(false)).cloned()
}

/// What a repository is for when nobody says it, by its name.
fn guess(repo: &str) -> Kind {
    const EMBEDDING: [&str; 9] =
        ["embed", "rerank", "minilm", "bge-", "gte-", "e5-", "sentence", "mpnet", "colbert"];
    let name = repo.split('/').next_back().unwrap_or(repo).to_ascii_lowercase();
    if name.contains("whisper") {
        return Kind::Whisper;
    }
    match EMBEDDING.iter().any(|word| name.contains(word)) {
        true => Kind::Embedding,
        false => Kind::Llm,
    }
}
