//! The folders of models and of compiled models: there, readable, writable, with room.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{gib, Check, Status};
use crate::machine::disk;

/// Less room than this holds next to no model.
const LITTLE: u64 = 1 << 30;

pub(super) fn models(folder: Option<&Path>) -> Check {
    match folder {
        None => Check::new(
            "model_folder",
            Status::Info,
            "none is set; models are loaded by their paths",
        ),
        Some(folder) => examine("model_folder", folder, "models cannot be downloaded to it"),
    }
}

pub(super) fn cache(folder: Option<&Path>) -> Check {
    match folder {
        None => {
            Check::new("cache_folder", Status::Info, "none is set; OpenVINO compiles at each load")
        }
        Some(folder) => examine("cache_folder", folder, "compiled models cannot be kept in it"),
    }
}

/// `loss`: what does not work where nothing can be written.
fn examine(name: &'static str, folder: &Path, loss: &str) -> Check {
    let at = folder.display();
    let missing = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => error.to_string(),
    };
    let listed = std::fs::read_dir(folder);
    let entries = match &listed {
        Err(error) if !folder.exists() => {
            return Check::new(name, Status::Warning, format!("{at}: {}", missing(error))).but(
                Status::Warning,
                "it is made when first needed; if it should be there, mend the path",
            );
        }
        Err(error) => {
            return Check::new(name, Status::Error, format!("{at}: {error}"))
                .but(Status::Error, "name a folder that this user may read");
        }
        Ok(_) => listed.into_iter().flatten().count(),
    };
    let free = disk::free(folder);
    let room = free.map_or_else(String::new, |bytes| format!(", {} free", gib(bytes)));
    let check = Check::new(name, Status::Ok, format!("{at}: {entries} entries{room}"));
    if let Err(error) = write_to(folder) {
        return check.and(format!("cannot be written: {error}")).but(
            Status::Warning,
            format!("{loss}: let this user write there, or name another folder"),
        );
    }
    match free {
        Some(bytes) if bytes < LITTLE => {
            check.but(Status::Warning, "make room, or name a folder on another disk")
        }
        _ => check,
    }
}

/// Writes a file and takes it away: permissions alone do not tell of read-only disks.
fn write_to(folder: &Path) -> std::io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".fluid-doctor-{}-{number}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_a_folder_has_its_words() {
        let base = std::env::temp_dir().join(format!("fluid-doctor-test-{}", std::process::id()));
        std::fs::create_dir_all(base.join("one")).expect("a folder");
        std::fs::write(base.join("file"), "").expect("a file");
        let good = models(Some(&base));
        assert!(good.status <= Status::Warning && good.found[0].contains("2 entries"), "{good:?}");
        assert!(good.found[0].contains("GiB free"), "{good:?}");
        assert_eq!(std::fs::read_dir(&base).expect("a folder").count(), 2, "nothing is left");

        let missing = models(Some(&base.join("nowhere")));
        assert_eq!(missing.status, Status::Warning);
        assert!(missing.found[0].ends_with("nowhere: is not there"), "{missing:?}");
        let file = cache(Some(&base.join("file")));
        assert!(file.status == Status::Error && file.advice.is_some(), "{file:?}");
        assert_eq!(models(None).status, Status::Info);
        if cfg!(target_os = "linux") {
            let fixed = cache(Some(Path::new("/proc")));
            assert_eq!(fixed.status, Status::Warning, "{fixed:?}");
            assert!(fixed.found[1].starts_with("cannot be written: "), "{fixed:?}");
        }
        std::fs::remove_dir_all(base).ok();
    }
}
