//! Which devices there are, and which to try for the one that was asked for.
#![forbid(unsafe_code)]

use super::native::Core;
use crate::error::{Error, ErrorKind, Result};

/// A device that OpenVINO can use now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// OpenVINO's name for it, such as `CPU`, `GPU`, `GPU.1` or `NPU`.
    pub id: String,
    /// What it is, such as a processor's name; its id where it does not tell.
    pub full_name: String,
}

/// The device a model runs on, and why that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What was asked for.
    pub asked: String,
    /// The id of the device in use.
    pub used: String,
    /// Its full name.
    pub full_name: String,
    /// Why it is not what was asked for; `None` where it is, and for `AUTO` where nothing failed.
    pub why: Option<String>,
}

/// A device to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: Device,
    /// Why it is not what was asked for.
    pub why: Option<String>,
}

/// The devices there are. One whose name cannot be read is listed by its id.
pub fn devices(core: &Core) -> Result<Vec<Device>> {
    let describe = |id: String| {
        let full_name = core.property(&id, "FULL_DEVICE_NAME").unwrap_or_else(|_| id.clone());
        Device { full_name: full_name.trim().to_owned(), id }
    };
    Ok(core.available_devices()?.into_iter().map(describe).collect())
}

/// The devices to try for `asked`, in order.
///
/// `AUTO`: GPUs, then the CPU; an NPU is for who asks for it, since it takes models of fixed
/// shapes only. Another device: that one, then the CPU, with the reason. `GPU` is the first of several GPUs.
/// `InvalidRequest` for a name that is none of these; `Unsupported` where no device is left.
pub fn choose(asked: &str, available: &[Device]) -> Result<Vec<Candidate>> {
    let wanted = asked.to_ascii_uppercase();
    let kind = wanted.split_once('.').map_or(wanted.as_str(), |(kind, _)| kind);
    if !is_name(&wanted) {
        let message = format!("\"{asked}\" is no device; AUTO, CPU, GPU, GPU.0 and NPU are");
        return Err(Error::invalid_request("device", message));
    }
    let mut order: Vec<&Device> = match wanted.as_str() {
        "AUTO" => available.iter().filter(|it| it.id.starts_with("GPU")).collect(),
        _ => {
            available.iter().filter(|it| it.id == wanted || is_first_of(&it.id, &wanted)).collect()
        }
    };
    let fallback = match (wanted.as_str(), order.is_empty()) {
        ("AUTO", _) | (_, false) => None,
        _ => Some(format!("there is no {wanted} here, only {}", names(available))),
    };
    if kind != "CPU" {
        order.extend(available.iter().find(|it| it.id == "CPU"));
    }
    if order.is_empty() {
        let message = format!("no device for {wanted}; there is {}", names(available));
        return Err(Error::unsupported("device", message));
    }
    let candidate = |device: &Device| Candidate { device: device.clone(), why: fallback.clone() };
    Ok(order.into_iter().map(candidate).collect())
}

fn is_name(wanted: &str) -> bool {
    let (kind, number) = wanted.split_once('.').unwrap_or((wanted, "0"));
    let numbered = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    match kind {
        "AUTO" | "CPU" => !wanted.contains('.'),
        "GPU" | "NPU" => numbered,
        _ => false,
    }
}

/// Of several of one kind OpenVINO lists `GPU.0`, `GPU.1`, of one alone `GPU`; the other name
/// of the first one means it too.
fn is_first_of(id: &str, wanted: &str) -> bool {
    let first = |name: &str| name.strip_suffix(".0").unwrap_or(name).to_owned();
    !id.is_empty() && first(id) == first(wanted)
}

fn names(available: &[Device]) -> String {
    let names: Vec<&str> = available.iter().map(|device| device.id.as_str()).collect();
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.join(", ")
}

/// Tries the devices for `asked` in order, and says which one worked and why not an earlier one.
/// The error is the last one's, with the others' reasons.
pub fn first_that_works<T>(
    asked: &str,
    available: &[Device],
    mut try_one: impl FnMut(&Device) -> Result<T>,
) -> Result<(T, Choice)> {
    let mut reasons: Vec<String> = Vec::new();
    let mut last = None;
    for Candidate { device, why } in choose(asked, available)? {
        match try_one(&device) {
            Ok(made) => {
                let why = why.into_iter().chain(reasons).collect::<Vec<_>>().join("; ");
                let choice = Choice {
                    asked: asked.to_owned(),
                    used: device.id,
                    full_name: device.full_name,
                    why: (!why.is_empty()).then_some(why),
                };
                return Ok((made, choice));
            }
            Err(error) => {
                reasons.push(format!("{} failed: {error}", device.id));
                last = Some(error);
            }
        }
    }
    let kind = last.as_ref().map_or(ErrorKind::Internal, Error::kind);
    Err(Error::new(kind, reasons.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(ids: &[&str]) -> Vec<Device> {
        let device = |id: &&str| Device { id: (*id).into(), full_name: format!("the {id}") };
        ids.iter().map(device).collect()
    }

    fn order(asked: &str, ids: &[&str]) -> Vec<String> {
        let candidates = choose(asked, &machine(ids)).expect("candidates");
        candidates.into_iter().map(|candidate| candidate.device.id).collect()
    }

    #[test]
    fn auto_takes_gpus_then_the_cpu_and_never_the_npu() {
        assert_eq!(order("AUTO", &["CPU", "GPU.0", "GPU.1", "NPU"]), ["GPU.0", "GPU.1", "CPU"]);
        assert_eq!(order("auto", &["CPU", "NPU"]), ["CPU"]);
    }

    #[test]
    fn a_device_that_is_there_needs_no_reason() {
        let candidates = choose("GPU", &machine(&["CPU", "GPU.0", "GPU.1"])).expect("candidates");
        assert_eq!(candidates[0].device.id, "GPU.0");
        assert_eq!(candidates[0].why, None);
        assert_eq!(order("GPU.0", &["CPU", "GPU"]), ["GPU", "CPU"]);
        assert_eq!(order("CPU", &["CPU", "GPU"]), ["CPU"]);
    }

    #[test]
    fn a_device_that_is_not_there_is_the_cpu_and_the_reason() {
        let candidates = choose("NPU", &machine(&["CPU"])).expect("candidates");
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates[0].why.as_deref(), Some("there is no NPU here, only CPU"));
        assert!(choose("NPU", &machine(&["GPU"])).is_err());
    }

    #[test]
    fn a_name_that_is_no_device_is_named() {
        for name in ["", "TPU", "CPU.1", "GPU.", "GPU.x", "HETERO:CPU,GPU"] {
            let error = choose(name, &machine(&["CPU"])).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().contains(&format!("\"{name}\"")), "{error}");
        }
    }

    #[test]
    fn a_compile_that_fails_goes_on_with_the_reason() {
        let compile = |device: &Device| match device.id.as_str() {
            "CPU" => Ok(7),
            _ => Err(Error::new(ErrorKind::Backend, "no room")),
        };
        let (made, choice) =
            first_that_works("AUTO", &machine(&["CPU", "GPU"]), compile).expect("the CPU works");
        assert_eq!((made, choice.used.as_str()), (7, "CPU"));
        assert_eq!(choice.why.as_deref(), Some("GPU failed: no room"));
    }

    #[test]
    fn when_all_fail_the_error_has_every_reason() {
        let fail = |device: &Device| -> Result<()> {
            Err(Error::new(ErrorKind::InvalidModel, format!("{} says no", device.id)))
        };
        let error = first_that_works("GPU", &machine(&["CPU", "GPU"]), fail).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidModel);
        assert_eq!(error.message(), "GPU failed: GPU says no; CPU failed: CPU says no");
    }
}
