//! The list of what models can run on, as JSON.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{json, Map, Value};

use super::survey;
use crate::backend::device::{Device, Kind};
use crate::backend::inventory;
use crate::machine::{cpu, memory};

/// How long one backend may take to tell its devices.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `fluid_devices` gives. `openvino` is the library to use where none is open yet.
pub fn list(openvino: Option<&str>) -> Value {
    let mut list = List { devices: Vec::new(), notes: Vec::new() };
    list.add_llama();
    list.add_openvino(openvino);
    json!({"cpu": processor(), "devices": list.devices, "notes": list.notes})
}

struct List {
    devices: Vec<Value>,
    notes: Vec<String>,
}

impl List {
    fn add_llama(&mut self) {
        match survey::llama(PATIENCE) {
            Ok(None) => self.notes.push("this build has no llama.cpp".to_owned()),
            Ok(Some(Ok(devices))) => self.add("llama.cpp", &devices),
            Ok(Some(Err(error))) => self.notes.push(format!("llama.cpp: {error}")),
            Err(why) => self.notes.push(format!("llama.cpp {why}")),
        }
    }

    fn add_openvino(&mut self, explicit: Option<&str>) {
        match survey::openvino(explicit, PATIENCE) {
            Ok(None) => self.notes.push("this build has no OpenVINO".to_owned()),
            Ok(Some(seen)) => {
                self.add("openvino", &seen.devices);
                self.notes.extend(seen.error.map(|error| {
                    format!("OpenVINO: {error}; fluid_doctor tells more of its library and drivers")
                }));
            }
            Err(why) => self.notes.push(format!("OpenVINO {why}; its devices are not listed")),
        }
    }

    fn add(&mut self, backend: &str, devices: &[Device]) {
        self.devices.extend(devices.iter().map(|device| entry(backend, device)));
    }
}

fn entry(backend: &str, device: &Device) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    put("id", json!(device.id));
    put("backend", json!(backend));
    put("name", json!(device.name));
    put("type", json!(device.kind.name()));
    if device.kind == Kind::Gpu {
        put("integrated", json!(device.integrated));
    }
    put("memory_bytes", json!(device.memory));
    put("memory_free_bytes", json!(device.memory_free));
    put("capabilities", json!(device.capabilities));
    put("runs", json!(inventory::runs(backend, device.kind)));
    Value::Object(entry)
}

fn processor() -> Value {
    let instructions = cpu::instructions();
    let here: Vec<&str> =
        instructions.iter().filter(|(_, here)| *here).map(|(name, _)| *name).collect();
    let (physical, logical) = cpu::cores().unzip();
    let container = memory::container();
    let cpus = memory::container_cpus();
    let limits = (container.is_some() || cpus.is_some()).then(|| {
        json!({
            "memory_limit_bytes": container.map(|limit| limit.bytes),
            "memory_used_bytes": container.map(|limit| limit.used),
            "cpus": cpus,
        })
    });
    json!({
        "name": cpu::name(),
        "architecture": std::env::consts::ARCH,
        "instructions": here,
        "instructions_needed": inventory::needed_instructions(),
        "instructions_missing": inventory::missing_instructions(),
        "physical_cores": physical,
        "logical_cores": logical,
        "usable_cores": cpu::usable_cores(),
        "memory_bytes": memory::total(),
        "memory_available_bytes": memory::available(),
        "container": limits,
    })
}
