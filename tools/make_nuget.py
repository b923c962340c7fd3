"""Packs the C# binding as a NuGet package where no .NET SDK is: what `dotnet pack` makes of
bindings/csharp/Fluid.Native.csproj, out of an assembly that Mono compiled and of libraries that were built.

    make_nuget.py --assembly net471=Fluid.Native.dll --native linux-x64=libfluid.so.1 \\
                  --licenses linux-x64=share/doc/fluid --out FOLDER

An assembly by Mono's compiler is one for Mono and .NET Framework 4.7.1: it names classes where that has them. The package
for all comes from the SDK.
"""

import argparse
import pathlib
import sys
import xml.etree.ElementTree as xml
import zipfile
from xml.sax.saxutils import escape

BINDING = pathlib.Path(__file__).resolve().parent.parent / "bindings" / "csharp"
PLATFORMS = ("linux-x64", "linux-arm64", "win-x64", "win-arm64", "osx-x64", "osx-arm64")

CONTENT_TYPES = """<?xml version="1.0" encoding="utf-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
  <Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml" />
{types}
</Types>
"""
RELATIONS = """<?xml version="1.0" encoding="utf-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
  <Relationship Type="http://schemas.microsoft.com/packaging/2010/07/manifest" Target="/{id}.nuspec" Id="manifest" />
</Relationships>
"""
NUSPEC = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd">
  <metadata>
    <id>{PackageId}</id>
    <version>{Version}</version>
    <authors>{Authors}</authors>
    <license type="expression">{PackageLicenseExpression}</license>
    <readme>{PackageReadmeFile}</readme>
    <description>{Description}</description>
    <tags>{tags}</tags>
    <repository type="{RepositoryType}" url="{RepositoryUrl}" />
    <dependencies>
{groups}
    </dependencies>
  </metadata>
</package>
"""


def properties():
    """What the project file says of the package."""
    project = xml.parse(BINDING / "Fluid.Native.csproj").getroot()
    return {item.tag: item.text or "" for group in project.iter("PropertyGroup") for item in group}


def nuspec(facts, frameworks):
    escaped = {name: escape(text) for name, text in facts.items()}
    names = {"net471": ".NETFramework4.7.1", "netstandard2.0": ".NETStandard2.0", "net8.0": "net8.0"}
    groups = "\n".join(f'      <group targetFramework="{names[name]}" />' for name in frameworks)
    return NUSPEC.format(tags=escaped["PackageTags"].replace(";", " "), groups=groups, **escaped)


def parts(facts, assemblies, natives, licenses):
    """Each part's name in the package, with its bytes."""
    yield f"{facts['PackageId']}.nuspec", nuspec(facts, [name for name, _ in assemblies]).encode()
    yield "README.md", (BINDING / "README.md").read_bytes()
    targets = (BINDING / "build" / "Fluid.Native.targets").read_bytes()
    for folder in ("build", "buildTransitive"):
        yield f"{folder}/net461/Fluid.Native.targets", targets
    for framework, assembly in assemblies:
        for file in (assembly, assembly.with_suffix(".xml")):
            yield f"lib/{framework}/{file.name}", file.read_bytes()
    for platform, library in natives:
        yield f"runtimes/{platform}/native/{library.name}", library.read_bytes()
    for platform, folder in licenses:
        for file in sorted(folder.iterdir()):
            yield f"licenses/{platform}/{file.name}", file.read_bytes()


def content_types(names):
    """A type for each ending; names without one, such as libfluid.so.1's and LICENSE-MIT's, are listed whole."""
    binary = 'ContentType="application/octet-stream"'
    endings = {name: pathlib.PurePosixPath(name).suffix[1:] for name in names}
    whole = [name for name, ending in endings.items() if not ending or ending.isdigit()]
    types = [
        f'  <Default Extension="{ending}" {binary} />'
        for ending in sorted({endings[name] for name in names if name not in whole})
    ]
    types += [f'  <Override PartName="/{name}" {binary} />' for name in whole]
    return CONTENT_TYPES.format(types="\n".join(types))


def pack(folder, assemblies, natives, licenses):
    """Writes the package and returns its path."""
    facts = properties()
    contents = dict(parts(facts, assemblies, natives, licenses))
    path = folder / f"{facts['PackageId']}.{facts['Version']}.nupkg"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        package.writestr("[Content_Types].xml", content_types(contents))
        package.writestr("_rels/.rels", RELATIONS.format(id=facts["PackageId"]))
        for name, content in contents.items():
            package.writestr(name, content)
    return path


def named(known, kind="FILE", is_kind=pathlib.Path.is_file):
    def parse(text):
        name, _, path = text.partition("=")
        if name not in known or not is_kind(pathlib.Path(path)):
            raise argparse.ArgumentTypeError(f"{text}: want NAME={kind}, with NAME among {', '.join(known)}")
        return name, pathlib.Path(path)
    return parse


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    frameworks = ("net471", "netstandard2.0", "net8.0")
    arguments.add_argument("--assembly", action="append", required=True, type=named(frameworks))
    arguments.add_argument("--native", action="append", required=True, type=named(PLATFORMS))
    arguments.add_argument("--licenses", action="append", required=True,
                           type=named(PLATFORMS, "FOLDER", pathlib.Path.is_dir))
    arguments.add_argument("--out", required=True, type=pathlib.Path)
    given = arguments.parse_args()
    if {name for name, _ in given.native} != {name for name, _ in given.licenses}:
        arguments.error("each platform needs its library and its licences")
    given.out.mkdir(parents=True, exist_ok=True)
    print(pack(given.out, given.assembly, given.native, given.licenses))


if __name__ == "__main__":
    sys.exit(main())
