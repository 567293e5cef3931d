"""The examples in the pages about configuration, observability and scripts, run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ottla.settings import load_settings
from ottla.testing import EmbeddedBroker, EmbeddedRegistry

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


def run(program: str, folder: Path, **environ: str) -> str:
    command = [sys.executable, "-c", program]
    environment = {**os.environ, **environ}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("page", ["configuration.md", "observability.md"])
def test_every_example_runs(page: str, tmp_path: Path) -> None:
    programs = blocks(page, "python")
    assert len(programs) >= 2
    for program in programs:
        run(program, tmp_path)


def test_the_settings_in_the_page_are_settings(tmp_path: Path) -> None:
    files = blocks("configuration.md", "toml")
    assert len(files) >= 3
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    for text in files:
        assert tomllib.loads(text)
        (tmp_path / "ottla.toml").write_text(text.replace("/etc/ottla/ca.pem", str(tmp_path / "ca.pem")))
        load_settings(directory=tmp_path, environ={"OTTLA_KAFKA__SASL_PASSWORD": "p"} if "SCRAM" in text else {})


def test_the_line_of_json_in_the_page_has_the_fields_that_lines_have(tmp_path: Path) -> None:
    (shown,) = [json.loads(text) for text in blocks("observability.md", "json")]
    program = next(text for text in blocks("observability.md", "python") if "configure_logging" in text)
    said = json.loads(run(program, tmp_path))
    assert said.pop("sku") == "A-1"
    assert said.keys() < shown.keys()
    source = (DOCS.parent / "src/ottla/observability/in_hand.py").read_text("utf-8")
    named = set(re.findall(r'^ {8}"(\w+)":', source, re.MULTILINE))
    assert named <= shown.keys()


def test_the_script_in_the_page_publishes(
    kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    (program,) = [text for text in blocks("listeners.md", "python") if "import Producer" in text]
    declaration = (
        "import msgspec\n"
        "from ottla import event\n"
        "@event('orders-of-the-page', key='order_id')\n"
        "class OrderCreated(msgspec.Struct):\n"
        "    order_id: str\n"
    )
    told = run(
        declaration + program,
        tmp_path,
        OTTLA_KAFKA__BOOTSTRAP_SERVERS=kafka.bootstrap_servers,
        OTTLA_REGISTRY__URL=kafka_registry.url,
    )
    assert "OrderCreated(order_id='o-4') RecordMetadata(topic='orders-of-the-page'" in told
