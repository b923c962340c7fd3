//! Whether contents are those that the hub's list names.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::stop::Stop;
use super::RemoteFile;
use crate::error::{Error, ErrorKind};

/// Bytes that are read before somebody is asked whether to go on.
const PIECE: usize = 1 << 20;

/// The checksums of contents that come piece by piece.
#[derive(Clone)]
pub(super) struct Checksum {
    sha256: Sha256,
    /// Git's, where the hub knows no other: git's header goes in front of the contents.
    blob: Option<Sha1>,
}

impl Checksum {
    /// Of nothing yet, for `remote`.
    pub(super) fn new(remote: &RemoteFile) -> Self {
        let blob = remote
            .sha256
            .is_none()
            .then(|| Sha1::new_with_prefix(format!("blob {}\0", remote.bytes)));
        Self { sha256: Sha256::new(), blob }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(blob) = &mut self.blob {
            blob.update(bytes);
        }
    }

    /// The SHA-256 of what came, if it is what `remote` should be.
    pub(super) fn check(self, remote: &RemoteFile) -> Result<String, Fault> {
        let sha256 = hex(&self.sha256.finalize());
        let (kind, got, wanted) = match (&remote.sha256, self.blob) {
            (Some(wanted), _) => ("SHA-256", sha256.clone(), wanted),
            (None, Some(blob)) => {
                ("git id", hex(&blob.finalize()), remote.blob.as_ref().unwrap_or(&sha256))
            }
            (None, None) => return Err(Fault::Failed(missing(remote))),
        };
        if got == *wanted {
            return Ok(sha256);
        }
        let message = format!(
            "{}: its contents are not what the hub lists: {kind} {got} instead of {wanted}",
            remote.path
        );
        Err(Fault::Wrong(Error::new(ErrorKind::InvalidModel, message)))
    }
}

/// Refuses a file that cannot be checked.
pub(super) fn check_known(remote: &RemoteFile) -> Result<(), Error> {
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let known = match (&remote.sha256, &remote.blob) {
        (Some(sha256), _) => is_hex(sha256, 64),
        (None, Some(blob)) => is_hex(blob, 40),
        (None, None) => false,
    };
    if known {
        Ok(())
    } else {
        Err(missing(remote))
    }
}

fn missing(remote: &RemoteFile) -> Error {
    let message = format!("{}: the hub lists no checksum that it could be checked by", remote.path);
    Error::new(ErrorKind::InvalidModel, message)
}

/// Adds what `file` holds from where it stands; `seen` hears of each piece.
pub(super) fn read(
    file: &mut File,
    path: &Path,
    checksum: &mut Checksum,
    stop: &Stop,
    mut seen: impl FnMut(u64),
) -> Result<(), Fault> {
    let mut buffer = vec![0; PIECE];
    loop {
        if stop.is_raised() {
            return Err(Fault::Stopped);
        }
        let count = file.read(&mut buffer).map_err(|error| Fault::of_file(path, &error))?;
        if count == 0 {
            return Ok(());
        }
        checksum.update(&buffer[..count]);
        seen(count as u64);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(sha256: Option<&str>, blob: Option<&str>) -> RemoteFile {
        let text = |given: Option<&str>| given.map(str::to_owned);
        RemoteFile { path: "a".into(), bytes: 6, sha256: text(sha256), blob: text(blob) }
    }

    #[test]
    fn git_and_sha256_agree_with_the_tools() {
        // `printf 'hello\n' | sha256sum` and `git hash-object --stdin`.
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let blob = "ce013625030ba8dba906f756967f9e9ca394464a";
        for remote in [remote(Some(sha256), None), remote(None, Some(blob))] {
            check_known(&remote).expect("a checksum");
            let mut sum = Checksum::new(&remote);
            sum.update(b"hel");
            sum.update(b"lo\n");
            assert_eq!(sum.clone().check(&remote).expect("it is that"), sha256);
            sum.update(b".");
            assert!(matches!(sum.check(&remote), Err(Fault::Wrong(_))));
        }
    }

    #[test]
    fn without_a_checksum_nothing_is_fetched() {
        for remote in [remote(None, None), remote(Some("5891"), None), remote(None, Some("xyz"))] {
            check_known(&remote).expect_err("none");
        }
    }
}
