//! Schemas and grammars with damage from a dice.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use serde_json::{json, Value};

use crate::dice::Dice;

/// A schema with parts put in the place of others, and values of the wrong kind or size.
pub fn mutate_schema(value: &Value, cases: &[Value], dice: &mut Dice, depth: usize) -> Value {
    let odd = [
        json!(null),
        json!(-1),
        json!(1e308),
        json!(1e-308),
        json!(u64::MAX),
        json!("#"),
        json!("#/$defs/a"),
        json!([]),
        json!({}),
        json!(true),
        json!("(a*)*$"),
        json!("\u{0}é"),
    ];
    if dice.one_in(12) {
        return odd[dice.below(odd.len())].clone();
    }
    if dice.one_in(8) && depth < 6 {
        return mutate_schema(&cases[dice.below(cases.len())]["schema"], cases, dice, depth + 1);
    }
    match value {
        Value::Object(map) => {
            let keywords = [
                "allOf",
                "anyOf",
                "oneOf",
                "items",
                "minItems",
                "maxLength",
                "pattern",
                "const",
                "$ref",
                "minimum",
                "multipleOf",
                "minProperties",
            ];
            let entries = map.iter().map(|(key, value)| {
                let key =
                    if dice.one_in(10) { dice.pick(&keywords).to_owned() } else { key.clone() };
                (key, mutate_schema(value, cases, dice, depth))
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| mutate_schema(item, cases, dice, depth)).collect())
        }
        other => other.clone(),
    }
}

/// A text with pieces of it taken out, doubled, swapped or replaced.
pub fn mutate_text(text: &str, dice: &mut Dice) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let odd: Vec<char> = "()[]{}|*+?\"\\/.^$<>:=~\n#,-019az_é🎉\u{0}%".chars().collect();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(characters.len());
        let length = dice.below(12).min(characters.len() - at);
        match dice.below(4) {
            0 => drop(characters.drain(at..at + length)),
            1 => {
                let copy = characters[at..at + length].to_vec();
                let to = dice.below(characters.len());
                characters.splice(to..to, copy);
            }
            _ => characters.insert(at, odd[dice.below(odd.len())]),
        }
        if characters.is_empty() {
            characters.push('a');
        }
    }
    characters.into_iter().collect()
}
