"""Every test of the codec runs twice: on the C extension and on generated Python code."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ottla.serde import active_codec
from ottla.serde.avro.engine import Engine, using

BUILT = active_codec() == "extension"


@pytest.fixture(params=["extension", "pure"], autouse=True, scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Decoders and encoders asked for in a test are of this kind."""
    wanted: Engine = request.param
    if wanted == "extension" and not BUILT:
        if os.environ.get("CI"):
            pytest.fail("the C extension was not built: is a compiler there? See the output of pip install -v")
        pytest.skip("the C extension was not built")
    with using(wanted):
        yield wanted
