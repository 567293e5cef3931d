"""Do the data folder and Kafka's topics belong to the same shop? Asked before anything starts.

Databases without their topics, or topics without their databases, can never balance: events would be missing that were
handled, or events be there that nobody remembers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ottla.errors import ConfigurationError

if TYPE_CHECKING:
    from ottla import KafkaSettings

# Databases and Kafka are looked at only for an existing Kafka, and what that takes is imported only then: with the
# embedded broker, nothing must come before the start of the processes that need not.

_MARK = "kafka"
EMBEDDED = "the embedded broker"


def refuse_a_strange_shop(data: Path, bootstrap_servers: str | None, orders_database_url: str) -> None:
    """Checks that `data` and the Kafka of this run go together.

    Args:
        data: The demo's data folder; may be missing or empty.
        bootstrap_servers: The Kafka of this run; None for the embedded broker, whose topics lie in `data` too.
        orders_database_url: The orders database.

    Raises:
        ConfigurationError: They do not; says what to do.
        BrokerUnavailable: No broker answers at `bootstrap_servers`.
    """
    kind = EMBEDDED if bootstrap_servers is None else "an existing Kafka"
    mark = data / _MARK
    before = mark.read_text("utf-8").strip() if mark.is_file() else kind
    if before != kind:
        raise ConfigurationError(
            f"{data} holds the databases of a shop that ran on {before}, and this one is to run on {kind}. "
            "Give this shop a folder of its own with --data DIR."
        )
    if bootstrap_servers is not None:
        _compare(data, bootstrap_servers, _orders_known(orders_database_url))


def remember_the_shop(data: Path, bootstrap_servers: str | None) -> None:
    """Notes in `data` what its shop runs on."""
    data.mkdir(parents=True, exist_ok=True)
    (data / _MARK).write_text((EMBEDDED if bootstrap_servers is None else "an existing Kafka") + "\n", "utf-8")


def _compare(data: Path, bootstrap_servers: str, known: set[str]) -> None:
    from ottla import Admin, KafkaSettings
    from shop.demo.said import TOPICS

    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    ends = Admin(kafka).end_offsets(TOPICS)
    events = {topic: sum(end for (name, _), end in ends.items() if name == topic) for topic in TOPICS}
    found = [topic for topic, count in events.items() if count]
    if not found and known:
        raise ConfigurationError(
            f"{data} holds the databases of a shop with {len(known):,} orders, but there are none of its events on "
            f"Kafka at {bootstrap_servers}. Give this shop a folder of its own with --data DIR."
        )
    if any(not _an_order_of(kafka, topic) <= known for topic in found):
        counts = ", ".join(f"{topic} ({events[topic]:,})" for topic in found)
        raise ConfigurationError(
            f"the topics on Kafka at {bootstrap_servers} hold events of an earlier shop whose databases are not in "
            f"{data}: {counts}. Name that shop's folder with --data DIR, or delete its topics: "
            f"ottla topic delete -b {bootstrap_servers} {' '.join(found)}"
        )


def _an_order_of(kafka: KafkaSettings, topic: str) -> set[str]:
    """The order of one record of the topic; nothing if all were deleted by retention."""
    from ottla import TopicReader

    with TopicReader(kafka, topic) as reader:
        for record in reader.until_end():
            return {record.key.decode("utf-8", "replace")} if record.key else set()
    return set()


def _orders_known(database_url: str) -> set[str]:
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    from shop.orders.tables import commands
    from shop.store import open_engine

    engine = open_engine(database_url)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return {order_id for (order_id,) in connection.execute(select(commands.c.order_id).distinct())}
    except SQLAlchemyError:  # no such database or table yet
        return set()
    finally:
        engine.dispose()
