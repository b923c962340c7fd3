//! The description against the routes as the sources declare them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

type Route = (String, String);

const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

fn described() -> Value {
    serde_json::from_str(super::document()).expect("JSON")
}

/// Paths and methods of all `.route("...", ...)` under a folder.
fn declared(folder: &Path, routes: &mut BTreeSet<Route>) {
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            declared(&path, routes);
        } else {
            declared_in(&std::fs::read_to_string(&path).expect("a source"), routes);
        }
    }
}

fn declared_in(source: &str, routes: &mut BTreeSet<Route>) {
    for call in source.split(".route(").skip(1) {
        let call = call.trim_start().strip_prefix('"').expect("a path that is written out");
        let (path, rest) = call.split_once('"').expect("the end of the path");
        let end = rest.find(['\n', ';']).unwrap_or(rest.len());
        let handlers = if rest.starts_with(",\n") { rest } else { &rest[..end] };
        let handlers = handlers.split(".route(").next().unwrap_or_default();
        // `{*id}` takes slashes too, which OpenAPI has no sign for.
        let path = path.replace("{*", "{");
        for method in METHODS {
            if handlers.contains(&format!("{method}(")) {
                routes.insert((path.clone(), method.to_owned()));
            }
        }
    }
}

#[test]
fn each_route_is_described_and_nothing_else() {
    let mut routes = BTreeSet::new();
    declared(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes"), &mut routes);
    assert!(routes.contains(&("/v1/chat/completions".into(), "post".into())), "{routes:?}");
    let document = described();
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<Route> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(|method| (path.clone(), method.clone()))
        })
        .collect();
    let missing: Vec<_> = routes.difference(&described).collect();
    let surplus: Vec<_> = described.difference(&routes).collect();
    assert!(missing.is_empty(), "src/openapi lacks {missing:?}");
    assert!(surplus.is_empty(), "src/openapi describes what is not there: {surplus:?}");
}

#[test]
fn operations_have_names_of_their_own() {
    let document = described();
    let items = document["paths"].as_object().expect("paths").values();
    let operations = items.flat_map(|item| item.as_object().expect("methods").values());
    let mut names = BTreeSet::new();
    for operation in operations {
        let name = operation["operationId"].as_str().expect("a name");
        assert!(names.insert(name), "{name} twice");
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{name}");
    }
}

#[test]
fn references_lead_somewhere() {
    fn visit(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                    let place = reference.strip_prefix('#').expect("a reference inside");
                    assert!(document.pointer(place).is_some(), "{reference}");
                }
                object.values().for_each(|value| visit(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| visit(value, document)),
            _ => {}
        }
    }
    let document = described();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    visit(&document, &document);
}
