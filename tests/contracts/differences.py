"""Where the embedded broker is known to differ from Apache Kafka. A test that names a difference must fail there."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest


def known_difference(request: pytest.FixtureRequest, broker_kind: str, reason: str) -> None:
    """Expects this test to fail on the embedded broker, for `reason`."""
    if broker_kind == "embedded":
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def no_zstd() -> bool:
    """Whether Python has no way to open zstd: it came with 3.14, or with a package that the broker does not ask for."""
    return sys.version_info < (3, 14) and find_spec("zstandard") is None
