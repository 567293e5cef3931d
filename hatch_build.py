"""Builds the C extension of the Avro codec (native/avro) when Ottla is installed or packed into a wheel.

It is optional: without a compiler, or with `OTTLA_PURE=1`, the install goes on without it, and generated Python code
does its work. `OTTLA_EXTENSION=required` makes a failed build fail the install: for those who publish wheels.

`python hatch_build.py` builds it in place, for an editable install whose C sources have changed.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object  # type: ignore[assignment,misc]

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "native" / "avro"
NAME = "ottla.serde.avro._codec"
FOLDER = "ottla/serde/avro"


class CodecBuildHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """Called by hatchling before it packs anything."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        built = compiled(Path(tempfile.mkdtemp(prefix="ottla-codec-")))
        if built is None:
            return
        if version == "editable":
            put_in_place(built)
        else:
            build_data["force_include"][str(built)] = f"{FOLDER}/{built.name}"
            build_data["pure_python"] = False
            build_data["infer_tag"] = True


def compiled(folder: Path) -> Path | None:
    """The extension, compiled into a folder; None where it is not wanted or cannot be."""
    if os.environ.get("OTTLA_PURE", "") not in ("", "0"):
        return None
    try:
        return _compile(folder)
    except (Exception, SystemExit) as error:
        if os.environ.get("OTTLA_EXTENSION") == "required":
            raise
        print(
            f"The C extension of Ottla's Avro codec is left out ({type(error).__name__}: {error}). Everything works "
            "without it, only slower. It takes a C compiler and Python's headers (Debian: build-essential python3-dev)",
            file=sys.stderr,
        )
        return None


def _compile(folder: Path) -> Path:
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    gnu = [] if sys.platform == "win32" else ["-std=c11", "-O3", "-fvisibility=hidden", "-g0", "-Wno-unused-result"]
    extension = Extension(
        NAME,
        sources=[str(path) for path in sorted(SOURCES.glob("*.c"))],
        depends=[str(path) for path in SOURCES.glob("*.h")],
        extra_compile_args=gnu or ["/std:c11", "/O2"],
    )
    command = build_ext(Distribution({"name": "ottla", "ext_modules": [extension]}))
    command.build_lib = str(folder / "lib")
    command.build_temp = str(folder / "temp")
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath(NAME))


def put_in_place(built: Path) -> Path:
    """Moves the extension beside its Python files in one step: whoever has the old one loaded keeps it."""
    target = ROOT / "src" / FOLDER / built.name
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.write_bytes(built.read_bytes())
    os.replace(beside, target)
    return target


def main() -> int:
    os.environ.setdefault("OTTLA_EXTENSION", "required")
    with tempfile.TemporaryDirectory(prefix="ottla-codec-") as folder:
        built = compiled(Path(folder))
        print(put_in_place(built) if built else f"not built: OTTLA_PURE is set ({sysconfig.get_platform()})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
