//! Paths, and models in several files.

use std::path::Path;

use super::*;

/// A fresh folder below the build's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fluid-gguf-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}

#[test]
fn paths_that_are_no_file_are_refused() {
    let missing = check(Path::new("/nonexistent/model.gguf")).expect_err("no such file");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.message().starts_with("/nonexistent/model.gguf: "), "{missing}");
    let folder = folder("folder");
    let error = check(&folder).expect_err("a folder");
    assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
    std::fs::remove_dir(&folder).expect("the folder is empty");
}

fn set(part: &mut Gguf, key: &str, value: Value) {
    part.set(key, value);
}

/// `llama` in two parts, `broken` by the caller before they are written.
fn two_parts(name: &str, broken: fn(&mut [Gguf; 2])) -> Result<Summary> {
    let mut first = writer::llama(1);
    let mut second = Gguf::new(1);
    second.tensors = first.tensors.split_off(10);
    for (number, part) in [&mut first, &mut second].into_iter().enumerate() {
        part.set("split.count", Value::U16(2)).set("split.no", Value::U16(number as u16));
        part.set("split.tensors.count", Value::I32(20));
    }
    let mut parts = [first, second];
    broken(&mut parts);
    let folder = folder(name);
    for (part, number) in parts.iter().zip(1..) {
        let path = folder.join(format!("tiny-{number:05}-of-00002.gguf"));
        std::fs::write(path, part.to_bytes()).expect("the temporary folder is writable");
    }
    let result = check(&folder.join("tiny-00001-of-00002.gguf"));
    std::fs::remove_dir_all(&folder).expect("the folder was made above");
    result
}

#[test]
fn all_parts_of_a_split_model_are_checked() {
    let whole = two_parts("whole", |_| {}).expect("two sound parts");
    assert_eq!((whole.files.len(), whole.tensors.len()), (2, 20));
    type Damage = fn(&mut [Gguf; 2]);
    let broken: [(&str, Damage); 5] = [
        ("split.no", |parts| set(&mut parts[1], "split.no", Value::U16(5))),
        ("split.no", |parts| set(&mut parts[1], "split.no", Value::U32(1))),
        ("split.tensors.count", |parts| set(&mut parts[0], "split.tensors.count", Value::I32(21))),
        ("in two parts", |parts| parts[1].tensors[0].name = parts[0].tensors[0].name.clone()),
        ("does not end in", |parts| set(&mut parts[0], "split.count", Value::U16(3))),
    ];
    for (index, (culprit, broken)) in broken.into_iter().enumerate() {
        let error = two_parts(&format!("broken-{index}"), broken).expect_err(culprit);
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
        assert!(error.message().contains(culprit), "{error}");
    }
}
