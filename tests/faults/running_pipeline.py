"""The demo's processes without the demo, for tests that start and stop them one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from shop.demo.loader import Loader
from shop.demo.pipeline import HOST, Pipeline, Ports
from shop.demo.read_model import ReadModel
from shop.invoices import Invoice, InvoiceLine


@contextmanager
def pipeline_in(data: Path) -> Iterator[Pipeline]:
    """A pipeline on free ports of which nothing was started yet; all that was is stopped in the end."""
    pipeline = Pipeline(data, Ports(0, 0, 0))
    (data / "db").mkdir(parents=True)
    try:
        yield pipeline
    finally:
        pipeline.stop(5)


def health(pipeline: Pipeline, service: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a service's /health/ready; status 0 while nobody answers."""
    try:
        with urlopen(f"{pipeline.services[service].url}/health/ready", timeout=2) as response:
            return response.status, json.load(response)
    except HTTPError as answer:
        return answer.code, json.load(answer)
    except (URLError, OSError):
        return 0, {}


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Waits for a true value and gives it back."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.05)
    return value


def place_an_order(pipeline: Pipeline, number: str = "1") -> None:
    """Places one good order and waits for its answer."""
    line = InvoiceLine("22423", "REGENCY CAKESTAND", 1, Decimal("12.75"))
    loader = Loader(HOST, pipeline.services["orders"].port, connections=1)
    loader.place([Invoice(number, "17850", "United Kingdom", "2010-12-01 09:00:00", [line])])
    assert loader.counts() == {"accepted": 1}


def shipped(pipeline: Pipeline) -> int:
    read_model = ReadModel(pipeline.services["orders"].database_url)
    try:
        return read_model.shipped()
    finally:
        read_model.close()
