//! The functions a model may call: `tools`, `tool_choice`, `parallel_tool_calls`.
#![forbid(unsafe_code)]

use serde_json::{json, Map, Value};

use super::fields::{kind, Fields};
use crate::error::{Error, Result};

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// What it is called by: 1 to 64 letters, digits, `_` or `-`.
    pub name: String,
    /// A JSON schema of type object for its arguments.
    pub parameters: Value,
    /// The schema's path in the request, for errors.
    pub path: String,
    /// Whether keywords of the schema that cannot be held are errors.
    pub strict: bool,
}

/// A request's tools, where the model may call any.
#[derive(Debug, Clone, PartialEq)]
pub struct Tools {
    /// OpenAI's array of all of them, for the chat template.
    pub definitions: Value,
    /// Those that may be called, in the order of `definitions`; at least one.
    pub callable: Vec<Function>,
    /// The answer is a call, whatever the model would rather say.
    pub required: bool,
    /// It may be several calls.
    pub parallel: bool,
}

/// As many as OpenAI takes.
const MOST: usize = 128;

/// Reads the three fields. `None`: there are no tools, or none may be called.
pub(super) fn read(fields: &mut Fields<'_>) -> Result<Option<Tools>> {
    let definitions = fields.array("tools")?.unwrap_or_default();
    let choice = choice(fields)?;
    let parallel = fields.boolean("parallel_tool_calls")?.unwrap_or(true);
    if definitions.is_empty() {
        return match choice {
            None | Some(Choice::None) => Ok(None),
            Some(_) => Err(Error::invalid_request(
                "tool_choice",
                "there are no tools to choose from; give tools, or leave it out",
            )),
        };
    }
    let mut callable = functions(definitions)?;
    let choice = choice.unwrap_or(Choice::Auto);
    let (required, parallel) = match &choice {
        Choice::None => return Ok(None),
        Choice::Auto => (false, parallel),
        Choice::Required => (true, parallel),
        Choice::Named(_) => (true, false),
        Choice::Among { required, .. } => (*required, parallel),
    };
    keep_chosen(&mut callable, &choice)?;
    let definitions = definitions.iter().map(with_parameters).collect();
    Ok(Some(Tools { definitions: Value::Array(definitions), callable, required, parallel }))
}

/// Templates ask each tool for its parameters.
fn with_parameters(tool: &Value) -> Value {
    let mut tool = tool.clone();
    if let Some(function) = tool.get_mut("function").and_then(Value::as_object_mut) {
        if function.get("parameters").is_none_or(Value::is_null) {
            function.insert("parameters".into(), no_parameters());
        }
    }
    tool
}

fn no_parameters() -> Value {
    json!({"type": "object", "properties": {}})
}

fn functions(tools: &[Value]) -> Result<Vec<Function>> {
    if tools.len() > MOST {
        let message = format!("{} tools are more than {MOST}", tools.len());
        return Err(Error::invalid_request("tools", message));
    }
    let mut functions: Vec<Function> = Vec::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools[{index}]");
        let function = function(&path, tool)?;
        if let Some(first) = functions.iter().position(|other| other.name == function.name) {
            let message = format!("\"{}\" is the name of tools[{first}] already", function.name);
            return Err(Error::invalid_request(&format!("{path}.function.name"), message));
        }
        functions.push(function);
    }
    Ok(functions)
}

fn function(path: &str, tool: &Value) -> Result<Function> {
    let mut tool = Fields::new(path, object(path, tool)?);
    check_type(&mut tool, "function")?;
    let path = tool.path("function");
    let Some(map) = tool.object("function")? else {
        let message = "is missing; give an object with name, description and parameters";
        return Err(Error::invalid_request(&path, message));
    };
    let mut function = Fields::new(path, map);
    function.string("description")?;
    let strict = function.boolean("strict")?.unwrap_or(false);
    let name = name(&mut function)?;
    let path = function.path("parameters");
    let parameters = match function.object("parameters")? {
        None => no_parameters(),
        Some(schema) => check_schema(&path, schema)?,
    };
    Ok(Function { name, parameters, path, strict })
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| {
        Error::invalid_request(path, format!("expected an object, got {}", kind(value)))
    })
}

/// Checks that `fields` have the one `type` that there is here.
fn check_type(fields: &mut Fields<'_>, only: &str) -> Result<()> {
    let path = fields.path("type");
    match fields.string("type")? {
        Some(given) if given == only => Ok(()),
        Some("custom") => Err(Error::unsupported(
            &path,
            format!("\"custom\" tools are not supported; use \"{only}\""),
        )),
        Some(other) => {
            Err(Error::invalid_request(&path, format!("\"{other}\" is not known; use \"{only}\"")))
        }
        None => Err(Error::invalid_request(&path, format!("is missing; give \"{only}\""))),
    }
}

fn name(function: &mut Fields<'_>) -> Result<String> {
    let path = function.path("name");
    let name = function
        .string("name")?
        .ok_or_else(|| Error::invalid_request(&path, "is missing; a tool is called by its name"))?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_good) {
        let message =
            format!("\"{name}\" is no name of a function; use 1 to 64 letters, digits, _ or -");
        return Err(Error::invalid_request(&path, message));
    }
    Ok(name.to_owned())
}

/// The schema of a function's arguments, which are always an object. What its keywords mean is
/// checked where a grammar is made of it.
fn check_schema(path: &str, schema: &Map<String, Value>) -> Result<Value> {
    let mut fields = Fields::new(path, schema);
    fields.object("properties")?;
    fields.array("required")?;
    let type_path = fields.path("type");
    match fields.value("type") {
        None | Some(Value::String(_)) => {}
        Some(other) => {
            let message =
                format!("arguments are an object; expected \"object\", got {}", kind(other));
            return Err(Error::invalid_request(&type_path, message));
        }
    }
    match schema.get("type").and_then(Value::as_str) {
        None | Some("object") => {}
        Some(other) => {
            let message = format!("arguments are an object; expected \"object\", got \"{other}\"");
            return Err(Error::invalid_request(&type_path, message));
        }
    }
    let mut schema = schema.clone();
    schema.insert("type".into(), "object".into());
    Ok(Value::Object(schema))
}

/// What `tool_choice` says.
enum Choice {
    None,
    Auto,
    Required,
    Named(String),
    /// OpenAI's `allowed_tools`.
    Among {
        names: Vec<String>,
        required: bool,
    },
}

fn choice(fields: &mut Fields<'_>) -> Result<Option<Choice>> {
    const PATH: &str = "tool_choice";
    let known = "use \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": ...}}";
    match fields.value(PATH) {
        None => Ok(None),
        Some(Value::String(word)) => match word.as_str() {
            "none" => Ok(Some(Choice::None)),
            "auto" => Ok(Some(Choice::Auto)),
            "required" => Ok(Some(Choice::Required)),
            other => {
                Err(Error::invalid_request(PATH, format!("\"{other}\" is not known; {known}")))
            }
        },
        Some(Value::Object(map)) if map.get("type") == Some(&json!("allowed_tools")) => {
            Ok(Some(among(map)?))
        }
        Some(Value::Object(map)) => Ok(Some(Choice::Named(named(PATH, map)?))),
        Some(other) => Err(Error::invalid_request(PATH, format!("{known}, not {}", kind(other)))),
    }
}

/// The name in `{"type": "function", "function": {"name": ...}}` at `path`.
fn named(path: &str, map: &Map<String, Value>) -> Result<String> {
    let mut fields = Fields::new(path, map);
    check_type(&mut fields, "function")?;
    let path = fields.path("function");
    let Some(map) = fields.object("function")? else {
        return Err(Error::invalid_request(&path, "is missing; give an object with a name"));
    };
    let mut function = Fields::new(path, map);
    match function.string("name")? {
        Some(name) => Ok(name.to_owned()),
        None => Err(Error::invalid_request(&function.path("name"), "is missing")),
    }
}

fn among(map: &Map<String, Value>) -> Result<Choice> {
    let mut outer = Fields::new("tool_choice", map);
    let path = outer.path("allowed_tools");
    let Some(map) = outer.object("allowed_tools")? else {
        return Err(Error::invalid_request(
            &path,
            "is missing; give an object with mode and tools",
        ));
    };
    let mut fields = Fields::new(path, map);
    let mode = fields.path("mode");
    let required = match fields.string("mode")? {
        None | Some("auto") => false,
        Some("required") => true,
        Some(other) => {
            let message = format!("\"{other}\" is not known; use \"auto\" or \"required\"");
            return Err(Error::invalid_request(&mode, message));
        }
    };
    let path = fields.path("tools");
    let tools = fields.array("tools")?.unwrap_or_default();
    if tools.is_empty() {
        return Err(Error::invalid_request(&path, "is empty; name at least one tool"));
    }
    let names = tools.iter().enumerate().map(|(index, tool)| {
        let path = format!("{path}[{index}]");
        named(&path, object(&path, tool)?)
    });
    Ok(Choice::Among { names: names.collect::<Result<_>>()?, required })
}

/// Keeps of `functions` those that `choice` names.
fn keep_chosen(functions: &mut Vec<Function>, choice: &Choice) -> Result<()> {
    let (names, path) = match choice {
        Choice::Named(name) => (std::slice::from_ref(name), "tool_choice.function.name".to_owned()),
        Choice::Among { names, .. } => {
            (names.as_slice(), "tool_choice.allowed_tools.tools".to_owned())
        }
        _ => return Ok(()),
    };
    let is_there = |name: &&String| functions.iter().any(|function| function.name == **name);
    if let Some(unknown) = names.iter().find(|name| !is_there(name)) {
        let known: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
        let message = format!("\"{unknown}\" is none of the tools: {}", known.join(", "));
        return Err(Error::invalid_request(&path, message));
    }
    functions.retain(|function| names.contains(&function.name));
    Ok(())
}
