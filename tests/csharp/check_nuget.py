"""Packs with tools/dist/nuget.py and a stand-in for .NET's SDK, which lays files out by NuGet's rules.

    PYTHONPATH=tools/dist check_nuget.py
"""

import os
import pathlib
import sys
import tempfile
import xml.etree.ElementTree as xml
import zipfile

import nuget
from system import Refused, version

STAND_IN = """#!{python}
import sys
sys.path[:0] = [{here!r}]
import check_nuget
check_nuget.pack(sys.argv[1:])
"""


def pack(arguments):
    """As `dotnet pack`: the project's items with stars in their names, by NuGet's rule for these, which is to append the
    folders that the stars stood for."""
    properties = dict(argument[3:].split("=", 1) for argument in arguments if argument.startswith("-p:"))
    project = xml.parse(pathlib.Path(arguments[1]) / "Fluid.Native.csproj").getroot()
    out = pathlib.Path(arguments[arguments.index("--output") + 1])
    with zipfile.ZipFile(out / f"Fluid.Native.{properties['Version']}.nupkg", "w") as package:
        for item in project.iter("None"):
            top, stars, _ = item.get("Include").partition("/**")
            if not stars:
                continue
            folder = pathlib.Path(properties[top.strip("$()")])
            for file in (path for path in folder.rglob("*") if path.is_file()):
                recursive = file.relative_to(folder).parent
                path = item.get("PackagePath").replace("%(RecursiveDir)", str(recursive))
                if not os.environ.get("FLUID_TEST_FLAT"):
                    path = f"{path}/{recursive}"
                package.write(file, f"{path}/{file.name}")


def main():
    with tempfile.TemporaryDirectory(prefix="päckage ") as name:
        folder = pathlib.Path(name)
        sdk = folder / "bin" / "dotnet"
        stage = folder / "stage"
        for file in (sdk, stage / "runtimes/linux-x64/native/libfluid.so.1", stage / "licenses/linux-x64/LICENSE-MIT"):
            file.parent.mkdir(parents=True)
            file.write_text(STAND_IN.format(python=sys.executable, here=os.path.dirname(os.path.abspath(__file__))))
        sdk.chmod(0o755)
        os.environ["PATH"] = f"{sdk.parent}:{os.environ['PATH']}"
        package = nuget.pack(stage, folder)
        assert package.name == f"Fluid.Native.{version()}.nupkg", package
        nuget.check(package, stage)
        os.environ["FLUID_TEST_FLAT"] = "1"
        try:
            nuget.check(nuget.pack(stage, folder), stage)
        except Refused as why:
            assert "runtimes/linux-x64/native/libfluid.so.1" in str(why), why
        else:
            raise AssertionError("a package without its library is refused")


if __name__ == "__main__":
    main()
