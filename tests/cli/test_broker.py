"""`ottla broker --config` and `python -m ottla.broker --config`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Ottla, Running


def test_a_broker_takes_its_settings_from_a_file(start: Callable[..., Running], ottla: Ottla, tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text(f"listeners=PLAINTEXT://:1\nlog.dirs={tmp_path / 'data'}\nnum.partitions=3\n")
    broker = start("broker", "--config", str(path), "--port", "0")
    address = broker.wait_for(r"^broker ready on (127\.0\.0\.1:\d+)$")[1]
    assert ottla("topic", "create", "t", "-b", address).status == 0
    assert ottla("topic", "list", "--json", "-b", address).document == {"topics": [{"name": "t", "partitions": 3}]}
    assert (tmp_path / "data" / "lock").exists()
    assert broker.stop() == 0


def test_a_broker_with_a_wrong_file_says_where_and_does_not_start(ottla: Ottla, tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text("num.partitons=3\nlog.retention.ms=soon\n")
    shown = ottla("broker", "--config", str(path), "--port", "0")
    assert shown.status == 1
    assert f"{path}:1: num.partitons: no such setting; did you mean num.partitions?" in shown.err
    assert f"{path}:2: log.retention.ms: 'soon' is not a whole number" in shown.err
    assert "Traceback" not in shown.err
