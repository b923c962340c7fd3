//! One download at a time for each model folder, whichever process it runs in.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use fs4::{FileExt, TryLockError};

use super::fault::Fault;
use super::names::OURS;
use super::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;

/// Between two looks at a lock that somebody has.
const LOOK: Duration = Duration::from_millis(20);

/// The lock of a folder, given back when dropped, or when its process ends, however it ends. Its file
/// stays: removing it could let two have one.
#[derive(Debug)]
pub struct FolderLock(#[allow(dead_code, reason = "held for as long as it is open")] File);

impl FolderLock {
    /// Waits for the lock of `folder`, which is made. `watch` hears for whom; `None` when it says stop.
    pub fn take(
        folder: &Path,
        watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<Option<Self>> {
        match Self::wait(folder, watch) {
            Ok(lock) => Ok(Some(lock)),
            Err(Fault::Stopped) => Ok(None),
            Err(Fault::Failed(error) | Fault::Passing(error, _) | Fault::Wrong(error)) => {
                Err(error)
            }
        }
    }

    fn wait(
        folder: &Path,
        watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> std::result::Result<Self, Fault> {
        fs::create_dir_all(folder).map_err(|error| Fault::of_file(folder, &error))?;
        let path = folder.join(format!("{OURS}-lock"));
        let file = open(&path)?;
        loop {
            match FileExt::try_lock(&file) {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    if !watch(&Progress::Waiting(&holder(&path))) {
                        return Err(Fault::Stopped);
                    }
                    sleep(LOOK);
                }
                // Some network file systems have no locks; checksums tell what two writers spoil.
                Err(TryLockError::Error(error)) => {
                    log!(Warn, "{}: cannot be locked: {error}", path.display());
                    break;
                }
            }
        }
        // For those who wait; nothing else reads it. At once, so that nobody reads half of it.
        let _ = (&file).write_all(format!("{:>10}\n", std::process::id()).as_bytes());
        Ok(Self(file))
    }
}

fn open(path: &Path) -> std::result::Result<File, Fault> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|entry| !entry.is_file());
    if is_link {
        let message = format!("{}: is no plain file; remove it", path.display());
        return Err(Fault::Failed(Error::new(ErrorKind::Io, message)));
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|error| Fault::of_file(path, &error))
}

/// Who has the lock, in words; empty until they have said it.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(20).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        // Windows lets nobody read a file that is locked.
        (Err(_), _) => "a download of another process".to_owned(),
        (Ok(_), Ok(id)) if id == std::process::id() => {
            "another download of this process".to_owned()
        }
        (Ok(_), Ok(id)) => format!("a download of process {id}"),
        (Ok(_), Err(_)) => String::new(),
    }
}
