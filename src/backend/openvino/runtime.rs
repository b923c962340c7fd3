//! Finding OpenVINO's library, trying it, and opening it once for the process.

use std::ffi::{c_char, CStr};
use std::path::{Path, PathBuf};
use std::ptr::null;

use libloading::Library;
use once_cell::sync::OnceCell;
use openvino_sys::{self as sys, ov_status_e};

use super::find::{self, Environment, Place, Platform};
use crate::at_exit;
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::machine::system;

/// The oldest release with the element types of this build: 2025.1 renumbered them.
const OLDEST: (u32, u32) = (2025, 1);

/// Every function that this backend calls; a missing one would panic at its first call.
const FUNCTIONS: &[&str] = &[
    "ov_available_devices_free",
    "ov_compiled_model_create_infer_request",
    "ov_compiled_model_free",
    "ov_compiled_model_get_property",
    "ov_compiled_model_input_by_index",
    "ov_compiled_model_inputs_size",
    "ov_compiled_model_output_by_index",
    "ov_compiled_model_outputs_size",
    "ov_core_compile_model",
    "ov_core_create",
    "ov_core_free",
    "ov_core_get_available_devices",
    "ov_core_get_property",
    if cfg!(windows) { "ov_core_read_model_unicode" } else { "ov_core_read_model" },
    "ov_free",
    "ov_get_last_err_msg",
    "ov_get_openvino_version",
    "ov_infer_request_cancel",
    "ov_infer_request_free",
    "ov_infer_request_get_tensor",
    "ov_infer_request_set_tensor",
    "ov_infer_request_start_async",
    "ov_infer_request_wait",
    "ov_infer_request_wait_for",
    "ov_model_const_input_by_index",
    "ov_model_const_output_by_index",
    "ov_model_free",
    "ov_model_inputs_size",
    "ov_model_outputs_size",
    "ov_model_reshape",
    "ov_output_const_port_free",
    "ov_partial_shape_free",
    "ov_port_get_any_name",
    "ov_port_get_element_type",
    "ov_port_get_partial_shape",
    "ov_shape_free",
    "ov_tensor_create",
    "ov_tensor_data",
    "ov_tensor_free",
    "ov_tensor_set_shape",
    "ov_tensor_get_byte_size",
    "ov_tensor_get_element_type",
    "ov_tensor_get_shape",
    "ov_tensor_get_size",
    "ov_version_free",
];

type CompileModel = unsafe extern "C" fn(
    *const sys::ov_core_t,
    *const sys::ov_model_t,
    *const c_char,
    usize,
    *mut *mut sys::ov_compiled_model_t,
    ...
) -> ov_status_e;

/// The library that this process has open.
pub struct Runtime {
    version: String,
    path: PathBuf,
    passed_over: Vec<Looked>,
    // openvino-sys leaves out that this one takes variable arguments, which some systems pass
    // in another way.
    compile_model: CompileModel,
    // What `compile_model` points into; never closed.
    _library: Library,
}

/// A place without a library that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Who names the place, such as `FLUID_OPENVINO_LIB`.
    pub origin: &'static str,
    /// A file or folder.
    pub path: PathBuf,
    /// What is wrong there, in a few words.
    pub why: String,
}

impl std::fmt::Display for Looked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.path.display(), self.why)
    }
}

static OPEN: OnceCell<Runtime> = OnceCell::new();

/// OpenVINO's library, opened at the first call that finds it. `explicit` is the library, or a folder that holds it.
///
/// `BackendMissing` lists every place looked at and what was wrong there; after that is mended
/// the next call may succeed. `InvalidArgument`: `explicit` is another library than the one open.
pub fn open(explicit: Option<&str>) -> Result<&'static Runtime> {
    let runtime = look(explicit).map_err(|looked| missing(&looked))?;
    runtime.check_is(explicit)?;
    Ok(runtime)
}

/// The library that is open; otherwise it is looked for, as by [`open`]. An error lists the places.
pub fn look(explicit: Option<&str>) -> std::result::Result<&'static Runtime, Vec<Looked>> {
    OPEN.get_or_try_init(|| find_and_open(explicit.map(Path::new)))
}

/// The library, where this process has opened it.
pub fn opened() -> Option<&'static Runtime> {
    OPEN.get()
}

impl Runtime {
    /// Its version and build, such as `2026.4.1-22204-1ef8f3c1c0a-releases/2026/4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The places looked at before it was found.
    pub fn passed_over(&self) -> &[Looked] {
        &self.passed_over
    }

    pub(super) fn compile_model(&self) -> CompileModel {
        self.compile_model
    }

    /// `InvalidArgument` where `explicit` names another library.
    pub fn check_is(&self, explicit: Option<&str>) -> Result<()> {
        match explicit {
            Some(asked) if !self.is_at(Path::new(asked)) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "{asked} is asked for, but this process has OpenVINO open from {}; one process uses one",
                    self.path.display()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Whether `asked` leads here.
    fn is_at(&self, asked: &Path) -> bool {
        let environment = Environment::of_process(None);
        let places = find::places(&environment, Some(asked));
        let libraries =
            places.iter().filter_map(|it| find::libraries(Platform::HERE, &it.path).ok());
        libraries.flatten().any(|library| absolute(&library) == self.path)
    }
}

fn find_and_open(explicit: Option<&Path>) -> std::result::Result<Runtime, Vec<Looked>> {
    let own_folder = system::own_file().and_then(|file| Some(file.parent()?.to_owned()));
    let mut passed_over = Vec::new();
    for Place { origin, path } in find::places(&Environment::of_process(own_folder), explicit) {
        let found = find::libraries(Platform::HERE, &path);
        let libraries = found.unwrap_or_else(|why| {
            passed_over.push(Looked { origin, path, why });
            Vec::new()
        });
        for path in libraries {
            match Runtime::try_open(&absolute(&path)) {
                Ok(runtime) => return Ok(Runtime { passed_over, ..runtime }),
                Err(why) => passed_over.push(Looked { origin, path, why }),
            }
        }
    }
    Err(passed_over)
}

fn missing(looked: &[Looked]) -> Error {
    let looked: Vec<String> = looked.iter().map(Looked::to_string).collect();
    let message = format!(
        "OpenVINO's library is needed and was not found ({}); install it (pip install openvino), or set {} to its file or folder",
        looked.join("; "),
        find::VARIABLE
    );
    Error::new(ErrorKind::BackendMissing, message)
}

impl Runtime {
    /// Opens `path` for good, after a trial has shown that everything is there. An error says
    /// in a few words what is wrong with it.
    fn try_open(path: &Path) -> std::result::Result<Self, String> {
        let library = dlopen(path)?;
        let lacks = FUNCTIONS.iter().find(|name| {
            // SAFETY: the symbol is looked up, and not used.
            unsafe { library.get::<*const ()>(name.as_bytes()) }.is_err()
        });
        if let Some(name) = lacks {
            return Err(format!("it lacks the function {name}"));
        }
        let version = version(&library)?;
        check_version(&version)?;
        // SAFETY: OpenVINO's own header declares it so since 2022.
        let compile_model = unsafe { library.get::<CompileModel>(b"ov_core_compile_model") };
        let compile_model = *compile_model.map_err(|error| error.to_string())?;
        sys::library::load_from(path)?;
        take_log(&library);
        at_exit::set_anew();
        log!(Info, "OpenVINO {version} from {}", path.display());
        Ok(Self {
            version,
            path: path.to_owned(),
            passed_over: Vec::new(),
            compile_model,
            _library: library,
        })
    }
}

#[cfg(unix)]
fn dlopen(path: &Path) -> std::result::Result<Library, String> {
    // SAFETY: runs the library's initialisers; whoever named or installed it vouches for it.
    unsafe { Library::new(path) }.map_err(|error| error.to_string())
}

#[cfg(windows)]
fn dlopen(path: &Path) -> std::result::Result<Library, String> {
    use libloading::os::windows::{Library, LOAD_WITH_ALTERED_SEARCH_PATH};
    // The libraries it needs lie beside it, not beside the program.
    // SAFETY: runs the library's initialisers; whoever named or installed it vouches for it.
    let opened = unsafe { Library::load_with_flags(path, LOAD_WITH_ALTERED_SEARCH_PATH) };
    opened.map(Into::into).map_err(|error| error.to_string())
}

fn version(library: &Library) -> std::result::Result<String, String> {
    type GetVersion = unsafe extern "C" fn(*mut sys::ov_version_t) -> ov_status_e;
    type FreeVersion = unsafe extern "C" fn(*mut sys::ov_version_t);
    // SAFETY: OpenVINO's own header declares it so.
    let get = unsafe { library.get::<GetVersion>(b"ov_get_openvino_version") };
    // SAFETY: as above.
    let free = unsafe { library.get::<FreeVersion>(b"ov_version_free") };
    let (get, free) = get.and_then(|get| Ok((get, free?))).map_err(|error| error.to_string())?;
    let mut version = sys::ov_version_t { buildNumber: null(), description: null() };
    // SAFETY: a place for the result.
    let status = unsafe { get(&mut version) };
    if status != ov_status_e::OK || version.buildNumber.is_null() {
        return Err(format!("it does not tell its version ({status:?})"));
    }
    // SAFETY: the call made a string, which is freed only below.
    let text = unsafe { CStr::from_ptr(version.buildNumber) }.to_string_lossy().into_owned();
    // SAFETY: made by the call above, freed once.
    unsafe { free(&mut version) };
    Ok(text)
}

fn check_version(version: &str) -> std::result::Result<(), String> {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>());
    match (parts.next(), parts.next()) {
        (Some(Ok(year)), Some(Ok(minor))) if (year, minor) >= OLDEST => Ok(()),
        (Some(Ok(_)), Some(Ok(_))) => Err(format!(
            "it is OpenVINO {version}; {}.{} is the oldest that works",
            OLDEST.0, OLDEST.1
        )),
        _ => Err(format!("its version {version:?} is none of OpenVINO's")),
    }
}

/// Has what OpenVINO would print sent to our log, where the release has that call.
fn take_log(library: &Library) {
    type SetLog = unsafe extern "C" fn(Option<unsafe extern "C" fn(*const c_char)>);
    // SAFETY: OpenVINO's own header declares it so.
    if let Ok(set) = unsafe { library.get::<SetLog>(b"ov_util_set_log_callback") } {
        // SAFETY: the callback keeps to its contract, and stays for as long as the process does.
        unsafe { set(Some(on_message)) };
    }
}

/// OpenVINO's log callback, on any thread. A panic must not unwind into it.
unsafe extern "C" fn on_message(message: *const c_char) {
    if message.is_null() {
        return;
    }
    // SAFETY: OpenVINO passes a C string that lives through the call.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    let write = std::panic::AssertUnwindSafe(|| log!(Debug, "OpenVINO: {}", text.trim_end()));
    std::panic::catch_unwind(write).ok();
}

/// The file itself, so that the libraries beside it are found through links too.
fn absolute(path: &Path) -> PathBuf {
    let found = match cfg!(windows) {
        // The other one makes paths that LoadLibrary does not take.
        true => std::path::absolute(path),
        false => path.canonicalize(),
    };
    found.unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_that_is_called_is_on_the_list() {
        let sources = [
            include_str!("native.rs"),
            include_str!("port.rs"),
            include_str!("request.rs"),
            include_str!("status.rs"),
            include_str!("tensor.rs"),
        ];
        let names = sources.iter().flat_map(|source| source.split("sys::ov_").skip(1));
        let names = names.map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            format!("ov_{}", &rest[..end.expect("a name ends")])
        });
        let is_type = |name: &String| name.ends_with("_t") || name.ends_with("_e");
        let other_system = match cfg!(windows) {
            true => "ov_core_read_model",
            false => "ov_core_read_model_unicode",
        };
        let called: Vec<String> =
            names.filter(|name| !is_type(name) && name != other_system).collect();
        assert!(called.len() > 30, "{called:?}");
        let missing: Vec<_> =
            called.iter().filter(|it| !FUNCTIONS.contains(&it.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn versions_before_2025_1_are_refused_by_name() {
        assert!(check_version("2026.4.1-22204-1ef8f3c").is_ok());
        assert!(check_version("2025.1.0-18503").is_ok());
        assert!(check_version("2025.0.0-17942").expect_err("refused").contains("2025.0.0"));
        assert!(check_version("custom_master").expect_err("refused").contains("custom_master"));
    }
}
