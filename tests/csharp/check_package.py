"""Reads a package of the C# binding back, unpacks it, and runs a program against what was in it.

    check_package.py Fluid.Native.0.1.0.nupkg MODEL.gguf
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
import zipfile

NUSPEC = "{http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd}"
TYPES = "{http://schemas.openxmlformats.org/package/2006/content-types}"
EXAMPLE = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "csharp" / "Chat.cs"
PLATFORMS = {"linux-x64", "linux-arm64", "win-x64", "win-arm64", "osx-x64", "osx-arm64"}


def check_layout(package):
    names = package.namelist()
    assert package.testzip() is None and len(names) == len(set(names)), "a whole archive"
    for name in ("[Content_Types].xml", "_rels/.rels", "Fluid.Native.nuspec", "README.md",
                 "build/net461/Fluid.Native.targets", "buildTransitive/net461/Fluid.Native.targets"):
        assert name in names, f"{name} is missing"
    for name in names:
        if name.endswith((".xml", ".rels", ".nuspec", ".targets")):
            xml.fromstring(package.read(name))
    assemblies = [name for name in names if name.startswith("lib/") and name.endswith("/Fluid.Native.dll")]
    assert assemblies, "no assembly"
    for name in assemblies:
        assert name[:-3] + "xml" in names, f"{name} has no documentation"
    natives = [name.split("/") for name in names if name.startswith("runtimes/")]
    assert natives, "no library"
    for folders in natives:
        assert len(folders) == 4 and folders[1] in PLATFORMS and folders[2] == "native", "/".join(folders)
        check_licenses(package, f"licenses/{folders[1]}")
    return assemblies


def check_licenses(package, folder):
    """What the library's contents oblige to hand on with it."""
    for name, part in (("THIRD-PARTY.txt", "Mozilla Public License"), ("LICENSE-MIT", "Permission is hereby granted"),
                       ("LICENSE-APACHE", "Apache License")):
        assert part in package.read(f"{folder}/{name}").decode(), f"{folder}/{name} lacks: {part}"
    bill = json.loads(package.read(f"{folder}/sbom.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX", bill["bomFormat"]
    assert "llama.cpp" in {component["name"] for component in bill["components"]}, "llama.cpp is not in the bill"


def check_metadata(package, name):
    metadata = xml.fromstring(package.read("Fluid.Native.nuspec")).find(NUSPEC + "metadata")
    for field in ("id", "version", "authors", "description", "license", "readme"):
        assert metadata.findtext(NUSPEC + field), f"{field} is missing"
    assert name == f"{metadata.findtext(NUSPEC + 'id')}.{metadata.findtext(NUSPEC + 'version')}.nupkg", name
    types = xml.fromstring(package.read("[Content_Types].xml"))
    known = {item.get("Extension") for item in types.iter(TYPES + "Default")}
    whole = {item.get("PartName") for item in types.iter(TYPES + "Override")}
    for part in package.namelist()[1:]:
        ending = part.rpartition(".")[2]
        assert ending in known or "/" + part in whole, f"{part} has no content type"


def copied(package_folder):
    """What the package's targets have a build on this system copy, and to where: see Fluid.Native.targets."""
    targets = package_folder / "build" / "net461"
    project = xml.parse(targets / "Fluid.Native.targets").getroot()
    libraries = [item.text for item in project.iter("FluidLibraries") if "Condition" not in item.attrib]
    item = project.find("ItemGroup/None")
    pattern = item.get("Include").replace("$(FluidLibraries)", *libraries)
    assert item.findtext("Link") == "runtimes/%(RecursiveDir)%(Filename)%(Extension)", item.findtext("Link")
    top, _, name = pattern.replace("$(MSBuildThisFileDirectory)", f"{targets}/").partition("/**/")
    return {file: pathlib.PurePath("runtimes") / file.relative_to(top) for file in pathlib.Path(top).rglob(name)}


def run_program(package, assembly, model, folder):
    """As a build with the package lays the program out, away from the repository."""
    package.extractall(folder / "package")
    program = folder / "program"
    program.mkdir()
    for source, target in copied(folder / "package").items():
        (program / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, program / target)
    shutil.copy(folder / "package" / assembly, program)
    subprocess.run(["mcs", "-nologo", f"-r:{program / 'Fluid.Native.dll'}", f"-out:{program / 'chat.exe'}", str(EXAMPLE)],
                   check=True)
    environment = {name: value for name, value in os.environ.items() if name != "FLUID_LIBRARY"}
    done = subprocess.run(["mono", "chat.exe", os.path.abspath(model), "What is the capital of France?"], cwd=program,
                          env=environment, stdout=subprocess.PIPE, timeout=120, check=True)
    assert "Paris" in done.stdout.decode(), done.stdout


def main():
    path, model = pathlib.Path(sys.argv[1]), sys.argv[2]
    with zipfile.ZipFile(path) as package, tempfile.TemporaryDirectory(prefix="päckage ") as folder:
        assemblies = check_layout(package)
        check_metadata(package, path.name)
        run_program(package, assemblies[0], model, pathlib.Path(folder))


if __name__ == "__main__":
    main()
