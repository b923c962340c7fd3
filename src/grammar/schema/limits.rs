//! What no single keyword shows: recursion without end, and alternatives that multiply.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::wrong;
use crate::error::Result;

/// Schemas that compiling may come to when alternatives are combined (`allOf` of `anyOf`).
const MOST_COMBINED: u64 = 200_000;

/// Schemas within each other, references followed: weighing them recurses, on the caller's stack.
const DEEPEST: usize = 200;

/// Refuses a prepared schema that has no finite instance, or that would not compile in time.
pub(super) fn check(schema: &Map<String, Value>, path: &str) -> Result<()> {
    let definitions = Definitions::new(schema);
    definitions.check_loops(path)?;
    definitions.check_ends(schema, path)?;
    let known = vec![None; definitions.schemas.len()];
    let mut scale = Scale { schemas: &definitions.schemas, known, path, depth: 0 };
    scale.weigh(schema)?;
    (0..definitions.schemas.len()).try_for_each(|number| scale.definition(number).map(drop))
}

/// What a schema's references lead to, by number.
struct Definitions<'a> {
    schemas: Vec<&'a Value>,
}

impl<'a> Definitions<'a> {
    fn new(schema: &'a Map<String, Value>) -> Self {
        let definitions = schema.get("$defs").and_then(Value::as_object);
        Self { schemas: definitions.map(|map| map.values().collect()).unwrap_or_default() }
    }

    fn number(map: &Map<String, Value>) -> Option<usize> {
        let reference = map.get("$ref")?.as_str()?;
        reference.strip_prefix("#/$defs/d")?.parse().ok()
    }

    /// Refuses references that lead back to themselves without a step into an array or an object.
    fn check_loops(&self, path: &str) -> Result<()> {
        // 0 is new, 1 is on the way, 2 is done.
        let mut state = vec![0_u8; self.schemas.len()];
        for start in 0..self.schemas.len() {
            let mut stack = vec![(start, false)];
            while let Some((number, is_left)) = stack.pop() {
                if is_left {
                    state[number] = 2;
                    continue;
                }
                match state[number] {
                    0 => state[number] = 1,
                    1 => return Err(wrong(path, "a $ref leads back to itself; what it names must come within properties or items")),
                    _ => continue,
                }
                stack.push((number, true));
                let mut next = Vec::new();
                in_place(self.schemas[number], &mut next);
                stack.extend(next.into_iter().map(|number| (number, false)));
            }
        }
        Ok(())
    }

    /// Refuses a schema each instance of which would have to hold another one.
    fn check_ends(&self, schema: &Map<String, Value>, path: &str) -> Result<()> {
        let mut finite = vec![false; self.schemas.len()];
        loop {
            let before = finite.clone();
            // References lead to later definitions more often than to earlier ones.
            for (number, schema) in self.schemas.iter().enumerate().rev() {
                finite[number] = ends(schema, &finite);
            }
            if finite == before {
                break;
            }
        }
        match object_ends(schema, &finite) {
            true => Ok(()),
            false => Err(wrong(path, "no finite JSON is valid: what it requires is impossible, or requires itself again; leave something optional")),
        }
    }
}

/// Bounds what combining alternatives costs.
struct Scale<'a> {
    schemas: &'a [&'a Value],
    /// What is known of the definitions; the one that is being weighed counts as one schema.
    known: Vec<Option<Weight>>,
    path: &'a str,
    /// Schemas around the one that is being weighed, references followed.
    depth: usize,
}

impl Scale<'_> {
    /// How much there is of `map`, and how often combining may copy it.
    fn weigh(&mut self, map: &Map<String, Value>) -> Result<Weight> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let message = format!("more than {DEEPEST} of its schemas and references stand within each other; use fewer");
            return Err(wrong(self.path, &message));
        }
        let weight = self.weigh_parts(map);
        self.depth -= 1;
        weight
    }

    fn weigh_parts(&mut self, map: &Map<String, Value>) -> Result<Weight> {
        let mut own = Weight::ONE;
        let mut parts = Vec::new();
        for (name, value) in map {
            match (name.as_str(), value) {
                ("anyOf" | "oneOf", Value::Array(options)) => {
                    let mut sum = Weight { size: 1, ways: 0, inner: 1 };
                    for option in options {
                        sum.add_way(self.weigh_any(option)?);
                    }
                    parts.push(sum);
                }
                ("allOf", Value::Array(options)) => {
                    for option in options {
                        parts.push(self.weigh_any(option)?);
                    }
                }
                ("enum", Value::Array(values)) => {
                    let count = values.len() as u64;
                    parts.push(Weight { size: count, ways: count, inner: 1 });
                }
                ("properties" | "patternProperties", Value::Object(schemas)) => {
                    for schema in schemas.values() {
                        own.hold(self.weigh_held(schema)?);
                    }
                }
                ("prefixItems", Value::Array(schemas)) => {
                    for schema in schemas {
                        own.hold(self.weigh_held(schema)?);
                    }
                }
                ("items" | "additionalProperties", schema) => own.hold(self.weigh_held(schema)?),
                _ => {}
            }
        }
        if let Some(number) = Definitions::number(map) {
            parts.push(self.definition(number)?);
        }
        let is_combined = parts.len() > 1 || (parts.len() == 1 && map.len() > 1);
        let whole = parts.iter().fold(own, |whole, part| whole.with(part));
        if is_combined && whole.total() > MOST_COMBINED {
            let message = "its alternatives (anyOf, oneOf, enum) multiply to too many where they are combined by allOf, $ref or side by side; combine fewer";
            return Err(wrong(self.path, message));
        }
        Ok(whole)
    }

    fn definition(&mut self, number: usize) -> Result<Weight> {
        if let Some(weight) = self.known[number] {
            return Ok(weight);
        }
        self.known[number] = Some(Weight::ONE);
        let weight = self.weigh_any(self.schemas[number])?;
        self.known[number] = Some(weight);
        Ok(weight)
    }

    fn weigh_any(&mut self, schema: &Value) -> Result<Weight> {
        match schema {
            Value::Object(map) => self.weigh(map),
            _ => Ok(Weight::ONE),
        }
    }

    /// A schema for a part of an instance: where it is a reference, it is not copied.
    fn weigh_held(&mut self, schema: &Value) -> Result<Weight> {
        let is_reference =
            schema.as_object().is_some_and(|map| map.len() == 1 && map.contains_key("$ref"));
        match is_reference {
            true => Ok(Weight::ONE),
            false => self.weigh_any(schema),
        }
    }
}

/// A bound on what combining a schema with others costs.
#[derive(Clone, Copy)]
struct Weight {
    /// Schemas in it.
    size: u64,
    /// Alternatives it has.
    ways: u64,
    /// Alternatives that anything within it has, at most.
    inner: u64,
}

impl Weight {
    const ONE: Self = Self { size: 1, ways: 1, inner: 1 };

    fn total(&self) -> u64 {
        self.size.saturating_mul(self.ways).saturating_mul(self.inner)
    }

    fn add_way(&mut self, way: Self) {
        self.size = self.size.saturating_add(way.size);
        self.ways = self.ways.saturating_add(way.ways);
        self.inner = self.inner.max(way.inner);
    }

    fn hold(&mut self, part: Self) {
        self.size = self.size.saturating_add(part.size);
        self.inner = self.inner.max(part.ways.saturating_mul(part.inner));
    }

    fn with(self, other: &Self) -> Self {
        Self {
            size: self.size.saturating_add(other.size),
            ways: self.ways.saturating_mul(other.ways),
            inner: self.inner.saturating_mul(other.inner),
        }
    }
}

/// The definitions that `schema` leads to without a step into an array or an object.
fn in_place(schema: &Value, found: &mut Vec<usize>) {
    let Value::Object(map) = schema else { return };
    found.extend(Definitions::number(map));
    for name in ["allOf", "anyOf", "oneOf"] {
        let options = map.get(name).and_then(Value::as_array);
        options.into_iter().flatten().for_each(|option| in_place(option, found));
    }
}

/// Whether something finite is valid, as far as `finite` says so of the definitions.
fn ends(schema: &Value, finite: &[bool]) -> bool {
    match schema {
        Value::Object(map) => object_ends(map, finite),
        other => other != &Value::Bool(false),
    }
}

fn object_ends(map: &Map<String, Value>, finite: &[bool]) -> bool {
    let list = |name: &str| map.get(name).and_then(Value::as_array);
    let any = |name: &str| list(name).is_none_or(|all| all.iter().any(|one| ends(one, finite)));
    let is_led = Definitions::number(map).is_none_or(|number| finite[number]);
    let all = list("allOf").is_none_or(|all| all.iter().all(|one| ends(one, finite)));
    is_led && all && any("anyOf") && any("oneOf") && own_ends(map, finite)
}

/// Whether one of the types it may have is finite.
fn own_ends(map: &Map<String, Value>, finite: &[bool]) -> bool {
    let may_be = |name: &str| match map.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        _ => true,
    };
    let simple = ["null", "boolean", "integer", "number", "string"];
    // Values that are listed are finite, whatever else is wrong with them.
    map.contains_key("enum")
        || map.contains_key("const")
        || simple.into_iter().any(may_be)
        || (may_be("array") && array_ends(map, finite))
        || (may_be("object") && members_end(map, finite))
}

fn array_ends(map: &Map<String, Value>, finite: &[bool]) -> bool {
    let least = map.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
    let first = map.get("prefixItems").and_then(Value::as_array);
    let first = first.map(Vec::as_slice).unwrap_or_default();
    let others = map.get("items").is_none_or(|schema| ends(schema, finite));
    first.iter().take(least).all(|schema| ends(schema, finite)) && (others || least <= first.len())
}

fn members_end(map: &Map<String, Value>, finite: &[bool]) -> bool {
    let required = map.get("required").and_then(Value::as_array);
    let known = map.get("properties").and_then(Value::as_object);
    // Which pattern a name fits is not looked at: with patterns, a missing one may be one of them.
    let others = match map.get("additionalProperties") {
        Some(schema) if !map.contains_key("patternProperties") => ends(schema, finite),
        _ => true,
    };
    required.into_iter().flatten().all(|name| {
        let schema = name.as_str().and_then(|name| known?.get(name));
        schema.map_or(others, |schema| ends(schema, finite))
    })
}
