"""Contract: the file that runs Apache Kafka runs the embedded broker."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from ottla.testing import RealKafka

PATIENCE_S = 20.0


@pytest.mark.real_kafka
def test_the_file_that_runs_kafka_runs_the_embedded_broker(apache_kafka: RealKafka, tmp_path: Path) -> None:
    path = apache_kafka.data_dir.parent / f"{apache_kafka.data_dir.name}.properties"
    lines = path.read_text().splitlines()
    assert "process.roles=broker,controller" in lines
    # All of it, but for the address that clients are sent to: that one is Kafka's.
    kept = [line for line in lines if not line.startswith("advertised.listeners=")]
    own = tmp_path / "server.properties"
    own.write_text("\n".join(kept) + "\nlog.roll.hours=2\nlog.cleaner.threads=2\n")
    command = [sys.executable, "-m", "ottla.broker", "--config", str(own), "--port", "0", "--data", str(tmp_path / "d")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = process.stdout.readline()
    try:
        assert ready.startswith("broker ready on 127.0.0.1:"), process.communicate(timeout=PATIENCE_S)
        admin = AdminClient({"bootstrap.servers": ready.split()[-1]})
        admin.create_topics([NewTopic("t", 1, 1)])["t"].result(PATIENCE_S)
        topic = ConfigResource(ConfigResource.Type.TOPIC, "t")
        assert admin.describe_configs([topic])[topic].result(PATIENCE_S)["segment.ms"].value == "7200000"
    finally:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "log.cleaner.threads changes nothing in the embedded broker" in err
    assert "ERROR" not in err
