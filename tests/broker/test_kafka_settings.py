"""The broker's configuration file: Kafka's form and names, options over it, and every fault with its line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ottla.broker.config import BrokerConfig
from ottla.broker.kafka_names import KAFKA_NAMES
from ottla.broker.kafka_settings import SETTINGS, TOPIC_DEFAULTS, load_config
from ottla.broker.properties import read_properties
from ottla.broker.topic_configs import SETTINGS as TOPIC_SETTINGS
from ottla.broker.topic_configs import broker_defaults
from ottla.errors import ConfigurationError

# --- the form of the file ---


def written(folder: Path, text: str) -> Path:
    path = folder / "server.properties"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("a=b", "a", "b"),
        ("a = b ", "a", "b "),
        ("a:b", "a", "b"),
        ("a b c", "a", "b c"),
        ("a", "a", ""),
        ("  a==b", "a", "=b"),
        (r"a\=\:\ b=c", "a=: b", "c"),
        (r"a=\ttab\u00e9\\", "a", "\ttabé\\"),
        ("a=é", "a", "é"),
        ("a=b\\\n   c", "a", "bc"),
        ("a=b\\\\\nc=d", "a", "b\\"),
        ("\\\na=b", "a", "b"),
        ("a=b # no comment", "a", "b # no comment"),
    ],
)
def test_an_entry_is_read_as_java_reads_it(tmp_path: Path, line: str, name: str, value: str) -> None:
    assert read_properties(written(tmp_path, line + "\n"))[name] == value


def test_comments_and_empty_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    found = read_properties(written(tmp_path, "# one\n\n ! two\r\na=1\n\\\n b=2\nc=3\n"))
    assert found == {"a": "1", "b": "2", "c": "3"}
    assert found.lines == {"a": 4, "b": 5, "c": 7}


def test_of_two_entries_the_last_one_counts_and_both_lines_are_known(tmp_path: Path) -> None:
    found = read_properties(written(tmp_path, "a=1\na=2\na=3\n"))
    assert found == {"a": "3"}
    assert found.repeated == {"a": [1, 2, 3]}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.properties.*No such file"):
        read_properties(tmp_path / "nowhere.properties")


def test_a_file_that_is_not_utf_8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes(b"a=\xe9\n")
    with pytest.raises(ConfigurationError, match=r"not UTF-8 .byte 2."):
        read_properties(path)


def test_every_broken_line_is_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as failure:
        read_properties(written(tmp_path, "a=\\u12\n=b\nc=\\\\u1\n"))
    assert "server.properties:1: \\u must" in str(failure.value)
    assert "server.properties:2: a value without a name" in str(failure.value)
    assert ":3:" not in str(failure.value)


# --- Kafka's names ---


def test_every_name_in_the_tables_is_one_of_kafkas() -> None:
    ours = {name for name in [*SETTINGS, *TOPIC_DEFAULTS] if not name.startswith("ottla.")}
    assert ours <= KAFKA_NAMES
    assert {topic for topic, _ in TOPIC_DEFAULTS.values()} <= set(TOPIC_SETTINGS)
    assert {setting.field for setting in SETTINGS.values()} <= set(BrokerConfig.__dataclass_fields__)


def test_settings_take_kafkas_names_and_units(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "log.dirs=/var/lib/ottla\nnum.partitions=6\nauto.create.topics.enable=FALSE\nlog.retention.hours=1\n"
        "offsets.retention.minutes=2\nottla.flush=none\nlog.retention.bytes=-1\n",
    )
    assert load_config(path) == BrokerConfig(
        data_dir=Path("/var/lib/ottla"),
        partitions=6,
        auto_create_topics=False,
        retention_ms=3_600_000,
        offsets_retention_ms=120_000,
        flush="none",
    )


@pytest.mark.parametrize("order", [("ms", "minutes", "hours"), ("hours", "minutes", "ms")])
def test_the_smallest_unit_counts_whatever_the_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    values = {"ms": "7", "minutes": "5", "hours": "3"}
    text = "".join(f"log.retention.{unit}={values[unit]}\n" for unit in order)
    assert load_config(written(tmp_path, text)).retention_ms == 7


def test_minus_one_hour_is_no_limit_and_not_minus_3600000_ms(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "log.retention.hours=-1\n")).retention_ms == -1


def test_an_option_counts_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "num.partitions=6\nmessage.max.bytes=2000\n")
    config = load_config(path, partitions=2, message_max_bytes=None)
    assert (config.partitions, config.message_max_bytes) == (2, 2000)


@pytest.mark.parametrize(
    "order", [("log.roll.ms=5\n", "log.roll.hours=1\n"), ("log.roll.hours=1\n", "log.roll.ms=5\n")]
)
def test_defaults_of_topic_settings_are_taken_over(tmp_path: Path, order: tuple[str, str]) -> None:
    path = written(tmp_path, "log.cleanup.policy=compact\nmin.insync.replicas=2\n" + "".join(order))
    defaults = broker_defaults(load_config(path))
    assert defaults["cleanup.policy"] == "compact"
    assert defaults["min.insync.replicas"] == "2"
    assert defaults["segment.ms"] == "5"


def test_all_faults_are_listed_with_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "num.partitons=6\nnum.partitions=six\n\nauto.create.topics.enable=yes\nlog.cleanup.policy=shred\n"
        "frobnicate=1\nlog.retention.hours=-2\nlog.dirs=/a,/b\n",
    )
    with pytest.raises(ConfigurationError) as failure:
        load_config(path)
    assert [line.strip().removeprefix(f"{path}:") for line in str(failure.value).splitlines()[1:]] == [
        "1: num.partitons: no such setting; did you mean num.partitions?",
        "2: num.partitions: 'six' is not a whole number",
        "4: auto.create.topics.enable: 'yes' is neither true nor false",
        "5: log.cleanup.policy: 'shred': String must be one of: compact, delete",
        "6: frobnicate: no such setting. Kafka has none of that name",
        "7: log.retention.hours: -2 is not from -1 to 2147483647",
        "8: log.dirs: '/a,/b': the embedded broker keeps everything in one folder; name one",
    ]


def test_a_setting_that_changes_nothing_here_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "num.io.threads=8\nnum.partitions=2\nnum.partitions=3\n")
    with caplog.at_level(logging.WARNING):
        assert load_config(path).partitions == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}:1: num.io.threads changes nothing in the embedded broker",
        f"{path}: num.partitions is set on lines 2, 3; the last one counts",
    ]


# --- listeners ---


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("listeners=PLAINTEXT://localhost:19092", ("localhost", 19092)),
        ("listeners=PLAINTEXT://:19092", ("127.0.0.1", 19092)),
        ("listeners=PLAINTEXT://[::1]:19092", ("::1", 19092)),
        (
            "listeners=A://0.0.0.0:1,C://:2\ncontroller.listener.names=C\n"
            "listener.security.protocol.map=A:PLAINTEXT,C:PLAINTEXT",
            ("0.0.0.0", 1),
        ),
    ],
)
def test_a_plaintext_listener_gives_the_address(tmp_path: Path, text: str, address: tuple[str, int]) -> None:
    config = load_config(written(tmp_path, text + "\n"))
    assert (config.host, config.port) == address
