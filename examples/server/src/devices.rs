//! The devices that models can run on, asked for once: drivers may be slow.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use serde_json::Value;
use tokio::sync::Mutex;

use crate::fluid::Engine;
use crate::log;

/// What was found, when it was.
#[derive(Default)]
pub(crate) struct Devices {
    found: OnceLock<Vec<String>>,
    asking: Mutex<()>,
}

impl Devices {
    /// Asks both backends.
    pub(crate) async fn ask(&self, engine: &Engine) {
        let _asking = self.asking.lock().await;
        match engine.ask(Engine::devices).await {
            Ok(found) => drop(self.found.set(ids(&found))),
            Err(failure) => log::warning!("the devices are not known: {failure}"),
        }
    }

    /// Waits until nobody asks: a process that ends takes drivers from under the feet of who does.
    pub(crate) async fn settled(&self) {
        drop(self.asking.lock().await);
    }

    /// Their ids, such as "CPU" and "GPU.0"; empty until they are known.
    pub(crate) fn ids(&self) -> &[String] {
        self.found.get().map_or(&[], Vec::as_slice)
    }
}

fn ids(found: &Value) -> Vec<String> {
    let devices = found["devices"].as_array().map_or(&[][..], Vec::as_slice);
    let mut ids: Vec<String> =
        devices.iter().filter_map(|device| device["id"].as_str()).map(str::to_owned).collect();
    ids.sort_unstable();
    // Both backends have the CPU.
    ids.dedup();
    ids
}
