//! Where OpenVINO's C library may be: the places in order, and the library files in each.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A file or folder that must be the one used, where it is set.
pub const VARIABLE: &str = "FLUID_OPENVINO_LIB";

/// The environment variables that places are made of.
const VARIABLES: [&str; 8] = [
    VARIABLE,
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "INTEL_OPENVINO_DIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PATH",
    "ProgramFiles(x86)",
];

/// How a system names a shared library, and where it keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// `libopenvino_c.so`, `libopenvino_c.so.2641`, `libopenvino_c.so.2026.4.1`.
    Linux,
    /// `libopenvino_c.dylib`, `libopenvino_c.2641.dylib`.
    Macos,
    /// `openvino_c.dll`.
    Windows,
}

impl Platform {
    /// The one this library was built for.
    pub const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::Macos
    } else {
        Self::Linux
    };

    /// The library's name without a version.
    pub fn library(self) -> &'static str {
        match self {
            Self::Linux => "libopenvino_c.so",
            Self::Macos => "libopenvino_c.dylib",
            Self::Windows => "openvino_c.dll",
        }
    }

    /// The version in a library file's name, empty where it has none; `None` for other files.
    fn version_in(self, name: &str) -> Option<Vec<u32>> {
        let version = match self {
            Self::Linux => name.strip_prefix("libopenvino_c.so")?,
            Self::Macos => name.strip_prefix("libopenvino_c")?.strip_suffix(".dylib")?,
            Self::Windows => return name.eq_ignore_ascii_case(self.library()).then(Vec::new),
        };
        if version.is_empty() {
            return Some(Vec::new());
        }
        let parts = version.strip_prefix('.')?.split('.');
        let parts: Vec<u32> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
        Some(match parts[..] {
            // The wheel writes 2026.4.1 as 2641.
            [short @ 1_000..=9_999] => vec![2_000 + short / 100, short / 10 % 10, short % 10],
            _ => parts,
        })
    }
}

/// What the places depend on.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Names and folders are this system's.
    pub platform: Platform,
    /// Environment variables by name.
    pub variables: HashMap<&'static str, OsString>,
    /// The folder that libfluid itself was loaded from.
    pub own_folder: Option<PathBuf>,
    /// The root of the file system.
    pub root: PathBuf,
}

impl Environment {
    /// This process's, with libfluid in `own_folder`.
    pub fn of_process(own_folder: Option<PathBuf>) -> Self {
        let read = |name| env::var_os(name).filter(|value| !value.is_empty()).map(|it| (name, it));
        let variables = VARIABLES.into_iter().filter_map(read).collect();
        Self { platform: Platform::HERE, variables, own_folder, root: PathBuf::from("/") }
    }

    fn variable(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).map(PathBuf::from)
    }
}

/// A file or folder to look at, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Who names it, such as `FLUID_OPENVINO_LIB`.
    pub origin: &'static str,
    /// The file or folder; it need not exist.
    pub path: PathBuf,
}

/// The places to look at, the best first. Where `explicit` or [`VARIABLE`] names one, only that
/// one: another library than the one asked for must not be taken in silence.
pub fn places(environment: &Environment, explicit: Option<&Path>) -> Vec<Place> {
    let mut places = Places { list: Vec::new() };
    if let Some(path) = explicit {
        places.named("the option openvino_library", path, environment.platform);
    } else if let Some(path) = environment.variable(VARIABLE) {
        places.named(VARIABLE, &path, environment.platform);
    } else {
        places.usual(environment);
    }
    places.list
}

struct Places {
    list: Vec<Place>,
}

impl Places {
    fn add(&mut self, origin: &'static str, base: &Path, patterns: &[&str]) {
        for path in patterns.iter().flat_map(|pattern| expand(base, pattern)) {
            self.list.push(Place { origin, path });
        }
    }

    /// A path that somebody gave: the library, its folder, or one of the folders it comes in.
    fn named(&mut self, origin: &'static str, path: &Path, platform: Platform) {
        self.add(origin, path, &[""]);
        if path.is_dir() {
            let below = ["libs", "openvino/libs"];
            for pattern in below.iter().chain(python(platform)).chain(intel(platform)) {
                let found = expand(path, pattern).into_iter().filter(|folder| folder.is_dir());
                self.list.extend(found.map(|path| Place { origin, path }));
            }
        }
    }

    fn usual(&mut self, environment: &Environment) {
        let Environment { platform, own_folder, root, .. } = environment;
        if let Some(folder) = own_folder {
            self.add("beside libfluid", folder, &["", "openvino/libs"]);
        }
        for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            if let Some(folder) = environment.variable(name) {
                self.add(name, &folder, python(*platform));
            }
        }
        if let Some(folder) = environment.variable("CONDA_PREFIX") {
            let own = if *platform == Platform::Windows { "Library/bin" } else { "lib" };
            self.add("CONDA_PREFIX", &folder, &[own]);
        }
        if let Some(folder) = environment.variable("INTEL_OPENVINO_DIR") {
            self.add("INTEL_OPENVINO_DIR", &folder, intel(*platform));
        }
        self.installed(environment, root);
        self.search_path(environment);
    }

    fn installed(&mut self, environment: &Environment, root: &Path) {
        const INTEL: &str = "Intel's installer";
        let platform = environment.platform;
        let (base, folder) = match platform {
            Platform::Windows => (environment.variable("ProgramFiles(x86)"), "Intel/openvino_*"),
            _ => (Some(root.to_owned()), "opt/intel/openvino*"),
        };
        if let Some(base) = base {
            let patterns = intel(platform).iter().map(|below| format!("{folder}/{below}"));
            for pattern in patterns {
                self.add(INTEL, &base, &[&pattern]);
            }
        }
        let multiarch = format!("usr/lib/{}-linux-gnu", env::consts::ARCH);
        let system: &[&str] = match platform {
            Platform::Linux => &["usr/local/lib", &multiarch, "usr/lib64", "usr/lib"],
            Platform::Macos => &["opt/homebrew/lib", "usr/local/lib"],
            Platform::Windows => &[],
        };
        self.add("the system", root, system);
    }

    fn search_path(&mut self, environment: &Environment) {
        let name = match environment.platform {
            Platform::Linux => "LD_LIBRARY_PATH",
            Platform::Macos => "DYLD_LIBRARY_PATH",
            Platform::Windows => "PATH",
        };
        let Some(value) = environment.variables.get(name) else { return };
        // A relative entry would open whatever lies in the current folder.
        for folder in env::split_paths(value).filter(|folder| folder.is_absolute()) {
            self.add(name, &folder, &[""]);
        }
    }
}

/// Where a Python environment keeps the wheel's libraries.
fn python(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Windows => &["Lib/site-packages/openvino/libs"],
        _ => &["lib/python3*/site-packages/openvino/libs"],
    }
}

/// Where an installation of Intel's keeps its libraries; the last folder is the processor's.
fn intel(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Linux => &["runtime/lib/*"],
        Platform::Macos => &["runtime/lib/*/Release"],
        Platform::Windows => &["runtime/bin/*/Release"],
    }
}

/// The folders that `pattern` names below `base`; a component may end in `*`. The newest first.
/// Where none exists, the pattern itself, for the list of places looked at.
fn expand(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![base.to_owned()];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        let step = |folder: &PathBuf| match component.strip_suffix('*') {
            Some(prefix) => subfolders(folder, prefix),
            None => vec![folder.join(component)],
        };
        found = found.iter().flat_map(step).collect();
    }
    if found.is_empty() {
        return vec![base.join(pattern)];
    }
    found
}

fn subfolders(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries(folder)
        .filter(|(name, path)| name.starts_with(prefix) && path.is_dir())
        .map(|(name, path)| (numbers(&name), path))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The numbers in a name, so that `python3.10` is above `python3.9`.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    listed.filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path())))
}

/// The libraries at `path`, a library or a folder of them: the one without a version first (whoever
/// installed it chose it), then the newest. An error says what is wrong there.
pub fn libraries(platform: Platform, path: &Path) -> Result<Vec<PathBuf>, String> {
    let kind = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "not there".to_owned(),
        _ => error.to_string(),
    })?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found: Vec<_> = entries(path)
        .filter_map(|(name, path)| Some((platform.version_in(&name)?, path)))
        .collect();
    if found.is_empty() {
        return Err(format!("no {} there", platform.library()));
    }
    found.sort_by_key(|(version, _)| (!version.is_empty(), Reverse(version.clone())));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
