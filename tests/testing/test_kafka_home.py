"""Where Apache Kafka's jars lie, and how its JVM is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.testing import KafkaHome


@pytest.fixture
def home(tmp_path: Path) -> KafkaHome:
    java = tmp_path / "java"
    java.touch()
    (tmp_path / "kafka" / "libs").mkdir(parents=True)
    return KafkaHome(tmp_path / "kafka" / "libs", "9.9", str(java))


def test_the_class_archive_is_used_where_it_was_made(home: KafkaHome) -> None:
    assert not [option for option in home.command("Main") if "SharedArchiveFile" in option]
    home.archive.touch()
    assert f"-XX:SharedArchiveFile={home.archive}" in home.command("Main")


def test_another_java_gets_another_archive(home: KafkaHome, tmp_path: Path) -> None:
    other = tmp_path / "other-java"
    other.touch()
    assert KafkaHome(home.libs, home.version, str(other)).archive != home.archive
