//! OpenVINO's library found, opened and used through the wrappers: with the real library, and,
//! where the state of the process matters, in child processes.
#![cfg(feature = "openvino")]
#![forbid(unsafe_code)]

#[path = "support/openvino.rs"]
mod openvino;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fluid::backend::openvino::runtime;

use self::openvino::{library, text, Folder};

/// What a child is to open, one after the other; a line each, empty for no option.
const ASKED: &str = "FLUID_TEST_ASKED";

/// Everything that the search goes by.
const VARIABLES: [&str; 5] =
    ["FLUID_OPENVINO_LIB", "VIRTUAL_ENV", "CONDA_PREFIX", "INTEL_OPENVINO_DIR", "LD_LIBRARY_PATH"];

/// In a child of its own, with these variables and none of the others: what `open` says to each of `asked`:
/// the path, or the kind of the error and its message.
fn open_in_child(variables: &[(&str, &Path)], asked: &[&str]) -> Vec<String> {
    let mut child = Command::new(env::current_exe().expect("this test has a file"));
    child.args(["--exact", "the_folder_in_the_variable_is_opened", "--nocapture"]);
    for name in VARIABLES {
        child.env_remove(name);
    }
    child.env(ASKED, asked.join("\n")).envs(variables.iter().copied());
    let output = child.output().expect("this test can run itself");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    let said: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("said ")).collect();
    assert!(output.status.success() && said.len() == asked.len(), "{} {out}", output.status);
    said.into_iter().map(str::to_owned).collect()
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn open_what_was_asked(asked: &str) {
    for path in asked.split('\n') {
        match runtime::open(Some(path).filter(|path| !path.is_empty())) {
            Ok(opened) => println!("\nsaid {}", opened.path().display()),
            Err(error) => println!("\nsaid {:?} {error}", error.kind()),
        }
    }
}

fn opened_path() -> String {
    text(&library().canonicalize().expect("the library is there")).to_owned()
}

#[test]
fn the_folder_in_the_variable_is_opened() {
    if let Ok(asked) = env::var(ASKED) {
        return open_what_was_asked(&asked);
    }
    let real = library();
    let folder = real.parent().expect("a folder");
    assert_eq!(open_in_child(&[("FLUID_OPENVINO_LIB", folder)], &[""]), [opened_path()]);
    assert_eq!(open_in_child(&[("FLUID_OPENVINO_LIB", &real)], &[""]), [opened_path()]);
}

#[test]
fn without_a_library_the_error_lists_the_places_and_the_cure() {
    let empty = Folder::new("empty");
    let said = open_in_child(&[("VIRTUAL_ENV", empty.path())], &[""]).remove(0);
    let parts = [
        "BackendMissing ",
        "beside libfluid: ",
        "VIRTUAL_ENV: ",
        text(empty.path()),
        "/opt/intel/openvino*/runtime/lib/*: not there",
        "/usr/lib: no libopenvino_c.so there",
        "pip install openvino",
        "FLUID_OPENVINO_LIB",
    ];
    for part in parts {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn a_named_library_that_fails_is_not_replaced_by_another() {
    let (missing, venv) = (Folder::new("named"), real_environment("named-venv"));
    let nowhere = missing.path().join("nowhere");
    let variables = [("FLUID_OPENVINO_LIB", nowhere.as_path()), ("VIRTUAL_ENV", venv.path())];
    let said = open_in_child(&variables, &[""]).remove(0);
    let expected = format!("(FLUID_OPENVINO_LIB: {}: not there)", nowhere.display());
    assert!(said.starts_with("BackendMissing ") && said.contains(&expected), "{said}");

    let variables = [("FLUID_OPENVINO_LIB", venv.path())];
    let said = open_in_child(&variables, &[text(&nowhere)]).remove(0);
    let expected = format!("(the option openvino_library: {}: not there)", nowhere.display());
    assert!(said.starts_with("BackendMissing ") && said.contains(&expected), "{said}");
}

/// A Python environment whose `openvino` is the real one.
fn real_environment(name: &str) -> Folder {
    let venv = Folder::new(name);
    let package = venv.path().join("lib/python3.11/site-packages/openvino");
    fs::create_dir_all(&package).expect("a folder");
    let libs = opened_path();
    let libs = Path::new(&libs).parent().expect("a folder");
    symlink(libs, package.join("libs")).expect("a link");
    venv
}

#[test]
fn an_active_python_environment_is_found() {
    let venv = real_environment("venv");
    assert_eq!(open_in_child(&[("VIRTUAL_ENV", venv.path())], &[""]), [opened_path()]);
    assert_eq!(open_in_child(&[("CONDA_PREFIX", venv.path())], &[""]), [opened_path()]);
}

/// Files of the library's name that are something else, and a word of what is wrong with each.
fn broken(folder: &Folder) -> [(&'static str, &'static str); 4] {
    let real = library();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("a file");
    };
    write(
        "libopenvino_c.so",
        b"This is a text about a library, and none itself, however long it is.\n",
    );
    write("libopenvino_c.so.9999", b"");
    let mut bytes = fs::read(&real).expect("the library can be read");
    // e_machine of an ELF file: another processor's.
    bytes[18] = 0xf3;
    write("libopenvino_c.so.9998", &bytes);
    let other = folder.path().join("libopenvino_c.so.9997");
    symlink(real_sibling("libtbbmalloc.so"), other).expect("a link");
    [
        ("libopenvino_c.so: ", "invalid ELF header"),
        ("libopenvino_c.so.9999: ", "file too short"),
        ("libopenvino_c.so.9998: ", "cannot open shared object file"),
        ("libopenvino_c.so.9997: ", "it lacks the function ov_"),
    ]
}

/// A library beside the real one that is not it.
fn real_sibling(start: &str) -> std::path::PathBuf {
    let path = opened_path();
    let folder = Path::new(&path).parent().expect("a folder");
    let mut entries = fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    let found = entries.find(|entry| entry.file_name().to_string_lossy().starts_with(start));
    found.expect("the wheel brings TBB").path()
}

#[test]
fn each_broken_library_is_passed_over_with_its_reason() {
    let folder = Folder::new("broken");
    let broken = broken(&folder);
    let said = open_in_child(&[("FLUID_OPENVINO_LIB", folder.path())], &[""]).remove(0);
    assert!(said.starts_with("BackendMissing "), "{said}");
    for (name, reason) in broken {
        let rest = said.split_once(name).unwrap_or_else(|| panic!("no {name} in {said}")).1;
        let own = rest.split("; ").next().unwrap_or(rest);
        assert!(own.contains(reason), "no {reason:?} in {own}");
    }
    // With a sound one among them, by a link, whose siblings lie where it leads to.
    symlink(opened_path(), folder.path().join("libopenvino_c.so.2641")).expect("a link");
    let said = open_in_child(&[("FLUID_OPENVINO_LIB", folder.path())], &[""]);
    assert_eq!(said, [opened_path()]);
}

#[test]
fn a_failed_attempt_does_not_stick_and_an_open_library_does() {
    let folder = Folder::new("sticky");
    let real = library();
    let asked = [text(folder.path()), text(&real), "", text(folder.path())];
    let said = open_in_child(&[], &asked);
    assert!(said[0].starts_with("BackendMissing "), "{}", said[0]);
    assert_eq!(said[1..3], [opened_path(), opened_path()]);
    assert!(said[3].starts_with("InvalidArgument "), "{}", said[3]);
    assert!(said[3].contains(&opened_path()) && said[3].contains(asked[3]), "{}", said[3]);
}
