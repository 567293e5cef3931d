from __future__ import annotations

import re
from pathlib import Path

import pytest

from ottla import ConfigurationError, load_settings


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path, environ={})
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert settings.registry.url == "http://127.0.0.1:8081"


def test_arguments_beat_environment_beats_dotenv_beats_toml(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text(
        '[kafka]\nbootstrap_servers = "toml:1"\n[http]\nport = 1\n'
        '[registry]\nurl = "http://toml"\n[database]\nurl = "t"\n'
    )
    (tmp_path / ".env").write_text(
        "OTTLA_HTTP__PORT=2\nOTTLA_REGISTRY__URL=http://dotenv\nOTTLA_KAFKA__BOOTSTRAP_SERVERS=d:2\n"
    )
    settings = load_settings(
        {"kafka": {"bootstrap_servers": "argument:4"}},
        directory=tmp_path,
        environ={"OTTLA_KAFKA__BOOTSTRAP_SERVERS": "environment:3", "OTTLA_REGISTRY__URL": "http://environment"},
    )
    assert settings.kafka.bootstrap_servers == "argument:4"
    assert settings.registry.url == "http://environment"
    assert settings.http.port == 2
    assert settings.database.url == "t"


def test_a_librdkafka_property_passes_through_from_the_environment(tmp_path: Path) -> None:
    settings = load_settings(
        directory=tmp_path,
        environ={"OTTLA_KAFKA__PROPERTIES__SECURITY_PROTOCOL": "SASL_SSL", "OTTLA_KAFKA__PROPERTIES__LINGER_MS": "7"},
    )
    assert settings.kafka.properties == {"security.protocol": "SASL_SSL", "linger.ms": "7"}


def test_properties_of_several_sources_are_joined(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text('[kafka.properties]\n"linger.ms" = 1\n"client.rack" = "a"\n')
    settings = load_settings(directory=tmp_path, environ={"OTTLA_KAFKA__PROPERTIES__LINGER_MS": "9"})
    assert settings.kafka.properties == {"linger.ms": "9", "client.rack": "a"}


def test_all_faults_are_reported_at_once_with_their_source(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text('[kafka]\nbootstrap_server = "x:1"\n[listener]\nbatch_records = "many"\n')
    with pytest.raises(ConfigurationError) as raised:
        load_settings(directory=tmp_path, environ={"OTTLA_HTTP__PORT": "eighty", "OTTLA_PROFILE": "staging"})
    message = str(raised.value)
    assert "kafka.bootstrap_server from ottla.toml: there is no such setting" in message
    assert "listener.batch_records from ottla.toml" in message
    assert "http.port from environment" in message
    assert "'eighty'" in message
    assert "profile from environment" in message


def test_a_broken_toml_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text("[kafka\n")
    with pytest.raises(ConfigurationError, match=r"ottla\.toml: not valid TOML"):
        load_settings(directory=tmp_path, environ={})


def test_a_value_where_a_table_belongs_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text('kafka = "broker:9092"\n')
    with pytest.raises(ConfigurationError, match=r"kafka from ottla\.toml: expected a table"):
        load_settings(directory=tmp_path, environ={})


def test_services_in_ottla_toml_are_left_to_the_tools_that_read_them(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text('[services.orders]\nrun = "shop:api"\n')
    assert load_settings(directory=tmp_path, environ={}).profile == "dev"


def test_variables_that_steer_tools_are_not_settings(tmp_path: Path) -> None:
    load_settings(directory=tmp_path, environ={"OTTLA_TRACEBACK": "1", "OTTLA_KAFKA_HOME": "/somewhere"})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTTLA_HTTP__PORT", "70000", "http.port from environment: Expected `int` <= 65535"),
        (
            "OTTLA_LISTENER__COMMIT_INTERVAL_S",
            "-1",
            "listener.commit_interval_s from environment: Expected `float` >= 0",
        ),
        ("OTTLA_LISTENER__SESSION_TIMEOUT_S", "0", "listener.session_timeout_s from environment: Expected `float` > 0"),
        ("OTTLA_KAFKA__TOPIC_PARTITIONS", "0", "kafka.topic_partitions from environment: Expected `int` >= 1"),
    ],
)
def test_a_number_out_of_its_range_is_refused(tmp_path: Path, variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        load_settings(directory=tmp_path, environ={variable: value})


def test_the_profile_in_force_chooses_among_the_tables_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text(
        '[kafka]\nbootstrap_servers = "base:1"\n[profiles.prod.kafka]\nbootstrap_servers = "prod:1"\n'
    )
    assert load_settings(directory=tmp_path, environ={}).kafka.bootstrap_servers == "base:1"
    assert load_settings(directory=tmp_path, environ={"OTTLA_PROFILE": "prod"}).kafka.bootstrap_servers == "prod:1"
    by_variable = {"OTTLA_PROFILE": "prod", "OTTLA_KAFKA__BOOTSTRAP_SERVERS": "variable:1"}
    assert load_settings(directory=tmp_path, environ=by_variable).kafka.bootstrap_servers == "variable:1"


def test_in_production_schemas_are_looked_up_unless_a_setting_says_otherwise(tmp_path: Path) -> None:
    assert load_settings(directory=tmp_path, environ={}).registry.auto_register
    assert not load_settings(directory=tmp_path, environ={"OTTLA_PROFILE": "prod"}).registry.auto_register
    said = {"OTTLA_PROFILE": "prod", "OTTLA_REGISTRY__AUTO_REGISTER": "true"}
    assert load_settings(directory=tmp_path, environ=said).registry.auto_register


def test_a_profile_that_names_a_profile_or_holds_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text("[profiles]\ndev = 1\n")
    with pytest.raises(ConfigurationError, match="holds a table of settings for each profile"):
        load_settings(directory=tmp_path, environ={})
    (tmp_path / "ottla.toml").write_text('[profiles.dev]\nprofile = "prod"\n')
    with pytest.raises(ConfigurationError, match="cannot name another profile"):
        load_settings(directory=tmp_path, environ={})
