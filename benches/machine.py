"""Where and with what a measurement was made."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))

from build_peers import LLAMA


def said(*command, pattern=r"(.*)"):
    """What `pattern` finds in a command's words; "unknown" where it does not run."""
    try:
        done = subprocess.run(
            [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except OSError:
        return "unknown"
    found = re.search(pattern, done.stdout + done.stderr) if done.returncode == 0 else None
    return found[1].strip() if found else "unknown"


def field(path, pattern):
    try:
        found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip('" ') if found else "unknown"


def memory():
    kilobytes = field("/proc/meminfo", r"^MemTotal:\s*(\d+)")
    return f"{int(kilobytes) / 2**20:.0f} GiB" if kilobytes.isdigit() else "unknown"


def commit():
    """libfluid's, with a word where the sources differ from it."""
    name = said("git", "rev-parse", "--short=12", "HEAD")
    changed = said("git", "status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.lock", pattern=r"(\S)")
    return name if changed == "unknown" else f"{name} with changes"


def crate(name):
    return field(ROOT / "Cargo.lock", rf'^name = "{name}"\nversion = "(.*)"')


def package(python, name):
    return said(python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))")


def facts(programs, genai, threads):
    """Name and value of all that a figure depends on."""
    version = programs / "llama-server", "--version"
    return {
        "processor": field("/proc/cpuinfo", r"^model name\s*:\s*(.*)"),
        "cores used": f"{threads} of {os.cpu_count()}",
        "memory": memory(),
        "system": f"{field('/etc/os-release', r'^PRETTY_NAME=(.*)')}, Linux {platform.release()}",
        "load before (1 min)": field("/proc/loadavg", r"^(\S+)"),
        "libfluid": f"{crate('fluid')}, commit {commit()}",
        "rustc": said("rustc", "--version", pattern=r"rustc (\S+)"),
        "llama.cpp in libfluid": f"as in llama-cpp-sys-2 {crate('llama-cpp-sys-2')}, AVX2",
        "llama.cpp of the peers": f"{LLAMA.requirement} ({said(*version, pattern=r'version: (.*)')}), AVX2",
        "OpenVINO": package(genai / "bin/python", "openvino"),
        "OpenVINO GenAI": package(genai / "bin/python", "openvino-genai"),
    }
