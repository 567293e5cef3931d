"""`ottla run --workers N`: several processes of one application on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

import psutil

from ottla.testing import Broker

APPLICATION = """
from ottla import StreamsApp
from ottla.streams import StreamsBuilder

builder = StreamsBuilder()
builder.stream({source!r}, key=str, value=str).to({sink!r})
app = StreamsApp({name!r}, builder)
"""


def test_workers_share_one_application_are_started_again_and_stop_together(
    embedded_broker: Broker, topic_name: str, tmp_path: Path
) -> None:
    source = APPLICATION.format(source=f"{topic_name}-in", sink=f"{topic_name}-out", name=f"app-{topic_name}")
    (tmp_path / "copying.py").write_text(source)
    command = [sys.executable, "-m", "ottla.cli", "run", "copying:app", "--workers", "2", "--port", "0"]
    environment = {
        **os.environ,
        "OTTLA_KAFKA__BOOTSTRAP_SERVERS": embedded_broker.bootstrap_servers,
        "OTTLA_STREAMS__STATE_DIR": str(tmp_path / "state"),
        "PYTHONUNBUFFERED": "1",
    }
    log = (tmp_path / "log").open("w")
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    lines: Queue[str] = Queue()
    assert run.stdout is not None
    threading.Thread(target=lambda: [lines.put(line) for line in run.stdout or ()], daemon=True).start()
    try:
        for _ in range(2):
            assert f"app-{topic_name} ready on http://127.0.0.1:" in lines.get(timeout=60)
        workers = psutil.Process(run.pid).children()
        assert len(workers) == 2
        workers[0].kill()
        assert "ready on" in lines.get(timeout=60)
        assert workers[1] in psutil.Process(run.pid).children()
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0, (tmp_path / "log").read_text()
        assert not any(worker.is_running() for worker in workers)
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
        log.close()
