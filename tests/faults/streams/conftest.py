"""Which of these tests belong to the long run only."""

from __future__ import annotations

import pytest

from tests.faults.streams.test_kills import KILLS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Kills on Apache Kafka are for the long run: they pass there with few kills, but a run of 20 has told one total
    twice once. Until that is explained (docs/stream-applications.md) a short run there says nothing."""
    if KILLS > 5:
        return
    left_out = [one for one in items if one.path.name == "test_kills.py" and "[kafka" in one.name]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]
