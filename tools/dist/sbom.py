"""The software bill of materials of the library or the server, in CycloneDX 1.6: what is linked into it, and what
built it."""

import json
import sys
import uuid
from datetime import datetime, timezone

import crates
from system import commit_time, of_this_machine, output

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/FluidInference/libfluid/sbom")


def _reference(crate):
    return f"pkg:cargo/{crate.name}@{crate.version}"


def _crate(crate, scope):
    component = {
        "type": "library",
        "bom-ref": _reference(crate),
        "name": crate.name,
        "version": crate.version,
        "scope": scope,
        "purl": _reference(crate),
        "licenses": [{"expression": crate.licence}],
    }
    if crate.authors:
        component["authors"] = [{"name": author.partition(" <")[0]} for author in crate.authors]
    if checksum := crates.checksums().get(crate.key):
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if crate.repository:
        component["externalReferences"] = [{"type": "vcs", "url": crate.repository}]
    return component


def _other(name, number, licence, repository, inside):
    purl = f"pkg:generic/{name}@{number}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": number,
        "description": inside,
        "scope": "required",
        "purl": purl,
        "licenses": [{"expression": licence}],
        "externalReferences": [{"type": "vcs", "url": repository}],
    }


def _beside_the_crates(triple):
    """What no crate's name tells: C++ inside a crate, and Rust's standard library."""
    llama, ggml, _ = crates.llama_cpp(triple)
    rust = output("rustc", "--version").split()[1]
    inside = f"sources inside {crates.one(triple, 'llama-cpp-sys-2')}"
    return [
        _other("llama.cpp", llama, "MIT", "https://github.com/ggml-org/llama.cpp", inside),
        _other("ggml", ggml, "MIT", "https://github.com/ggml-org/ggml", inside),
        _other("rust-std", rust, "MIT OR Apache-2.0", "https://github.com/rust-lang/rust", "linked by rustc"),
    ]


def bill(triple, package="fluid"):
    """The document as text, of one package of the workspace: the same bytes for the same commit, lock file and
    tools."""
    linked = crates.linked(triple, package)
    tools = crates.used_to_build(triple, package)
    extra = _beside_the_crates(triple)
    (root,) = (crate for crate in linked if crate.name == package)
    known = {crate.key: _reference(crate) for crate in [*linked, *tools]}
    needs = {
        _reference(crate): sorted(known[key] for key in crate.needs if key in known) for crate in [*linked, *tools]
    }
    needs[_reference(crates.one(triple, "llama-cpp-sys-2"))] += [item["bom-ref"] for item in extra[:2]]
    needs[_reference(root)] += [extra[2]["bom-ref"]]
    components = [_crate(crate, "required") for crate in linked if crate is not root]
    # CycloneDX's word for what took part and is not inside.
    components += [_crate(crate, "excluded") for crate in tools]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(commit_time(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _crate(root, "required") | {"name": {"fluid": "libfluid"}.get(package, package)},
            "properties": [{"name": "target", "value": triple}],
        },
        "components": components + extra,
        "dependencies": [
            {"ref": reference, "dependsOn": wanted} for reference, wanted in sorted(needs.items())
        ]
        + [{"ref": item["bom-ref"]} for item in extra],
    }
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}"
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    print(bill(of_this_machine().triple), end="")
