"""Which codec works: the C extension where it was built, else generated Python code; `OTTLA_PURE=1` turns C off."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from ottla.events.shapes import Record
from ottla.serde.avro.decoder import Decoder, build_decoder
from ottla.serde.avro.encoder import Encoder, build_encoder
from ottla.serde.avro.plan import Plan
from ottla.serde.avro.programs import read_program, write_program

Engine = Literal["extension", "pure"]


def _load() -> Any:
    if os.environ.get("OTTLA_PURE", "") not in ("", "0"):
        return None
    try:
        return importlib.import_module("ottla.serde.avro._codec")
    except ImportError:
        return None


_extension: Any = _load()
_active: Engine = "pure" if _extension is None else "extension"


def extension() -> Any:
    """The extension's module while it is the active codec; else None."""
    return _extension if _active == "extension" else None


def active_codec() -> Engine:
    """`"extension"` where Avro is read and written in C, `"pure"` where by generated Python code."""
    return _active


@contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Decoders and encoders asked for inside are of this kind: for tests and benchmarks. Not for several threads.

    Raises:
        RuntimeError: The extension was not built, or is turned off.
    """
    global _active
    if engine == "extension" and _extension is None:
        raise RuntimeError("the C extension of the Avro codec is not there: it was not built, or OTTLA_PURE is set")
    before, _active = _active, engine
    try:
        yield
    finally:
        _active = before


def extension_decoder(plan: Plan, title: str) -> Decoder:
    """A decoder in C. What it cannot read, Python's decoder of the same plan reads or refuses, in its own words.

    Args:
        plan: What to read.
        title: What it is called in errors.
    """
    made: Decoder = _extension.Decoder(read_program(_extension, plan), _when_called(lambda: build_decoder(plan, title)))
    return made


def extension_encoder(shape: Record) -> Encoder:
    """An encoder in C. What it cannot write, Python's encoder of the same class writes or refuses, in its own words."""
    made: Encoder = _extension.Encoder(write_program(_extension, shape), _when_called(lambda: build_encoder(shape)))
    return made


def _when_called(build: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """What `build` gives, built when it is called for the first time: most never are."""
    built = functools.cache(build)
    return lambda *arguments: built()(*arguments)
