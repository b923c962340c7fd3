//! Work of real models where any will do: always the same, so that answers can be compared.

use fluid::ffi::FLUID_OK;
use serde_json::json;

use super::speech::{jfk, Sound};
use super::Model;

pub fn say(model: &Model) -> String {
    let request = json!({"prompt": "The sea is", "max_tokens": 24, "temperature": 0});
    let answer = model.generate(&request);
    assert_eq!(answer.status, FLUID_OK, "{}", answer.error);
    answer.text()
}

pub fn hear(model: &Model) -> String {
    model.hear(Sound::Samples(jfk()), &json!({"language": "en", "temperature": 0})).words()
}
