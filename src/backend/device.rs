//! What models run on: devices as plain data, which of them to try in which order, and what came of it.
//!
//! Both backends keep to one rule. `AUTO`: GPUs that have room for the model, first those with memory of
//! their own, of these first the one with most; then the CPU. An NPU is for who asks for it, since it
//! takes models of fixed shapes only and may compile for minutes. (OpenVINO's own AUTO has the same
//! order, but begins on the CPU while it compiles for a GPU: for that time the model is there twice, and
//! answers change with the device.) A device by its name: that one. Behind any of them stands the CPU.
#![forbid(unsafe_code)]

use std::cmp::Reverse;

use serde_json::{json, Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The processor.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// A processor for neural networks.
    Npu,
}

impl Kind {
    /// The word for it in lists, which names of devices begin with in capitals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Npu => "npu",
        }
    }
}

/// A device that a backend can use now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name that the load option `device` takes, such as `CPU`, `GPU`, `GPU.1` or `NPU`.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What its makers call it; its id where they do not tell.
    pub name: String,
    /// Of a GPU: whether it computes in the machine's own memory. `None` where that is not known.
    pub integrated: Option<bool>,
    /// Bytes of memory that it can use.
    pub memory: Option<u64>,
    /// Bytes of them that are free.
    pub memory_free: Option<u64>,
    /// What it computes in and else can do, in its backend's words.
    pub capabilities: Vec<String>,
}

/// What a backend has to choose from.
pub struct Offer<'a> {
    /// The backend, as messages call it.
    pub backend: &'a str,
    /// Its devices.
    pub devices: &'a [Device],
    /// What to do about a device that is not there.
    pub advice: &'a str,
    /// Bytes that the model takes, about; a GPU with less is passed over by `AUTO`.
    pub bytes: u64,
}

/// What a load asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// A device by its name, or `AUTO`.
    pub device: &'a str,
    /// Whether another one may take its place.
    pub fallback: bool,
}

impl<'a> Asked<'a> {
    /// What `options` ask for.
    pub fn of(options: &'a LoadOptions) -> Self {
        Self { device: &options.device, fallback: options.device_fallback }
    }
}

/// The device a model runs on, and why that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What was asked for.
    pub asked: String,
    /// The device in use.
    pub used: Device,
    /// Why it is not the first one of the rule; `None` where it is.
    pub why: Option<String>,
}

impl Choice {
    /// Why this device, in any case.
    pub fn reason(&self) -> &str {
        match (&self.why, self.asked.as_str()) {
            (Some(why), _) => why,
            (None, "AUTO") => "GPUs first, then the CPU",
            (None, _) => "asked for",
        }
    }

    /// What `fluid_model_info` says of it.
    pub fn describe(&self, details: &mut Map<String, Value>) {
        details.insert("device".into(), json!(self.used.id));
        details.insert("device_name".into(), json!(self.used.name));
        details.insert("device_asked".into(), json!(self.asked));
        details.insert("fallback".into(), json!(self.why));
    }
}

/// The device that would be tried first, without trying it.
pub fn first_choice(asked: Asked<'_>, offer: &Offer<'_>) -> Result<Choice> {
    first_that_works(asked, offer, &mut |_| {}, |_| Ok(())).map(|((), choice)| choice)
}

/// Tries devices of `offer` for `asked` in order, and says which one worked. Where it is not the first
/// one, `notice` is told why. A failure of another kind than a device's ends it at once, and so does the
/// first one where there is to be no fallback; of several the error has each one's reason.
pub fn first_that_works<T>(
    asked: Asked<'_>,
    offer: &Offer<'_>,
    notice: &mut dyn FnMut(String),
    mut try_one: impl FnMut(&Device) -> Result<T>,
) -> Result<(T, Choice)> {
    let (order, mut reasons) = order(asked, offer)?;
    let (mut last, single) = (None, order.len() == 1 && reasons.is_empty());
    for device in order {
        match try_one(device) {
            Ok(made) => {
                let why = (!reasons.is_empty()).then(|| reasons.join("; "));
                if let Some(why) = &why {
                    notice(format!("asked for {}, using {}: {why}", asked.device, device.id));
                }
                let choice = Choice { asked: asked.device.into(), used: device.clone(), why };
                return Ok((made, choice));
            }
            Err(error) if single || !is_of_the_device(&error) => return Err(error),
            Err(error) => {
                reasons.push(format!("{} failed: {error}", device.id));
                last = Some(error);
            }
        }
    }
    let kind = last.as_ref().map_or(ErrorKind::Internal, Error::kind);
    Err(Error::new(kind, reasons.join("; ")))
}

/// Whether another device may do better; a broken model is one everywhere.
fn is_of_the_device(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Backend | ErrorKind::OutOfMemory | ErrorKind::Unsupported)
}

/// The devices to try, and why the rule's first ones are not among them.
fn order<'a>(asked: Asked<'_>, offer: &Offer<'a>) -> Result<(Vec<&'a Device>, Vec<String>)> {
    let Asked { device: wanted, fallback } = asked;
    let mut reasons = Vec::new();
    let mut order: Vec<&Device> = match wanted {
        "AUTO" => {
            let gpus = gpus(offer.devices).into_iter();
            let (fitting, others): (Vec<_>, Vec<_>) = gpus.partition(|it| fits(it, offer));
            reasons.extend(others.into_iter().map(|device| too_small(device, offer)));
            fitting
        }
        _ => offer.devices.iter().filter(|device| is_meant(&device.id, wanted)).collect(),
    };
    if order.is_empty() && wanted != "AUTO" {
        let missing = missing(wanted, offer);
        if !fallback {
            return Err(Error::unsupported("device", missing));
        }
        reasons.push(missing);
    }
    let cpu = offer.devices.iter().find(|device| device.kind == Kind::Cpu);
    order.extend(cpu.filter(|_| wanted != "CPU"));
    if order.is_empty() {
        return Err(Error::unsupported("device", missing("CPU", offer)));
    }
    if !fallback {
        order.truncate(1);
    }
    Ok((order, reasons))
}

fn gpus(devices: &[Device]) -> Vec<&Device> {
    let mut gpus: Vec<&Device> = devices.iter().filter(|it| it.kind == Kind::Gpu).collect();
    // Stable: those that say nothing stay in their backend's order.
    gpus.sort_by_key(|it| (it.integrated == Some(true), Reverse(it.memory.unwrap_or(0))));
    gpus
}

fn fits(device: &Device, offer: &Offer<'_>) -> bool {
    device.memory.is_none_or(|bytes| bytes >= offer.bytes)
}

fn too_small(device: &Device, offer: &Offer<'_>) -> String {
    format!(
        "{} has {} MiB of memory, the model takes about {}",
        device.id,
        device.memory.unwrap_or(0) >> 20,
        offer.bytes >> 20
    )
}

/// Of several of one kind there are `GPU.0`, `GPU.1`, of one alone `GPU`; the other name of the first
/// one means it too.
fn is_meant(id: &str, wanted: &str) -> bool {
    let first = |name: &str| name.strip_suffix(".0").unwrap_or(name).to_owned();
    first(id) == first(wanted)
}

fn missing(wanted: &str, offer: &Offer<'_>) -> String {
    let names: Vec<&str> = offer.devices.iter().map(|device| device.id.as_str()).collect();
    let seen = if names.is_empty() { "no device".to_owned() } else { names.join(", ") };
    format!("there is no {wanted}: {} sees {seen}; {}", offer.backend, offer.advice)
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
