//! Places and libraries in folders made for the test.

use std::fs;

use super::*;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("fluid-find-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn touch(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, "").expect("a file");
        path
    }

    fn environment(&self, variables: &[(&'static str, &str)]) -> Environment {
        let variables = variables.iter();
        Environment {
            platform: Platform::Linux,
            variables: variables.map(|(name, path)| (*name, self.0.join(path).into())).collect(),
            own_folder: Some(self.0.join("own")),
            root: self.0.clone(),
        }
    }

    /// The library files found for `environment`, in order, relative to this folder.
    fn found(&self, environment: &Environment, explicit: Option<&str>) -> Vec<String> {
        let explicit = explicit.map(|path| self.0.join(path));
        let places = places(environment, explicit.as_deref());
        let files = places.iter().filter_map(|it| libraries(environment.platform, &it.path).ok());
        let relative = |path: PathBuf| {
            let path = path.strip_prefix(&self.0).expect("inside the folder");
            path.to_str().expect("UTF-8").to_owned()
        };
        files.flatten().map(relative).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn names_with_and_without_versions_are_the_library() {
    let version = |platform: Platform, name| platform.version_in(name);
    assert_eq!(version(Platform::Linux, "libopenvino_c.so"), Some(vec![]));
    assert_eq!(version(Platform::Linux, "libopenvino_c.so.2641"), Some(vec![2026, 4, 1]));
    assert_eq!(version(Platform::Linux, "libopenvino_c.so.2026.4.1"), Some(vec![2026, 4, 1]));
    assert_eq!(version(Platform::Macos, "libopenvino_c.2641.dylib"), Some(vec![2026, 4, 1]));
    assert_eq!(version(Platform::Macos, "libopenvino_c.dylib"), Some(vec![]));
    assert_eq!(version(Platform::Windows, "OpenVINO_c.dll"), Some(vec![]));
    for other in
        ["libopenvino.so", "libopenvino_c.so.x", "libopenvino_c.so2641", "libopenvino_c.so."]
    {
        assert_eq!(version(Platform::Linux, other), None, "{other}");
    }
    assert_eq!(version(Platform::Windows, "openvino_c.lib"), None);
}

#[test]
fn in_a_folder_the_plain_name_comes_first_then_the_newest() {
    let folder = Folder::new("order");
    for name in ["so.2540", "so.2026.4.1", "so", "so.2610", "so.2025.2.0"] {
        folder.touch(&format!("libopenvino_c.{name}"));
    }
    folder.touch("libopenvino.so.2641");
    let found = libraries(Platform::Linux, &folder.0).expect("a folder of libraries");
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let expected = ["so", "so.2026.4.1", "so.2610", "so.2540", "so.2025.2.0"];
    assert_eq!(names, expected.map(|name| format!("libopenvino_c.{name}")));
}

#[test]
fn places_come_in_the_order_of_the_documentation() {
    let folder = Folder::new("places");
    let wheel = "lib/python3.11/site-packages/openvino/libs/libopenvino_c.so.2641";
    let in_order = [
        "own/libopenvino_c.so".to_owned(),
        "own/openvino/libs/libopenvino_c.so.2641".to_owned(),
        format!("venv/{wheel}"),
        format!("conda/{wheel}"),
        "conda/lib/libopenvino_c.so.2026.4.1".to_owned(),
        "intel/runtime/lib/intel64/libopenvino_c.so".to_owned(),
        "opt/intel/openvino_2026.4/runtime/lib/intel64/libopenvino_c.so".to_owned(),
        "opt/intel/openvino_2025.3/runtime/lib/intel64/libopenvino_c.so".to_owned(),
        "usr/local/lib/libopenvino_c.so".to_owned(),
        format!("usr/lib/{}-linux-gnu/libopenvino_c.so.2641", env::consts::ARCH),
        "usr/lib/libopenvino_c.so".to_owned(),
        "search/libopenvino_c.so".to_owned(),
    ];
    for path in in_order.iter().rev() {
        folder.touch(path);
    }
    let environment = folder.environment(&[
        ("VIRTUAL_ENV", "venv"),
        ("CONDA_PREFIX", "conda"),
        ("INTEL_OPENVINO_DIR", "intel"),
        ("LD_LIBRARY_PATH", "search"),
    ]);
    assert_eq!(folder.found(&environment, None), in_order);
}

#[test]
fn of_several_pythons_the_newest_comes_first() {
    let folder = Folder::new("pythons");
    for minor in [9, 10, 11] {
        folder.touch(&format!(
            "venv/lib/python3.{minor}/site-packages/openvino/libs/libopenvino_c.so"
        ));
    }
    let found = folder.found(&folder.environment(&[("VIRTUAL_ENV", "venv")]), None);
    let minors: Vec<_> = found.iter().filter_map(|path| path.split('/').nth(2)).collect();
    assert_eq!(minors, ["python3.11", "python3.10", "python3.9"]);
}

#[test]
fn what_is_named_is_the_only_place() {
    let folder = Folder::new("named");
    folder.touch("own/libopenvino_c.so");
    folder.touch("other/libopenvino_c.so.2641");
    folder.touch("kept/under/another.name");
    let environment = folder.environment(&[(VARIABLE, "other")]);
    assert_eq!(folder.found(&environment, None), ["other/libopenvino_c.so.2641"]);
    // The option is above the variable, and a file may have any name.
    let option = Some("kept/under/another.name");
    assert_eq!(folder.found(&environment, option), ["kept/under/another.name"]);
    assert_eq!(folder.found(&environment, Some("nowhere")), [""; 0]);
}

#[test]
fn a_named_folder_may_be_what_the_library_came_in() {
    let folder = Folder::new("inside");
    let wheel = "venv/lib/python3.12/site-packages/openvino/libs/libopenvino_c.so.2641";
    let archive = "archive/runtime/lib/intel64/libopenvino_c.so";
    let libs = "wheel/libs/libopenvino_c.so.2641";
    for path in [wheel, archive, libs] {
        folder.touch(path);
        let (given, _) = path.split_once('/').expect("a folder");
        assert_eq!(folder.found(&folder.environment(&[]), Some(given)), [path]);
    }
}

#[test]
fn a_relative_search_path_is_not_looked_at() {
    let folder = Folder::new("relative");
    let mut environment = folder.environment(&[]);
    environment.variables.insert("LD_LIBRARY_PATH", "lib::.".into());
    let places = places(&environment, None);
    assert!(places.iter().all(|place| place.path.is_absolute()), "{places:?}");
}

#[test]
fn what_is_wrong_with_a_place_is_said() {
    let folder = Folder::new("wrong");
    let wrong = |path: &Path| libraries(Platform::Linux, path).expect_err("nothing there");
    assert_eq!(wrong(&folder.0.join("nowhere")), "not there");
    assert_eq!(wrong(&folder.0), "no libopenvino_c.so there");
}
