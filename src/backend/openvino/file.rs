//! A look at a model's files before OpenVINO reads them.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Error as IoError, ErrorKind as IoKind, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Where the first element of an IR stands, behind a declaration and perhaps a comment.
const HEAD: u64 = 4_096;
/// Where its last one ends, before white space.
const TAIL: u64 = 256;

/// The versions of the format that OpenVINO reads.
const VERSIONS: [&str; 2] = ["10", "11"];

/// What an ONNX file begins with: the field of its format's version.
const ONNX: char = '\u{8}';

/// Checks that the files can be read, and that `path` is an IR from beginning to end, or ONNX.
/// OpenVINO offers other files to the readers of every format it knows, and some of them print.
pub(super) fn check(path: &Path, bin: Option<&Path>) -> Result<()> {
    if let Some(bin) = bin {
        File::open(bin).map_err(|error| unreadable(bin, &error))?;
    }
    let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let (head, tail) = ends(&mut file).map_err(|error| unreadable(path, &error))?;
    let extension = path.extension().map(|it| it.to_ascii_lowercase());
    let checked = match extension.as_ref().and_then(|it| it.to_str()) {
        Some("xml") => check_ir(&head, &tail),
        Some("onnx") if head.starts_with(ONNX) => Ok(()),
        Some("onnx") => Err((ErrorKind::InvalidModel, "it is no ONNX file".to_owned())),
        _ => Err((ErrorKind::UnsupportedModel, "only .xml and .onnx files are read".to_owned())),
    };
    checked.map_err(|(kind, what)| Error::new(kind, format!("{}: {what}", path.display())))
}

fn check_ir(head: &str, tail: &str) -> std::result::Result<(), (ErrorKind, String)> {
    match version(head) {
        None => {
            let message = "it does not begin as OpenVINO's IR does; fetch it again";
            Err((ErrorKind::InvalidModel, message.to_owned()))
        }
        Some(version) if !VERSIONS.contains(&version) => {
            let message = format!("IR version {version}; 10 and 11 are read");
            Err((ErrorKind::UnsupportedModel, message))
        }
        Some(_) if !tail.trim_end().ends_with("</net>") => {
            Err((ErrorKind::InvalidModel, "it ends before the IR does; fetch it again".to_owned()))
        }
        Some(_) => Ok(()),
    }
}

fn unreadable(path: &Path, error: &IoError) -> Error {
    let kind = match error.kind() {
        IoKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("{}: {error}", path.display()))
}

fn ends(file: &mut File) -> std::io::Result<(String, String)> {
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(head), text(tail)))
}

/// The version in the `net` element.
fn version(head: &str) -> Option<&str> {
    let (_, net) = head.split_once("<net ")?;
    let (attributes, _) = net.split_once('>')?;
    let (_, value) = attributes.split_once("version=\"")?;
    value.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, text: &str) -> Result<()> {
        let path = std::env::temp_dir().join(format!("fluid-ir-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        let result = check(&path, None);
        std::fs::remove_file(&path).expect("it was written");
        result
    }

    #[test]
    fn an_ir_has_a_beginning_a_version_and_an_end() {
        let whole = "<?xml version=\"1.0\"?>\n<net name=\"a\" version=\"11\">\n<layers/></net>\n";
        assert_eq!(checked("whole.xml", whole), Ok(()));
        let kind = |name, text: &str| checked(name, text).map_err(|error| error.kind());
        let other = whole.replace("\"11\"", "\"99\"");
        assert_eq!(kind("other.xml", &other), Err(ErrorKind::UnsupportedModel));
        for cut in [0, 10, 30, whole.len() - 10] {
            assert_eq!(kind("cut.xml", &whole[..cut]), Err(ErrorKind::InvalidModel), "{cut}");
        }
    }

    #[test]
    fn other_formats_are_onnx_or_refused() {
        assert_eq!(checked("model.onnx", "\u{8}\u{7}"), Ok(()));
        for (name, kind) in [
            ("text.onnx", ErrorKind::InvalidModel),
            ("model.pb", ErrorKind::UnsupportedModel),
            ("model", ErrorKind::UnsupportedModel),
        ] {
            assert_eq!(checked(name, "hello there").map_err(|it| it.kind()), Err(kind), "{name}");
        }
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let missing = Path::new("/nowhere/model.xml");
        let error = check(missing, None).expect_err("it is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().starts_with("/nowhere/model.xml: "), "{error}");
        assert_eq!(check(Path::new("/"), None).map_err(|it| it.kind()), Err(ErrorKind::Io));
    }
}
