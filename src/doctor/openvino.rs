//! OpenVINO: where its library was looked for, what belongs to it, the devices it sees.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use super::system::line;
use super::{Check, Status, Subject};
use crate::backend::device::Kind;
use crate::backend::inventory::OpenVino;
use crate::engine::survey;
use crate::error::ErrorKind;
use crate::machine::system;

/// The variable that names the library.
const VARIABLE: &str = "FLUID_OPENVINO_LIB";

/// The places named at most: a search path may be long.
const MOST_PLACES: usize = 40;

const INSTALL: &str = "install OpenVINO 2025.1 or newer (pip install openvino), or set FLUID_OPENVINO_LIB to its file or folder";

pub(super) fn checks(subject: &Subject) -> Vec<Check> {
    const NAME: &str = "openvino";
    if !subject.ask_openvino {
        return vec![Check::new(NAME, Status::Info, "not looked at, as asked")];
    }
    match survey::openvino(subject.openvino_library.as_deref(), subject.patience) {
        Ok(None) => {
            vec![Check::new(NAME, Status::Info, "this build has no OpenVINO: no Whisper models")]
        }
        Ok(Some(seen)) => {
            let variable = std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty());
            let named = subject.openvino_library.is_some() || variable;
            let mut checks = vec![library(&seen, named)];
            if let Some((_, path)) = &seen.library {
                checks.push(parts(path));
                checks.push(devices(&seen));
            }
            checks
        }
        Err(why) => vec![Check::new(NAME, Status::Error, format!("OpenVINO {why}")).but(
            Status::Error,
            "a GPU's or NPU's driver may hang: update it, or take OpenVINO's plugin for it away",
        )],
    }
}

/// `named`: somebody said where it is.
fn library(seen: &OpenVino, named: bool) -> Check {
    let places = seen.passed_over.iter().take(MOST_PLACES);
    let mut check = match &seen.library {
        Some((version, path)) => {
            Check::new("openvino", Status::Ok, format!("{version}, {}", path.display()))
        }
        None => {
            let check = Check::new("openvino", Status::Info, "no library that can be used");
            match named {
                true => check.but(Status::Error, INSTALL),
                false => check.but(
                    Status::Warning,
                    format!("Whisper models need it, GGUF models do not: {INSTALL}"),
                ),
            }
        }
    };
    check = places.fold(check, |check, place| check.and(format!("looked at {place}")));
    match &seen.error {
        Some(error) if error.kind() == ErrorKind::InvalidArgument => check
            .and(error.message())
            .but(Status::Warning, "start the process anew to use another library"),
        _ => check,
    }
}

/// The files beside the library that this backend uses: plugins for devices, readers of formats.
fn parts(library: &Path) -> Check {
    let names = files_around(library);
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    let known = [
        ("_cpu_plugin", "CPU"),
        ("_gpu_plugin", "GPU"),
        ("_npu_plugin", "NPU"),
        ("_ir_frontend", "IR"),
        ("_onnx_frontend", "ONNX"),
    ];
    let there: Vec<&str> = known.iter().filter(|(part, _)| has(part)).map(|it| it.1).collect();
    let check = Check::new(
        "openvino_parts",
        Status::Ok,
        format!("plugins and readers: {}", there.join(", ")),
    );
    if there.is_empty() {
        // Some systems build them in, or keep them in a folder of their own.
        let found = "no plugins beside the library; its devices show whether it has any";
        return Check::new("openvino_parts", Status::Info, found);
    }
    let whole =
        "its folder is not whole: install OpenVINO again (pip install --force-reinstall openvino)";
    let lacks = |part: &str| !has(part);
    match (lacks("_cpu_plugin") || lacks("_ir_frontend"), lacks("_onnx_frontend")) {
        (true, _) => {
            check.and("the CPU plugin or the reader of IR is missing").but(Status::Error, whole)
        }
        (_, true) => check
            .and("without the reader of ONNX there is no voice activity detection")
            .but(Status::Warning, whole),
        _ => check,
    }
}

/// OpenVINO's files in the library's folder, and in the one below it that distributions put plugins in.
fn files_around(library: &Path) -> BTreeSet<String> {
    let Some(folder) = library.parent() else { return BTreeSet::new() };
    let entries = |folder: &Path| {
        let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
        listed.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let own = entries(folder);
    let is_ours = |path: &&std::path::PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("openvino-")) && path.is_dir()
    };
    let below: Vec<_> = own.iter().filter(is_ours).flat_map(|folder| entries(folder)).collect();
    let names = own.iter().chain(&below).filter_map(|path| path.file_name()?.to_str());
    names.filter(|name| name.contains("openvino_")).map(str::to_owned).collect()
}

fn devices(seen: &OpenVino) -> Check {
    let has = |kind| seen.devices.iter().any(|device| device.kind == kind);
    let found = match seen.devices.is_empty() {
        true => vec!["none".to_owned()],
        false => seen.devices.iter().map(line).collect(),
    };
    let mut check = Check { name: "openvino_devices", status: Status::Ok, found, advice: None };
    if let Some(error) = seen.error.iter().find(|it| it.kind() != ErrorKind::InvalidArgument) {
        check = check.and(error.message());
    }
    if !has(Kind::Cpu) {
        check = check.but(
            Status::Error,
            "OpenVINO cannot use the processor: its CPU plugin is missing or broken; install it again",
        );
    }
    if !has(Kind::Gpu) && system::has_intel_gpu() {
        check = check.and("Linux shows a GPU of Intel's that OpenVINO does not see").but(
            Status::Warning,
            "install Intel's compute driver (intel-opencl-icd), and add the user to the groups render and video",
        );
    }
    if !has(Kind::Npu) && system::has_intel_npu() {
        check = check.and("Linux shows an NPU of Intel's that OpenVINO does not see").but(
            Status::Warning,
            "install Intel's NPU driver (intel-level-zero-npu, intel-driver-compiler-npu), and add the user to the group render",
        );
    }
    check
}
