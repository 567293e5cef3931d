"""These tests have nothing to do with Avro's two engines: once is enough."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def engine() -> None:
    """Instead of the one that runs every test twice."""
