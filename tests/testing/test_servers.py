"""The brokers and the registry that tests are given."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from ottla.errors import ServerFailed
from ottla.testing import Broker, EmbeddedBroker, EmbeddedRegistry, KafkaHome, free_port
from ottla.testing.server import HOST


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as server:
        server.bind((HOST, free_port()))
        server.listen()


def test_ports_for_several_listeners_are_different() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == 500


def test_a_broker_serves_within_its_context_only() -> None:
    with EmbeddedBroker() as broker:
        assert broker.bootstrap_servers == f"{HOST}:{broker.port}"
        assert listening(broker.port)
    assert not listening(broker.port)


def test_a_temporary_data_folder_is_removed() -> None:
    with EmbeddedBroker() as broker:
        assert broker.data_dir.is_dir()
    assert not broker.data_dir.parent.exists()


def test_a_given_data_folder_is_kept(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "data"):
        pass
    assert (tmp_path / "data").is_dir()


def test_a_given_port_is_used() -> None:
    port = free_port()
    with EmbeddedBroker(port=port) as broker:
        assert broker.port == port


def test_a_taken_port_is_said_so() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerFailed, match=f"port {port} on {HOST} is already in use"):
            EmbeddedBroker(port=port).start()


def test_starting_twice_starts_once() -> None:
    with EmbeddedBroker() as broker:
        pid = broker.pid
        broker.start()
        assert broker.pid == pid


def test_a_restart_is_a_new_process_on_the_same_port(killable_broker: Broker) -> None:
    port, pid = killable_broker.port, killable_broker.pid
    killable_broker.restart()
    assert killable_broker.port == port
    assert killable_broker.pid != pid
    assert listening(port)


def test_a_killed_broker_does_not_listen_and_can_be_started_again(killable_broker: Broker) -> None:
    port = killable_broker.port
    killable_broker.kill()
    assert not killable_broker.running
    assert not listening(port)
    killable_broker.start()
    assert killable_broker.port == port
    assert listening(port)


def test_a_broker_that_does_not_run_has_no_process_id() -> None:
    with pytest.raises(ServerFailed, match="not running"):
        _ = EmbeddedBroker().pid


def test_an_impossible_option_is_told_with_the_brokers_own_words() -> None:
    with pytest.raises(ServerFailed, match="flush must be ack, interval or none"):
        EmbeddedBroker(options={"flush": "sometimes"}).start()


def test_the_registry_keeps_its_schemas_in_the_broker(broker: Broker) -> None:
    schema = {"schema": '{"type": "record", "name": "A", "fields": []}'}
    with EmbeddedRegistry(broker.bootstrap_servers) as registry:
        schema_id = httpx.post(f"{registry.url}/subjects/a/versions", json=schema, timeout=20).json()["id"]
        registry.kill()
        registry.start()
        assert httpx.get(f"{registry.url}/schemas/ids/{schema_id}", timeout=20).json()["schema"]


def test_missing_jars_are_told_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTTLA_KAFKA_HOME", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/java")
    with pytest.raises(ServerFailed, match="tools/kafka/fetch"):
        KafkaHome.find()


def test_missing_java_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "Java 17" in (KafkaHome.missing() or "")


def test_the_newest_kafka_in_the_cache_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for version in ("4.9.0", "4.10.1", "4.2.0"):
        libs = tmp_path / f"kafka-{version}" / "libs"
        libs.mkdir(parents=True)
        (libs / f"kafka_2.13-{version}.jar").touch()
    monkeypatch.delenv("OTTLA_KAFKA_HOME", raising=False)
    monkeypatch.setattr("ottla.testing.kafka_home._CACHE", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/java")
    assert KafkaHome.find().version == "4.10.1"
