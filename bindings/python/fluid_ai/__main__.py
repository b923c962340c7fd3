"""``python -m fluid_ai doctor | chat | transcribe``."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Sequence

from . import __version__, abi_version, library_path, version
from ._commands import chat, doctor, transcribe
from .errors import FluidError
from .log import set_log


class _Version(argparse.Action):
    """Looks for the library only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        major, minor = abi_version()
        print(f"fluid-ai {__version__}, libfluid {version()} with ABI {major}.{minor} at {library_path()}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="fluid_ai", description="Local AI in this process: libfluid's commands.")
    root.add_argument("--version", nargs=0, action=_Version, help="the versions of package and library")
    root.add_argument("--log", metavar="LEVEL", help="the library's log on stderr: error, warning, info or debug")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    for module in (doctor, chat, transcribe):
        module.add_to(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns the exit code: 0 done, 1 failed, 2 wrong use, 130 Ctrl-C."""
    try:
        chosen = parser().parse_args(arguments)
        if chosen.log:
            _log_to_stderr(chosen.log)
        return int(chosen.run(chosen))
    except FluidError as error:
        print(f"fluid_ai: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read the output has enough; nothing is left to be flushed at exit.
        sys.stdout = None
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except OSError as error:
        print(f"fluid_ai: {error}", file=sys.stderr)
        return 1


def _log_to_stderr(level: str) -> None:
    import logging

    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s")
    try:
        set_log(level)
    except ValueError as error:
        parser().error(f"--log: {error}")


if __name__ == "__main__":
    sys.exit(main())
