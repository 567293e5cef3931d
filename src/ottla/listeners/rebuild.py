"""Finds out which records lie in retry topics: the part of `parked`'s proof that survives restarts and rebalances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ottla.kafka.admin import Admin
from ottla.kafka.reader import BEGINNING, TopicReader
from ottla.kafka.record import Record
from ottla.listeners import gaps
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.parked import ParkedKeys
from ottla.listeners.ticket import Ticket
from ottla.settings import KafkaSettings

Place = tuple[str, int]

READ_TIMEOUT_S = 30.0
"""How long to wait for records that a transaction still holds back."""


def find_parked(
    settings: KafkaSettings,
    plan: RetryPlan,
    group: str,
    places: Iterable[Place],
    committed: Mapping[Place, tuple[int, str | None]],
) -> dict[Place, ParkedKeys]:
    """Reads the retry topics of some partitions from what the group has committed to their ends.

    Args:
        settings: Where the brokers are.
        plan: Which topics have which retry topics.
        group: Whose records to look for.
        places: Partitions of topics (not of retry topics).
        committed: Offset and metadata that the group has committed for them, and for the retry topics' partitions.

    Raises:
        BrokerUnavailable, KafkaError: It cannot be known now.
    """
    found = {place: ParkedKeys() for place in places}
    partitions: dict[str, list[int]] = {}
    for topic, partition in found:
        for name in plan.names(topic):
            partitions.setdefault(name, []).append(partition)
    wanted = [(name, partition) for name, numbers in partitions.items() for partition in numbers]
    # Asked for after the positions were: what was committed before is behind these ends, acknowledged.
    admin = Admin(settings)
    ends, bounds = admin.ends(wanted), admin.bounds(found)
    # What will be read of each partition: from what is committed, where the log begins no later, to its end.
    unread = {
        place: range(max(first, committed.get(place, (0, None))[0]), end) for place, (first, end) in bounds.items()
    }
    for name, numbers in partitions.items():
        start = {number: committed.get((name, number), (BEGINNING, None))[0] for number in numbers}
        until = {number: ends[name, number] for number in numbers if start[number] < ends[name, number] > 0}
        if not until:
            continue
        start = {number: start[number] for number in until}
        # Finished behind others that are not. They are not fed again: nothing would ever settle them.
        finished = {number: gaps.decode(*committed.get((name, number), (0, None))) for number in until}
        with TopicReader(settings, name, start=start, timeout_s=READ_TIMEOUT_S) as reader:
            for record in reader.until(until):
                if record.offset not in finished[record.partition]:
                    _note(record, plan.levels[name][0], group, found, unread)
    return found


def _note(
    record: Record, topic: str, group: str, found: dict[Place, ParkedKeys], unread: Mapping[Place, range]
) -> None:
    ticket = Ticket.read(record.headers)
    if ticket is None or ticket.group != group or record.key is None:
        return
    place, number = (topic, record.partition), ticket.origin[2]
    if place in found:
        found[place].found(record.key, number, ticket.moves, unsure=number in unread[place])
